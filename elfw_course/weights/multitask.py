"""The network that `pretraining` trains: a ResNet-18 with four heads, with their losses and their scores.

The heads predict a face's attribute, which pixel classes it shows, where the head points, and a coarse mask;
the renderer knows the right answers exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, interpolate, mse_loss
from torchvision.models import resnet18
from torchvision.transforms.functional import normalize

from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD
from elfw_helpers.data.labels import ATTRIBUTES, PIXEL_CLASSES
from elfw_helpers.evaluation.classification import confusion_matrix, score
from elfw_helpers.evaluation.segmentation import iou_by_class
from elfw_helpers.utils.device import exact_arithmetic, memory_advice

DECODER_CHANNELS = 64
ANGLES = ("yaw", "pitch", "roll")
# About a standard deviation of each angle, radians, so that all three weigh the same in the loss.
ANGLE_SCALES = (0.3, 0.12, 0.07)
# A squared error is steeper than the other losses; at 0.5 it alone made training diverge.
LOSS_WEIGHTS = {"attributes": 1.0, "shown": 1.0, "angles": 0.1, "pixels": 1.0}
SCORED_AT_ONCE = 64


class Targets(NamedTuple):
    """What the network is to predict for N faces."""

    attributes: Tensor  # int64 [N], class indices, the true ones (labels.txt has wrong ones on purpose)
    shown: Tensor  # float32 [N, 7], 1 for each pixel class that the mask shows
    angles: Tensor  # float32 [N, 3], yaw, pitch and roll in radians
    masks: Tensor  # uint8 [N, size, size], class ids


class Predictions(NamedTuple):
    """What the network predicts for N inputs of side S."""

    attributes: Tensor  # logits [N, 3]
    shown: Tensor  # logits [N, 7]
    angles: Tensor  # yaw, pitch, roll [N, 3], each in units of its scale
    pixels: Tensor  # logits [N, 7, S / 4, S / 4]


class Faces(NamedTuple):
    """Images, uint8 [N, size, size, 3], and the targets of their tasks."""

    images: Tensor
    targets: Targets

    def take(self, chosen: Tensor) -> Faces:
        """Return the faces at some indices."""
        return Faces(self.images[chosen], Targets(*(target[chosen] for target in self.targets)))

    def to(self, device: str) -> Faces:
        """Return the faces on a device."""
        return Faces(self.images.to(device), Targets(*(target.to(device) for target in self.targets)))


class TaskScores(NamedTuple):
    """How well the tasks are solved on one split, at one input size."""

    size: int  # side of the inputs, pixels
    faces: int  # how many were scored
    accuracy: float  # of the attribute
    macro_f1: float
    mean_iou: float  # of the coarse mask, a quarter of the input's side
    angle_errors: tuple[float, float, float]  # mean absolute errors of yaw, pitch and roll, degrees


class MultiTaskNetwork(nn.Module):
    """ResNet-18 with a head for each of the four tasks; the mask comes from a feature pyramid.

    Source: Lin et al. (2016), https://arxiv.org/abs/1612.03144
    """

    def __init__(self):
        super().__init__()
        self.backbone = resnet18(weights=None)
        features = self.backbone.fc.in_features
        self.backbone.fc = nn.Identity()
        self.attributes = nn.Linear(features, len(ATTRIBUTES))
        self.shown = nn.Linear(features, len(PIXEL_CLASSES))
        self.angles = nn.Linear(features, len(ANGLES))
        self.lateral = nn.ModuleList(
            nn.Conv2d(features >> step, DECODER_CHANNELS, kernel_size=1) for step in (3, 2, 1, 0)
        )
        self.smooth = nn.Conv2d(DECODER_CHANNELS, DECODER_CHANNELS, kernel_size=3, padding=1)
        self.pixels = nn.Conv2d(DECODER_CHANNELS, len(PIXEL_CLASSES), kernel_size=1)

    def forward(self, inputs: Tensor) -> Predictions:
        """Return the predictions for normalised images, float32 [N, 3, S, S]."""
        net = self.backbone
        features, levels = net.maxpool(net.relu(net.bn1(net.conv1(inputs)))), []
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            features = layer(features)
            levels.append(features)
        pooled, masks = net.avgpool(features).flatten(1), self.decode(levels)
        return Predictions(self.attributes(pooled), self.shown(pooled), self.angles(pooled), masks)

    def decode(self, levels: list[Tensor]) -> Tensor:
        """Return pixel logits from the four levels, finest first: each is added to the coarser ones."""
        merged = [lateral(level) for lateral, level in zip(self.lateral, levels, strict=True)]
        total = merged.pop()
        while merged:
            finer = merged.pop()
            total = finer + interpolate(total, size=finer.shape[-2:], mode="nearest")
        return self.pixels(self.smooth(total).relu())


def resize_images(images: Tensor, size: int) -> Tensor:
    """Return uint8 images [N, H, W, 3] as float32 [N, 3, size, size] in 0..1, resized with antialiasing."""
    values = images.permute(0, 3, 1, 2).float().div_(255)
    return interpolate(values, size=(size, size), mode="bilinear", antialias=True)


def sum_losses(predictions: Predictions, targets: Targets) -> Tensor:
    """Return the weighted sum of the four tasks' mean losses."""
    masks = shrink_masks(targets.masks, predictions.pixels.shape[-1])
    losses = {
        "attributes": cross_entropy(predictions.attributes, targets.attributes),
        "shown": binary_cross_entropy_with_logits(predictions.shown, targets.shown),
        "angles": mse_loss(predictions.angles, targets.angles / targets.angles.new_tensor(ANGLE_SCALES)),
        "pixels": cross_entropy(predictions.pixels, masks),
    }
    return sum(LOSS_WEIGHTS[task] * loss for task, loss in losses.items())


