"""Trained networks in one file each: the weights, and a card that says how to use them.

A file is safetensors: a plain table of numbers, which cannot run code. The card is JSON in its metadata.
Those that the course brings along lie in `data/weights`, checked against SHA256SUMS there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from elfw_helpers.data.labels import ATTRIBUTES, PIXEL_CLASSES
from elfw_helpers.models import MiniNetwork, UNet, resnet18
from elfw_helpers.models.weights import (
    advise_restoring,
    check_checksum,
    check_tensors,
    convert,
    load_rendered,
    read_checksums,
    read_content,
    read_tensors,
    store_tensors,
    without_head,
)
from elfw_helpers.utils.errors import WeightsError
from elfw_helpers.utils.paths import rendered_weights

# Of the files written here; a change that makes older files mean something else raises it.
VERSION = 1
CARD = "card"
# By architecture; the course brings a trained one of each along.
NETWORKS = {"unet": UNet, "mini_network": MiniNetwork, "resnet18": resnet18}
TASKS = {PIXEL_CLASSES: "segment", ATTRIBUTES: "attribute"}
# Larger inputs would need more memory than a laptop has; none of the course's networks is trained at half.
LARGEST_SIZE = 1024


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """How to build a trained network again, and what to feed it.

    Attributes:
        architecture: "unet", "mini_network" or "resnet18".
        classes: names of its outputs, PIXEL_CLASSES or ATTRIBUTES.
        size: side of the square inputs it was trained at, pixels.
        mean, std: of each channel, for values scaled to 0..1.
        trained_on: a sentence on the data.
        options: keyword arguments of the network, such as {"width": 12}.
        notes: whatever else one should know.
        version: of the file's format.
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
        # Lists are what JSON gives, and Tensor.tolist().
        for name in ("classes", "mean", "std"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def task(self) -> str:
        """What the network does: "segment" or "attribute"."""
        return TASKS[self.classes]


@dataclass(frozen=True)
class TrainedModel:
    """A network ready to predict, in evaluation mode, with its card and the name it was asked for by."""

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
        network: the one that the card describes. Of a ResNet-18 only the last layer is written: its backbone
            has to be the course's own, frozen.
        card: how to use it.
        file: where to, such as `models/mine.safetensors`.
        replace: overwrite the file if it is there.

    Raises:
        WeightsError: the file exists, a weight is not finite in float16, or network and card do not fit.
    """
    file = Path(file)
    if file.exists() and not replace:
        raise WeightsError(f"{file} exists. Name another file, or overwrite it with replace=True")
    check_card(card, file)
    needed = build_network(card, file).state_dict()
    cure = "Give the card the architecture and the options that the network was made with"
    check_tensors(network.state_dict(), needed, file, cure)
    if card.architecture == "resnet18":
        check_backbone(network, file)
    store_tensors(stored_part(network, card), file, {CARD: json.dumps(asdict(card))})


def stored_part(network: nn.Module, card: ModelCard) -> dict[str, Tensor]:
    """Return the tensors that a file holds: all, or on ResNet-18's shared backbone the last layer's."""
    state = network.state_dict()
    if card.architecture != "resnet18":
        return state
    return {name: state[name] for name in state.keys() - without_head(network).keys()}


def check_backbone(network: nn.Module, file: Path) -> None:
    """Raise WeightsError unless a ResNet-18's backbone is the course's own, unchanged."""
    ours = without_head(resnet18(weights="rendered"))
    changed = [name for name, tensor in without_head(network).items() if not tensor.cpu().equal(ours[name])]
    if changed:
        found = f"{file} was not written: the backbone was trained on ({changed[0]} differs)"
        cure = 'Only a last layer on resnet18(weights="rendered") is stored: see elfw_helpers.models.transfer'
        raise WeightsError(f"{found}. {cure}")


def load_model(name_or_file: str | Path, device: str = "cpu") -> TrainedModel:
    """Return a trained network with its card.

    Args:
        name_or_file: "unet", "mini_network" or "resnet18", which the course brings along, or a file of
            `store_model`.
        device: where the network is to be.

    Raises:
        WeightsError: there is no such model, or its file is damaged, no model, or of another version.
    """
    shipped = str(name_or_file) in NETWORKS
    file = shipped_file(str(name_or_file)) if shipped else Path(name_or_file)
    content = read_content(
        file, advise_restoring(file) if shipped else f"Models by name: {', '.join(NETWORKS)}"
    )
    cure = advise_restoring(file) if shipped else "Store it again with elfw_helpers.models.hub.store_model"
    if shipped or file.name in read_checksums(file.parent):
        check_checksum(file, content, cure)
    tensors = read_tensors(content, file, cure)
    card = parse_card(read_metadata(content), file)
    network = build_network(card, file)
    check_tensors(tensors, stored_part(network, card), file, cure)
    state = {name: convert(tensor, torch.float32) for name, tensor in tensors.items()}
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise WeightsError(f"{file} holds weights that are not finite numbers. {cure}")
    network.to_empty(device="cpu")
    if card.architecture == "resnet18":
        load_rendered(network, rendered_weights("resnet18"))
    # Lenient only towards what is not in the file: check_tensors has compared everything that is.
    network.load_state_dict(state, strict=False)
    return TrainedModel(network.to(device), card, str(name_or_file) if shipped else file.name)


def shipped_file(name: str) -> Path:
    """Return the file of a trained network that the course brings along."""
    # "resnet18_rendered" is the backbone alone, which knows no attributes.
    return rendered_weights("resnet18_attributes" if name == "resnet18" else name)


def read_metadata(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file that could be read, from its content.

    Source: https://huggingface.co/docs/safetensors: eight bytes of length, then so many of JSON. The
    library itself reads metadata from files only, and the file may no longer be what was checked.
    """
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]).get("__metadata__", {})


