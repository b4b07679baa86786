"""Where in an image a network finds its evidence."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from elfw_helpers.utils.device import evaluation_mode, exact_arithmetic


@torch.enable_grad()
def grad_cam(network: nn.Module, layer: nn.Module, images: Tensor, classes: Tensor | None = None) -> Tensor:
    """Map where a layer's channels speak for a class, each weighted by its gradient (Grad-CAM).

    Each map is divided by its own maximum: it tells where the evidence is, not how much there is.

    Args:
        network: gives logits [B, C]; keeps its mode and its parameters' gradients.
        layer: a module of the network that puts out [B, K, h, w], such as `network.layer3`.
        images: float32 [B, 3, H, W], as the network takes them.
        classes: int64 [B], the class to explain for each image; the predicted one by default.

    Returns:
        float32 [B, H, W] in 0..1, on the images' device, all 0 where nothing speaks for the class.

    Raises:
        ValueError: the layer takes no part, or puts out something else than [B, K, h, w].

    Source: Selvaraju et al. (2017), https://arxiv.org/abs/1610.02391, equations 1 and 2.
    """
    activations, logits = run_keeping(network, layer, images)
    chosen = logits.argmax(1) if classes is None else classes
    # Samples do not meet in evaluation mode: the gradient of the sum holds that of each.
    (gradients,) = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), activations)
    weights = gradients.mean((2, 3), keepdim=True)
    maps = (weights * activations.detach()).sum(1, keepdim=True).relu()
    maps = interpolate(maps, size=images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    peaks = maps.amax((1, 2), keepdim=True)
    return maps / peaks.masked_fill(peaks == 0, 1)


def run_keeping(network: nn.Module, layer: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Run a network in evaluation mode; return a layer's output, [B, K, h, w], and the logits [B, C].

    Raises:
        ValueError: as `grad_cam`.
    """
    outputs = []

    def keep_output(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        # Cut off from the layers before, so that gradients reach it even where no parameter learns. The
        # network goes on with a copy, because its next layer may write into what it gets.
        outputs.append(output.detach().requires_grad_())
        return outputs[-1].clone()

    with evaluation_mode(network), exact_arithmetic(), layer.register_forward_hook(keep_output):
        logits = network(images)
    if not outputs or outputs[-1].ndim != 4:
        found = tuple(outputs[-1].shape) if outputs else "nothing"
        raise ValueError(f"expected the layer to put out [B, K, h, w] in the network, got {found}")
    return outputs[-1], logits
