"""Measure an epoch of the mini network: our way against the report's, and against the processor's limit.

    python benchmarks/training.py [--data FOLDER]

Everything is measured in one run, in turns, so that whatever else the machine does slows all alike. The
report's way decodes, resizes and normalises an image each time it is asked for (DataLoader with the
better of 0 and 2 workers). The limit is what torch itself multiplies float32 matrices at, with as many
processes and threads. Work is counted by formula (see `count_operations`), so skipped work is no gain.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset
from torchvision import transforms

from elfw_helpers.data.batches import Batches, channel_statistics
from elfw_helpers.data.datasets import CustomDataset, FaceFolder
from elfw_helpers.models import mini_network
from elfw_helpers.training.loop import fit
from elfw_helpers.utils.paths import data_folder

ROUNDS, MATRIX = 5, 2048


def count_operations() -> int:
    """Return the floating-point operations that training takes for one image of 64 x 64.

    A multiplication and an addition count 2. A convolution takes 2 * pixels out * channels out *
    (channels in * 9) forward, as many again for its weights' gradient and, but for the first layer, for
    its input's; the linear layer likewise. Pooling, ReLU, loss and SGD are left out.
    """
    first = 2 * 64 * 64 * 16 * 3 * 9
    second = 2 * 32 * 32 * 32 * 16 * 9
    linear = 2 * 32 * 16 * 16 * 3
    return 2 * first + 3 * second + 3 * linear


def time_call(function: Callable[[], object]) -> float:
    """Return seconds."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def time_report_way(folder: Path, chosen: torch.Tensor, workers: int) -> float:
    """Return the seconds of one epoch by the textbook loop on images read anew, as in the report."""
    transform = transforms.Compose(
        [transforms.Resize((64, 64)), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.25] * 3)]
    )
    faces = Subset(CustomDataset(folder, transform=transform), chosen.tolist())
    model = mini_network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def train() -> None:
        for inputs, targets in DataLoader(faces, batch_size=32, shuffle=True, num_workers=workers):
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()

    return time_call(train)


def time_our_way(batches: Batches) -> float:
    """Return the seconds of one epoch by `fit`."""
    return time_call(lambda: fit(mini_network(), batches, None, 1))


def measure_matmul() -> float:
    """Return GFLOP/s of multiplying two square float32 matrices."""
    left, right, product = (torch.rand(MATRIX, MATRIX) for _ in range(3))
    seconds = time_call(lambda: torch.mm(left, right, out=product))
    return 2 * MATRIX**3 / seconds / 1e9


def measure_shares(batches: Batches, threads: int, barrier: object, results: object) -> None:
    """Put (images/s, GFLOP/s of matrices), medians over rounds, with `threads` threads.

    Processes that share a barrier do the same thing at the same time.
    """
    torch.set_num_threads(threads)
    time_our_way(batches)
    measure_matmul()
    rates, limits = [], []
    for _ in range(ROUNDS):
        barrier.wait()
        rates.append(batches.count / time_our_way(batches))
        barrier.wait()
        limits.append(measure_matmul())
    results.put((statistics.median(rates), statistics.median(limits)))


def measure_processes(batches: Batches, processes: int, threads: int) -> tuple[float, float]:
    """Return images/s and GFLOP/s of matrices, summed over processes that work side by side."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.SimpleQueue()
    started = [
        context.Process(target=measure_shares, args=(batches, threads, barrier, results))
        for _ in range(processes)
    ]
    for process in started:
        process.start()
    found = [results.get() for _ in started]
    for process in started:
        process.join()
    rates, limits = zip(*found, strict=True)
    return sum(rates), sum(limits)


def run_rounds(folder: Path, batches: Batches, chosen: torch.Tensor) -> dict[str, float]:
    """Return the seconds of an epoch by each way, medians over rounds in turns.

    The two ways have a process each: `fit` tells the C library to keep freed memory, which would help
    the report's way too.
    """
    context = multiprocessing.get_context("spawn")
    ways = {
        f"report's way, {workers} workers": (time_report_way, folder, chosen, workers) for workers in (0, 2)
    }
    ways["our way"] = (time_our_way, batches)
    pools = {name: ProcessPoolExecutor(1, context) for name in ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (function, *arguments) in ways.items():
            seconds[name].append(pools[name].submit(function, *arguments).result())
    for pool in pools.values():
        pool.shutdown()
    # The first round loads libraries and warms caches.
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=data_folder(), help="a folder of faces in ELFW's layout")
    folder = parser.parse_args().data
    faces = FaceFolder(folder)
    chosen = faces.split(seed=0).train
    tensors = faces.preload(size=64)
    mean, std = channel_statistics(tensors.images[chosen])
    batches = Batches(tensors.images[chosen], tensors.attributes[chosen], mean=mean, std=std, shuffle_seed=0)

    print(f"One epoch of {batches.count} images, {torch.get_num_threads()} threads")
    seconds = run_rounds(folder, batches, chosen)
    for name, value in seconds.items():
        print(f"  {name:<24} {value:7.3f} s  {batches.count / value:7.0f} images/s")
    ours = seconds.pop("our way")
    print(f"  our way is {min(seconds.values()) / ours:.1f} times as fast as the better of the report's")

    operations = count_operations()
    print(f"Share of float32 matrix multiplication; training takes {operations / 1e6:.1f} MFLOP an image")
    for processes, threads in ((1, 2), (2, 1)):
        rate, limit = measure_processes(batches, processes, threads)
        reached = rate * operations / 1e9
        print(
            f"  {processes} x {threads} threads  {rate:6.0f} images/s  {reached:5.0f} of {limit:5.0f} GFLOP/s"
            f"  {reached / limit:.0%}"
        )


if __name__ == "__main__":
    main()
