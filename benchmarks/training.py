"""Measure training with `fit` against the report's loop, Lightning and fastai, and the processor's limit.

    python benchmarks/training.py [--data FOLDER] [--store]

Every row trains the same network from the same weights, on the same images, in batches as large, for as many
epochs, with the same SGD, normalisation and threads, and without validation. Each round of a row is a process
of its own, in turns with the other rows', and has a seed of its own. *Reading* rows decode, resize and
normalise an image each time it is used, as the report does; rows *in memory* do it once, and their DataLoader
takes images from one float32 tensor. Measured in each round:

- images/s: all epochs but the first;
- share of the rate at which torch multiplies float32 matrices, right afterwards in the same process.
  Operations are those of the network, for all rows alike, so skipped work is no gain;
- time to first batch: from the start of the call, libraries imported, to the end of the first step;
- peak memory: of the process (without a DataLoader's workers), all that it imports included;
- accuracy on the test split, after the few epochs.

Lightning and fastai are no part of the course: `pip install -e ".[benchmarks]"`. Rows of one that is not
installed are left out.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.util
import itertools
import logging
import multiprocessing
import os
import resource
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import joblib
import torch
from measure import Figure, measure_in_turns, ratios, report
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from elfw_helpers.data.batches import Batches
from elfw_helpers.data.datasets import CustomDataset, FaceFolder
from elfw_helpers.models import mini_network, resnet18
from elfw_helpers.training.loop import fit
from elfw_helpers.utils.paths import data_folder

IMAGES, EPOCHS, BATCH, MATRIX = 384, 3, 32, 2048
SETTINGS = {"lr": 0.01, "momentum": 0.9}
MEAN, STD = [0.5] * 3, [0.25] * 3
# Of each network: how it is made, and the side of its images in pixels. ResNet-18 learns in so few steps from
# pre-trained weights alone.
NETWORKS = {"mini network": (mini_network, 64), "ResNet-18": (functools.partial(resnet18, "rendered"), 32)}


class Task(NamedTuple):
    """What all rows of a network train alike: indices of the folder's images, and how many threads."""

    network: str
    folder: Path
    chosen: list[int]
    test: list[int]
    threads: int

    @property
    def size(self) -> int:
        """The side of the images, in pixels."""
        return NETWORKS[self.network][1]

    def read(self, indices: list[int]) -> Dataset:
        """Return images, float32 [3, H, W], normalised, and class indices, read when they are asked for."""
        steps = [transforms.Resize((self.size,) * 2), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        return Subset(CustomDataset(self.folder, transform=transforms.Compose(steps)), indices)

    def make_dataset(self, in_memory: bool) -> Dataset:
        """Return what a DataLoader trains on: the images read one by one, or two tensors in memory."""
        faces = self.read(self.chosen)
        if not in_memory:
            return faces
        images, targets = zip(*faces, strict=True)
        return TensorDataset(torch.stack(images), torch.tensor(targets))


def train_plainly(model: nn.Module, task: Task, seed: int, workers: int, in_memory: bool) -> None:
    """Train with the report's loop."""
    loader = DataLoader(task.make_dataset(in_memory), BATCH, shuffle=True, num_workers=workers)
    optimizer = torch.optim.SGD(model.parameters(), **SETTINGS)
    for _ in range(EPOCHS):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()


def train_with_lightning(model: nn.Module, task: Task, seed: int, workers: int, in_memory: bool) -> None:
    """Train with Lightning's Trainer, without what only logs, shows or saves."""
    from lightning import LightningModule, Trainer

    class Classifier(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
            inputs, targets = batch
            return cross_entropy(self.model(inputs), targets)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), **SETTINGS)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    loader = DataLoader(
        task.make_dataset(in_memory), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    Trainer(accelerator="cpu", devices=1, max_epochs=EPOCHS, **quiet).fit(Classifier(), loader)


def train_with_fastai(model: nn.Module, task: Task, seed: int, workers: int, in_memory: bool) -> None:
    """Train with fastai's Learner and torch's own SGD, without what only logs, shows or validates."""
    from fastai.callback.core import Callback, CancelValidException
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    class WithoutValidation(Callback):
        def before_validate(self) -> None:
            raise CancelValidException

    dataset = task.make_dataset(in_memory)
    loaders = DataLoaders.from_dsets(
        dataset, dataset, bs=BATCH, shuffle=True, drop_last=False, num_workers=workers, device="cpu"
    )
    optimizer = functools.partial(OptimWrapper, opt=torch.optim.SGD, momentum=SETTINGS["momentum"])
    learner = Learner(loaders, model, cross_entropy, optimizer, SETTINGS["lr"], cbs=WithoutValidation())
    with learner.no_bar(), learner.no_logging():
        learner.fit(EPOCHS)


def train_with_fit(model: nn.Module, task: Task, seed: int, workers: int, in_memory: bool) -> None:
    """Train with the course's `fit`."""
    faces = FaceFolder(task.folder).preload(task.size)
    options = {"mean": MEAN, "std": STD, "batch_size": BATCH, "shuffle_seed": seed}
    batches = Batches(faces.images[task.chosen], faces.attributes[task.chosen], **options)
    fit(model, batches, None, EPOCHS, **SETTINGS)


class Row(NamedTuple):
    """A way to train: the function, the workers of its DataLoader, and the package it asks for."""

    train: Callable[..., None]
    workers: int = 0
    in_memory: bool = True
    package: str = "torch"


READING = {
    "report's loop, reading, 0 workers": Row(train_plainly, 0, False),
    "report's loop, reading, 2 workers": Row(train_plainly, 2, False),
    "Lightning, reading, 2 workers": Row(train_with_lightning, 2, False, "lightning"),
    "fastai, reading, 2 workers": Row(train_with_fastai, 2, False, "fastai.vision.all"),
}
IN_MEMORY = {
    "report's loop, in memory": Row(train_plainly),
    "Lightning, in memory": Row(train_with_lightning, package="lightning"),
    "fastai, in memory": Row(train_with_fastai, package="fastai.vision.all"),
    "fit": Row(train_with_fit),
}
# Finds in the build folder what `fit` left there in the same round.
AGAIN = {"fit, again": Row(train_with_fit)}
# What is measured, and in which unit.
QUANTITIES = {
    "images per second": "images/s",
    "share of matrices' rate": "",
    "time to first batch": "s",
    "peak memory": "MB",
    "accuracy": "",
}


def count_operations(network: str) -> int:
    """Return the floating-point operations that training takes per image: 35.5 million for the mini network.

    A multiplication and an addition count 2; convolutions and linear layers count, forward and for the
    gradients of weights and inputs (the images themselves need none). Pooling, ReLU, batch normalisation,
    loss and SGD do not.
    """
    make, size = NETWORKS[network]
    with FlopCounterMode(display=False) as counter:
        make()(torch.zeros(BATCH, 3, size, size)).sum().backward()
    return counter.get_total_flops() // BATCH


@contextmanager
def stamp_steps() -> Iterator[list[float]]:
    """Collect the moments (time.perf_counter, in seconds) at which the steps of any optimizer end."""
    stamps: list[float] = []
    hook = register_optimizer_step_post_hook(lambda *_: stamps.append(time.perf_counter()))
    try:
        yield stamps
    finally:
        hook.remove()


def measure_matrices() -> float:
    """Return the floating-point operations per second of multiplying two square float32 matrices."""
    left, right, product = (torch.rand(MATRIX, MATRIX) for _ in range(3))
    torch.mm(left, right, out=product)
    start = time.perf_counter()
    for _ in range(3):
        torch.mm(left, right, out=product)
    return 3 * 2 * MATRIX**3 / (time.perf_counter() - start)


def measure_round(row: Row, task: Task, seed: int, build: Path) -> list[float]:
    """Train once, in this fresh process; return a value per quantity."""
    os.environ["ELFW_BUILD"] = str(build)
    # A spawned process would spawn a DataLoader's workers too; a user's script starts them as Python does.
    multiprocessing.set_start_method(None, force=True)
    warnings.filterwarnings("ignore")
    importlib.import_module(row.package)
    torch.set_num_threads(task.threads)
    torch.manual_seed(seed)
    model = NETWORKS[task.network][0]()
    with stamp_steps() as stamps:
        start = time.perf_counter()
        row.train(model, task, seed, row.workers, row.in_memory)
    # Linux counts kilobytes.
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    after_first = stamps[-1] - stamps[len(stamps) // EPOCHS - 1]
    rate = (EPOCHS - 1) * len(task.chosen) / after_first
    share = rate * count_operations(task.network) / measure_matrices()
    return [rate, share, stamps[0] - start, megabytes, test_accuracy(model, task)]


@torch.inference_mode()
def test_accuracy(model: nn.Module, task: Task) -> float:
    """Return the share of the test images that a model names rightly."""
    images, targets = next(iter(DataLoader(task.read(task.test), len(task.test))))
    return (model.eval()(images).argmax(1) == targets).double().mean().item()


def measure_rows(rows: Mapping[str, Row], task: Task, processes: int = 1) -> dict[str, list[list[float]]]:
    """Return the rounds of each row, measured in turns: a value per quantity.

    Of several processes that train at the same time: their rates' sum, and the mean of all else.
    """
    with tempfile.TemporaryDirectory() as folder:

        def measure(name: str, seeds: Iterator[int]) -> list[float]:
            seed = next(seeds)
            build = Path(folder) / f"{name.removesuffix(', again')} {seed}"
            with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
                jobs = [pool.submit(measure_round, rows[name], task, seed, build) for _ in range(processes)]
                rates, *others = zip(*(job.result() for job in jobs), strict=True)
            return [sum(rates), *map(statistics.mean, others)]

        return measure_in_turns({name: functools.partial(measure, name, itertools.count()) for name in rows})


def list_figures(network: str, rounds: Mapping[str, list[list[float]]]) -> Iterator[Figure]:
    """Yield the figures of a network, quantity by quantity, and what `fit` is against others."""
    # The README shows rate and share, the first two.
    for place, (quantity, unit) in enumerate(QUANTITIES.items()):
        for name, found in rounds.items():
            values, shown = [values[place] for values in found], name == "fit" and place < 2
            yield Figure(f"{network}, {quantity}: {name}", values, unit, headline=shown)
    rates = {name: [values[0] for values in found] for name, found in rounds.items()}
    for kind, others in (
        ("report's loops that read", [name for name in READING if name.startswith("report")]),
        ("frameworks that read", [name for name in READING if not name.startswith("report")]),
        ("frameworks in memory", [name for name in IN_MEMORY if IN_MEMORY[name].package != "torch"]),
    ):
        if known := [name for name in others if name in rates]:
            best = max(known, key=lambda name: statistics.median(rates[name]))
            label = f"{network}, fit against the better of the {kind}"
            yield Figure(label, ratios(rates["fit"], rates[best]), "times", best, headline=True)


def installed(rows: Mapping[str, Row]) -> dict[str, Row]:
    """Return the rows whose package is installed."""
    return {
        name: row for name, row in rows.items() if importlib.util.find_spec(row.package.partition(".")[0])
    }


def copy_part(data: Path, folder: Path) -> Task:
    """Return the task of the mini network, in a folder that holds its images alone.

    `fit`'s way decodes all images of a folder, the other rows decode those that they train on.
    """
    faces = FaceFolder(data)
    split = faces.split(seed=0)
    if len(split.train) < IMAGES:
        raise SystemExit(f"{data} has {len(split.train)} faces to train on: {IMAGES} are needed")
    chosen = [faces.names[index] for index in split.train[:IMAGES]]
    test = [faces.names[index] for index in split.test]
    labels = dict(zip(faces.names, faces.attributes.tolist(), strict=True))
    (folder / "faces").mkdir()
    for name in chosen + test:
        image = faces.layout.images[name]
        shutil.copy(image, folder / "faces")
    lines = "".join(f"{name} {labels[name] + 1}\n" for name in chosen + test)
    (folder / "labels.txt").write_text(lines, encoding="utf-8")
    place = {name: index for index, name in enumerate(FaceFolder(folder).names)}
    indices = [[place[name] for name in names] for names in (chosen, test)]
    return Task("mini network", folder, *indices, joblib.cpu_count())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=data_folder(), help="a folder of faces in ELFW's layout")
    parser.add_argument("--store", action="store_true", help="write results/training.json")
    arguments = parser.parse_args()
    if left_out := sorted((READING | IN_MEMORY).keys() - installed(READING | IN_MEMORY)):
        print(f'Not installed: {"; ".join(left_out)}. To have them: pip install -e ".[benchmarks]"')
    with tempfile.TemporaryDirectory() as folder:
        task = copy_part(arguments.data, Path(folder))
        rounds = measure_rows(installed(READING | IN_MEMORY | AGAIN), task)
        halves = measure_rows({"fit": IN_MEMORY["fit"]}, task._replace(threads=1), task.threads)
        rounds |= {f"{name}, {task.threads} processes of 1 thread": found for name, found in halves.items()}
        figures = [*list_figures(task.network, rounds)]
        task = task._replace(network="ResNet-18")
        figures += list_figures(task.network, measure_rows(installed(IN_MEMORY), task))
    print(f"{EPOCHS} epochs of {IMAGES} images of {arguments.data.name}, {task.threads} threads")
    packages = [name for name in ("lightning", "fastai") if importlib.util.find_spec(name)]
    report("training", figures, store=arguments.store, packages=packages)


if __name__ == "__main__":
    main()
