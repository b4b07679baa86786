"""What the benchmarks on real photos share: networks, recipes, training and prediction.

Attributes follow from the masks by the course's rule, for photos and for rendered faces (whose labels.txt has
wrong ones on purpose). Stored results depend on this file, among others: a change here makes them anew.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from elfw_helpers.augmentation import augment_batch
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
        epochs: passes over the training set;
        samples: if epochs is None, about how many samples to train on in all.
        cosine: let the learning rate fall to nearly 0 along half a cosine.
        augment: augment the faces with `augment_batch`.
    """

    lr: float
    epochs: int | None = None
    samples: int | None = None
    weight_decay: float = 0.0
    cosine: bool = False
    augment: bool = False


# On photos: the report's recipes for its two classifiers.
PHOTO_RECIPES = {
    MINI: Recipe(lr=1e-3, epochs=50),
    RESNET: Recipe(lr=1e-3, epochs=10),
    UNET: Recipe(lr=0.05, epochs=12, cosine=True, augment=True),
}
# ResNet-18 starts from rendered weights: here mostly its new last layer has to learn.
RENDERED_RECIPES = {
    MINI: Recipe(lr=3e-3, samples=100_000, weight_decay=1e-4, cosine=True, augment=True),
    RESNET: Recipe(lr=1e-3, samples=10_000, augment=True),
    UNET: Recipe(lr=0.1, samples=60_000, weight_decay=1e-4, cosine=True, augment=True),
}


@functools.lru_cache(maxsize=4)
def load_faces(folder: Path, size: int) -> FaceTensors:
    """Return a folder's faces at a size, with attributes from the masks; decoded once per process."""
    return open_folder(folder).preload(size)


def open_folder(folder: Path) -> FaceFolder:
    """Return a folder of faces without its labels.txt, so that attributes follow from the masks."""
    return FaceFolder(folder, labels_file="no-labels.txt")


def cut_folds(folder: FaceFolder, chosen: Tensor, count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Return the indices to train on and to test on of each fold, by person, of some of a folder's faces."""
    persons = [folder.persons[index] for index in chosen.tolist()]
    cuts = cut_by_person(folder.root, folder.attributes[chosen], persons, count, seed)
    cuts = [chosen[cut] for cut in cuts]
    return [(torch.cat(cuts[:place] + cuts[place + 1 :]), cut) for place, cut in enumerate(cuts)]


def take_faces(faces: FaceTensors, chosen: Tensor) -> FaceTensors:
    """Return the faces at some indices."""
    names = [faces.names[index] for index in chosen.tolist()]
    return FaceTensors(faces.images[chosen], faces.masks[chosen], faces.attributes[chosen], names)


def make_network(kind: str, weights: str | None = None) -> nn.Module:
    """Return a new network; the weights are for ResNet-18 only."""
    if kind == RESNET:
        return resnet18(weights)
    return mini_network() if kind == MINI else UNet(len(PIXEL_CLASSES), UNET_WIDTH)


def seeded_network(kind: str, seed: int, weights: str | None = None) -> nn.Module:
    """Return a new network whose random weights depend only on the seed."""
    return make_seeded(functools.partial(make_network, kind, weights), seed)


def measure_statistics(kind: str, faces: FaceTensors) -> Statistics:
    """Return each channel's mean and standard deviation: the faces' own, or ImageNet's for ResNet-18."""
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
    """Train a network in place and keep the last epoch's weights.

    If the recipe has fewer samples than there are faces, it trains on a random part of the faces.
    """
    if recipe.samples is not None and recipe.samples < len(faces):
        drawn = torch.randperm(len(faces), generator=torch.Generator().manual_seed(seed))
        faces = take_faces(faces, drawn[: recipe.samples])
    epochs = recipe.epochs or round(recipe.samples / len(faces))
    augment = augment_batch if recipe.augment else None
    batches = make_batches(kind, faces, statistics, shuffle_seed=seed, augment=augment)
    rates = cosine_schedule(recipe.lr, epochs) if recipe.cosine else recipe.lr
    fit(model, batches, None, epochs, lr=rates, weight_decay=recipe.weight_decay, seed=seed)


def classify_photos(
    model: nn.Module,
    kind: str,
    photos: FaceTensors,
    statistics: Statistics,
    shift: Sequence[float] = (0.0,),
) -> dict:
    """Return a network's predictions for photos, ready for JSON; they contain no pixel of a photo.

    The photos' masks label beards as skin, so a predicted beard counts as skin.

    Args:
        shift: subtracted from the logits, one value per class or one for all.

    Returns:
        attributes: N class ids, from the U-Net by the rule on its masks.
        matrix: of the U-Net only, the confusion matrix of the pixels, 7 x 7, rows truth.
    """
    logits = predict_logits(model, make_batches(kind, photos, statistics))
    predicted = (logits - torch.tensor(shift).view(1, -1, *[1] * (logits.ndim - 2))).argmax(1)
    if kind != UNET:
        return {"attributes": predicted.tolist()}
    predicted[predicted == BEARD] = SKIN
    return {
        "attributes": [attribute_from_mask(mask) for mask in predicted.numpy()],
        "matrix": confusion_matrix(photos.masks, predicted, len(PIXEL_CLASSES)).tolist(),
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
    """Return a checksum of the code that a run's result depends on."""
    return fingerprint(seeded_network, train_network, classify_photos) + hash_files([Path(__file__)])
