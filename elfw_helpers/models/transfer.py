"""Transfer learning without changing the backbone: freeze it, or extract its features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import ResNet

from elfw_helpers.data.batches import Batches
from elfw_helpers.utils.device import compute_logits, evaluation_mode, exact_arithmetic, memory_advice


class FrozenBackbone(nn.Module):
    """A ResNet of which only the last layer, `fc`, learns. The network is wrapped, not copied."""

    def __init__(self, network: ResNet):
        super().__init__()
        self.network = network.requires_grad_(False)
        self.network.fc.requires_grad_(True)
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] of images, float32 [B, 3, H, W]."""
        return self.network(images)

    def train(self, mode: bool = True) -> FrozenBackbone:
        """Set the mode of the last layer; the backbone is always in evaluation mode."""
        super().train(mode)
        # In training mode batch normalisation would change its running statistics, even without gradients.
        self.network.eval()
        self.network.fc.train(mode)
        return self


def extract_features(network: ResNet, batches: Batches) -> Tensor:
    """Return the inputs of a network's last layer, `fc`, for each sample, computed in evaluation mode.

    Args:
        network: is moved to the device of the batches, and keeps its mode.

    Returns:
        float32 [N, 512] for a ResNet-18, on the CPU, in the order of the batches' N samples.

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
            compute_logits(network, inputs, batches.precision)
    # Outside inference mode, so that a head may learn from the result.
    return torch.cat(features)
