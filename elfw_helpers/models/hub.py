"""Trained models: a network's weights in one file, with a card that says how to use them.

A file is safetensors, the card JSON in its metadata. The course's own are in `data/weights`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from elfw_helpers.data.labels import ATTRIBUTES, PIXEL_CLASSES
from elfw_helpers.models.classification import MiniNetwork, efficient_classifier, resnet18
from elfw_helpers.models.segmentation import EfficientUNet, UNet
from elfw_helpers.models.weights import (
    advise_restoring,
    check_tensors,
    read_weights,
    store_tensors,
    without_head,
)
from elfw_helpers.utils.errors import WeightsError
from elfw_helpers.utils.paths import MODELS_BY_NAME, SHIPPED, rendered_weights

# Of the file format; raised by a change that gives older files another meaning.
VERSION = 1
CARD = "card"
# By architecture.
NETWORKS = {
    "efficient_attributes": efficient_classifier,
    "efficient_unet": EfficientUNet,
    "unet": UNet,
    "mini_network": MiniNetwork,
    "resnet18": resnet18,
}
# Of these a file holds the last layer alone: the rest is that of another of the course's files, frozen.
BACKBONES = {
    "efficient_attributes": partial(efficient_classifier, "masks"),
    "resnet18": partial(resnet18, "rendered"),
}
TASKS = {PIXEL_CLASSES: "segment", ATTRIBUTES: "attribute"}
# Larger inputs would need more memory than a laptop has; the course's networks are trained at 96 at most.
LARGEST_SIZE = 1024
STORE_AGAIN = "Store the model again with elfw_helpers.models.hub.store_model"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """How to build a trained network again, and which inputs it takes.

    Attributes:
        architecture: one of NETWORKS.
        classes: names of its outputs, PIXEL_CLASSES or ATTRIBUTES.
        size: side of the square inputs that it was trained on, pixels.
        mean, std: per channel, for values scaled to 0..1.
        trained_on: a phrase that names the data.
        options: keyword arguments of the network, such as {"width": 12}.
    """

    architecture: str
    classes: tuple[str, ...]
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    trained_on: str
    options: dict[str, Any] = field(default_factory=dict)
    notes: str = ""
    version: int = VERSION

    def __post_init__(self):
        # JSON and Tensor.tolist() give lists.
        for name in ("classes", "mean", "std"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def task(self) -> str:
        """What the network does: "segment" or "attribute"."""
        return TASKS[self.classes]


@dataclass(frozen=True)
class TrainedModel:
    """A network in evaluation mode, with its card and the name by which it was loaded."""

    network: nn.Module
    card: ModelCard
    name: str

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def check_task(self, task: str) -> None:
        """Raise WeightsError unless the model is for a task: "segment" or "attribute"."""
        if self.card.task != task:
            found = f"{self.name} is for the task {self.card.task}, not {task}"
            raise WeightsError(f"{found}. Take another model")


def store_model(network: nn.Module, card: ModelCard, file: str | Path, replace: bool = False) -> None:
    """Write a network's weights (float16) with its card, and their checksum to SHA256SUMS beside the file.

    Args:
        network: the one that the card describes. Of BACKBONES only the last layer is written: the rest has
            to be the course's own, frozen.
        file: such as `models/mine.safetensors`.
        replace: overwrite the file if it exists.

    Raises:
        WeightsError: the file exists, a weight is not finite in float16, or network and card do not fit.
    """
    file = Path(file)
    if file.exists() and not replace:
        raise WeightsError(f"{file} exists. Name another file, or overwrite it with replace=True")
    check_card(card, file)
    cure = "Give the card the architecture and the options that the network was made with"
    check_tensors(network.state_dict(), build_network(card, file).state_dict(), file, cure)
    if card.architecture in BACKBONES:
        check_backbone(network, card.architecture, file)
    store_tensors(select_stored(network, card), file, {CARD: json.dumps(asdict(card))})


def select_stored(network: nn.Module, card: ModelCard) -> dict[str, Tensor]:
    """Return the tensors that a file holds: all, but only the last layer's where the backbone is shared."""
    state = network.state_dict()
    shared = without_head(network) if card.architecture in BACKBONES else ()
    return {name: tensor for name, tensor in state.items() if name not in shared}


def check_backbone(network: nn.Module, architecture: str, file: Path) -> None:
    """Raise WeightsError unless all but a network's last layer is the course's own, unchanged."""
    ours = without_head(BACKBONES[architecture]())
    changed = [name for name, tensor in without_head(network).items() if not tensor.cpu().equal(ours[name])]
    if changed:
        found = f"{file} was not written: the backbone was trained on ({changed[0]} differs)"
        cure = 'Only a last layer is stored, on resnet18(weights="rendered") or efficient_classifier("masks")'
        raise WeightsError(f"{found}. {cure}: see elfw_helpers.models.transfer")


