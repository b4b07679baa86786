"""Measure on a GPU all that the README says of one: speed, mixed precision, the grid at once, waits, answers.

    python benchmarks/gpu.py [--store]
    python benchmarks/gpu.py --quick

What is compared is measured in turns in one run; the first round starts the GPU and is not counted. `fit`
reads its losses back, so a time ends when the GPU is done. `--quick` takes tiny sizes and also runs on a CPU:
it shows that the script works, and its figures mean nothing.

- Speed: images/s of `fit` over whole epochs, without validation, in float32 (exact: no TF32) and bfloat16;
  the memory that this takes on the GPU.
- Accuracy: of the best epoch, on the validation images, both precisions from the same three seeds.
- Layout: a step on a fixed batch whose images lie in memory by channel (NCHW) or by pixel (NHWC).
- Grid: the report's 18 settings x 50 epochs trained together; fewer epochs, together and one by one.
- Waits: how many more times the CPU waits for the GPU in an epoch of ten times as many steps.
- Answers: the shipped networks' logits on the test images, beside those of the CPU in float32.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from measure import Figure, measure_in_turns, ratios, report, store_figures
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from elfw_helpers.augmentation.transforms import augment_batch
from elfw_helpers.data.batches import Batches, channel_statistics
from elfw_helpers.data.datasets import FaceFolder, FaceTensors
from elfw_helpers.data.splits import Split
from elfw_helpers.models.classification import mini_network, resnet18
from elfw_helpers.models.hub import load_model
from elfw_helpers.models.segmentation import UNet
from elfw_helpers.training.loop import fit, predict_logits
from elfw_helpers.training.search import REPORT_GRID, grid_search
from elfw_helpers.training.segmentation import QUICK_RECIPE
from elfw_helpers.utils.device import best_device, compute_logits, exact_arithmetic
from elfw_helpers.utils.paths import SHIPPED, data_folder

DEVICE = best_device()
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
TOGETHER, ONE_BY_ONE = "together", "one by one"
WARM_UP, WAITING_IMAGES = 5, 64


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    images: int  # of each split at most
    rounds: int
    speed_epochs: int
    seeds: int
    grid: dict[str, tuple[float, ...]]
    grid_epochs: int
    ratio_epochs: int
    most_epochs: int  # of the runs for accuracy
    steps: int  # timed, of a layout


FULL = Sizes(10_000, 5, 3, 3, REPORT_GRID, 50, 2, 50, 30)
QUICK = Sizes(64, 1, 1, 1, {"lr": (1e-4, 1e-3)}, 1, 1, 1, 2)


@dataclass(frozen=True)
class Task:
    """A network, and how it is trained for its accuracy."""

    name: str
    make: Callable[[], nn.Module]
    size: int
    epochs: int
    settings: dict[str, Any] = field(default_factory=dict)
    of_masks: bool = False
    augment: Callable | None = None


MINI = Task("mini network, 64 px", mini_network, 64, 50, {"momentum": 0.95, "weight_decay": 1e-4})
TASKS = (
    MINI,
    Task("ResNet-18, 32 px", resnet18, 32, 10),
    Task("U-Net, 64 px", UNet, 64, 10, {"lr": QUICK_RECIPE.lr / 4}, of_masks=True, augment=augment_batch),
)


@cache
def load_faces(size: int) -> tuple[FaceTensors, Split]:
    """Return the embedded faces at a size, and their split."""
    faces = FaceFolder(data_folder())
    return faces.preload(size), faces.split(seed=0)


def make_batches(
    task: Task, part: str, most: int, precision: torch.dtype = torch.float32, seed: int = 0
) -> Batches:
    """Return the first images of a part of the split, shuffled and augmented if it is for training."""
    tensors, split = load_faces(task.size)
    mean, std = channel_statistics(tensors.images[split.train])
    chosen = getattr(split, part)[:most]
    targets = tensors.masks if task.of_masks else tensors.attributes
    training = {"shuffle_seed": seed, "augment": task.augment} if part == "train" else {}
    options = {"mean": mean, "std": std, "device": DEVICE, "precision": precision}
    return Batches(tensors.images[chosen], targets[chosen], **options, **training)


def make_network(task: Task, seed: int = 0) -> nn.Module:
    """Return a task's network, its initial weights drawn from a seed."""
    torch.manual_seed(seed)
    return task.make()


