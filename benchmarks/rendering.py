"""Measure how many faces of 128 x 128 pixels are rendered per second, on one core and on two.

    python benchmarks/rendering.py

Both are measured in one run, alternately, so that whatever else the machine does slows both alike.
The workers' start (about half a second) is not counted.
"""

from __future__ import annotations

import statistics
import time

from elfw_helpers.rendering import render_face
from elfw_helpers.utils.parallel import run_parallel

FACES, ROUNDS, SIZE = 60, 3, 128


def render_one(seed: int) -> int:
    """Render a face and return how many of its pixels are not background."""
    return int((render_face(seed, SIZE).mask > 0).sum())


def measure_rate(seeds: range, workers: int) -> float:
    """Return faces per second."""
    start = time.perf_counter()
    for _ in run_parallel(render_one, seeds, workers):
        pass
    return len(seeds) / (time.perf_counter() - start)


def main() -> None:
    for workers in (1, 2):
        measure_rate(range(8), workers)
    rounds = [range(first, first + FACES) for first in range(0, ROUNDS * FACES, FACES)]
    rates = [(measure_rate(seeds, 1), measure_rate(seeds, 2)) for seeds in rounds]
    single, double = (statistics.median(column) for column in zip(*rates, strict=True))
    print(f"one core   {single:5.1f} faces/s")
    print(f"two cores  {double:5.1f} faces/s  ({double / single:.2f} times as many)")


if __name__ == "__main__":
    main()