def parse_card(metadata: dict[str, str], file: Path) -> ModelCard:
    """Return the card in a file's metadata, checked.

    Raises:
        WeightsError: there is none, it is of another version, or what it says makes no sense.
    """
    cure = "Store the model again with elfw_helpers.models.hub.store_model"
    try:
        found = json.loads(metadata[CARD])
        version = found["version"]
    except KeyError:
        raise WeightsError(f"{file} has no model card in its metadata. {cure}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise WeightsError(f"{file} has a model card that cannot be read ({error}). {cure}") from None
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        remedy = "Update the course's package (git pull)" if newer else cure
        age = "newer" if newer else "older"
        raise WeightsError(f"{file} is of format {version}, {age} than this package's {VERSION}. {remedy}")
    known = {part.name for part in fields(ModelCard)}
    if found.keys() != known:
        wrong = ", ".join(sorted(found.keys() ^ known))
        raise WeightsError(f"{file} has a model card with entries missing or unknown: {wrong}. {cure}")
    card = ModelCard(**found)
    check_card(card, file)
    return card


def check_card(card: ModelCard, file: Path) -> None:
    """Raise WeightsError when a card names what is unknown, or numbers that make no sense."""
    # Compared one by one, not looked up: what a file holds need not be hashable.
    if card.architecture not in list(NETWORKS):
        known = ", ".join(NETWORKS)
        raise WeightsError(f"{file}: there is no architecture {card.architecture!r}. Known are {known}")
    if card.classes not in list(TASKS):
        known = " or ".join(f"({', '.join(names)})" for names in TASKS)
        raise WeightsError(f"{file}: the classes are {card.classes!r}. A model of this course has {known}")
    if type(card.size) is not int or not 1 <= card.size <= LARGEST_SIZE:
        raise WeightsError(
            f"{file}: the size is {card.size!r}. Inputs have 1 to {LARGEST_SIZE} pixels a side"
        )
    for name, numbers in (("mean", card.mean), ("std", card.std)):
        if not (isinstance(numbers, tuple) and len(numbers) == 3 and all(map(is_finite, numbers))):
            raise WeightsError(f"{file}: {name} is {numbers!r}. It has three finite numbers, one a channel")
    if min(card.std) <= 0:
        raise WeightsError(f"{file}: std is {card.std!r}. Standard deviations are above 0")


def is_finite(number: Any) -> bool:
    """Say whether something is a number, and not infinite, NaN or beyond float32."""
    return isinstance(number, int | float) and abs(number) < 1e38


def build_network(card: ModelCard, file: Path) -> nn.Module:
    """Return the network that a card describes, in evaluation mode, without memory for its weights yet.

    Raises:
        WeightsError: its options, size or classes do not fit the architecture.
    """
    outputs = (card.size, card.size) if card.task == "segment" else ()
    try:
        # On torch's "meta" device nothing is allocated: a file cannot ask for more memory than it fills.
        with torch.device("meta"), torch.no_grad():
            network = NETWORKS[card.architecture](classes=len(card.classes), **card.options).eval()
            shape = tuple(network(torch.empty(1, 3, card.size, card.size)).shape)
        if shape != (1, len(card.classes), *outputs):
            raise ValueError(f"its outputs have shape {shape}")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        asked = f"{len(card.classes)} classes, inputs of {card.size} x {card.size}, options {card.options!r}"
        raise WeightsError(f"{file}: {card.architecture} cannot be had with {asked} ({error})") from None
    return network
