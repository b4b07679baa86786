"""Gives an object the colours or the light of a face, in l-alpha-beta: axes that hardly correlate.

Source: Reinhard et al., "Color Transfer between Images", IEEE Computer Graphics and Applications 21 (2001).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# From red, green and blue to the responses of the eye's three kinds of cones.
CONES = np.array([(0.3811, 0.5783, 0.0402), (0.1967, 0.7244, 0.0782), (0.0241, 0.1288, 0.8444)])
# From their logarithms to l (light - dark), alpha (yellow - blue) and beta (red - green).
AXES = np.array([(1, 1, 1), (1, 1, -2), (1, -1, 0)]) / np.sqrt([[3], [6], [2]])
DARKEST = 1 / 255  # the logarithm of 0 has no bound

# By how much the light on an object may change in l, alpha and beta.
LIGHT_LIMITS = np.array([0.35, 0.06, 0.06])
# The factors by which the contrast of a hand may change.
CONTRAST_LIMITS = (0.4, 1.3)


class SkinColours(NamedTuple):
    """The colours of a face's skin: mean and standard deviation in l-alpha-beta, float64 [3] each."""

    mean: np.ndarray
    deviation: np.ndarray


def to_lab(colours: np.ndarray) -> np.ndarray:
    """Return l, alpha, beta, float64 [..., 3], of RGB, uint8 [..., 3]."""
    return np.log10(np.maximum(colours / 255 @ CONES.T, DARKEST)) @ AXES.T


def from_lab(lab: np.ndarray) -> np.ndarray:
    """Return RGB, float64 [..., 3] in 0..255, of l, alpha, beta [..., 3]."""
    return np.clip(255 * (10 ** (lab @ AXES) @ np.linalg.inv(CONES).T), 0, 255)


def measure_skin(pixels: np.ndarray) -> SkinColours:
    """Return mean and deviation of skin's pixels, uint8 [N, 3]."""
    lab = to_lab(pixels)
    return SkinColours(lab.mean(0), lab.std(0))


def match_skin(colours: np.ndarray, source: SkinColours, target: SkinColours) -> np.ndarray:
    """Return a hand's colours with the mean and deviation of a face's skin, as ELFW's authors do.

    Args:
        colours: uint8 [..., 3]; the result is float64, in 0..255.
        source: the skin that was rendered with them.
        target: the skin of the face that the object is put on.
    """
    contrast = np.clip(target.deviation / np.maximum(source.deviation, 1e-6), *CONTRAST_LIMITS)
    return from_lab((to_lab(colours) - source.mean) * contrast + target.mean)


def match_light(colours: np.ndarray, source: SkinColours, target: SkinColours) -> np.ndarray:
    """Return an object's colours moved as the mean of the skin moves; arguments as in `match_skin`.

    Skins differ in themselves, not only by the light on them, so the change is limited.
    """
    change = np.clip(target.mean - source.mean, -LIGHT_LIMITS, LIGHT_LIMITS)
    return from_lab(to_lab(colours) + change)
