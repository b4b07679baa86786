"""Runs in parallel, each stored as a small JSON file when it is finished, and the tables of their results."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import pickle
import re
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from elfw_helpers.checkpoints import write_atomically
from elfw_helpers.metrics import f1_by_class
from elfw_helpers.training import best_device


def name_file(folder: Path, words: Iterable[object], depends_on: Sequence[object]) -> Path:
    """Return the file of a run: words to read, and a fingerprint of all that the result depends on."""
    name = re.sub(r"[^a-z0-9]+", "-", "_".join(map(str, words)).lower()).strip("-")
    fingerprint = hashlib.sha256(repr([name, *depends_on]).encode()).hexdigest()[:16]
    return folder / f"{name}_{fingerprint}.json"


def store_result(file: Path, result: dict) -> None:
    """Write a run's result in one step: a file that is there is complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(result).encode())


def read_result(file: Path) -> dict:
    """Return a stored result."""
    return json.loads(file.read_text())


def run_all(function: Callable[[Any, Any], None], shared: Any, jobs: list, workers: int, bar: tqdm) -> None:
    """Call `function(shared, job)` for each job, moving the bar; on a GPU here, one after the other.

    On the CPU, each worker has one thread. Ctrl-C, or a job that fails, ends them all; what they have
    stored stays.

    Args:
        function: of a module, so that workers can import it; it stores its results itself.
        shared: what all jobs need, handed to each worker once.
        jobs: the longest first, so that no worker is left with one at the end.
        workers: processes.
    """
    if best_device() != "cpu":
        for job in jobs:
            function(shared, job)
            bar.update()
    elif jobs:
        # Pickled here: torch would share memory with the workers, of which containers have little.
        run_in_pool(pickle.dumps((function, shared)), jobs, min(workers, len(jobs)), bar)


def run_in_pool(task: bytes, jobs: list, workers: int, bar: tqdm) -> None:
    """Do the jobs of a pickled (function, shared) in worker processes; see `run_all`."""
    # Spawned, not forked: a fork of a process whose threads hold locks can hang.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, start_worker, (task,))
    try:
        for future in as_completed([pool.submit(work, job) for job in jobs]):
            future.result()
            bar.update()
        pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        # Nobody waits for the runs under way, and they would keep the cores busy for minutes.
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise


_task: tuple = ()


def start_worker(pickled: bytes) -> None:
    """Prepare a worker: one thread, what all jobs need in memory, Ctrl-C left to the parent."""
    global _task
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _task = pickle.loads(pickled)


def work(job: Any) -> None:
    """Do one job in a worker."""
    function, shared = _task
    function(shared, job)


def iou_by_class(matrix: np.ndarray) -> np.ndarray:
    """Return IoU = TP / (TP + FP + FN) of every class, NaN where truth and prediction have none.

    Args:
        matrix: confusion matrix [classes, classes], rows truth.
    """
    f1 = f1_by_class(matrix)
    return f1 / (2 - f1)


def format_spread(values: Sequence[float], sign: bool = False) -> str:
    """Return mean ± standard deviation over the seeds (n - 1); a dash where a value is NaN."""
    if np.isnan(values).any():
        return "–"
    # Adding 0 turns a mean that rounds to -0 into 0.
    mean, spread = round(float(np.mean(values)), 3) + 0.0, np.std(values, ddof=1)
    return f"{mean:+.3f} ± {spread:.3f}" if sign else f"{mean:.3f} ± {spread:.3f}"


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up."""
    cells = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)
