"""What the benchmarks on real photos share: networks, recipes, training, and asking.

Attributes are those of the masks, by the course's rule, of photos and of rendered faces (whose labels.txt
has wrong ones on purpose). Stored results carry a checksum of this file, among others: a change here
makes them anew.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from elfw_helpers.augmentation import shake_faces
from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches, channel_statistics
from elfw_helpers.data.datasets import FaceFolder, FaceTensors
from elfw_helpers.data.labels import BEARD, PIXEL_CLASSES, SKIN, attribute_from_mask
from elfw_helpers.data.splits import cut_by_person
from elfw_helpers.evaluation.classification import confusion_matrix
from elfw_helpers.models import UNet, mini_network, resnet18
from elfw_helpers.training.loop import fit, predict_logits
from elfw_helpers.training.search import make_seeded
from elfw_helpers.training.segmentation import cosine_schedule
from elfw_helpers.utils.device import best_device
from elfw_helpers.utils.fingerprints import fingerprint

MINI, RESNET, UNET = "mini network", "ResNet-18", "U-Net"
UNET_WIDTH = 8

Statistics = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, in batches of 32 by SGD with momentum 0.9.

    Attributes:
        lr: learning rate.
        epochs: passes over the training set, if it says so;
        samples: otherwise, about how many samples are seen in all.
        weight_decay: of SGD.
        cosine: let the learning rate fall to nearly 0 along half a cosine.
        shake: train on faces changed by `shake_faces`.
    """

    lr: float
    epochs: int | None = None
    samples: int | None = None
    weight_decay: float = 0.0
    cosine: bool = False
    shake: bool = False


# On photos: the report's recipes for its two classifiers.
PHOTO_RECIPES = {
    MINI: Recipe(lr=1e-3, epochs=50),
    RESNET: Recipe(lr=1e-3, epochs=10),
    UNET: Recipe(lr=0.05, epochs=12, cosine=True, shake=True),
}
# ResNet-18 comes pre-trained on rendered faces: here mostly its new last layer has to learn.
RENDERED_RECIPES = {
    MINI: Recipe(lr=3e-3, samples=100_000, weight_decay=1e-4, cosine=True, shake=True),
    RESNET: Recipe(lr=1e-3, samples=10_000, shake=True),
    UNET: Recipe(lr=0.1, samples=60_000, weight_decay=1e-4, cosine=True, shake=True),
}


@functools.lru_cache(maxsize=4)
def load_faces(folder: Path, size: int) -> FaceTensors:
    """Return a folder's faces at a size, attributes by the masks; decoded once a process."""
    return open_folder(folder).preload(size)


def open_folder(folder: Path) -> FaceFolder:
    """Return a folder of faces whose labels.txt, if any, is not looked at: the masks know better."""
    return FaceFolder(folder, labels_file="no-labels.txt")


def cut_folds(folder: FaceFolder, chosen: Tensor, count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Return folds by person of some of a folder's faces: for each, indices to train on and to test on."""
    persons = [folder.persons[index] for index in chosen.tolist()]
    cuts = cut_by_person(folder.root, folder.attributes[chosen], persons, count, seed)
    cuts = [chosen[cut] for cut in cuts]
    return [(torch.cat(cuts[:place] + cuts[place + 1 :]), cut) for place, cut in enumerate(cuts)]


def take_faces(faces: FaceTensors, chosen: Tensor) -> FaceTensors:
    """Return the faces at some indices."""
    names = [faces.names[index] for index in chosen.tolist()]
    return FaceTensors(faces.images[chosen], faces.masks[chosen], faces.attributes[chosen], names)


def make_network(kind: str, weights: str | None = None) -> nn.Module:
    """Return a new network; `weights` are ResNet-18's."""
    if kind == RESNET:
        return resnet18(weights)
    return mini_network() if kind == MINI else UNet(len(PIXEL_CLASSES), UNET_WIDTH)


def seeded_network(kind: str, seed: int, weights: str | None = None) -> nn.Module:
    """Return a new network whose random weights depend on the seed alone."""
    return make_seeded(functools.partial(make_network, kind, weights), seed)


def measure_statistics(kind: str, faces: FaceTensors) -> Statistics:
    """Return the channels' mean and deviation to normalise by: the faces' own, for ResNet-18 ImageNet's."""
    if kind == RESNET:
        return list(IMAGENET_MEAN), list(IMAGENET_STD)
    mean, std = channel_statistics(faces.images)
    return mean.tolist(), std.tolist()


def make_batches(kind: str, faces: FaceTensors, statistics: Statistics, **options) -> Batches:
    """Return batches of 32 on the best device: of masks for the U-Net, of attributes for the others."""
    targets = faces.masks.long() if kind == UNET else faces.attributes
    mean, std = statistics
    return Batches(faces.images, targets, mean=mean, std=std, device=best_device(), **options)


def train_network(
    model: nn.Module, kind: str, faces: FaceTensors, statistics: Statistics, recipe: Recipe, seed: int
) -> None:
    """Train a network in place; the last epoch's weights stay, nothing is chosen.

    A recipe of fewer samples than there are faces takes as many of them, drawn from the seed.
    """
    if recipe.samples is not None and recipe.samples < len(faces):
        drawn = torch.randperm(len(faces), generator=torch.Generator().manual_seed(seed))
        faces = take_faces(faces, drawn[: recipe.samples])
    epochs = recipe.epochs or round(recipe.samples / len(faces))
    batches = make_batches(
        kind, faces, statistics, shuffle_seed=seed, augment=shake_faces if recipe.shake else None
    )
    rates = cosine_schedule(recipe.lr, epochs) if recipe.cosine else recipe.lr
    fit(model, batches, None, epochs, lr=rates, weight_decay=recipe.weight_decay, seed=seed)


def classify_photos(
    model: nn.Module,
    kind: str,
    photos: FaceTensors,
    statistics: Statistics,
    shift: Sequence[float] = (0.0,),
) -> dict:
    """Return what a network says of photos, ready for JSON; no pixel of theirs is in it.

    The photos' masks know no beards: a beard is labelled skin there, so one that the U-Net finds counts
    as skin.

    Args:
        shift: to take from the logit of each class, or from all.

    Returns:
        attributes: N class ids, the U-Net's by the rule from its masks.
        matrix: of the U-Net only, the pixels' confusion matrix, 7 x 7, rows truth.
    """
    logits = predict_logits(model, make_batches(kind, photos, statistics))
    answers = (logits - torch.tensor(shift).view(1, -1, *[1] * (logits.ndim - 2))).argmax(1)
    if kind != UNET:
        return {"attributes": answers.tolist()}
    answers[answers == BEARD] = SKIN
    return {
        "attributes": [attribute_from_mask(mask) for mask in answers.numpy()],
        "matrix": confusion_matrix(photos.masks, answers, len(PIXEL_CLASSES)).tolist(),
    }


def hash_files(files: Iterable[Path]) -> str:
    """Return a checksum of files' names and contents."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def hash_folder(folder: Path) -> str:
    """Return a checksum of a folder's faces and masks."""
    layout = open_folder(folder).layout
    return hash_files([*layout.images.values(), *layout.masks.values()])


def hash_code() -> str:
    """Return a checksum of the code that decides what a run gives."""
    return fingerprint(seeded_network, train_network, classify_photos) + hash_files([Path(__file__)])