def measure_speed(sizes: Sizes) -> Iterator[Figure]:
    """Yield images/s of each network in both precisions, their ratio, and the GPU's memory."""

    def train(task: Task, batches: Batches) -> float:
        network = make_network(task)
        start = time.perf_counter()
        fit(network, batches, None, sizes.speed_epochs)
        return sizes.speed_epochs * batches.count / (time.perf_counter() - start)

    measures = {
        (task.name, name): partial(train, task, make_batches(task, "train", sizes.images, precision))
        for task in TASKS
        for name, precision in PRECISIONS.items()
    }
    measure_in_turns(measures, 1)
    rates = measure_in_turns(measures, sizes.rounds)
    for (task, name), values in rates.items():
        yield Figure(f"{task}: fit, {name}", values, "images/s", headline=name == "float32")
    for task in TASKS:
        gains = ratios(rates[task.name, "bfloat16"], rates[task.name, "float32"])
        yield Figure(f"{task.name}: speed in bfloat16, ratio to float32", gains)
    for (task, name), measure in measures.items() if DEVICE == "cuda" else ():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        measure()
        peak = (torch.cuda.max_memory_allocated() - before) / 2**20
        yield Figure(f"{task}: memory at most, {name}", [peak], "MiB", "one run, without the images")


def measure_accuracy(sizes: Sizes) -> Iterator[Figure]:
    """Yield each network's validation accuracy in both precisions, and the difference seed by seed."""
    for task in TASKS:
        found: dict[str, list[float]] = {name: [] for name in PRECISIONS}
        epochs = min(task.epochs, sizes.most_epochs)
        for seed in range(sizes.seeds):
            for name, precision in PRECISIONS.items():
                train = make_batches(task, "train", sizes.images, precision, seed)
                validation = make_batches(task, "validation", sizes.images, precision)
                network = make_network(task, seed)
                history = fit(network, train, validation, epochs, **task.settings, seed=seed)
                found[name].append(history.validation_accuracy[history.best_epoch])
        note = f"{epochs} epochs, {sizes.seeds} seeds"
        for name, values in found.items():
            yield Figure(f"{task.name}: validation accuracy, {name}", values, "", note)
        changes = [after - before for before, after in zip(*found.values(), strict=True)]
        yield Figure(f"{task.name}: accuracy in bfloat16 − float32", changes, "", note)


def measure_layouts(sizes: Sizes) -> Iterator[Figure]:
    """Yield the milliseconds of a training step by how its images lie in memory, in both precisions."""

    def take_steps(task: Task, precision: torch.dtype, layout: torch.memory_format) -> float:
        network = make_network(task).to(DEVICE)
        inputs, targets = next(iter(make_batches(task, "test", sizes.images)))
        inputs = inputs.contiguous(memory_format=layout)
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)
        with exact_arithmetic():
            for step in range(WARM_UP + sizes.steps):
                if step == WARM_UP:
                    wait_for_gpu()
                    start = time.perf_counter()
                optimizer.zero_grad()
                cross_entropy(compute_logits(network, inputs, precision), targets).backward()
                optimizer.step()
            wait_for_gpu()
        return (time.perf_counter() - start) / sizes.steps * 1000

    measures = {
        f"{task.name}: step, {name}, {layout}": partial(take_steps, task, precision, LAYOUTS[layout])
        for task in TASKS
        for name, precision in PRECISIONS.items()
        for layout in LAYOUTS
    }
    for name, values in measure_in_turns(measures, sizes.rounds).items():
        yield Figure(name, values, "ms")


