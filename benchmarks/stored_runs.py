"""Runs, each stored as a small JSON file when it is finished, and the tables of their results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from elfw_helpers.utils.files import write_atomically
from elfw_helpers.utils.fingerprints import fingerprint


def name_file(folder: Path, words: Iterable[object], depends_on: Sequence[object]) -> Path:
    """Return the file of a run: words to read, and a fingerprint of all that the result depends on."""
    name = re.sub(r"[^a-z0-9]+", "-", "_".join(map(str, words)).lower()).strip("-")
    return folder / f"{name}_{fingerprint(*depends_on)}.json"


def store_result(file: Path, result: dict) -> None:
    """Write a run's result in one step: a file that is there is complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(result).encode())


def read_result(file: Path) -> dict:
    """Return a stored result."""
    return json.loads(file.read_text(encoding="utf-8"))


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
