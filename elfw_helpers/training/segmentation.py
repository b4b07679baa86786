"""Recipes for training segmentation: the ELFW paper's, and a quick one for two CPU cores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from elfw_helpers.augmentation.transforms import augment_batch, draw_affine_maps, warp_batch
from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches, SplitBatches
from elfw_helpers.data.datasets import FaceTensors
from elfw_helpers.data.splits import Split
from elfw_helpers.evaluation.segmentation import median_frequency_weights
from elfw_helpers.training.loop import History, fit
from elfw_helpers.training.losses import Loss
from elfw_helpers.utils.errors import TrainingError

PAPER_STEPS, PAPER_FACTOR = (35, 90, 180), 0.2


@dataclass(frozen=True)
class SegmentationRecipe:
    """All settings of a training, without network and faces; `dataclasses.replace` makes a variant.

    Attributes:
        size: side of images and masks, pixels.
        batch_size, lr, momentum, weight_decay, epochs, loss: as in `fit`; `lr` is one number here.
        schedule: from `lr` and the number of epochs to the learning rate of each epoch.
        augment: as in `Batches`, for the training images.
        balance_classes: weight the classes by median frequency.
        validate_on_test: let the test images choose the best epoch, and train on all others.
    """

    size: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    epochs: int
    schedule: Callable[[float, int], list[float]]
    augment: Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
    balance_classes: bool = False
    loss: str = "cross_entropy"
    validate_on_test: bool = False


def step_schedule(lr: float, epochs: int) -> list[float]:
    """Return the paper's learning rate of each epoch: a fifth after 35, after 90 and after 180 epochs."""
    return [lr * PAPER_FACTOR ** sum(epoch >= step for step in PAPER_STEPS) for epoch in range(epochs)]


def cosine_schedule(lr: float, epochs: int) -> list[float]:
    """Return the learning rate of each epoch: half a cosine, from nearly `lr` to nearly 0."""
    return [lr * (0.5 + 0.5 * math.cos(math.pi * (epoch + 0.5) / epochs)) for epoch in range(epochs)]


def mirror_shift_scale(inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror, shift and scale each face as `augment_batch` does, without its rotation and its colours."""
    maps = draw_affine_maps(len(inputs), generator)
    scale = maps[:, 1, :2].norm(dim=1)
    maps[:, :, :2] = torch.diag_embed(torch.stack([maps[:, 0, 0].sign() * scale, scale], 1))
    return warp_batch(inputs, targets, maps)


# Source: Redondo and Gibert (2020), https://arxiv.org/abs/2006.13980. They validate on the faces of the
# release's `elfw_set_NN.txt`, the test split of `FaceFolder(held_out=...)`, and score on the same, which is a
# little too good. They stop 30 epochs after the lowest loss; we train on and keep that epoch's weights.
PAPER_RECIPE = SegmentationRecipe(
    size=256,
    batch_size=16,
    lr=1e-3,
    momentum=0.99,
    weight_decay=5e-4,
    epochs=300,
    schedule=step_schedule,
    augment=mirror_shift_scale,
    balance_classes=True,
    validate_on_test=True,
)

# For the U-Net from random weights, in ten short epochs: without the high learning rate and the class weights
# it does not learn beards and mouth-masks.
QUICK_RECIPE = SegmentationRecipe(
    size=64,
    batch_size=32,
    lr=0.2,
    momentum=0.9,
    weight_decay=5e-4,
    epochs=10,
    schedule=cosine_schedule,
    augment=augment_batch,
    balance_classes=True,
)


def segmentation_batches(
    faces: FaceTensors, split: Split, recipe: SegmentationRecipe, *, seed: int = 0, device: str = "cpu"
) -> SplitBatches:
    """Return the batches of each split of preloaded faces, for segmentation by a recipe.

    They are normalised by ImageNet's mean and standard deviation, as torchvision's weights expect it; for the
    U-Net it makes no difference.

    Args:
        faces: as `FaceFolder.preload(recipe.size)` returns them.
        seed: of the order and the augmentation of the training images.

    Raises:
        TrainingError: the faces have no masks, or another size than the recipe's.
    """
    check_faces(faces, recipe)
    train, validation = split.train, split.validation
    if recipe.validate_on_test:
        train, validation = torch.cat([train, validation]).sort().values, split.test
    options = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "batch_size": recipe.batch_size, "device": device}
    training = {"shuffle_seed": seed, "augment": recipe.augment}
    parts = ((train, training), (validation, {}), (split.test, {}))
    return SplitBatches(
        *(Batches(faces.images, faces.masks, chosen=part, **options, **more) for part, more in parts)
    )


def check_faces(faces: FaceTensors, recipe: SegmentationRecipe) -> None:
    """Raise TrainingError unless faces have masks, and the recipe's size."""
    if faces.masks is None:
        raise TrainingError("the faces have no masks to learn from. Put them into the folder's labels/")
    size = faces.images.shape[1]
    if size != recipe.size:
        raise TrainingError(
            f"the faces have {size} x {size} pixels and the recipe {recipe.size} x {recipe.size}. Read them "
            "with folder.preload(recipe.size), or change the recipe's size with dataclasses.replace"
        )


def train_segmentation(
    model: nn.Module,
    batches: SplitBatches,
    recipe: SegmentationRecipe,
    *,
    seed: int = 0,
    checkpoint: str | Path | None = None,
) -> History:
    """Train a network by a recipe, in place: `fit` with the recipe's settings.

    Args:
        model: logits [B, 7, H, W] from inputs [B, 3, H, W].
        batches: as `segmentation_batches` returns them for the same recipe.

    Raises:
        TrainingError: as `fit`.

    Warns:
        MissingClassWarning: the classes are to be balanced, and one has no training pixel.
    """
    weights = median_frequency_weights(batches.train.targets.cpu()) if recipe.balance_classes else None
    return fit(
        model,
        batches.train,
        batches.validation,
        recipe.epochs,
        lr=recipe.schedule(recipe.lr, recipe.epochs),
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        loss=Loss(recipe.loss, weights),
        seed=seed,
        checkpoint=checkpoint,
    )
