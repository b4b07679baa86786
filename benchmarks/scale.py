"""Measure what more images and more workers cost, and extrapolate to CelebA on four nodes.

    python benchmarks/scale.py [--rounds N] [--store]

Writes 1,000, 10,000 and 100,000 faces of CelebA's size, JPEGs of 178 x 218 pixels (a few of the embedded ones
and a comment in each file), and measures each number of them with one worker and with two, in turns: a first
start, which decodes all of them to 64 px (a worker is a thread here), and one epoch of two settings by
`search_settings` on a Dask cluster of this machine (a worker is a process of one thread, started before).

A power law is fitted to the rounds, log T = c + a log(images) + b log(workers), by least squares. Its slopes
a and b would be 1 and -1 if nothing but the work itself took time. What each start costs besides flattens
them for few images. So the law is fitted once more, to 10,000 images and more, and from this one the time for
CelebA's 202,599 faces on four nodes like this machine is EXTRAPOLATED: twice the images and four times the
workers that were seen. A network between the nodes, which this machine lacks, is not in it. About a
quarter of an hour on two quiet cores.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dask.distributed import LocalCluster
from large_set import write_faces
from measure import Figure, measure_in_turns, ratios, report
from scipy import stats

from elfw_helpers.data.batches import SplitBatches, channel_statistics, split_batches
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.models.classification import mini_network
from elfw_helpers.training.search import REPORT_GRID, expand_grid, search_settings

# Images, and how often each is measured: what is soon over is measured more often.
COUNTS = {1_000: 4, 10_000: 4, 100_000: 1}
# The fewest images of a fit, by its name; the last one's law is extrapolated.
FITS = {"1,000 to 100,000": 1_000, "10,000 and 100,000": 10_000}
WORKERS = (1, 2)
WIDTH, HEIGHT, SIDE = 178, 218, 64
SETTINGS = expand_grid(REPORT_GRID)
MEASURED, EPOCHS = SETTINGS[:2], 50
CELEBA, NODES = 202_599, 4
TASKS = {"decode": "first start: decoded to 64 px", "train": "an epoch of two settings"}

# By number of images and of workers, the seconds of each round.
Seconds = dict[tuple[int, int], list[float]]


@dataclass(frozen=True)
class PowerLaw:
    """log T = c + a log(images) + b log(workers), fitted by least squares.

    Attributes:
        values: c, a and b.
        covariance: of the values, [3, 3].
        variance: of one measurement about the law.
        reach: of a 95 % interval in standard errors, by Student's t.
    """

    values: np.ndarray
    covariance: np.ndarray
    variance: float
    reach: float

    def slope(self, place: int) -> tuple[float, float, float]:
        """Return a (place 1) or b (2) and the ends of its 95 % interval."""
        error = self.reach * math.sqrt(self.covariance[place, place])
        return self.values[place], self.values[place] - error, self.values[place] + error

    def predict(self, images: int, workers: int) -> tuple[float, float, float]:
        """Return the seconds of one more measurement and the ends of its 95 % prediction interval."""
        point = np.array([1, math.log(images), math.log(workers)])
        error = self.reach * math.sqrt(self.variance + point @ self.covariance @ point)
        return tuple(math.exp(point @ self.values + shift) for shift in (0, -error, error))


def fit_power_law(seconds: Seconds, fewest: int) -> PowerLaw:
    """Fit the law to all rounds of that many images or more."""
    points = [(*place, taken) for place, values in seconds.items() for taken in values if place[0] >= fewest]
    images, workers, taken = np.log(np.array(points)).T
    design = np.stack([np.ones_like(images), images, workers], axis=1)
    values = np.linalg.lstsq(design, taken, rcond=None)[0]
    free = len(points) - 3
    variance = float(((taken - design @ values) ** 2).sum() / free)
    return PowerLaw(
        values, variance * np.linalg.inv(design.T @ design), variance, float(stats.t.ppf(0.975, free))
    )


def time_decoding(folder: Path, workers: int) -> float:
    """Return the seconds of a first start in that many threads: nothing is decoded yet."""
    with tempfile.TemporaryDirectory() as build:
        os.environ |= {"ELFW_BUILD": build, "LOKY_MAX_CPU_COUNT": str(workers)}
        start = time.perf_counter()
        FaceFolder(folder).preload(SIDE)
        return time.perf_counter() - start


def time_training(batches: SplitBatches, cluster: LocalCluster) -> float:
    """Return the seconds of an epoch of two settings on a cluster."""
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        data = (batches.train, batches.validation)
        search_settings(mini_network, *data, 1, MEASURED, out=out, cluster=cluster.scheduler_address)
        return time.perf_counter() - start


def load_batches(folder: Path, build: Path) -> SplitBatches:
    """Return the batches of a folder's splits, its images mapped from the build folder."""
    os.environ["ELFW_BUILD"] = str(build)
    faces = FaceFolder(folder)
    tensors, split = faces.preload(SIDE), faces.split()
    mean, std = channel_statistics(tensors.images, split.train)
    return split_batches(tensors, split, mean=mean, std=std)


