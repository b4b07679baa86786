"""Domain randomisation: rendered faces changed so much that a photo looks like one more change.

Batched, and drawn and computed on the device of the images: a GPU is never waited for. Each change happens to
some faces of a batch only, with the probabilities and strengths below.

Source: Tobin et al. (2017), https://arxiv.org/abs/1703.06907
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate
from tqdm import tqdm

from elfw_helpers.data.labels import BACKGROUND, PIXEL_CLASSES
from elfw_helpers.rendering.background import make_background
from elfw_helpers.rendering.photo import develop
from elfw_helpers.rendering.random_parameters import draw_part, sample_identity
from elfw_helpers.utils.parallel import run_parallel

# Where the face lies: e to the power -x..x in size and in width, radians, shares of half the picture's side.
SCALE, STRETCH, ANGLE, SHIFT = 0.35, 0.08, 0.3, 0.25
# How far a smooth field of a few cells bends the picture, of half its side: so headwear has more shapes.
WARP = 0.05
# How far each class's colours change, in the order of PIXEL_CLASSES: brightness and each channel (e to that
# power, normally distributed), and a texture drawn on it. Skin must stay skin; a hat may be of anything.
CLASS_BRIGHTNESS = (0.2, 0.05, 0.2, 0.1, 0.15, 0.3, 0.15)
CLASS_TINT = (0.08, 0.02, 0.05, 0.03, 0.05, 0.15, 0.08)
CLASS_TEXTURE = (0.15, 0.02, 0.08, 0.03, 0.05, 0.2, 0.08)
# How much of another colour is added to a class at most.
CLASS_LIFT = (0.15, 0.0, 0.15, 0.0, 0.05, 0.25, 0.1)
# Of the whole picture, as in `elfw_helpers.augmentation.transforms`.
LIGHT, GAMMA, CONTRAST, BALANCE, SATURATION, SHARPNESS, NOISE = 0.4, 0.5, 0.4, 0.15, 1.6, 1.2, 0.06
# Smallest side, as a share, that a picture is shrunk to and enlarged from again.
SHRUNK = 0.35
DARKEST = 1e-3


def render_backgrounds(count: int, size: int) -> Tensor:
    """Return backgrounds without a face, uint8 [count, size, size, 3], the same in every call."""
    pictures = torch.empty(count, size, size, 3, dtype=torch.uint8)
    done = run_parallel(partial(render_background, size), range(count))
    for seed, picture in tqdm(done, "rendering backgrounds", count, unit="picture"):
        pictures[seed] = torch.from_numpy(picture)
    return pictures


def render_background(size: int, seed: int) -> np.ndarray:
    """Return one background, uint8 [size, size, 3]."""
    nobody = sample_identity(0)
    light = make_background(draw_part("background", seed, nobody), size).reshape(3, size, size)
    return (255 * develop(light.clip(0, None))).astype(np.uint8).transpose(1, 2, 0)


def randomise_batch(images: Tensor, masks: Tensor, backgrounds: Tensor) -> tuple[Tensor, Tensor]:
    """Return faces moved, recoloured, partly covered and blurred at random, by torch's default generator.

    Args:
        images: uint8 [B, S, S, 3].
        masks: uint8 [B, S, S].
        backgrounds: uint8 [N, S, S, 3], pictures without a face.

    Returns:
        float32 [B, 3, S, S] in 0..1, and int64 [B, S, S].
    """
    drawn = torch.randint(len(backgrounds), (2, len(images)), device=images.device)
    behind, before = (to_floats(backgrounds[chosen]) for chosen in drawn)
    inputs, masks = move_faces(to_floats(images), masks, behind)
    inputs = recolour_classes(inputs, masks)
    inputs, masks = cover_parts(inputs, masks, before)
    return spoil_pictures(recolour_pictures(inputs)), masks


def to_floats(images: Tensor) -> Tensor:
    """Return images, uint8 [B, S, S, 3], as float32 [B, 3, S, S] in 0..1."""
    return images.permute(0, 3, 1, 2).float().div_(255)


def uniform(like: Tensor, *shape: int, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Return numbers between low and high, float32 [shape], on the device of another tensor."""
    return torch.empty(*shape, device=like.device).uniform_(low, high)


def some(like: Tensor, share: float) -> Tensor:
    """Draw a share of a batch: bool [B, 1, 1, 1]."""
    return uniform(like, len(like), 1, 1, 1, low=0.0) < share


def smooth_field(like: Tensor, channels: int, cells: int) -> Tensor:
    """Return smooth noise in -1..1 of cells x cells values, float32 [B, channels, S, S]."""
    grains = uniform(like, len(like), channels, cells, cells)
    return interpolate(grains, like.shape[-2:], mode="bicubic", align_corners=False)


def draw_cells(least: int, most: int) -> int:
    """Draw a whole number on the CPU, where nothing waits for it."""
    return int(torch.randint(least, most + 1, ()))