def shrink_masks(masks: Tensor, size: int) -> Tensor:
    """Return masks, uint8 [N, H, W], by nearest neighbour as int64 [N, size, size]."""
    # "nearest-exact" looks at the middle of each pixel; "nearest" looks at its corner.
    return interpolate(masks[:, None], size=(size, size), mode="nearest-exact")[:, 0].long()


@torch.inference_mode()
def score_tasks(model: MultiTaskNetwork, faces: Faces, size: int) -> TaskScores:
    """Score the network on faces at one input size."""
    model.eval()
    parts = torch.arange(len(faces.images), device=faces.images.device).split(SCORED_AT_ONCE)
    with exact_arithmetic(), memory_advice(SCORED_AT_ONCE):
        inputs = (resize_images(faces.images[part], size) for part in parts)
        predictions = [model(normalize(images, IMAGENET_MEAN, IMAGENET_STD)) for images in inputs]
    attributes, _, angles, pixels = (torch.cat(batch).cpu() for batch in zip(*predictions, strict=True))
    targets = faces.to("cpu").targets
    errors = (angles * torch.tensor(ANGLE_SCALES) - targets.angles).abs().mean(0)
    masks = shrink_masks(targets.masks, pixels.shape[-1])
    iou = float(np.nanmean(iou_by_class(confusion_matrix(masks, pixels.argmax(1), len(PIXEL_CLASSES)))))
    scores = score(targets.attributes, attributes.argmax(1))
    angle_errors = tuple(errors.rad2deg().tolist())
    return TaskScores(size, scores.total, scores.accuracy, scores.macro_f1, iou, angle_errors)


def describe_scores(scores: list[TaskScores]) -> str:
    """Return a table with one row per input size."""
    lines = ["input  faces  accuracy  macro F1  mean IoU  yaw, pitch, roll off by (degrees)"]
    for row in scores:
        shares = "  ".join(f"{share:8.3f}" for share in (row.accuracy, row.macro_f1, row.mean_iou))
        angles = ", ".join(f"{error:.1f}" for error in row.angle_errors)
        lines.append(f"{row.size:5}  {row.faces:5}  {shares}  {angles}")
    return "\n".join(lines)
