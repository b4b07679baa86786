"""Measure how many faces of 128 x 128 pixels are rendered a second, on one core and on two.

    python benchmarks/rendering.py

Both are measured in one run, alternately, so that whatever else the machine does slows both alike.
The workers' start (about half a second) is not counted.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time

from elfw_helpers.rendering import render_face

FACES, ROUNDS, SIZE = 60, 3, 128


def render_one(seed: int) -> int:
    """Render a face and return how many of its pixels are no background."""
    return int((render_face(seed, SIZE).mask > 0).sum())


def measure_rate(pool, seeds: range) -> float:
    """Return faces a second."""
    start = time.perf_counter()
    pool.map(render_one, seeds, chunksize=2)
    return len(seeds) / (time.perf_counter() - start)


def main() -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as one, context.Pool(2) as two:
        for pool in (one, two):
            pool.map(render_one, range(8), chunksize=1)
        rates = [(measure_rate(one, seeds), measure_rate(two, seeds)) for seeds in make_rounds()]
    single, double = (statistics.median(column) for column in zip(*rates, strict=True))
    print(f"one core   {single:5.1f} faces/s")
    print(f"two cores  {double:5.1f} faces/s  ({double / single:.2f} times as many)")


def make_rounds() -> list[range]:
    """Return the seeds of every round."""
    return [range(first, first + FACES) for first in range(0, ROUNDS * FACES, FACES)]


if __name__ == "__main__":
    main()
