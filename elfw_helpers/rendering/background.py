"""What is behind a face: walls, lights and shapes out of focus."""

from __future__ import annotations

import numpy as np

from elfw_helpers.rendering.colours import any_colour
from elfw_helpers.rendering.photo import blur
from elfw_helpers.rendering.sampling import Sampler
from elfw_helpers.rendering.textures import stretch


def make_background(sampler: Sampler, size: int) -> np.ndarray:
    """Return a background, float32 [3, size * size], linear light."""
    kind = sampler.choose(("plain", "clouds", "shapes", "lights"), (0.3, 0.25, 0.3, 0.15))
    first, second = any_colour(sampler, 0.6), any_colour(sampler, 0.6)
    strength = {"plain": 0.1, "clouds": 0.6}.get(kind, 0.35)
    field = smooth_field(sampler, size, cells=5 if kind == "clouds" else 2)
    picture = mix(first, second, 0.5 + strength * (field - 0.5))
    if kind == "clouds":
        picture = picture * (0.6 + 0.8 * smooth_field(sampler, size, cells=11))[..., None]
    if kind in ("shapes", "lights"):
        for _ in range(int(sampler.uniform(4, 20))):
            where = draw_light(sampler, size) if kind == "lights" else draw_block(sampler, size)
            picture = np.where(where[..., None], np.array(any_colour(sampler), np.float32), picture)
    brightness = 0.05 if sampler.chance(0.1) else sampler.uniform(0.4, 1.3)
    picture = blur(picture, size * (0.004 + 0.03 * sampler.uniform() ** 2))
    return np.ascontiguousarray(picture.reshape(-1, 3).T) * np.float32(brightness)


def mix(first, second, amount: np.ndarray) -> np.ndarray:
    """Return colours between `first` and `second`, float32 [S, S, 3], by `amount` [S, S]."""
    first, second = np.array(first, np.float32), np.array(second, np.float32)
    return first + (second - first) * amount[..., None]


def smooth_field(sampler: Sampler, size: int, cells: int) -> np.ndarray:
    """Return a smooth field of numbers in 0..1, float32 [size, size]."""
    return stretch(stretch(sampler.array(cells, cells), size).T, size).T


def coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x [1, size] and y [size, 1] of the pixels, 0..1 across the picture."""
    steps = (np.arange(size, dtype=np.float32) + 0.5) / size
    return steps[None], steps[:, None]


def draw_light(sampler: Sampler, size: int) -> np.ndarray:
    """Return where a disc of light lies, bool [size, size]."""
    x, y = coordinates(size)
    x, y = x - sampler.uniform(-0.1, 1.1), y - sampler.uniform(-0.1, 1.1)
    return x * x + y * y < sampler.uniform(0.02, 0.1) ** 2


def draw_block(sampler: Sampler, size: int) -> np.ndarray:
    """Return where a slightly slanted block lies, bool [size, size]."""
    x, y = coordinates(size)
    x, y, slant = x - sampler.uniform(-0.1, 1.1), y - sampler.uniform(-0.1, 1.1), sampler.normal(0, 0.15)
    wide, high = sampler.uniform(0.02, 0.25), sampler.uniform(0.03, 0.5)
    return (np.abs(x + slant * y) < wide) & (np.abs(y - slant * x) < high)
