"""Networks that give a whole face one attribute: the report's mini network, ResNet-18, EfficientNet-Lite0."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision import models

from elfw_helpers.models.efficientnet import ENCODER_WIDTHS, efficientnet_encoder
from elfw_helpers.models.weights import (
    advise_restoring,
    check_tensors,
    load_torchvision,
    load_weights,
    read_weights,
)
from elfw_helpers.utils.errors import WeightsError
from elfw_helpers.utils.paths import rendered_weights


class MiniNetwork(nn.Module):
    """The report's network for 64 x 64 images: two convolutions and one linear layer."""

    def __init__(self, classes: int = 3):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, padding=1)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.linear = nn.Linear(32 * 16 * 16, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] of images, float32 [B, 3, 64, 64]."""
        features = self.pool1(self.relu1(self.conv1(images)))
        features = self.pool2(self.relu2(self.conv2(features)))
        # Nothing is below -1. But the gradient of flattened features is laid out channel by channel, and that
        # of a clamp as its input is: MaxPool's backward then copies nothing, a tenth of a training step.
        features = features.clamp(min=-1)
        # No Flatten module: the report's table of layers has none.
        return self.linear(features.flatten(1))


def mini_network(classes: int = 3) -> MiniNetwork:
    """Return the report's mini network, freshly initialised: 29,667 parameters for 3 classes."""
    return MiniNetwork(classes)


def resnet18(weights: str | None = None, classes: int = 3) -> models.ResNet:
    """Return torchvision's ResNet-18 with a new, freshly initialised last layer.

    Args:
        weights: None for random initialisation, "imagenet" for torchvision's ImageNet weights, "rendered"
            for the course's own, which learned from rendered faces, but not their attributes (`data/weights`;
            works offline).

    Raises:
        WeightsError: the weights are unknown, cannot be loaded, or are damaged.

    Source: He et al. (2015), https://arxiv.org/abs/1512.03385
    """
    if weights not in (None, "imagenet", "rendered"):
        known = "'imagenet', 'rendered' and None"
        raise WeightsError(f"there are no weights {weights!r} for ResNet-18. Known are {known}")
    network = models.resnet18(weights=None)
    if weights == "imagenet":
        alternative = (
            "Take weights='rendered', which the project brings, train from scratch with weights=None"
        )
        load_torchvision(network, models.ResNet18_Weights.IMAGENET1K_V1, alternative)
    elif weights == "rendered":
        load_weights(network, rendered_weights("resnet18"))
    network.fc = nn.Linear(network.fc.in_features, classes)
    return network


class EfficientClassifier(nn.Module):
    """EfficientNet-Lite0: features of five depths, averaged over the picture, and a linear layer, `fc`.

    Its 512 features are as many as ResNet-18's. They have no common scale, so they are normalised over the
    batch before `fc`: SGD would diverge.

    Args:
        encoder: returns the features of the five depths, each [B, C, h, w].
    """

    def __init__(self, encoder: nn.Module, classes: int = 3):
        super().__init__()
        self.encoder = encoder
        self.norm = nn.BatchNorm1d(sum(ENCODER_WIDTHS), affine=False)
        self.fc = nn.Linear(sum(ENCODER_WIDTHS), classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] of images, float32 [B, 3, H, W]."""
        features = torch.cat([depth.mean((2, 3)) for depth in self.encoder(images)], 1)
        return self.fc(self.norm(features))


def efficient_classifier(weights: str | None = None, classes: int = 3) -> EfficientClassifier:
    """Return EfficientNet-Lite0 with a new, freshly initialised last layer: 3.0 million parameters.

    Args:
        weights: None for random initialisation, "imagenet" for ImageNet's by the package that holds them,
            "masks" for those of the way down of the course's U-Net, which went on from ImageNet's to learn
            the masks of rendered faces.

    Raises:
        WeightsError: the weights are unknown, their package is not installed, or they are damaged.
    """
    if weights not in (None, "imagenet", "masks"):
        known = "'imagenet', 'masks' and None"
        raise WeightsError(f"there are no weights {weights!r} for EfficientNet-Lite0. Known are {known}")
    encoder = efficientnet_encoder(None if weights == "masks" else weights)
    if weights == "masks":
        file = rendered_weights("efficient_unet")
        advice = advise_restoring(file)
        tensors, _ = read_weights(file, advice, advice)
        state = {
            name.removeprefix("encoder."): tensors[name] for name in tensors if name.startswith("encoder.")
        }
        check_tensors(state, encoder.state_dict(), file, advice)
        encoder.load_state_dict(state)
    return EfficientClassifier(encoder, classes)


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters of a model, frozen ones included."""
    return sum(parameter.numel() for parameter in model.parameters())
