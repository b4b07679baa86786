"""Signed distance functions and the smooth functions they are put together with.

A signed distance function says how far a point is from a surface: negative inside, positive outside.
Shapes add with `minimum`, are cut with `maximum`, and melt together with `smooth_union`.

Only + - * / and square roots of float32 are used: those, unlike sine or power, give the same bits on
every processor, and so every machine draws the same mask.

Source of the shapes: Inigo Quilez, https://iquilezles.org/articles/distfunctions/
"""

from __future__ import annotations

import numpy as np


def ellipsoid(x: np.ndarray, y: np.ndarray, z: np.ndarray, radius_x: float, radius_y: float, radius_z: float):
    """Return the (first-order) distance of points to an ellipsoid around the origin, float32 [N]."""
    a, b, c = x * (1 / radius_x), y * (1 / radius_y), z * (1 / radius_z)
    # Squared in place: this function is half of the renderer's work.
    a *= a
    b *= b
    c *= c
    length = np.sqrt(a + b + c)
    a *= 1 / radius_x**2
    b *= 1 / radius_y**2
    c *= 1 / radius_z**2
    a += b
    a += c
    gradient = np.sqrt(a, out=a)
    gradient += 1e-5
    return length * (length - 1) / gradient


def smooth_union(first: np.ndarray, second: np.ndarray, radius: float) -> np.ndarray:
    """Return the union of two shapes, melted together over `radius`."""
    overlap = np.maximum(radius - np.abs(first - second), 0)
    return np.minimum(first, second) - overlap * overlap * (0.25 / radius)


def smooth_cut(shape: np.ndarray, tool: np.ndarray, radius: float) -> np.ndarray:
    """Return `shape` without `tool`, the edge rounded over `radius`."""
    return -smooth_union(-shape, tool, radius)


def smoothstep(start: float, end: float, value: np.ndarray) -> np.ndarray:
    """Return 0 before `start`, 1 after `end`, and a smooth ramp between (`start` may be the larger)."""
    ramp = np.clip((value - start) * (1 / (end - start)), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def bump(value: np.ndarray) -> np.ndarray:
    """Return a bell of height 1 and half-width about 1: exp(-value^2) without the exponential."""
    bell = 1 / (1 + 0.5 * value * value)
    return bell * bell


def wave(phase: np.ndarray) -> np.ndarray:
    """Return a smooth wave in -1..1 with period 1, made of parabolas: a sine that is the same everywhere."""
    place = phase - np.floor(phase)
    place = 2 * place - 1
    return 4 * place * (np.abs(place) - 1)


def turn_around(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return where around the head points lie, -1..1: 0 in front, 0.5 at an ear. An angle without arctan."""
    side = x / (np.abs(x) + np.abs(z) + 1e-4)
    return 0.5 * np.where(z >= 0, side, np.where(x >= 0, 2 - side, -2 - side))