def load_model(name_or_file: str | Path, device: str = "cpu") -> TrainedModel:
    """Return a trained network with its card.

    Args:
        name_or_file: one of SHIPPED, the course's own, or a file of `store_model`.

    Raises:
        WeightsError: there is no such model, or its file is damaged, no model, or of another version.
    """
    name, file = str(name_or_file), Path(name_or_file)
    shipped = name in SHIPPED
    if shipped:
        # "resnet18_rendered" is the backbone alone, which knows no attributes.
        file = rendered_weights("resnet18_attributes" if name == "resnet18" else name)
        if_missing = if_damaged = advise_restoring(file)
    else:
        if_missing = MODELS_BY_NAME
        if_damaged = "Store it again with elfw_helpers.models.hub.store_model"
    tensors, metadata = read_weights(file, if_missing, if_damaged, needs_checksum=shipped)
    card = parse_card(metadata, file)
    network = build_network(card, file)
    check_tensors(tensors, select_stored(network, card), file, if_damaged)
    network.to_empty(device="cpu")
    if card.architecture in BACKBONES:
        tensors |= without_head(BACKBONES[card.architecture]())
    # Not strict, for what a file need not hold: check_tensors has compared everything else.
    network.load_state_dict(tensors, strict=False)
    return TrainedModel(network.to(device), card, name if shipped else file.name)


def parse_card(metadata: dict[str, str], file: Path) -> ModelCard:
    """Return the card in a file's metadata; raise WeightsError unless it is complete and makes sense."""
    try:
        found = json.loads(metadata[CARD])
        version = found["version"]
    except KeyError:
        raise WeightsError(f"{file} has no model card in its metadata. {STORE_AGAIN}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise WeightsError(f"{file} has a model card that cannot be read ({error}). {STORE_AGAIN}") from None
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        age, cure = ("newer", "Update the course's package (git pull)") if newer else ("older", STORE_AGAIN)
        raise WeightsError(f"{file} is of format {version}, {age} than this package's {VERSION}. {cure}")
    wrong = found.keys() ^ {entry.name for entry in fields(ModelCard)}
    if wrong:
        entries = f"entries missing or unknown: {', '.join(sorted(wrong))}"
        raise WeightsError(f"{file} has a model card with {entries}. {STORE_AGAIN}")
    card = ModelCard(**found)
    check_card(card, file)
    return card


def check_card(card: ModelCard, file: Path) -> None:
    """Raise WeightsError when a card names something unknown, or has impossible numbers."""

    def require(holds: bool, fault: str) -> None:
        if not holds:
            raise WeightsError(f"{file}: {fault}")

    # Searched in lists, because what a file holds need not be hashable.
    known = f"Known are {', '.join(NETWORKS)}"
    require(card.architecture in list(NETWORKS), f"there is no architecture {card.architecture!r}. {known}")
    known = "A model of this course has " + " or ".join(f"({', '.join(names)})" for names in TASKS)
    require(card.classes in list(TASKS), f"the classes are {card.classes!r}. {known}")
    fits = type(card.size) is int and 1 <= card.size <= LARGEST_SIZE
    require(fits, f"the size is {card.size!r}. Inputs have 1 to {LARGEST_SIZE} pixels per side")
    for name, numbers in (("mean", card.mean), ("std", card.std)):
        triple = isinstance(numbers, tuple) and len(numbers) == 3 and all(map(is_finite, numbers))
        require(triple, f"{name} is {numbers!r}. It has three finite numbers, one per channel")
    require(min(card.std) > 0, f"std is {card.std!r}. Standard deviations are above 0")


def is_finite(number: Any) -> bool:
    """Say whether something is a number, and not infinite, NaN or beyond float32."""
    return isinstance(number, int | float) and abs(number) < 1e38


def build_network(card: ModelCard, file: Path) -> nn.Module:
    """Return the network that a card describes, without values; raise WeightsError if it cannot be built."""
    outputs = (card.size, card.size) if card.task == "segment" else ()
    try:
        # On "meta" nothing is allocated: a file cannot ask for more memory than it fills.
        with torch.device("meta"), torch.no_grad():
            network = NETWORKS[card.architecture](classes=len(card.classes), **card.options).eval()
            shape = tuple(network(torch.empty(1, 3, card.size, card.size)).shape)
        if shape != (1, len(card.classes), *outputs):
            raise ValueError(f"its outputs have shape {shape}")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        asked = f"{len(card.classes)} classes, inputs of {card.size} x {card.size}, options {card.options!r}"
        raise WeightsError(f"{file}: {card.architecture} cannot be built with {asked} ({error})") from None
    return network
