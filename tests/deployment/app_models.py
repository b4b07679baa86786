"""Small untrained networks for tests of the apps and of the export: they answer as fast as anything."""

from __future__ import annotations

import torch

from elfw_helpers.data.labels import ATTRIBUTES, PIXEL_CLASSES
from elfw_helpers.models import UNet, efficient_classifier, mini_network
from elfw_helpers.models.hub import ModelCard, TrainedModel

STATISTICS = {"mean": (0.5, 0.45, 0.4), "std": (0.25, 0.25, 0.3)}
COMMON = {**STATISTICS, "trained_on": "nothing at all", "notes": "Freshly <initialised>."}


def make_models(*names: str) -> dict[str, TrainedModel]:
    """Return untrained models by name: some of SHIPPED; the U-Net is a tiny plain one."""
    torch.manual_seed(0)
    makers = {
        "efficient_attributes": lambda: (efficient_classifier(), {"classes": ATTRIBUTES, "size": 64}),
        "mini_network": lambda: (mini_network(), {"classes": ATTRIBUTES, "size": 64}),
        "efficient_unet": lambda: (
            UNet(width=2),
            {"architecture": "unet", "classes": PIXEL_CLASSES, "size": 32, "options": {"width": 2}},
        ),
    }
    made = {name: makers[name]() for name in names}
    return {
        name: TrainedModel(network.eval(), ModelCard(**{"architecture": name, **COMMON, **card}), name)
        for name, (network, card) in made.items()
    }
