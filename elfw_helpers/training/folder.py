"""`elfw train`: a network learns from a folder of faces, and a folder keeps the run.

run.json                 what decides the run: settings, faces, first weights, code
checkpoint.safetensors   all that the next epoch goes on from, and the losses so far
model.safetensors        the trained network with its card, at the end; SHA256SUMS beside it
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import nn

from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD
from elfw_helpers.data.datasets import FaceFolder, FaceTensors
from elfw_helpers.data.labels import PIXEL_CLASSES
from elfw_helpers.data.splits import Split
from elfw_helpers.evaluation.segmentation import median_frequency_weights
from elfw_helpers.training.checkpoints import damage_advice
from elfw_helpers.training.distributed import BatchShares, fit_shares
from elfw_helpers.training.loop import History
from elfw_helpers.training.processes import DECODE, Processes, join_processes
from elfw_helpers.training.segmentation import QUICK_RECIPE, SegmentationRecipe
from elfw_helpers.utils.errors import DataError, TrainingError
from elfw_helpers.utils.files import RUN, hold_run_folder, require_writable, write_atomically
from elfw_helpers.utils.fingerprints import fingerprint
from elfw_helpers.utils.paths import build_folder

MODEL = "model.safetensors"
SEED = 0


@dataclass(frozen=True)
class Architecture:
    """The options of a network of the hub, what its inputs' sides are multiples of, and its learning rate."""

    options: dict[str, Any]
    multiple: int
    lr: float


ARCHITECTURES = {
    # Its encoder knows ImageNet already, and learns at a gentler rate.
    "efficient_unet": Architecture({"weights": "imagenet"}, 32, 0.05),
    "unet": Architecture({}, 16, QUICK_RECIPE.lr),
}


@dataclass(frozen=True)
class Trained:
    """What a training leaves: the file of the network, and the losses of its epochs."""

    file: Path
    history: History

    def describe(self) -> str:
        """Return in words where the network is and how good it was in validation."""
        best, history = self.history.best_epoch, self.history
        loss, accuracy = history.validation_loss[best], history.validation_accuracy[best]
        return (
            f"{self.file}: the network after epoch {best + 1} of {len(history)}, the best in validation, "
            f"with a loss of {loss:.3f} and {accuracy:.1%} of the pixels right"
        )


def train_folder(
    root: Path,
    out: Path,
    architecture: str = "efficient_unet",
    epochs: int = QUICK_RECIPE.epochs,
    batch_size: int = QUICK_RECIPE.batch_size,
    size: int = QUICK_RECIPE.size,
    resume: bool = False,
) -> Trained | None:
    """Train a network of segmentation on a folder's training split, by QUICK_RECIPE, and store it.

    torchrun may have started any number of processes that call this alike. The network that is stored is that
    of the epoch with the lowest validation loss.

    Args:
        root: faces with masks.
        out: a new folder, or with `resume` that of a run, which goes on after its last finished epoch, in as
            many processes as before or not.
        architecture: one of ARCHITECTURES.
        batch_size: images per step, of all processes together.
        size: side of images and masks, pixels.

    Returns:
        None in all processes but the first.

    Raises:
        DataError, TrainingError: faces, settings or `out` cannot be used, the run in it is another one, a
            process has ended; or as `fit`.
    """
    chosen = ARCHITECTURES[architecture]
    recipe = replace(QUICK_RECIPE, size=size, batch_size=batch_size, epochs=epochs, lr=chosen.lr)
    with join_processes() as processes, ExitStack() as stack:
        check_settings(recipe, chosen.multiple, processes.count)
        if processes.is_first:
            stack.enter_context(hold_run_folder(out, resume))
        faces, split = read_faces(root, size)
        network = build_network(architecture)
        settings = {"model": architecture, "epochs": epochs, "batch size": batch_size, "size": size}
        facts = settings | describe_run(network, faces, split)
        processes.require_same("run", facts, DECODE)
        if processes.is_first:
            keep_run(out / RUN, facts)
        history = train_network(network, faces, split, recipe, processes, out)
        if not processes.is_first:
            return None
        trained_on = f"{len(split.train)} faces of {root.resolve().name}"
        return Trained(store_network(network, architecture, size, trained_on, out / MODEL), history)


