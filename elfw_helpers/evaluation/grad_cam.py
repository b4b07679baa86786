"""Grad-CAM: maps of where in an image a network finds evidence for a class."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from elfw_helpers.utils.device import evaluation_mode, exact_arithmetic


@torch.enable_grad()
def grad_cam(network: nn.Module, layer: nn.Module, images: Tensor, classes: Tensor | None = None) -> Tensor:
    """Return the sum of a layer's channels, each weighted by its mean gradient for a class (Grad-CAM).

    Each map is divided by its own maximum: it tells where the evidence is, not how much there is.

    Args:
        network: gives logits [B, C]; keeps its mode and its parameters' gradients.
        layer: a module of the network with outputs [B, K, h, w], such as `network.layer3`.
        images: float32 [B, 3, H, W], as the network takes them.
        classes: int64 [B], the class to explain for each image; the predicted one by default.

    Returns:
        float32 [B, H, W] in 0..1, on the images' device, all 0 where nothing is evidence for the class.

    Raises:
        ValueError: the layer is not used, or its output is not [B, K, h, w].

    Source: Selvaraju et al. (2017), https://arxiv.org/abs/1610.02391, equations 1 and 2.
    """
    outputs = []

    def keep_output(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        # Detached from the layers before, so that gradients reach it even if all parameters are frozen. The
        # network goes on with a copy, because its next layer may change its input in place.
        outputs.append(output.detach().requires_grad_())
        return outputs[-1].clone()

    with evaluation_mode(network), exact_arithmetic(), layer.register_forward_hook(keep_output):
        logits = network(images)
    if not outputs or outputs[-1].ndim != 4:
        found = tuple(outputs[-1].shape) if outputs else "nothing"
        raise ValueError(f"expected the layer to put out [B, K, h, w] in the network, got {found}")
    activations = outputs[-1]
    chosen = logits.argmax(1) if classes is None else classes
    # In evaluation mode samples are independent: the gradient of the sum holds that of each.
    (gradients,) = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), activations)
    weights = gradients.mean((2, 3), keepdim=True)
    maps = (weights * activations.detach()).sum(1, keepdim=True).relu()
    maps = interpolate(maps, size=images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    peaks = maps.amax((1, 2), keepdim=True)
    return maps / peaks.masked_fill(peaks == 0, 1)
