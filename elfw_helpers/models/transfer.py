"""Using what a pre-trained network knows without changing it: a frozen backbone, and its features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import ResNet

from elfw_helpers.data.batches import Batches
from elfw_helpers.utils.device import evaluation_mode, exact_arithmetic, memory_advice


class FrozenBackbone(nn.Module):
    """A ResNet of which only the last layer, `fc`, learns; the rest stays bit for bit as it is.

    Args:
        network: as `resnet18` returns it. It is wrapped, not copied: its backbone stops learning.
    """

    def __init__(self, network: ResNet):
        super().__init__()
        self.network = network.requires_grad_(False)
        self.network.fc.requires_grad_(True)
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] of images, float32 [B, 3, H, W]."""
        return self.network(images)

    def train(self, mode: bool = True) -> FrozenBackbone:
        """Put the last layer into training mode, or out of it; the backbone is always in evaluation mode."""
        super().train(mode)
        # In training mode batch normalisation would move its running statistics, gradient or not.
        self.network.eval()
        self.network.fc.train(mode)
        return self


def extract_features(network: ResNet, batches: Batches) -> Tensor:
    """Return what a network's last layer, `fc`, is given for each sample, in evaluation mode.

    Args:
        network: moves to the device of the batches, and keeps its mode.
        batches: N samples.

    Returns:
        float32 [N, 512] for a ResNet-18, on the CPU, in the order of the batches.

    Raises:
        TrainingError: there is not enough memory.
    """
    features = []

    def keep_input(_: nn.Module, inputs: tuple[Tensor]) -> None:
        features.append(inputs[0].float().cpu())

    network.to(batches.device)
    with (
        network.fc.register_forward_pre_hook(keep_input),
        evaluation_mode(network),
        torch.inference_mode(),
        exact_arithmetic(),
        memory_advice(batches.batch_size),
    ):
        for inputs, _ in batches:
            network(inputs)
    # Outside inference mode, so that a head may learn from the result.
    return torch.cat(features)
