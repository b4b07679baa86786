"""Networks that give every pixel a class: a compact U-Net, and torchvision's, as the ELFW paper uses them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d
from torchvision.models import WeightsEnum, segmentation

from elfw_helpers.models.weights import load_torchvision
from elfw_helpers.utils.errors import WeightsError

# Classes of torchvision's weights: the 20 of Pascal VOC, and background.
COCO_CLASSES = 21


class UNet(nn.Module):
    """A compact U-Net: down to a sixteenth of the size and up again, each step up seeing its step down.

    Args:
        classes: number of outputs a pixel.
        width: channels at full size; each of the four steps down doubles them. 8 gives 0.4 million
            parameters.

    Source: Ronneberger et al. (2015), https://arxiv.org/abs/1505.04597; here with padded convolutions,
    batch normalisation, and one convolution instead of two on each step up.
    """

    def __init__(self, classes: int = 7, width: int = 8):
        super().__init__()
        widths = [width << step for step in range(5)]
        self.down = nn.ModuleList(
            nn.Sequential(convolve(before, after), convolve(after, after))
            for before, after in zip([3, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            convolve(deep + shallow, shallow)
            for deep, shallow in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes, H, W] of images, float32 [B, 3, H, W]; H and W are multiples of 16."""
        features = self.down[0](images)
        skipped = []
        for step in self.down[1:]:
            skipped.append(features)
            features = step(max_pool2d(features, 2))
        for step in self.up:
            features = interpolate(features, scale_factor=2, mode="nearest")
            features = step(torch.cat([features, skipped.pop()], dim=1))
        return self.head(features)


def convolve(before: int, after: int) -> nn.Sequential:
    """Return a 3 x 3 convolution from `before` to `after` channels, normalised over the batch, with ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


class SegmentationNetwork(nn.Module):
    """One of torchvision's segmentation networks, answering with a plain tensor as every other network here.

    Args:
        network: returns a dictionary whose `out` is the logits.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes, H, W] of images, float32 [B, 3, H, W]."""
        return self.network(images)["out"]


def fcn_resnet101(weights: str | None = None, classes: int = 7) -> SegmentationNetwork:
    """Return torchvision's FCN on ResNet-101 with a new last layer: 52 million parameters.

    Args:
        weights: None for random initialisation, "coco" for torchvision's, of COCO images.
        classes: number of outputs a pixel.

    Raises:
        WeightsError: unknown weights, or weights that cannot be had or are damaged.

    Source: Long et al. (2015), https://arxiv.org/abs/1411.4038
    """
    stored = segmentation.FCN_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1
    network = build_resnet101(segmentation.fcn_resnet101, stored, weights)
    network.classifier[-1] = renew_convolution(network.classifier[-1], classes)
    return SegmentationNetwork(network)


def deeplabv3_resnet101(weights: str | None = None, classes: int = 7) -> SegmentationNetwork:
    """Return torchvision's DeepLabV3 on ResNet-101 with a new last layer: 59 million parameters.

    It normalises one pooled value an image over the batch, so it cannot be trained on batches of one.

    Args:
        weights, classes: as in `fcn_resnet101`.

    Raises:
        WeightsError: as `fcn_resnet101`.

    Source: Chen et al. (2017), https://arxiv.org/abs/1706.05587
    """
    stored = segmentation.DeepLabV3_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1
    network = build_resnet101(segmentation.deeplabv3_resnet101, stored, weights)
    network.classifier[-1] = renew_convolution(network.classifier[-1], classes)
    return SegmentationNetwork(network)


def lraspp_mobilenet(weights: str | None = None, classes: int = 7) -> SegmentationNetwork:
    """Return torchvision's LR-ASPP on MobileNetV3-Large with new last layers: 3.2 million parameters.

    Args:
        weights, classes: as in `fcn_resnet101`.

    Raises:
        WeightsError: as `fcn_resnet101`.

    Source: Howard et al. (2019), https://arxiv.org/abs/1905.02244
    """
    network = segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=COCO_CLASSES
    )
    load_coco(network, segmentation.LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1, weights)
    head = network.classifier
    head.low_classifier = renew_convolution(head.low_classifier, classes)
    head.high_classifier = renew_convolution(head.high_classifier, classes)
    return SegmentationNetwork(network)


def build_resnet101(build: Callable[..., nn.Module], stored: WeightsEnum, weights: str | None) -> nn.Module:
    """Return one of torchvision's networks on ResNet-101, for COCO's classes, without its auxiliary head."""
    network = build(weights=None, weights_backbone=None, num_classes=COCO_CLASSES, aux_loss=True)
    load_coco(network, stored, weights)
    # The file holds it, so it must be there while loading. It only adds a second loss on the way, with a
    # weight of its own to choose, and no answer; `fit` has the same one loss for all networks.
    network.aux_classifier = None
    return network


def load_coco(network: nn.Module, stored: WeightsEnum, weights: str | None) -> None:
    """Give a network torchvision's COCO weights, or, for None, leave it as it is.

    Raises:
        WeightsError: `weights` is neither, or they cannot be had or are damaged.
    """
    if weights not in (None, "coco"):
        raise WeightsError(
            f"there are no weights {weights!r} for networks of segmentation. Known are 'coco' and None"
        )
    if weights == "coco":
        load_torchvision(network, stored, "Train from scratch with weights=None")


def renew_convolution(layer: nn.Conv2d, classes: int) -> nn.Conv2d:
    """Return a freshly initialised 1 x 1 convolution in the place of one with another number of outputs."""
    return nn.Conv2d(layer.in_channels, classes, kernel_size=1)
