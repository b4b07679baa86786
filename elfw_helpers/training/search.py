"""Grid search and other searches for settings: runs in parallel, or batched, stored epoch by epoch."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from elfw_helpers.data.batches import Batches
from elfw_helpers.training.checkpoints import damage_advice
from elfw_helpers.training.loop import History, fit, name_run
from elfw_helpers.training.together import check_batchable, train_together
from elfw_helpers.utils.errors import ElfwError, TrainingError
from elfw_helpers.utils.files import write_atomically
from elfw_helpers.utils.fingerprints import fingerprint
from elfw_helpers.utils.parallel import run_parallel

# The report's grid: 18 combinations.
REPORT_GRID = {"lr": (1e-4, 5e-4, 1e-3), "momentum": (0.9, 0.95), "weight_decay": (1e-5, 5e-5, 1e-4)}

Setting = dict[str, float]
Strategy = Literal["auto", "one by one", "together"]


def grid_search(
    make_model: Callable[[], nn.Module],
    train: Batches,
    validation: Batches,
    epochs: int,
    *,
    out: str | Path,
    grid: Mapping[str, Sequence[float]] = REPORT_GRID,
    **options: Any,
) -> pd.DataFrame:
    """Train a new model with every combination of a grid: `search_settings` on `expand_grid(grid)`."""
    return search_settings(make_model, train, validation, epochs, expand_grid(grid), out=out, **options)


def search_settings(
    make_model: Callable[[], nn.Module],
    train: Batches,
    validation: Batches,
    epochs: int,
    settings: Sequence[Setting],
    *,
    out: str | Path,
    seed: int = 0,
    strategy: Strategy = "auto",
    workers: int | None = None,
    cluster: str | None = None,
) -> pd.DataFrame:
    """Train a new model with each of the settings; epochs that `out` holds already are not repeated.

    One by one on the CPU, each run has a process and one thread to itself: two runs side by side on one core
    each are faster than one after the other on two, and the results do not depend on the number of cores.

    Args:
        make_model: returns a new model.
        train, validation: the batches.
        epochs: of every run.
        settings: arguments of `fit` by name, one mapping per run.
        out: a folder; the state of every run is stored there after each epoch. An interrupted search goes on
            from it, and so does one of more epochs, or `fit` with this checkpoint. A run that failed is tried
            again.
        seed: of the initial weights, the same for all runs.
        strategy: "together" trains all settings as one batched model, which saves a GPU most of its kernels'
            starts and is slower on a CPU; where the model cannot be batched, that is an error. "auto" takes
            it on a GPU where it can, and else "one by one". The results agree, but for their last digits, so
            each has its own store.
        workers: processes; None takes one per core that this process may use. A GPU has one process.
        cluster: the address of a Dask scheduler, such as tcp://HOST:8786, whose workers train one by one and
            share the folder `out` with this process. Their runs are those of this machine, in one store.

    Returns:
        One row per run, in the order of the settings: its setting, train_loss, validation_loss and
        validation_accuracy of the last epoch, best_validation_loss and best_epoch (from 1), and error,
        which says why a run failed (its numbers are NaN) and is empty otherwise.

    Raises:
        TrainingError: every run failed, the strategy is unknown, the runs cannot be trained together, or what
            is stored of one is damaged.
        ElfwError: a worker of this machine was killed, or the cluster cannot be used, or is lost.

    Warns:
        FingerprintWarning: nothing is stored, because something that decides the runs cannot be inspected.
    """
    settings = [{name: float(value) for name, value in setting.items()} for setting in settings]
    if cluster and strategy == "together":
        raise TrainingError('"together" is one model in one process. On a cluster, take "one by one"')
    if cluster and strategy == "auto":
        strategy = "one by one"
    # A worker of a cluster need not stand in this process's folder.
    out = Path(out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    data = {"train": train, "validation": validation}
    together, store, files = find_files(
        make_model, **data, settings=settings, out=out, seed=seed, strategy=strategy
    )
    histories = [read_history(file) for file in files]
    errors = [""] * len(settings)
    pending = [index for index, history in enumerate(histories) if len(history) < epochs]
    chosen = [settings[index] for index in pending]
    if together and chosen:
        model = make_seeded(make_model, seed)
        runs = enumerate(train_together(model, chosen, epochs, **data, folder=store))
    else:
        options = {"make_model": make_model, "seed": seed, "checkpoint": store and out, **data}
        job = partial(train_setting, epochs=epochs, **options)
        runs = run_parallel(job, chosen, workers if train.device.type == "cpu" else 1, cluster, [out])
    with tqdm(total=len(files), initial=len(files) - len(pending), unit="run") as bar:
        for place, (history, error) in runs:
            index = pending[place]
            histories[index], errors[index] = history, error
            if files[index] and not error:
                write_atomically(files[index], json.dumps(asdict(history), indent=1).encode())
            bar.update()
    return make_table(settings, histories, epochs, errors)


def find_files(
    make_model: Callable[[], nn.Module],
    train: Batches,
    validation: Batches,
    settings: Sequence[Setting],
    out: str | Path,
    seed: int,
    strategy: Strategy,
) -> tuple[bool, Path | None, list[Path | None]]:
    """Return whether to train the settings together, the runs' folder, and the file of each history."""
    model, data = make_seeded(make_model, seed), {"train": train, "validation": validation}
    together = choose_together(strategy, model, settings, train)
    store = name_run(out, train_together if together else train_setting, model, data, seed)
    return together, store, [name_file(store, setting) for setting in settings]