def move_faces(inputs: Tensor, masks: Tensor, behind: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror, turn, scale and shift faces with their masks, int64 [B, S, S] after it.

    Where the picture ends, its edge goes on, or a background begins.
    """
    count = len(inputs)
    scale, stretch = (SCALE * uniform(inputs, count)).exp(), (STRETCH * uniform(inputs, count)).exp()
    angle = ANGLE * uniform(inputs, count) * uniform(inputs, count).abs()
    mirror = torch.sign(uniform(inputs, count))
    maps = torch.empty(count, 2, 3, device=inputs.device)
    maps[:, 0, 0], maps[:, 0, 1] = mirror * scale * stretch * angle.cos(), -mirror * scale * angle.sin()
    maps[:, 1, 0], maps[:, 1, 1] = scale * stretch * angle.sin(), scale * angle.cos()
    maps[:, :, 2] = SHIFT * uniform(inputs, count, 2)
    grid = affine_grid(maps, list(inputs.shape), align_corners=False)
    grid = grid + WARP * smooth_field(inputs, 2, draw_cells(3, 6)).permute(0, 2, 3, 1)
    moved = grid_sample(inputs, grid, padding_mode="border", align_corners=False)
    labels = grid_sample(masks[:, None].float(), grid, "nearest", padding_mode="border", align_corners=False)
    ended = (grid.abs() > 1).any(3)[:, None] & some(inputs, 0.6)
    return torch.where(ended, behind, moved), torch.where(ended, BACKGROUND, labels)[:, 0].long()


def recolour_classes(inputs: Tensor, masks: Tensor) -> Tensor:
    """Change the colours of each pixel class by themselves, and draw a texture on them, in most faces."""
    strengths = torch.tensor([CLASS_BRIGHTNESS, CLASS_TINT, CLASS_TEXTURE, CLASS_LIFT])
    brightness, tint, texture, lift = strengths.to(inputs.device, non_blocking=True)[..., None]
    shape = (len(inputs), len(PIXEL_CLASSES))
    normal = torch.randn(*shape, 4, device=inputs.device)
    gain = (brightness * normal[..., :1] + tint * normal[..., 1:]).exp()
    lifted = lift * uniform(inputs, *shape, 1, low=0.0) * (uniform(inputs, *shape, 1) > 0)
    # One row per face and class: factors on three channels, the colour added, the texture's strength.
    table = torch.cat([gain * (1 - lifted), lifted * uniform(inputs, *shape, 3, low=0.0)], 2)
    table = torch.cat([table, (texture * uniform(inputs, *shape, 1))], 2)
    faces = torch.arange(len(inputs), device=inputs.device)[:, None, None]
    # Seven numbers per pixel, softened where two classes meet.
    changes = avg_pool2d(table[faces, masks].permute(0, 3, 1, 2), 3, 1, 1, count_include_pad=False)
    factor, added, pattern = changes.split((3, 3, 1), 1)
    field = smooth_field(inputs, 3, draw_cells(3, 24))
    changed = (inputs * factor + added) * (1 + 2 * pattern * field)
    return torch.where(some(inputs, 0.6), changed, inputs)


def cover_parts(inputs: Tensor, masks: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Cover a part of some faces by a piece of a background, which is background in the mask too."""
    size = inputs.shape[-1]
    steps = torch.linspace(-1, 1, size, device=inputs.device)
    x, y = uniform(inputs, len(inputs), 1, 1, 1), uniform(inputs, len(inputs), 1, 1, 1)
    wide, high = uniform(inputs, 2, len(inputs), 1, 1, 1, low=0.08, high=0.45)
    distance = ((steps - x) / wide) ** 2 + ((steps[:, None] - y) / high) ** 2
    blob = (distance + 0.8 * smooth_field(inputs, 1, draw_cells(3, 9)) < 1) & some(inputs, 0.3)
    return torch.where(blob, before, inputs), torch.where(blob[:, 0], BACKGROUND, masks)


def recolour_pictures(inputs: Tensor) -> Tensor:
    """Change light, brightness, contrast, white balance and saturation of pictures; some become grey."""
    shape = (len(inputs), 1, 1, 1)
    light = (LIGHT * smooth_field(inputs, 1, draw_cells(2, 4)) * some(inputs, 0.5)).exp()
    balance = (BALANCE * uniform(inputs, len(inputs), 3, 1, 1)).exp()
    changed = (inputs * light * balance).clamp(DARKEST, 1) ** (GAMMA * uniform(inputs, *shape)).exp()
    changed = (changed - 0.5) * (CONTRAST * uniform(inputs, *shape)).exp() + 0.5
    grey = changed.mean(1, keepdim=True)
    strength = (SATURATION * uniform(inputs, *shape, low=0.0)) * ~some(inputs, 0.08)
    return torch.where(some(inputs, 0.85), grey + (changed - grey) * strength, inputs).clamp(0, 1)


def spoil_pictures(inputs: Tensor) -> Tensor:
    """Blur or sharpen some pictures, shrink and enlarge some, and add noise, as cameras and files do."""
    shape, size = (len(inputs), 1, 1, 1), inputs.shape[-1]
    parts = []
    # By parts of the batch: all pictures of one are shrunk to the same size, half of the parts not at all.
    for number, part in enumerate(inputs.chunk(4)):
        if number % 2:
            side = draw_cells(round(SHRUNK * size), size)
            small = interpolate(part, (side, side), mode="bilinear", antialias=True)
            part = interpolate(small, (size, size), mode=("bilinear", "bicubic")[number // 2])
        parts.append(part)
    inputs = torch.cat(parts)
    softened = avg_pool2d(inputs, 3, stride=1, padding=1, count_include_pad=False)
    sharpened = inputs + SHARPNESS * uniform(inputs, *shape, low=-0.4) * some(inputs, 0.5) * (
        inputs - softened
    )
    noise = NOISE * uniform(inputs, *shape, low=0.0) ** 2 * torch.randn_like(inputs)
    return (sharpened + noise).clamp(0, 1)
