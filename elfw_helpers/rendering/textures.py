"""Random textures by value noise: random numbers on a grid, interpolated smoothly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from elfw_helpers.rendering.random_streams import TEXTURE, Sampler

TEXTURE_SIZE = 256


@dataclass(frozen=True)
class Textures:
    """The textures of one picture, float32 [256, 256] each, mean 0 and standard deviation 1, periodic."""

    blotches: np.ndarray  # clouds of every size, for skin and cloth
    strands: np.ndarray  # long and thin, for hair and beards
    curls: np.ndarray  # small and round, for curly hair and knitting


def make_textures(seed: int) -> Textures:
    """Return the textures of a seed: the same for all seeds, but shifted."""
    rows, columns = TEXTURE_SIZE - (TEXTURE_SIZE * Sampler(TEXTURE, seed).array(2)).astype(int)
    shifted = np.s_[rows : rows + TEXTURE_SIZE, columns : columns + TEXTURE_SIZE]
    return Textures(*(np.ascontiguousarray(texture[shifted]) for texture in vars(base_textures()).values()))


@lru_cache(maxsize=1)
def base_textures() -> Textures:
    """Return the textures that those of all seeds are cut from, two periods each way; made once a process."""
    sampler = Sampler(TEXTURE)
    textures = (
        value_noise(sampler, 6, 6, octaves=5),
        value_noise(sampler, 2, 40, octaves=3, fall=0.7),
        value_noise(sampler, 24, 24, octaves=3),
    )
    return Textures(*(np.tile(texture, (2, 2)) for texture in textures))


def value_noise(sampler: Sampler, rows: int, columns: int, octaves: int, fall: float = 0.55) -> np.ndarray:
    """Return periodic noise, float32 [256, 256], of mean 0 and standard deviation 1.

    The first octave has `rows` x `columns` cells; each further one has twice as many, times `fall` as strong.
    """
    total, strength = np.zeros((TEXTURE_SIZE, TEXTURE_SIZE), np.float32), 1.0
    for octave in range(octaves):
        grid = 2 * sampler.array(rows << octave, columns << octave) - 1
        total += strength * stretch(stretch(grid, TEXTURE_SIZE).T, TEXTURE_SIZE).T
        strength *= fall
    # In float64 and rounded, so that the order of addition makes no difference.
    mean, spread = round(float(total.mean(dtype=float)), 4), round(float(total.std(dtype=float)), 4)
    return (total - mean) * (1 / spread)


def stretch(grid: np.ndarray, size: int) -> np.ndarray:
    """Return `grid` [rows, columns] interpolated smoothly to `size` rows, periodically."""
    rows = len(grid)
    place = np.arange(size, dtype=np.float32) * (rows / size)
    index = place.astype(np.int32)
    step = (place - index)[:, None]
    step = step * step * (3 - 2 * step)
    first, second = grid[index % rows], grid[(index + 1) % rows]
    return first + (second - first) * step


def look_up(texture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the texture at (u, v), counted in periods, float32 [N]."""
    columns = np.floor(u * TEXTURE_SIZE).astype(np.int32) & (TEXTURE_SIZE - 1)
    rows = np.floor(v * TEXTURE_SIZE).astype(np.int32) & (TEXTURE_SIZE - 1)
    return texture.take(TEXTURE_SIZE * rows + columns)
