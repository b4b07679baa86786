"""Searching for settings: many runs, in parallel, each finished one stored at once."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from elfw_helpers.batches import Batches
from elfw_helpers.errors import TrainingError
from elfw_helpers.files import write_atomically
from elfw_helpers.training import fingerprint_run, fit
from elfw_helpers.workers import run_jobs

# The report's grid: 18 combinations.
REPORT_GRID = {
    "lr": (1e-4, 5e-4, 1e-3),
    "momentum": (0.9, 0.95),
    "weight_decay": (1e-5, 5e-5, 1e-4),
}

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
    """Train a fresh model with every combination of a grid: `search_settings` on `expand_grid(grid)`."""
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
    progress: bool = True,
) -> pd.DataFrame:
    """Train a fresh model with each of some settings; runs that `out` holds already are not repeated.

    On the CPU, each run has a process and one thread to itself: two runs side by side on one core each
    are faster than one after the other on two, and the results do not depend on the number of cores.

    Args:
        make_model: returns a new model; a function of a module, so that workers can import it.
        train, validation: the batches.
        epochs: of every run.
        settings: arguments of `fit` by name, one mapping a run.
        out: a folder; every finished run is stored there at once.
        seed: of the initial weights, the same for all runs.
        workers: processes; None takes one a core.
        progress: show a bar on stderr.

    Returns:
        A row a run, in the order of the settings: its setting, train_loss, validation_loss and
        validation_accuracy of the last epoch, best_validation_loss and best_epoch (from 1), and error,
        which says why a run failed (its numbers are NaN) and is empty otherwise.
    """
    settings = [{name: float(value) for name, value in setting.items()} for setting in settings]
    files = [
        Path(out) / name_run(make_model, train, validation, epochs, setting, seed) for setting in settings
    ]
    Path(out).mkdir(parents=True, exist_ok=True)
    pending = [index for index, file in enumerate(files) if not file.exists()]
    job = (make_model, train, validation, epochs, seed)
    bar = tqdm(total=len(files), initial=len(files) - len(pending), unit="run", disable=not progress)
    with bar:
        chosen, workers = [settings[index] for index in pending], workers or os.cpu_count() or 1
        for place, result in run_jobs(train_setting, job, chosen, workers, train.device.type):
            index = pending[place]
            write_atomically(files[index], json.dumps({**settings[index], **result}, indent=1).encode())
            bar.update()
    return pd.DataFrame([json.loads(file.read_text(encoding="utf-8")) for file in files])


def expand_grid(grid: Mapping[str, Sequence[float]]) -> list[Setting]:
    """Return every combination of a grid's values, the last name's values changing fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def sample_settings(ranges: Mapping[str, tuple[float, float]], count: int, seed: int = 0) -> list[Setting]:
    """Draw settings at random, each value log-uniform in its range.

    Where only some of the settings matter, random ones try a new value of those in every run, and a grid
    tries the same few again and again.

    Args:
        ranges: (low, high), both positive, by the name of a setting.
        count: number of settings.
        seed: the same seed draws the same settings.

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
    if table["best_validation_loss"].isna().all():
        raise TrainingError(f"every run failed, the first by: {table['error'].iloc[0]}")
    return {name: float(table.loc[table["best_validation_loss"].idxmin(), name]) for name in names}


def name_run(
    make_model: Callable[[], nn.Module],
    train: Batches,
    validation: Batches,
    epochs: int,
    setting: Setting,
    seed: int,
) -> str:
    """Return the name of a run's file: its settings to read, and a fingerprint of all it depends on."""
    key = fingerprint_run(make_seeded(make_model, seed), train, validation, [epochs, setting, seed])
    words = "_".join(f"{name}-{value:g}" for name, value in setting.items())
    return f"{words}_{key}.json"


def make_seeded(make_model: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return a new model whose initial weights depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make_model()


def train_setting(job: tuple, setting: Setting) -> dict[str, float | str]:
    """Train one setting and return its results; a failed run returns NaN and says why."""
    make_model, train, validation, epochs, seed = job
    try:
        model = make_seeded(make_model, seed)
        history = fit(model, train, validation, epochs, seed=seed, progress=False, **setting)
    except TrainingError as error:
        names = ("train_loss", "validation_loss", "validation_accuracy", "best_validation_loss", "best_epoch")
        return {**dict.fromkeys(names, math.nan), "error": str(error)}
    return {
        "train_loss": history.train_loss[-1],
        "validation_loss": history.validation_loss[-1],
        "validation_accuracy": history.validation_accuracy[-1],
        "best_validation_loss": history.validation_loss[history.best_epoch],
        "best_epoch": history.best_epoch + 1,
        "error": "",
    }