def measure_grid(sizes: Sizes) -> Iterator[Figure]:
    """Yield the seconds of the whole grid together, and the ratio to one by one over fewer epochs."""
    parts = [make_batches(MINI, part, sizes.images) for part in ("train", "validation")]

    def search(strategy: str, epochs: int) -> float:
        with tempfile.TemporaryDirectory() as out:
            start = time.perf_counter()
            grid_search(mini_network, *parts, epochs, out=out, grid=sizes.grid, strategy=strategy)
            return time.perf_counter() - start

    search(TOGETHER, 1)
    note = f"{sizes.grid_epochs} epochs, {parts[0].count} images"
    seconds = [search(TOGETHER, sizes.grid_epochs) for _ in range(sizes.rounds)]
    yield Figure("the report's grid of 18 settings, trained together", seconds, "s", note, headline=True)
    strategies = {
        strategy: partial(search, strategy, sizes.ratio_epochs) for strategy in (TOGETHER, ONE_BY_ONE)
    }
    seconds = measure_in_turns(strategies, sizes.rounds)
    note = f"{sizes.ratio_epochs} epochs"
    for strategy, values in seconds.items():
        yield Figure(f"the grid, {strategy}", values, "s", note)
    gains = ratios(seconds[ONE_BY_ONE], seconds[TOGETHER])
    yield Figure("the grid together: times as fast as one by one", gains, "", note, headline=True)


def measure_waits(sizes: Sizes) -> Iterator[Figure]:
    """Yield how many more times the CPU waits for the GPU in an epoch of ten times as many steps."""
    if DEVICE != "cuda":
        return

    def count_waits(task: Task, images: int) -> int:
        train, validation = (make_batches(task, "train", images) for _ in range(2))
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                fit(make_network(task), train, validation, 1)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("called a synchronizing" in str(one.message) for one in caught)

    for task in TASKS:
        few, many = (count_waits(task, images) for images in (WAITING_IMAGES, 10 * WAITING_IMAGES))
        what = f"{task.name}: waits within an epoch"
        yield Figure(what, [many - few], "", f"{few} at its ends")


def measure_answers(sizes: Sizes) -> Iterator[Figure]:
    """Yield how far the shipped networks are from the same on the CPU in float32: logits and answers."""
    for name in SHIPPED:
        card = load_model(name).card
        tensors, split = load_faces(card.size)
        images = tensors.images[split.test[: sizes.images]]
        options = {"mean": card.mean, "std": card.std}
        none = torch.zeros(len(images))
        expected = predict_logits(load_model(name).network, Batches(images, none, **options))
        for precision, dtype in PRECISIONS.items():
            batches = Batches(images, none, device=DEVICE, precision=dtype, **options)
            logits = predict_logits(load_model(name).network, batches)
            yield from compare_logits(f"{name}, {precision}", logits, expected)


def compare_logits(name: str, logits: Tensor, expected: Tensor) -> Iterator[Figure]:
    """Yield the largest difference of logits, and the share of answers (of pixels, for masks) that differ."""
    yield Figure(f"{name}: logits differ from the CPU's by at most", [(logits - expected).abs().max().item()])
    differing = (logits.argmax(1) != expected.argmax(1)).float().mean().item()
    yield Figure(f"{name}: share of answers that differ from the CPU's", [differing])


def wait_for_gpu() -> None:
    """Wait until the GPU has done all that it was given."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


SECTIONS = (measure_speed, measure_accuracy, measure_layouts, measure_grid, measure_waits, measure_answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/gpu.json")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, on a CPU too; stores nothing")
    options = parser.parse_args()
    if options.quick and options.store:
        parser.error("--quick measures nothing worth storing")
    if DEVICE != "cuda" and not options.quick:
        raise SystemExit("no GPU: torch finds none that it can use. `--quick` tries this script on the CPU.")
    figures = []
    for section in SECTIONS:
        start = time.perf_counter()
        figures += section(QUICK if options.quick else FULL)
        print(f"{section.__name__}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        if options.store:  # A lent GPU may be gone before the last section.
            store_figures("gpu", figures)
    report("gpu", figures, store=False)
    if options.quick:
        print("Tiny sizes: these figures show that the script works, and nothing else.")


if __name__ == "__main__":
    main()
