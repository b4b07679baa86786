"""What benchmarks of many runs share: storing each result as a JSON file, doing the rest, and tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from elfw_helpers.utils.device import best_device
from elfw_helpers.utils.files import write_atomically
from elfw_helpers.utils.fingerprints import fingerprint
from elfw_helpers.utils.parallel import run_parallel


def name_file(folder: Path, words: Iterable[object], depends_on: Sequence[object]) -> Path:
    """Return the file of a run, named by words and a fingerprint of all that the result depends on."""
    name = re.sub(r"[^a-z0-9]+", "-", "_".join(map(str, words)).lower()).strip("-")
    return folder / f"{name}_{fingerprint(*depends_on)}.json"


def store_result(file: Path, result: dict) -> None:
    """Write a run's result in one step, so that an existing file is complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(result).encode())


def read_result(file: Path) -> dict:
    """Return a stored result."""
    return json.loads(file.read_text(encoding="utf-8"))


def run_missing(
    do_run: Callable[[Any, Any], None],
    bench: Any,
    stages: Sequence[Sequence[Any]],
    is_done: Callable[[Any, Any], bool],
    jobs: int,
) -> None:
    """Do all runs that are not done, stage by stage, with a progress bar."""
    missing = [[run for run in stage if not is_done(bench, run)] for stage in stages]
    total = sum(map(len, stages))
    with tqdm(total=total, initial=total - sum(map(len, missing)), unit="run") as bar:
        workers = 1 if best_device() == "cuda" else jobs
        for stage in missing:
            for _ in run_parallel(partial(do_run, bench), stage, workers):
                bar.update()


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
