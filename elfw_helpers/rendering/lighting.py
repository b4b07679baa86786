"""Light: one lamp with soft shadows, a sky that reaches less into corners, and shine on skin and hair."""

from __future__ import annotations

import numpy as np

from elfw_helpers.rendering.camera import rotate
from elfw_helpers.rendering.colours import column
from elfw_helpers.rendering.scene import HAIR, SKIN
from elfw_helpers.rendering.surface import Surface, dot, normalise
from elfw_helpers.rendering.textures import look_up

SKY_REACH = 0.16  # how far from a surface a neighbour still takes light from it
SHADOW_STEPS = (0.05, 0.1, 0.19, 0.36, 0.7)


def light_surface(surface: Surface, colour: np.ndarray, gloss: np.ndarray) -> np.ndarray:
    """Return the light that reaches the camera, float32 [3, N].

    Args:
        colour: float32 [3, N], share of each channel that the surface sends back.
        gloss: float32 [N], strength of the highlight.
    """
    light, hair = surface.face.light, surface.things == HAIR
    lamp = lamp_direction(surface)
    facing = dot(surface.normals, lamp)
    shadow = soft_shadow(surface, lamp)
    # Light scatters under the skin and softens the border of the shadow; cloth has less of that.
    wrap = np.where(surface.things == SKIN, light.softness, 0.1).astype(np.float32)
    diffuse = np.clip((facing + wrap) / (1 + wrap), 0, 1) * shadow
    middle = normalise(surface.to_camera + lamp)
    highlight = power_16(np.clip(dot(surface.normals, middle), 0, 1)) * shadow
    along, across = strand_terms(surface, lamp, middle)
    lit = np.clip(facing + 0.5, 0, 1) * shadow
    diffuse = np.where(hair, 0.5 * diffuse + 0.5 * along * lit, diffuse)
    highlight = np.where(hair, across * lit, highlight)
    up = rotate(surface.rays.rotation, surface.normals)[1]
    sky = sky_share(surface) * np.where(hair, 0.7, 1).astype(np.float32) * (0.75 + 0.25 * up)
    return colour * (column(light.lamp) * diffuse + column(light.sky) * sky) + column(light.lamp) * (
        2 * gloss * highlight
    )


def lamp_direction(surface: Surface) -> np.ndarray:
    """Return the direction to the lamp in head coordinates, float32 [3, 1]."""
    direction = np.array(surface.face.light.direction, np.float32)[:, None]
    return rotate(surface.rays.rotation.T, direction)


def power_16(value: np.ndarray) -> np.ndarray:
    """Return value ** 16, by squaring: the same bits on every machine."""
    for _ in range(4):
        value = value * value
    return value


def sky_share(surface: Surface) -> np.ndarray:
    """Return how much of the sky a point sees, float32 [N]: little where something stands near."""
    ahead = surface.points + SKY_REACH * surface.normals
    return np.clip(0.25 + 0.75 / SKY_REACH * surface.scene.nearest(ahead), 0, 1)


def soft_shadow(surface: Surface, lamp: np.ndarray) -> np.ndarray:
    """Return how much of the lamp a point sees, float32 [N].

    A few looks towards the lamp: the closer a look passes by something, seen from the point, the
    more of the lamp is hidden.
    """
    seen = np.ones(surface.points.shape[1], np.float32)
    start = surface.points + 0.03 * surface.normals
    for step in SHADOW_STEPS:
        clearance = surface.scene.nearest(start + step * lamp)
        seen = np.minimum(seen, np.clip(0.5 + 3.5 / step * clearance, 0, 1))
    return seen


def strand_terms(surface: Surface, lamp: np.ndarray, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the diffuse and the shiny light on hanging strands, float32 [N] each.

    Source: Kajiya and Kay, "Rendering Fur with Three Dimensional Textures", SIGGRAPH 1989.
    """
    x, y, _ = surface.points
    strand = surface.normals[1] * surface.normals
    strand[1] -= 1
    strand[0] += 0.25 * look_up(surface.textures.strands, x, 0.3 * y)
    strand = normalise(strand)
    lamp_along, middle_along = dot(strand, lamp), dot(strand, middle)
    diffuse = np.sqrt(np.clip(1 - lamp_along * lamp_along, 0, 1))
    return diffuse, power_16(np.clip(1 - middle_along * middle_along, 0, 1))
