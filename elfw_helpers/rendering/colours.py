"""Colours of skin, hair, eyes and cloth, in linear light (which adds up, unlike the values of a screen)."""

from __future__ import annotations

import numpy as np

from elfw_helpers.rendering.random_streams import Sampler

Colour = tuple[float, float, float]

GAMMA = 2.2

# From light to dark; a person's tone is a point anywhere along this line (sRGB).
SKIN_TONES = ((246, 214, 196), (234, 190, 165), (216, 168, 142), (186, 134, 106), (142, 97, 76), (90, 60, 48))
HAIR_TONES = {
    "black": (22, 18, 17),
    "dark brown": (45, 31, 25),
    "brown": (82, 56, 39),
    "light brown": (122, 86, 58),
    "auburn": (124, 60, 36),
    "blond": (190, 150, 96),
    "light blond": (226, 198, 150),
}
GREY_HAIR = (186, 184, 180)
EYE_TONES = ((62, 40, 28), (44, 30, 22), (86, 110, 134), (92, 100, 62), (112, 82, 46))
LIPSTICKS = ((190, 60, 70), (150, 30, 40), (215, 120, 120), (170, 90, 85))


def to_linear(colour: tuple[float, ...]) -> Colour:
    """Turn an sRGB colour (0..255) into linear light (0..1)."""
    return tuple(round((channel / 255) ** GAMMA, 4) for channel in colour)


def mix_colours(first: Colour, second: Colour, amount: float) -> Colour:
    """Return `first` at amount 0, `second` at amount 1."""
    return tuple(round(a + (b - a) * amount, 4) for a, b in zip(first, second, strict=True))


def scale_colour(colour: Colour, factor: float) -> Colour:
    """Return the colour, brighter or darker by `factor`."""
    return tuple(round(channel * factor, 4) for channel in colour)


def skin_colour(tone: float, warmth: float) -> Colour:
    """Return the colour of skin.

    Args:
        tone: 0 light .. 1 dark, a point on SKIN_TONES.
        warmth: above 0 more yellow and red, below 0 paler.
    """
    place = tone * (len(SKIN_TONES) - 1)
    first = min(int(place), len(SKIN_TONES) - 2)
    red, green, blue = mix_colours(
        to_linear(SKIN_TONES[first]), to_linear(SKIN_TONES[first + 1]), place - first
    )
    return (red, green, round(blue * (1 - warmth), 4))


def any_colour(sampler: Sampler, saturation: float = 1.0) -> Colour:
    """Draw a colour of clothes or walls: many are grey, some vivid."""
    grey = 255 * sampler.uniform(0.04, 0.9)
    spread = saturation * sampler.choose((14, 70))
    return to_linear([min(max(grey + sampler.normal(0, spread), 5), 250) for _ in range(3)])


def column(colour: Colour) -> np.ndarray:
    """Return a colour as float32 [3, 1], to be mixed with [3, N] pixels."""
    return np.array(colour, np.float32)[:, None]
