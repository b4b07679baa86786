"""Networks that give every pixel a class: two U-Nets, and torchvision's, which the ELFW paper uses."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d
from torchvision.models import WeightsEnum, segmentation

from elfw_helpers.models.efficientnet import ENCODER_WIDTHS, efficientnet_encoder
from elfw_helpers.models.weights import load_torchvision
from elfw_helpers.utils.errors import WeightsError

# Of torchvision's weights: the 20 classes of Pascal VOC, and background.
COCO_CLASSES = 21
# Channels of EfficientUNet's five steps up.
DECODER_WIDTHS = (256, 128, 64, 32, 16)


class UNet(nn.Module):
    """A compact U-Net: down to a sixteenth of the size and up again, with skip connections.

    Args:
        classes: number of outputs per pixel.
        width: channels at full size, doubled by each of the four steps down. 8 gives 0.4 million parameters.

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


class EfficientUNet(nn.Module):
    """A U-Net whose way down is EfficientNet-Lite0, to a thirty-second of the size: 5.2 million parameters.

    Args:
        classes: number of outputs per pixel.
        weights: of the way down, as in `efficientnet_lite0`.

    Source: the U-Net of segmentation_models.pytorch, https://github.com/qubvel-org/segmentation_models.pytorch.
    """

    def __init__(self, classes: int = 7, weights: str | None = None):
        super().__init__()
        self.encoder = efficientnet_encoder(weights)
        deep = (ENCODER_WIDTHS[-1], *DECODER_WIDTHS)
        shallow = (*ENCODER_WIDTHS[-2::-1], 0)
        self.up = nn.ModuleList(
            nn.Sequential(convolve(below + beside, after), convolve(after, after))
            for below, beside, after in zip(deep, shallow, DECODER_WIDTHS, strict=False)
        )
        self.head = nn.Conv2d(DECODER_WIDTHS[-1], classes, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes, H, W] of images, float32 [B, 3, H, W]; H and W are multiples of 32."""
        *skipped, features = self.encoder(images)
        for step in self.up:
            features = interpolate(features, scale_factor=2, mode="nearest")
            if skipped:
                features = torch.cat([features, skipped.pop()], dim=1)
            features = step(features)
        return self.head(features)


def convolve(before: int, after: int) -> nn.Sequential:
    """Return a 3 x 3 convolution from `before` to `after` channels, normalised over the batch, with ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


class SegmentationNetwork(nn.Module):
    """One of torchvision's segmentation networks, which return a dictionary: only its `out`, the logits."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes, H, W] of images, float32 [B, 3, H, W]."""
        return self.network(images)["out"]


def fcn_resnet101(weights: str | None = None, classes: int = 7) -> SegmentationNetwork:
    """Return torchvision's FCN on ResNet-101 with a new last layer: 52 million parameters.

    Args:
        weights: None for random initialisation, "coco" for torchvision's, learned on COCO images.
        classes: number of outputs per pixel.

    Raises:
        WeightsError: the weights are unknown, cannot be loaded, or are damaged.

    Source: Long et al. (2015), https://arxiv.org/abs/1411.4038
    """
    stored = segmentation.FCN_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1
    return adapt_network(segmentation.fcn_resnet101, stored, weights, classes, aux_loss=True)


def deeplabv3_resnet101(weights: str | None = None, classes: int = 7) -> SegmentationNetwork:
    """Return torchvision's DeepLabV3 on ResNet-101, as `fcn_resnet101` its FCN: 59 million parameters.

    It normalises one pooled value per image over the batch, so it cannot be trained on batches of one.

    Source: Chen et al. (2017), https://arxiv.org/abs/1706.05587
    """
    stored = segmentation.DeepLabV3_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1
    return adapt_network(segmentation.deeplabv3_resnet101, stored, weights, classes, aux_loss=True)


def lraspp_mobilenet(weights: str | None = None, classes: int = 7) -> SegmentationNetwork:
    """Return torchvision's LR-ASPP on MobileNetV3, as `fcn_resnet101` its FCN: 3.2 million parameters.

    Source: Howard et al. (2019), https://arxiv.org/abs/1905.02244
    """
    stored = segmentation.LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1
    return adapt_network(segmentation.lraspp_mobilenet_v3_large, stored, weights, classes)


def adapt_network(
    build: Callable[..., nn.Module], stored: WeightsEnum, weights: str | None, classes: int, **options: bool
) -> SegmentationNetwork:
    """Return a network of torchvision, with its COCO weights if asked for, and new last layers."""
    if weights not in (None, "coco"):
        known = "Known are 'coco' and None"
        raise WeightsError(f"there are no weights {weights!r} for networks of segmentation. {known}")
    network = build(weights=None, weights_backbone=None, num_classes=COCO_CLASSES, **options)
    if weights == "coco":
        load_torchvision(network, stored, "Train from scratch with weights=None")
    # Only now: the file holds the auxiliary head too. It serves a second loss, which `fit` does not have.
    network.aux_classifier = None
    for name, layer in list(network.classifier.named_children()):
        if getattr(layer, "out_channels", None) == COCO_CLASSES:
            setattr(network.classifier, name, nn.Conv2d(layer.in_channels, classes, kernel_size=1))
    return SegmentationNetwork(network)
