"""The background of a face: walls, lights and shapes out of focus."""

from __future__ import annotations

import numpy as np

from elfw_helpers.rendering.colours import any_colour, column
from elfw_helpers.rendering.parameters import Background
from elfw_helpers.rendering.photo import blur
from elfw_helpers.rendering.random_streams import BACKGROUND, Sampler
from elfw_helpers.rendering.textures import stretch

# Cells down and across of the field that two colours are mixed by, and how strongly, by kind.
GRAINS = {
    "plain": (2, 2, 0.1),
    "clouds": (5, 5, 0.6),
    "stripes": (2, 24, 0.8),
    "shapes": (2, 2, 0.35),
    "lights": (2, 2, 0.35),
    "letters": (2, 2, 0.1),
}


def make_background(background: Background, size: int) -> np.ndarray:
    """Return a background, float32 [3, size * size], linear light."""
    # It is out of focus, so half the resolution is enough.
    sampler, half = Sampler(BACKGROUND, background.seed), size // 2
    rows, columns, strength = GRAINS[background.kind]
    field = smooth_field(sampler, half, rows, columns)
    picture = mix(background.first, background.second, 0.2 + strength * (field - 0.5))
    if background.kind in ("clouds", "stripes"):
        picture = picture * (0.6 + 0.8 * smooth_field(sampler, half, 2 * rows, 2 * columns))
    draw = {"lights": draw_light, "shapes": draw_block, "letters": draw_letter}.get(background.kind)
    for _ in range(int(sampler.uniform(4, 20)) if draw else 0):
        where = draw(sampler, half)
        # Writing on a wall is of one colour, other things are of many.
        colour = background.second if background.kind == "letters" else any_colour(sampler)
        picture[:, where] = column(colour)
    picture = enlarge(blur(picture, half * background.blur))
    return picture.reshape(3, -1) * np.float32(background.brightness)


def enlarge(picture: np.ndarray) -> np.ndarray:
    """Return a picture [3, S, S] at twice the size, interpolated linearly."""
    for _ in range(2):
        before = np.concatenate([picture[:, :1], picture[:, :-1]], axis=1)
        after = np.concatenate([picture[:, 1:], picture[:, -1:]], axis=1)
        pairs = np.stack([0.75 * picture + 0.25 * before, 0.75 * picture + 0.25 * after], axis=2)
        picture = pairs.reshape(3, -1, picture.shape[2]).swapaxes(1, 2)
    return picture


def mix(first, second, amount: np.ndarray) -> np.ndarray:
    """Return colours between `first` and `second`, float32 [3, S, S], by `amount` [S, S]."""
    first, second = column(first)[..., None], column(second)[..., None]
    return first + (second - first) * amount


def smooth_field(sampler: Sampler, size: int, rows: int, columns: int) -> np.ndarray:
    """Return a smooth random field of `rows` x `columns` cells in 0..1, float32 [size, size]."""
    return stretch(stretch(sampler.array(rows, columns), size).T, size).T


def draw_place(sampler: Sampler, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x [1, size] and y [size, 1] of the pixels from a random place, in sides of the picture."""
    steps = (np.arange(size, dtype=np.float32) + 0.5) / size
    return steps[None] - sampler.uniform(-0.1, 1.1), steps[:, None] - sampler.uniform(-0.1, 1.1)


def draw_light(sampler: Sampler, size: int) -> np.ndarray:
    """Return where a disc of light lies, bool [size, size]."""
    x, y = draw_place(sampler, size)
    return x * x + y * y < sampler.uniform(0.02, 0.1) ** 2


def draw_block(sampler: Sampler, size: int) -> np.ndarray:
    """Return where a slightly slanted block lies, bool [size, size]."""
    x, y = draw_place(sampler, size)
    slant = sampler.normal(0, 0.15)
    wide, high = sampler.uniform(0.02, 0.25), sampler.uniform(0.03, 0.5)
    return (np.abs(x + slant * y) < wide) & (np.abs(y - slant * x) < high)


def draw_letter(sampler: Sampler, size: int) -> np.ndarray:
    """Return where a shape like a letter lies, bool [size, size]: an upright and a level stroke."""
    x, y = draw_place(sampler, size)
    high, thick = sampler.uniform(0.04, 0.12), sampler.uniform(0.01, 0.03)
    upright = (np.abs(x) < thick) & (np.abs(y) < high)
    across = (np.abs(x - 0.5 * high) < 0.5 * high) & (np.abs(y + sampler.choose((-1, 0, 1)) * high) < thick)
    return upright | across
