"""Grid search and random search for settings: runs in parallel, each stored as soon as it is finished."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from elfw_helpers.data.batches import Batches
from elfw_helpers.training.loop import fit, name_run
from elfw_helpers.utils.errors import ElfwError, TrainingError
from elfw_helpers.utils.files import write_atomically
from elfw_helpers.utils.fingerprints import fingerprint
from elfw_helpers.utils.parallel import run_parallel

# The report's grid: 18 combinations.
REPORT_GRID = {"lr": (1e-4, 5e-4, 1e-3), "momentum": (0.9, 0.95), "weight_decay": (1e-5, 5e-5, 1e-4)}

Setting = dict[str, float]


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
    workers: int | None = None,
) -> pd.DataFrame:
    """Train a new model with each of the settings; runs that `out` holds already are not repeated.

    On the CPU, each run has a process and one thread to itself: two runs side by side on one core each
    are faster than one after the other on two, and the results do not depend on the number of cores.

    Args:
        make_model: returns a new model.
        train, validation: the batches.
        epochs: of every run.
        settings: arguments of `fit` by name, one mapping per run.
        out: a folder; every finished run is stored there at once. One that failed is tried again.
        seed: of the initial weights, the same for all runs.
        workers: processes; None takes one per core that this process may use. A GPU has one process.

    Returns:
        One row per run, in the order of the settings: its setting, train_loss, validation_loss and
        validation_accuracy of the last epoch, best_validation_loss and best_epoch (from 1), and error,
        which says why a run failed (its numbers are NaN) and is empty otherwise.

    Raises:
        TrainingError: every run failed.
        ElfwError: a worker was killed.

    Warns:
        FingerprintWarning: nothing is stored, because something that decides the runs cannot be inspected.
    """
    settings = [{name: float(value) for name, value in setting.items()} for setting in settings]
    Path(out).mkdir(parents=True, exist_ok=True)
    shared = {"train": train, "validation": validation, "epochs": epochs, "seed": seed}
    common = name_run(out, train_setting, make_seeded(make_model, seed), shared)
    files = [name_file(common, setting) for setting in settings]
    rows = [json.loads(file.read_text("utf-8")) if file and file.exists() else None for file in files]
    pending = [index for index, row in enumerate(rows) if row is None]
    job = partial(train_setting, make_model=make_model, **shared)
    chosen = [settings[index] for index in pending]
    with tqdm(total=len(files), initial=len(files) - len(pending), unit="run") as bar:
        for place, result in run_parallel(job, chosen, workers if train.device.type == "cpu" else 1):
            index = pending[place]
            rows[index] = {**settings[index], **result}
            if files[index] and not result["error"]:
                write_atomically(files[index], json.dumps(rows[index], indent=1).encode())
            bar.update()
    table = pd.DataFrame(rows)
    check_finished(table)
    return table


def expand_grid(grid: Mapping[str, Sequence[float]]) -> list[Setting]:
    """Return every combination of a grid's values, the last name's values changing fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def sample_settings(ranges: Mapping[str, tuple[float, float]], count: int, seed: int = 0) -> list[Setting]:
    """Draw settings at random, each value log-uniform in its range.

    Where only some of the settings matter, random ones try a new value of those in every run, and a grid
    tries the same few again and again.

    Args:
        ranges: (low, high), both positive, by the name of a setting.

    Source: Bergstra & Bengio (2012), https://jmlr.org/papers/v13/bergstra12a.html
    """
    generator = np.random.default_rng(seed)
    logarithms = {name: np.log(limits) for name, limits in ranges.items()}
    return [
        {name: float(np.exp(generator.uniform(*limits))) for name, limits in logarithms.items()}
        for _ in range(count)
    ]


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


def name_file(common: Path | None, setting: Setting) -> Path | None:
    """Return the file of one run, named by its setting and a fingerprint of all that decides it."""
    if common is None:
        return None
    words = "_".join(f"{name}-{value:g}" for name, value in setting.items())
    return common.with_name(f"{words}_{fingerprint(common.name, sorted(setting.items()))}.json")


def make_seeded(make_model: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return a new model whose initial weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make_model()


def train_setting(
    setting: Setting, make_model: Callable[[], nn.Module], seed: int, **options: Any
) -> dict[str, float | str]:
    """Train one setting and return its results; a failed run returns NaN and says why.

    In one thread, also without a worker process: the last bits depend on the number of threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        history = fit(make_seeded(make_model, seed), seed=seed, **options, **setting)
    except Exception as error:
        names = ("train_loss", "validation_loss", "validation_accuracy", "best_validation_loss", "best_epoch")
        reason = str(error) if isinstance(error, ElfwError) else f"{type(error).__name__}: {error}"
        return {**dict.fromkeys(names, math.nan), "error": reason}
    finally:
        torch.set_num_threads(threads)
    return {
        "train_loss": history.train_loss[-1],
        "validation_loss": history.validation_loss[-1],
        "validation_accuracy": history.validation_accuracy[-1],
        "best_validation_loss": history.validation_loss[history.best_epoch],
        "best_epoch": history.best_epoch + 1,
        "error": "",
    }