def check_settings(recipe: SegmentationRecipe, multiple: int, processes: int) -> None:
    """Raise TrainingError for settings that no training can have, or not with so many processes."""
    from elfw_helpers.models.hub import LARGEST_SIZE

    if recipe.epochs < 1:
        raise TrainingError(f"{recipe.epochs} epochs are none. Give 1 or more")
    # Batch normalisation needs two.
    if recipe.batch_size < max(2, processes):
        found = f"a batch of {recipe.batch_size} is too small for {processes} process{'es' * (processes > 1)}"
        raise TrainingError(f"{found}. Take batches of {max(2, processes)} or more: each works on its share")
    if recipe.size % multiple or not multiple <= recipe.size <= LARGEST_SIZE:
        sides = f"a multiple of {multiple} from {multiple} to {LARGEST_SIZE}"
        raise TrainingError(f"this network cannot take images of {recipe.size} pixels a side. Give {sides}")


def read_faces(root: Path, size: int) -> tuple[FaceTensors, Split]:
    """Return a folder's faces, decoded by one process per node and mapped by the others, and its split."""
    folder = FaceFolder(root)
    if not folder.layout.masks:
        raise DataError(folder.root, "has no masks in labels/", "Networks learn from them: add them first")
    build = build_folder()
    require_writable(build)
    with FileLock(build / ".decoding.lock"):
        return folder.preload(size), folder.split()


def build_network(architecture: str) -> nn.Module:
    """Return a network whose first weights are always the same."""
    # Here, so that the package of training does not load torchvision.
    from elfw_helpers.models.hub import NETWORKS

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return NETWORKS[architecture](**ARCHITECTURES[architecture].options)


def describe_run(network: nn.Module, faces: FaceTensors, split: Split) -> dict[str, str]:
    """Return what decides a run beside its settings: versions, and fingerprints by name."""
    return {
        "torch": torch.__version__,
        "faces": fingerprint(faces.images, faces.masks, split.train, split.validation),
        "first weights": fingerprint(network),
        # What the processes do with one another's numbers is code that no name in `train_network` leads to.
        "code": fingerprint(train_network, Processes),
    }


def keep_run(file: Path, facts: dict[str, Any]) -> None:
    """Write down what decides a run, or raise DataError where its folder says otherwise."""
    if not file.exists():
        write_atomically(file, f"{json.dumps(facts, indent=1)}\n".encode())
        return
    with damage_advice(file.parent):
        known = dict(json.loads(file.read_text(encoding="utf-8")))
    differing = [
        f"{name} ({known.get(name)}, now {fact})" for name, fact in facts.items() if known.get(name) != fact
    ]
    if differing:
        fix = "Give what the run was started with, or train into a new folder"
        raise DataError(file, f"the run in this folder has other {', '.join(differing)}", fix)


def train_network(
    network: nn.Module,
    faces: FaceTensors,
    split: Split,
    recipe: SegmentationRecipe,
    processes: Processes,
    out: Path,
) -> History:
    """Train a network by a recipe, in all processes, with every epoch saved in `out`."""
    images, masks, batch_size = faces.images, faces.masks, recipe.batch_size
    train = BatchShares(images, masks, split.train, processes, batch_size, training=True, seed=SEED)
    validation = BatchShares(images, masks, split.validation, processes, batch_size)
    weights = median_frequency_weights(masks, chosen=split.train)
    return fit_shares(network, train, validation, recipe, weights, out)


def store_network(network: nn.Module, architecture: str, size: int, trained_on: str, file: Path) -> Path:
    """Write a network with its card, and return the file."""
    from elfw_helpers.models.hub import ModelCard, store_model

    card = ModelCard(
        architecture=architecture,
        classes=PIXEL_CLASSES,
        size=size,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        trained_on=trained_on,
    )
    # Where it is there already, a run has been resumed that was at its end.
    store_model(network, card, file, replace=True)
    return file