def measure_all(place: Path, clusters: Mapping[int, LocalCluster], more: int) -> dict[str, Seconds]:
    """Return the seconds of both tasks for each number of images and of workers."""
    found: dict[str, Seconds] = {task: {} for task in TASKS}
    for count, rounds in COUNTS.items():
        folder = place / str(count)
        write_faces(folder, count, (WIDTH, HEIGHT))
        # What was written a moment ago may still change: nothing would be kept of it.
        time.sleep(3)
        decoding = {n: lambda n=n, folder=folder: time_decoding(folder, n) for n in WORKERS}
        batches = load_batches(folder, place / "build")
        training = {n: lambda n=n, batches=batches: time_training(batches, clusters[n]) for n in WORKERS}
        if not found["train"]:
            for measure in training.values():
                measure()  # not counted: the workers import torch
        for task, measures in zip(TASKS, (decoding, training), strict=True):
            for workers, values in measure_in_turns(measures, rounds * more).items():
                found[task][count, workers] = values
    return found


def describe_slopes(task: str, seconds: Seconds) -> list[Figure]:
    """Return the slopes of a task with their intervals, from each fit."""
    figures = []
    for name, fewest in FITS.items():
        law = fit_power_law(seconds, fewest)
        for place, against in ((1, "images"), (2, "workers")):
            value, low, high = law.slope(place)
            interval = f"95 % interval {low:.2f} to {high:.2f}"
            what = f"{TASKS[task]}, {name} faces: slope against {against} ({interval})"
            figures.append(Figure(what, [value], headline=True))
    return figures


def extrapolate(found: Mapping[str, Seconds], cores: int) -> list[Figure]:
    """Return what CelebA would take on NODES nodes of that many cores, by the law of the largest numbers."""
    workers = NODES * cores
    # The busiest worker has this many runs; on average there are fewer.
    busiest = math.ceil(len(SETTINGS) / workers)
    pairs = EPOCHS * busiest * workers / len(MEASURED)
    grid = f"the grid's {len(SETTINGS)} settings, {EPOCHS} epochs"
    figures = []
    for task, words, times in (("decode", TASKS["decode"], 1), ("train", grid, pairs)):
        law = fit_power_law(found[task], max(FITS.values()))
        seconds, low, high = (times * value for value in law.predict(CELEBA, workers))
        where = f"CelebA's {CELEBA:,} faces on {NODES} nodes of {cores} cores"
        interval = f"(95 % interval {low / 3600:.3g} to {high / 3600:.3g})"
        what = f"EXTRAPOLATED, not measured: {where}, {words} {interval}"
        figures.append(Figure(what, [seconds / 3600], "h", headline=True))
    return figures


def describe_measured(task: str, seconds: Seconds) -> list[Figure]:
    """Return the measured seconds of a task, and the efficiency of the second worker."""
    figures = []
    for (count, workers), values in seconds.items():
        what = f"{count:,} faces, {workers} worker{'s' * (workers > 1)}: {TASKS[task]}"
        figures.append(Figure(what, values, "s", headline=count == max(COUNTS)))
    for count in COUNTS:
        halves = [value / 2 for value in seconds[count, 1]]
        what = f"{count:,} faces: {TASKS[task]}, efficiency of two workers"
        figures.append(Figure(what, ratios(halves, seconds[count, 2])))
    return figures


def describe_all(found: Mapping[str, Seconds], cores: int) -> list[Figure]:
    """Return all figures: what was measured, the slopes, and what is extrapolated."""
    measured = [figure for task in TASKS for figure in describe_measured(task, found[task])]
    slopes = [figure for task in TASKS for figure in describe_slopes(task, found[task])]
    return [*measured, *slopes, *extrapolate(found, cores)]


def start_cluster(workers: int) -> LocalCluster:
    """Return a cluster of this machine."""
    return LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1, help="times as many rounds (default 1)")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/scale.json")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place, start_cluster(1) as one, start_cluster(2) as two:
        found = measure_all(Path(place), dict(zip(WORKERS, (one, two), strict=True)), options.rounds)
    report("scale", describe_all(found, max(WORKERS)), store=options.store, packages=("distributed",))


if __name__ == "__main__":
    main()
