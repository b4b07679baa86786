"""Measure the search for settings: all at once against one by one, and successive halving against the grid.

    python benchmarks/search.py together [--store]
    python benchmarks/search.py halving [--store]

Both train the mini network with the report's 18 settings on the embedded faces. `together` times an epoch
(ten on a GPU) of both strategies as they are used, in turns: one by one, the start of its processes counts.
`halving` needs no quiet machine: for five seeds, each with its own initial weights and order of images, it
compares the lowest validation loss that either finds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator

import pandas as pd
from measure import Figure, measure_in_turns, ratios, report

from elfw_helpers.data.batches import SplitBatches, channel_statistics, split_batches
from elfw_helpers.data.datasets import FaceFolder, FaceTensors
from elfw_helpers.data.splits import Split
from elfw_helpers.models import mini_network
from elfw_helpers.training.search import REPORT_GRID, expand_grid, grid_search, search_settings
from elfw_helpers.utils.device import best_device
from elfw_helpers.utils.paths import build_folder, data_folder

SEEDS, EPOCHS = 5, 6
# Epochs after which runs are compared, and how many go on: as in notebook 04.
RUNGS = ((1, 4), (2, 1), (EPOCHS, 1))


def load_faces() -> tuple[FaceTensors, Split]:
    """Return the embedded faces at 64 px and their split."""
    faces = FaceFolder(data_folder())
    return faces.preload(size=64), faces.split(seed=0)


def make_batches(tensors: FaceTensors, split: Split, seed: int, device: str) -> SplitBatches:
    """Return the batches of a seed, as notebook 04 makes them."""
    mean, std = channel_statistics(tensors.images[split.train])
    return split_batches(tensors, split, mean=mean, std=std, seed=seed, device=device)


def time_search(batches: SplitBatches, strategy: str, epochs: int) -> float:
    """Return the seconds that a grid search takes."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        grid_search(mini_network, batches.train, batches.validation, epochs, out=folder, strategy=strategy)
        return time.perf_counter() - start


def measure_together() -> Iterator[Figure]:
    """Yield the seconds of both strategies, and how many times as fast all at once is."""
    device = best_device()
    epochs, batches = 10 if device == "cuda" else 1, make_batches(*load_faces(), seed=0, device=device)
    strategies = ("together", "one by one")
    measures = {name: lambda name=name: time_search(batches, name, epochs) for name in strategies}
    seconds = measure_in_turns(measures)
    for name, values in seconds.items():
        yield Figure(f"grid of 18 settings, {epochs} epochs: {name}", values, "s", device)
    speed = ratios(seconds["one by one"], seconds["together"])
    yield Figure("together, times as fast as one by one", speed, note=device)


def halve(batches: SplitBatches, seed: int, out: str) -> tuple[pd.DataFrame, int]:
    """Return the table of the last rung of successive halving, and the epochs trained in all of them."""
    alive, before, spent = expand_grid(REPORT_GRID), 0, 0
    for epochs, keep in RUNGS:
        table = search_settings(
            mini_network, batches.train, batches.validation, epochs, alive, seed=seed, out=out
        )
        spent += (epochs - before) * len(alive)
        finished = table.dropna(subset="best_validation_loss")
        ranked = finished.sort_values("best_validation_loss", kind="stable")
        alive, before = ranked[list(REPORT_GRID)][:keep].to_dict("records"), epochs
    return table, spent


def compare_halving() -> Iterator[Figure]:
    """Yield what the grid and successive halving find with each seed, and the epochs of both."""
    (tensors, split), out = load_faces(), build_folder() / "search_benchmark"
    whole, halved = [], []
    for seed in range(SEEDS):
        batches = make_batches(tensors, split, seed, best_device())
        table = grid_search(mini_network, batches.train, batches.validation, EPOCHS, seed=seed, out=out)
        whole.append(table["best_validation_loss"].min())
        # The grid's histories are stored, so halving reads off what its runs would have been.
        last, spent = halve(batches, seed, out)
        halved.append(last["best_validation_loss"].min())
    yield Figure("lowest validation loss, grid", whole, "nats", f"{SEEDS} seeds")
    yield Figure("lowest validation loss, successive halving", halved, "nats", f"{SEEDS} seeds")
    worse = [found - lowest for found, lowest in zip(halved, whole, strict=True)]
    yield Figure("halving's loss minus the grid's", worse, "nats", f"{SEEDS} seeds", headline=True)
    yield Figure("standard deviation of the grid's over seeds", [statistics.stdev(whole)], "nats")
    yield Figure("epochs, grid", [EPOCHS * len(table)])
    yield Figure(
        "epochs, successive halving",
        [spent],
        note=", ".join(f"{keep} go on after {epochs}" for epochs, keep in RUNGS[:-1]),
    )


PARTS = {"together": measure_together, "halving": compare_halving}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/search_PART.json")
    chosen = parser.parse_args()
    report(f"search_{chosen.part}", PARTS[chosen.part](), store=chosen.store)


if __name__ == "__main__":
    main()
