"""Lights a surface: a lamp with soft shadows, a sky that reaches less into corners, and highlights."""

from __future__ import annotations

from functools import reduce

import numpy as np

from elfw_helpers.rendering.camera import BESIDE, rotate
from elfw_helpers.rendering.colours import column
from elfw_helpers.rendering.scene import HAIR, SKIN
from elfw_helpers.rendering.surface import Surface, dot, unit_vectors
from elfw_helpers.rendering.textures import look_up

SKY_REACH = 0.16  # how far from a surface a neighbour still takes light from it
SHADOW_STEPS = (0.05, 0.1, 0.19, 0.36, 0.7)


def light_surface(surface: Surface, colour: np.ndarray, gloss: np.ndarray) -> np.ndarray:
    """Return the light that reaches the camera, float32 [3, N].

    `colour` [3, N] is the share of each channel that the surface reflects, `gloss` [N] the strength of the
    highlight.
    """
    light, hair = surface.face.light, surface.things == HAIR
    lamp = lamp_direction(surface)
    facing = dot(surface.normals, lamp)
    shadow, sky = shade_surface(surface, lamp)
    # Light scatters under the skin, which softens the border of the shadow; less so in cloth.
    wrap = np.where(surface.things == SKIN, light.softness, 0.1).astype(np.float32)
    diffuse = ((facing + wrap) / (1 + wrap)).clip(0, 1) * shadow
    middle = unit_vectors(surface.to_camera + lamp)
    highlight = power_16(np.clip(dot(surface.normals, middle), 0, 1)) * shadow
    along, across = strand_terms(surface, lamp, middle)
    lit = (facing + 0.5).clip(0, 1) * shadow
    diffuse = np.where(hair, 0.5 * diffuse + 0.5 * along * lit, diffuse)
    highlight = np.where(hair, across * lit, highlight)
    up = rotate(surface.rays.rotation, surface.normals)[1]
    sky = sky * np.where(hair, 0.7, 1).astype(np.float32) * (0.75 + 0.25 * up)
    shine = column(light.lamp) * (2 * gloss * highlight)
    return colour * (column(light.lamp) * diffuse + column(light.sky) * sky) + shine


def lamp_direction(surface: Surface) -> np.ndarray:
    """Return the direction to the lamp in head coordinates, float32 [3, 1]."""
    direction = np.array(surface.face.light.direction, np.float32)[:, None]
    return rotate(surface.rays.rotation.T, direction)


def power_16(value: np.ndarray) -> np.ndarray:
    """Return value ** 16, by squaring: the same bits on every machine."""
    for _ in range(4):
        value = value * value
    return value


def shade_surface(surface: Surface, lamp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how much of the lamp and how much of the sky every point sees, float32 [N] each.

    Both change slowly, so they are computed for every second pixel of every second row. The points between
    take the mean of those around them that lie on the same thing.
    """
    size, half = surface.rays.size, surface.rays.size // 2
    rows = surface.pixels // size
    columns = surface.pixels - size * rows
    looked = (rows % 2 == 0) & (columns % 2 == 0)
    found = np.full(half * half, 255, np.uint8)  # no thing
    found[rows[looked] // 2 * half + columns[looked] // 2] = surface.things[looked]
    beside = [
        np.minimum((rows + down) // 2, half - 1) * half + np.minimum((columns + right) // 2, half - 1)
        for down, right in BESIDE
    ]
    same = [found[place] == surface.things for place in beside]
    alone = ~(same[0] | same[1] | same[2] | same[3])
    chosen = np.flatnonzero(looked | alone)
    shares = np.zeros((2, len(rows)), np.float32)
    shares[:, chosen] = look_around(surface, chosen, lamp)
    lattice = np.zeros((2, half * half), np.float32)
    lattice[:, rows[looked] // 2 * half + columns[looked] // 2] = shares[:, looked]
    total, count = shares * alone, alone.astype(np.float32)
    for place, fits in zip(beside, same, strict=True):
        total += fits * lattice.take(place, axis=1)
        count += fits
    shadow, sky = total / count
    return shadow, sky


def look_around(surface: Surface, chosen: np.ndarray, lamp: np.ndarray) -> np.ndarray:
    """Return how much of the lamp and of the sky the chosen points see, float32 [2, number chosen].

    The sky is hidden where something is near. The lamp is hidden more where something is closer to a few
    points on the way to it, relative to their distance.
    """
    points, normals = surface.points.take(chosen, axis=1), surface.normals.take(chosen, axis=1)
    start = points + 0.03 * normals
    looks = [points + SKY_REACH * normals, *(start + step * lamp for step in SHADOW_STEPS)]
    # One call on many points takes less time than many on few.
    sky, *free = np.split(surface.scene.nearest(np.concatenate(looks, axis=1)), len(looks))
    clear = reduce(np.minimum, [look * (3.5 / step) for look, step in zip(free, SHADOW_STEPS, strict=True)])
    return np.stack([(0.5 + clear).clip(0, 1), (0.25 + 0.75 / SKY_REACH * sky).clip(0, 1)])


def strand_terms(surface: Surface, lamp: np.ndarray, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the diffuse and the shiny light on hanging strands, float32 [N] each.

    Source: Kajiya and Kay, "Rendering Fur with Three Dimensional Textures", SIGGRAPH 1989.
    """
    x, y, _ = surface.points
    strand = surface.normals[1] * surface.normals
    strand[1] -= 1
    strand[0] += 0.25 * look_up(surface.textures.strands, x, 0.3 * y)
    strand = unit_vectors(strand)
    lamp_along, middle_along = dot(strand, lamp), dot(strand, middle)
    diffuse = np.sqrt(np.clip(1 - lamp_along * lamp_along, 0, 1))
    return diffuse, power_16(np.clip(1 - middle_along * middle_along, 0, 1))
