"""Signed distance functions and the smooth functions they are put together with.

A signed distance function says how far a point is from a surface: negative inside, positive outside.
The `minimum` of two is their union, the `maximum` their intersection; `smooth_union` rounds the seam.

Only + - * / and square roots of float32 are used: unlike sine or power, they give the same bits on every
processor, so every machine renders the same mask.

Source of the shapes: Inigo Quilez, https://iquilezles.org/articles/distfunctions/
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

Triple = tuple[float, float, float]


def ellipsoid(x: np.ndarray, y: np.ndarray, z: np.ndarray, radius_x: float, radius_y: float, radius_z: float):
    """Return the (first-order) distance of points to an ellipsoid around the origin, float32 [N]."""
    return ellipsoids(np.array((x, y, z))[:, None], ((radius_x, radius_y, radius_z),))[0]


def ellipsoids(offsets: np.ndarray, radii: tuple[Triple, ...]) -> np.ndarray:
    """Return the (first-order) distances of points to K ellipsoids, float32 [K, N].

    Args:
        offsets: float32 [3, K, N], from the middle of each ellipsoid to the points; overwritten.
        radii: along x, y and z, of each ellipsoid.
    """
    # In place, here and in smooth_union, and all of a head at once: these two are half of the work.
    inverse, inverse_squared = inverse_radii(radii)
    offsets *= inverse
    offsets *= offsets
    x, y, z = offsets
    length = x + y
    length += z
    np.sqrt(length, out=length)
    offsets *= inverse_squared
    x += y
    x += z
    gradient = np.sqrt(x, out=x)
    gradient += 1e-5
    distance = np.subtract(length, 1, out=y)
    distance *= length
    distance /= gradient
    return distance


@lru_cache(maxsize=64)
def inverse_radii(radii: tuple[Triple, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return 1 / radius and 1 / radius^2 of K ellipsoids, float32 [3, K, 1] each."""
    column = np.array(radii, float).T[..., None]
    return (1 / column).astype(np.float32), (1 / column**2).astype(np.float32)


def capsule(x, y, z, start: tuple[float, float, float], end: tuple[float, float, float], radius: float):
    """Return the distance of points to a rod with round ends from `start` to `end`, float32 [N]."""
    along = [float(b - a) for a, b in zip(start, end, strict=True)]
    x, y, z = x - start[0], y - start[1], z - start[2]
    share = ((x * along[0] + y * along[1] + z * along[2]) * (1 / sum(a * a for a in along))).clip(0, 1)
    x, y, z = x - along[0] * share, y - along[1] * share, z - along[2] * share
    return np.sqrt(x * x + y * y + z * z) - radius


def smooth_union(first: np.ndarray, second: np.ndarray, radius: float) -> np.ndarray:
    """Return the union of two shapes, the seam rounded over `radius`."""
    overlap = first - second
    np.abs(overlap, out=overlap)
    np.subtract(radius, overlap, out=overlap)
    overlap += np.abs(overlap)  # twice the larger of overlap and 0, faster than np.maximum with a number
    overlap *= overlap
    overlap *= 0.0625 / radius
    return np.subtract(np.minimum(first, second), overlap, out=overlap)


def smooth_cut(shape: np.ndarray, tool: np.ndarray, radius: float) -> np.ndarray:
    """Return `shape` without `tool`, the edge rounded over `radius`."""
    return -smooth_union(-shape, tool, radius)


def positive(value: np.ndarray) -> np.ndarray:
    """Return the larger of `value` and 0: what `np.maximum` gives, in half the time."""
    return value.clip(0, np.inf)


def smoothstep(start: float, end: float, value: np.ndarray) -> np.ndarray:
    """Return 0 before `start`, 1 after `end`, and a smooth ramp between (`start` may be the larger)."""
    ramp = ((value - start) * (1 / (end - start))).clip(0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def bump(value: np.ndarray) -> np.ndarray:
    """Return a bell of height 1 and half-width about 1: exp(-value^2) without the exponential."""
    bell = 1 / (1 + 0.5 * value * value)
    return bell * bell


def wave(phase: np.ndarray) -> np.ndarray:
    """Return a smooth wave in -1..1 with period 1, made of parabolas: a sine that is the same everywhere."""
    place = phase - np.floor(phase)
    place *= 2
    place -= 1
    height = np.abs(place)
    height -= 1
    height *= place
    height *= 4
    return height


def turn_around(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return where around the head points lie, -1..1: 0 in front, 0.5 at an ear. An angle without arctan."""
    side = x / (np.abs(x) + np.abs(z) + 1e-4)
    return 0.5 * np.where(z >= 0, side, np.copysign(2 - np.abs(side), x))
