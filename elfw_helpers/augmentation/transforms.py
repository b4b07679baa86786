"""Random changes of a batch: images and masks moved together, and the colours of the images changed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from elfw_helpers.utils.device import layout_of, send

# Each number is drawn uniformly from -x to +x; scale, gamma, contrast and balance are e to that power.
SCALE = 0.2
ANGLE = 0.15  # radians
SHIFT = 0.1  # of half the picture's side
GAMMA = 0.4
CONTRAST = 0.3
BALANCE = 0.15  # of each channel
# 0 is grey, 1 leaves the colours as they are. Drawn from 0 to the first number, limited to the second.
SATURATION, MOST_SATURATED = 1.6, 1.4
# Near 0 a power below 1 is too steep.
DARKEST = 1e-4


def augment_batch(inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror, shift, scale and turn each face a little, then change brightness, contrast and colours.

    For `Batches(augment=augment_batch)`.

    Args:
        inputs: float32 [B, 3, S, S] in 0..1, on any device.
        targets: class indices int64 [B], which stay as they are, or masks int64 [B, S, S], which move
            with their images and get no new class.
        generator: on the CPU; the same state draws the same changes, whatever the device.
    """
    inputs, targets = warp_batch(inputs, targets, draw_affine_maps(len(inputs), generator))
    return jitter_colours(inputs, generator), targets


def draw_uniform(generator: torch.Generator, *shape: int) -> Tensor:
    """Return numbers drawn uniformly from -1 to 1, on the CPU."""
    return 2 * torch.rand(*shape, generator=generator) - 1


def draw_affine_maps(count: int, generator: torch.Generator) -> Tensor:
    """Draw affine maps from places in the new picture to the old, in -1..1; float32 [count, 2, 3]."""
    scale = (SCALE * draw_uniform(generator, count)).exp()
    angle = ANGLE * draw_uniform(generator, count)
    mirror = 1 - 2 * torch.randint(2, (count,), generator=generator)
    maps = torch.empty(count, 2, 3)
    maps[:, 0, 0], maps[:, 0, 1] = mirror * scale * angle.cos(), -mirror * scale * angle.sin()
    maps[:, 1, 0], maps[:, 1, 1] = scale * angle.sin(), scale * angle.cos()
    maps[:, :, 2] = SHIFT * draw_uniform(generator, count, 2)
    return maps


def warp_batch(inputs: Tensor, targets: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Move images, and masks if the targets are masks, by affine maps; the border is repeated outside.

    Images are interpolated. Masks take the nearest pixel: anything smoother would invent classes between
    two others. Arguments as in `augment_batch`; `maps` as `draw_affine_maps` returns them.
    """
    grid = affine_grid(send(maps, inputs.device), list(inputs.shape), align_corners=False)
    moved = grid_sample(inputs, grid, mode="bilinear", padding_mode="border", align_corners=False)
    # `grid_sample` does not keep the CPU's layout, in which it trains up to 1.6 times as fast.
    moved = moved.contiguous(memory_format=layout_of(inputs.device))
    if targets.ndim == 3:
        masks = targets[:, None].to(inputs.dtype)
        masks = grid_sample(masks, grid, mode="nearest", padding_mode="border", align_corners=False)
        targets = masks[:, 0].to(targets.dtype)
    return moved, targets


def jitter_colours(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness (by a gamma), colour balance, contrast and saturation of each image, all in 0..1."""
    return change_colours(inputs, draw_colours(len(inputs), generator))


def draw_colours(count: int, generator: torch.Generator) -> Tensor:
    """Draw how the colours of images change: gamma, balance of three channels, contrast, saturation.

    Returns:
        float32 [count, 6, 1, 1], from -1 to 1.
    """
    channels = (1, 3, 1, 1)
    return torch.cat([draw_uniform(generator, count, number, 1, 1) for number in channels], 1)


def change_colours(inputs: Tensor, drawn: Tensor) -> Tensor:
    """Change the colours of each image in 0..1, [B, 3, S, S], as `draw_colours` has drawn it."""
    gamma, balance, contrast, saturation = send(drawn, inputs.device).split((1, 3, 1, 1), 1)
    changed = inputs.clamp(DARKEST, 1) ** (GAMMA * gamma).exp() * (BALANCE * balance).exp()
    changed = (changed - 0.5) * (CONTRAST * contrast).exp() + 0.5
    grey = changed.mean(1, keepdim=True)
    strength = (SATURATION * (saturation + 1) / 2).clamp(max=MOST_SATURATED)
    return (grey + (changed - grey) * strength).clamp(0, 1)