def make_table(
    settings: Sequence[Setting], histories: Sequence[History], epochs: int, errors: Sequence[str]
) -> pd.DataFrame:
    """Return the table of a search; see `search_settings`."""
    rows = zip(settings, histories, errors, strict=True)
    table = pd.DataFrame(
        {**setting, **summarise(history, epochs), "error": error} for setting, history, error in rows
    )
    check_finished(table)
    return table


def choose_together(
    strategy: Strategy, model: nn.Module, settings: Sequence[Setting], train: Batches
) -> bool:
    """Say whether to train the settings together; TrainingError where that is asked for and cannot be."""
    if strategy not in get_args(Strategy):
        known = ", ".join(map(repr, get_args(Strategy)))
        raise TrainingError(f"there is no strategy {strategy!r}. Known are {known}")
    if not settings or strategy == "one by one" or (strategy == "auto" and train.device.type == "cpu"):
        return False
    try:
        check_batchable(model, settings, train)
    except TrainingError:
        if strategy == "together":
            raise
        return False
    return True


def expand_grid(grid: Mapping[str, Sequence[float]]) -> list[Setting]:
    """Return every combination of a grid's values, the last name's values changing fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def best_setting(table: pd.DataFrame, names: Sequence[str] = tuple(REPORT_GRID)) -> Setting:
    """Return the settings of the run with the lowest validation loss of any epoch.

    Raises:
        TrainingError: every run failed.
    """
    check_finished(table)
    return {name: float(table.loc[table["best_validation_loss"].idxmin(), name]) for name in names}


def check_finished(table: pd.DataFrame) -> None:
    """Raise TrainingError if every run of a table failed."""
    if len(table) and table["best_validation_loss"].isna().all():
        raise TrainingError(f"every run failed, the first by: {table['error'].iloc[0]}")


def name_file(store: Path | None, setting: Setting) -> Path | None:
    """Return the file of one run's history, named by its setting and a fingerprint of all that decides it."""
    if store is None:
        return None
    words = "_".join(f"{name}-{value:g}" for name, value in setting.items())
    return store.with_name(f"{words}_{fingerprint(store.name, sorted(setting.items()))}.json")


def read_history(file: Path | None) -> History:
    """Return the history in a file, of no epochs where there is none; TrainingError where it is damaged."""
    if file is None or not file.exists():
        return History()
    with damage_advice(file, "file"):
        return History(**json.loads(file.read_text(encoding="utf-8")))


def make_seeded(make_model: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return a new model whose initial weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make_model()


def train_setting(
    setting: Setting, make_model: Callable[[], nn.Module], seed: int, **options: Any
) -> tuple[History, str]:
    """Train one setting; return its history and "", or an empty history and why it failed.

    In one thread, also without a worker process: the last bits depend on the number of threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return fit(make_seeded(make_model, seed), seed=seed, **options, **setting), ""
    except OSError:
        # A full disk is no fault of this setting's: the next run could not be stored either.
        raise
    except Exception as error:
        return History(), str(error) if isinstance(error, ElfwError) else f"{type(error).__name__}: {error}"
    finally:
        torch.set_num_threads(threads)


def summarise(history: History, epochs: int) -> dict[str, float]:
    """Return what a table says of a run's first epochs; NaN where it has none, for it failed."""
    if not len(history):
        names = ("train_loss", "validation_loss", "validation_accuracy", "best_validation_loss", "best_epoch")
        return dict.fromkeys(names, math.nan)
    first = history.first(epochs)
    return {
        "train_loss": first.train_loss[-1],
        "validation_loss": first.validation_loss[-1],
        "validation_accuracy": first.validation_accuracy[-1],
        "best_validation_loss": first.validation_loss[first.best_epoch],
        "best_epoch": first.best_epoch + 1,
    }
