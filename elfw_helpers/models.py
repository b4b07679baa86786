"""The networks of the course, and where their weights come from."""

from __future__ import annotations

import hashlib
import http.client
import pickle
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models

from elfw_helpers.errors import WeightsError

# A server that says nothing for this long counts as out of reach, in seconds.
NETWORK_TIMEOUT = 20


class MiniNetwork(nn.Module):
    """The report's network for 64 x 64 images: two convolutions and one linear layer.

    Args:
        classes: number of outputs.
    """

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
        # Without a Flatten module: the report's table has seven layers, and this is none of them.
        return self.linear(features.flatten(1))

    def training_forward(self, images: Tensor) -> Tensor:
        """Return the same logits, with the same gradients bit for bit, in less time.

        ReLU never changes which of four values is the largest, so pooling first gives the same result
        and leaves ReLU, forward and backward, a quarter of the work.
        """
        features = self.relu1(self.pool1(self.conv1(images)))
        features = self.relu2(self.pool2(self.conv2(features)))
        return self.linear(features.flatten(1))


def mini_network(classes: int = 3) -> MiniNetwork:
    """Return the report's mini network, freshly initialised: 29,667 parameters for 3 classes."""
    return MiniNetwork(classes)


def resnet18(weights: str | None = None, classes: int = 3) -> models.ResNet:
    """Return torchvision's ResNet-18 with a new, freshly initialised last layer.

    Args:
        weights: None for random initialisation, "imagenet" for torchvision's ImageNet weights.
        classes: number of outputs.

    Raises:
        WeightsError: unknown weights, or weights that cannot be had or are damaged.

    Source: He et al. (2015), https://arxiv.org/abs/1512.03385
    """
    if weights not in (None, "imagenet"):
        raise WeightsError(f"there are no weights {weights!r} for ResNet-18. Known are 'imagenet' and None")
    network = models.resnet18(weights=None)
    if weights == "imagenet":
        _load_imagenet(network, models.ResNet18_Weights.IMAGENET1K_V1)
    network.fc = nn.Linear(network.fc.in_features, classes)
    return network


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters of a model, those that do not learn included."""
    return sum(parameter.numel() for parameter in model.parameters())


def _load_imagenet(network: nn.Module, weights: models.WeightsEnum) -> None:
    """Give a network torchvision's weights, from torch's cache or, the first time, by download into it.

    Raises:
        WeightsError: out of reach, or not the file that its name promises; says what to do.
    """
    name = Path(weights.url).name
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    advice = (
        "Train from scratch with weights=None, or fetch the file on another machine and put it, under the "
        f"name {name}, into {cached.parent}"
    )
    if cached.exists() and not _matches_name(cached):
        raise WeightsError(f"{cached} is damaged: delete it. {advice}")
    try:
        with _network_timeout():
            # weights_only: a checkpoint is data; nothing in it may be executed.
            state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
        network.load_state_dict(state)
    except (OSError, http.client.HTTPException, RuntimeError, TypeError, pickle.UnpicklingError) as error:
        raise WeightsError(f"cannot use the weights at {weights.url}: {error}. {advice}") from error


def _matches_name(file: Path) -> bool:
    """Say whether a file's SHA-256 begins as its name, torch's `name-HASH.pth`, says."""
    promised = re.search(r"-([0-9a-f]{8,})\.", file.name)
    with file.open("rb") as stream:
        found = hashlib.sha256()
        while block := stream.read(1 << 20):
            found.update(block)
    return promised is not None and found.hexdigest().startswith(promised[1])


@contextmanager
def _network_timeout() -> Iterator[None]:
    """Give up on a silent server; torch's download waits for as long as the system does, minutes or more."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
