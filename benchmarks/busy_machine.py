"""Measure training on a quiet machine, beside two busy programs, and two trainings at once.

    python benchmarks/busy_machine.py [--store]

With torch's own setting, whose threads wait for each other by spinning; with threads that sleep at once; and
with the course's, whose threads spin shortly and then sleep (set when elfw_helpers is imported before torch).
Steps are forward, backward and SGD on one batch of 32 in memory, with a thread per core.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache, partial

import joblib

# Before elfw_helpers: a process whose environment names no setting then has torch's own.
import torch
from measure import Figure, measure_in_turns, ratios, report
from torch.nn.functional import cross_entropy

from elfw_helpers.models.classification import mini_network, resnet18
from elfw_helpers.models.segmentation import UNet

SECONDS, BATCH = 1.0, 32
LOAD = 2
# How threads wait: the environment of a process, by the name of its setting.
COURSE = "threads soon sleep"
SETTINGS = {
    "threads spin": {},
    "threads sleep": {"OMP_WAIT_POLICY": "PASSIVE"},
    COURSE: {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "600"},
}
# Network, side of its images in pixels, shape of a target.
NETWORKS = {
    "mini network, 64 px": (mini_network, 64, ()),
    "ResNet-18, 32 px": (resnet18, 32, ()),
    "U-Net, 64 px": (UNet, 64, (64, 64)),
}


@cache
def make_step(name: str) -> Callable[[], None]:
    """Return one step of training of a network; the first calls, which allocate memory, are done."""
    torch.set_num_threads(joblib.cpu_count())
    make, side, shape = NETWORKS[name]
    network = make()
    images = torch.rand(BATCH, 3, side, side)
    targets = torch.randint(3, (BATCH, *shape))
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(network(images), targets).backward()
        optimizer.step()

    for _ in range(3):
        step()
    return step


def count_steps(name: str) -> float:
    """Return steps per second of a network in this process."""
    step, count, start = make_step(name), 0, time.perf_counter()
    while (seconds := time.perf_counter() - start) < SECONDS:
        step()
        count += 1
    return count / seconds


def start_process(setting: str) -> ProcessPoolExecutor:
    """Start a process with a setting; it stays, and keeps its networks."""
    for name in SETTINGS[COURSE]:
        os.environ.pop(name, None)
    os.environ.update(SETTINGS[setting])
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    for name in NETWORKS:
        pool.submit(count_steps, name).result()
    return pool


@contextmanager
def busy_programs() -> Iterator[None]:
    """Have two programs at full load beside what is measured."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(LOAD)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def measure_alone(pools: list[ProcessPoolExecutor], name: str) -> float:
    """Return steps per second of one training."""
    return pools[0].submit(count_steps, name).result()


def measure_loaded(pools: list[ProcessPoolExecutor], name: str) -> float:
    """Return steps per second of one training beside the busy programs."""
    with busy_programs():
        return measure_alone(pools, name)


def measure_two(pools: list[ProcessPoolExecutor], name: str) -> float:
    """Return steps per second of the slower of two trainings at once."""
    return min(future.result() for future in [pool.submit(count_steps, name) for pool in pools])


def describe(name: str, rates: dict[tuple[str, str, str], list[float]]) -> Iterator[Figure]:
    """Yield a network's figures in both settings."""
    for setting in SETTINGS:
        alone, loaded, two = (rates[setting, name, way] for way in ("alone", "loaded", "two"))
        label = f"{name}, {setting}"
        yield Figure(f"{label}: alone", alone, "steps/s")
        yield Figure(f"{label}: beside {LOAD} busy programs", loaded, "steps/s")
        yield Figure(f"{label}: each of two at once", two, "steps/s", "the slower")
        slower, each = ratios(alone, loaded), ratios(two, alone)
        shown = setting == COURSE
        yield Figure(f"{label}: time of a step when busy, per its quiet time", slower, headline=shown)
        yield Figure(f"{label}: speed of each of two, per that of one alone", each)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/busy_machine.json")
    store = parser.parse_args().store
    ways = {"alone": measure_alone, "loaded": measure_loaded, "two": measure_two}
    pools = {setting: [start_process(setting) for _ in range(2)] for setting in SETTINGS}
    measures = {
        (setting, name, way): partial(measure, pools[setting], name)
        for name in NETWORKS
        for way, measure in ways.items()
        for setting in SETTINGS
    }
    rates = measure_in_turns(measures)
    for processes in pools.values():
        for pool in processes:
            pool.shutdown()
    figures = [figure for name in NETWORKS for figure in describe(name, rates)]
    report("busy_machine", figures, store=store)


if __name__ == "__main__":
    main()
