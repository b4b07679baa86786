"""Measure the apps under load, whether an ONNX export predicts the same as PyTorch, and how fast it is.

Load: the apps run in a process of their own, on loopback; each visitor, a thread, sends a face, waits for the
answer, and sends the next at once, to the two apps in turn. Times are of the three requests together, as the
visitor sees them. Parity: the test split of the embedded faces through each shipped network. Latency: one
image through each, PyTorch and onnxruntime in turn. With two threads the machine has to be idle otherwise.

    python benchmarks/app.py [--visitors 50] [--seconds 60] [--threads 2]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import torch

from elfw_helpers.data.batches import Batches
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.deployment.apps.client import ask_app
from elfw_helpers.deployment.onnx import OnnxNetwork, encode_onnx
from elfw_helpers.models.hub import load_model
from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.paths import SHIPPED, embedded_faces

ROUNDS, CALLS, WARM_UP = 6, 50, 5


def measure_load(visitors: int, seconds: float) -> None:
    """Print how long visitors waited, and the errors that they got."""
    faces = sorted((embedded_faces() / "faces").glob("*.jpg"))[:visitors]
    times, errors = [], []
    with start_app() as (url, process), ThreadPoolExecutor(visitors) as pool:
        before, stop = resident_megabytes(process), time.monotonic() + seconds
        list(pool.map(lambda face: send_photo(url, face, stop, times, errors), faces))
        after = resident_megabytes(process)
    p50, p95, p99 = np.percentile(times, (50, 95, 99))
    rate = len(times) / seconds
    print(f"{visitors} visitors for {seconds:.0f} s: {len(times)} answers, {rate:.1f} per second")
    print(f"waiting time p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s; {len(errors)} errors")
    print(f"memory of the app: {before:.0f} MB before, {after:.0f} MB after")
    print("\n".join(sorted(set(errors))))


@contextmanager
def start_app() -> Iterator[tuple[str, int]]:
    """Run `elfw app` for a while; yield its address and its process id."""
    command = [sys.executable, "-u", "-m", "elfw_course.cli", "app", "--port", "7999"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
    try:
        url = next(line.split()[1] for line in process.stdout if line.startswith("Open "))
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def send_photo(url: str, face: Path, stop: float, times: list[float], errors: list[str]) -> None:
    """Send a photo again and again until a moment; append the seconds of each answer, or the error."""
    with httpx.Client(base_url=url, timeout=60) as client:
        turn = 0
        while time.monotonic() < stop:
            start = time.perf_counter()
            try:
                ask_app(client, ("attributes", "segmentation")[turn % 2], face)
                times.append(time.perf_counter() - start)
            except (ElfwError, httpx.HTTPError) as error:
                errors.append(f"{type(error).__name__}: {error}")
            turn += 1


def resident_megabytes(process: int) -> float:
    """Return how much memory a process uses (Linux)."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@torch.inference_mode()
def measure_parity() -> None:
    """Print how much logits, and how many predictions, differ between PyTorch and onnxruntime."""
    folder = FaceFolder(embedded_faces(), labels_file="no-labels.txt")
    chosen = folder.split().test
    for name in SHIPPED:
        model = load_model(name)
        card, tensors = model.card, folder.preload(model.card.size)
        exported = OnnxNetwork(model.network, encode_onnx(model))
        images = tensors.images[chosen]
        batches = Batches(images, torch.zeros(len(images)), mean=card.mean, std=card.std)
        pairs = [(model.network(inputs), exported(inputs)) for inputs, _ in batches]
        largest = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
        other = sum(int((ours.argmax(1) != theirs.argmax(1)).sum()) for ours, theirs in pairs)
        total = sum(ours.argmax(1).numel() for ours, _ in pairs)
        print(f"{name}: logits differ by at most {largest:.1e}, {other} of {total} answers do")


@torch.inference_mode()
def measure_latency(threads: int) -> None:
    """Print how long one image takes in each network, with PyTorch and with onnxruntime."""
    torch.set_num_threads(threads)
    print(f"one image, {threads} threads, {ROUNDS * CALLS} times: milliseconds")
    print("| network | PyTorch p50 | p95 | onnxruntime p50 | p95 |\n|---|---|---|---|---|")
    for name in SHIPPED:
        model = load_model(name)
        exported = OnnxNetwork(model.network, encode_onnx(model), threads)
        image = torch.randn(1, 3, model.card.size, model.card.size)
        times = time_in_turns([partial(model.network, image), partial(exported, image)])
        cells = [f"{value:.2f}" for row in times for value in np.percentile(row, (50, 95))]
        print(f"| {name}, {model.card.size} px | {' | '.join(cells)} |")


def time_in_turns(functions: list[Callable[[], object]]) -> np.ndarray:
    """Return the milliseconds of each call, [functions, calls]; in turns, so that all meet the same noise."""
    times = [[] for _ in functions]
    for _ in range(ROUNDS):
        for function, taken in zip(functions, times, strict=True):
            # Many calls per turn, because the other engine's threads spin for a while after its last call.
            for call in range(-WARM_UP, CALLS):
                start = time.perf_counter()
                function()
                if call >= 0:
                    taken.append(1000 * (time.perf_counter() - start))
    return np.array(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    measure_parity()
    measure_latency(arguments.threads)
    measure_load(arguments.visitors, arguments.seconds)


if __name__ == "__main__":
    main()
