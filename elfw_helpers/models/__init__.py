"""The networks of the course: for attributes (`classification`) and for pixels (`segmentation`)."""

from __future__ import annotations

from torch import nn

from elfw_helpers.models.classification import MiniNetwork, mini_network, resnet18
from elfw_helpers.models.segmentation import (
    SegmentationNetwork,
    UNet,
    deeplabv3_resnet101,
    fcn_resnet101,
    lraspp_mobilenet,
)

__all__ = [
    "MiniNetwork",
    "SegmentationNetwork",
    "UNet",
    "count_parameters",
    "deeplabv3_resnet101",
    "fcn_resnet101",
    "lraspp_mobilenet",
    "mini_network",
    "resnet18",
]


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters of a model, those that do not learn included."""
    return sum(parameter.numel() for parameter in model.parameters())
