"""Transfer learning without changing the backbone: its features, for a head to learn from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elfw_helpers.data.batches import Batches
from elfw_helpers.utils.device import compute_logits, evaluation_mode, exact_arithmetic, memory_advice


def extract_features(network: nn.Module, batches: Batches) -> Tensor:
    """Return the inputs of a network's last layer, `fc`, for each sample, computed in evaluation mode.

    Args:
        network: has a last layer `fc`, is moved to the device of the batches, and keeps its mode.

    Returns:
        float32 [N, C] on the CPU, in the order of the batches' N samples; C is 512 for a ResNet-18 and for an
        EfficientClassifier.

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
