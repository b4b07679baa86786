"""The points where the rays met a surface, with all that painting and lighting need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from elfw_helpers.rendering.camera import Rays
from elfw_helpers.rendering.parameters import FaceParameters
from elfw_helpers.rendering.scene import Scene
from elfw_helpers.rendering.textures import Textures

# The corners of a tetrahedron: four samples are enough for a gradient in three dimensions.
CORNERS = np.array([(1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)], np.float32)
NORMAL_STEP = 0.012
# Strands are painted; their full relief would make the light on them flicker from pixel to pixel.
RELIEF_IN_LIGHT = 0.4


@dataclass(frozen=True)
class Surface:
    """The points where rays ended."""

    face: FaceParameters
    scene: Scene
    rays: Rays
    textures: Textures
    pixels: np.ndarray  # int64 [N], which ray of the picture each point belongs to
    points: np.ndarray  # float32 [3, N], head units
    things: np.ndarray  # uint8 [N], SKIN, HAIR, ... of `scene`
    normals: np.ndarray  # float32 [3, N], unit length
    to_camera: np.ndarray  # float32 [3, N], unit length


def find_surface(
    scene: Scene, rays: Rays, travelled: np.ndarray, hit: np.ndarray, textures: Textures
) -> Surface:
    """Return the surface that the rays met."""
    pixels = np.flatnonzero(hit)
    directions = rays.directions.take(pixels, axis=1)
    points = rays.origin + travelled[pixels] * directions
    things = scene.objects(points)
    normals = np.empty_like(points)
    for thing in scene.things:
        chosen = np.flatnonzero(things == thing)
        normals[:, chosen] = surface_normals(scene, thing, points.take(chosen, axis=1))
    return Surface(scene.face, scene, rays, textures, pixels, points, things, normals, -directions)


def surface_normals(scene: Scene, thing: int, points: np.ndarray) -> np.ndarray:
    """Return the outward direction at points on a thing, float32 [3, N]: the gradient of its distance."""
    looks = np.concatenate([points + NORMAL_STEP * corner for corner in CORNERS[:, :, None]], axis=1)
    found = np.split(scene.nearest(looks, RELIEF_IN_LIGHT, thing), len(CORNERS))
    return unit_vectors(sum(corner * step for corner, step in zip(CORNERS[:, :, None], found, strict=True)))


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Return vectors [3, N] scaled to length 1."""
    return vectors / (np.sqrt(dot(vectors, vectors)) + 1e-6)


def dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the dot products of vectors [3, N], float32 [N], added in a fixed order."""
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]
