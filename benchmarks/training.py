"""Measure an epoch of the mini network with `fit`: against the report's loop and the processor's limit.

    python benchmarks/training.py [--data FOLDER]

Everything is measured in one run, in turns, so that other work on the machine slows all alike. The report's
loop decodes, resizes and normalises an image each time it is used (DataLoader with the better of 0 and 2
workers). The limit is the speed at which torch multiplies float32 matrices, with as many processes and
threads. Operations are counted by formula (see `count_operations`), so skipped work is no gain.
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
    """Return the floating-point operations that training takes per image of 64 x 64.

    A multiplication and an addition count 2. A convolution takes 2 * pixels out * channels out *
    (channels in * 9) forward, as many for its weights' gradient and, except in the first layer, as many for
    its input's; the linear layer likewise. Pooling, ReLU, loss and SGD are left out.
    """
    first = 2 * 64 * 64 * 16 * 3 * 9
    second = 2 * 32 * 32 * 32 * 16 * 9
    linear = 2 * 32 * 16 * 16 * 3
    return 2 * first + 3 * second + 3 * linear


def time_call(function: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def time_report_loop(folder: Path, chosen: torch.Tensor, workers: int) -> float:
    """Return the seconds of one epoch of the report's loop, which reads every image anew."""
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


def time_fit(batches: Batches) -> float:
    """Return the seconds of one epoch of `fit`."""
    return time_call(lambda: fit(mini_network(), batches, None, 1))


def measure_matmul() -> float:
    """Return the GFLOP/s of multiplying two square float32 matrices."""
    left, right, product = (torch.rand(MATRIX, MATRIX) for _ in range(3))
    seconds = time_call(lambda: torch.mm(left, right, out=product))
    return 2 * MATRIX**3 / seconds / 1e9


def measure_shares(batches: Batches, threads: int, barrier: object, results: object) -> None:
    """Put images/s and the GFLOP/s of matrices, medians over rounds, into the results.

    Processes that share a barrier do the same thing at the same time.
    """
    torch.set_num_threads(threads)
    time_fit(batches)
    measure_matmul()
    rates, limits = [], []
    for _ in range(ROUNDS):
        barrier.wait()
        rates.append(batches.count / time_fit(batches))
        barrier.wait()
        limits.append(measure_matmul())
    results.put((statistics.median(rates), statistics.median(limits)))


def measure_processes(batches: Batches, processes: int, threads: int) -> tuple[float, float]:
    """Return images/s and the GFLOP/s of matrices, summed over processes that work in parallel."""
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
    """Return the seconds of an epoch of each loop, medians over rounds in turns.

    Each loop has its own process: `fit` tells the C library to keep freed memory, which would help the
    report's loop too.
    """
    context = multiprocessing.get_context("spawn")
    loops = {
        "report's loop, 0 workers": (time_report_loop, folder, chosen, 0),
        "report's loop, 2 workers": (time_report_loop, folder, chosen, 2),
        "fit": (time_fit, batches),
    }
    pools = {name: ProcessPoolExecutor(1, context) for name in loops}
    seconds = {name: [] for name in loops}
    for _ in range(ROUNDS):
        for name, (function, *arguments) in loops.items():
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
    ours = seconds.pop("fit")
    print(f"  fit is {min(seconds.values()) / ours:.1f} times as fast as the better of the report's")

    operations = count_operations()
    print(f"Share of float32 matrix multiplication; training takes {operations / 1e6:.1f} MFLOP per image")
    for processes, threads in ((1, 2), (2, 1)):
        rate, limit = measure_processes(batches, processes, threads)
        reached = rate * operations / 1e9
        print(
            f"  {processes} x {threads} threads  {rate:6.0f} images/s  {reached:5.0f} of {limit:5.0f} GFLOP/s"
            f"  {reached / limit:.0%}"
        )


if __name__ == "__main__":
    main()
