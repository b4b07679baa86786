"""The camera: one ray per pixel, traced to the first thing that it meets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np

from elfw_helpers.rendering.parameters import Pose
from elfw_helpers.rendering.scene import Scene

# Landmarks that decide the crop, in head units: eyes and mouth.
EYE, MOUTH = (0.32, 0.0, 0.66), (0.0, -0.72, 0.70)
HEAD_DEPTH = 0.7  # from the face plane, where the camera aims, to the middle of the head
HEAD_REACH = 1.9  # rays are followed from this far before the middle of the head to as far behind it
COARSE = 4  # side, in pixels, of the squares that one cone looks at first
HIT_DISTANCE = 0.01
MOST_STEPS = 10
LONGEST_LEAP = 0.08  # by which a step may exceed the distance that is surely free
ALMOST_THERE = 0.05  # a ray this near to a thing after its last step has met it
# Traced rays that end within this of each other lie on one surface, up to a turn of its own ...
DEPTH_SPREAD = 0.12
# ... from which the ray between them is no farther than this.
STEP_BETWEEN = 0.03
BESIDE = ((0, 0), (0, 1), (1, 0), (1, 1))  # the four traced rays around a ray: down, right


@dataclass(frozen=True)
class Rays:
    """One ray per pixel, in head coordinates and head units."""

    origin: np.ndarray  # float32 [3, 1], the camera
    directions: np.ndarray  # float32 [3, N], unit length; N is size * size, row by row
    distance: float  # from the camera to the middle of the head
    pixel: float  # side of a pixel in the face plane
    size: int  # pixels along a side of the picture
    rotation: np.ndarray  # float32 [3, 3], from head to camera coordinates


def rotation_matrix(pose: Pose) -> np.ndarray:
    """Return the rotation from head to camera coordinates: yaw, then pitch, then roll, float32 [3, 3]."""
    (cy, sy), (cp, sp), (cr, sr) = [(math.cos(a), math.sin(a)) for a in (pose.yaw, pose.pitch, pose.roll)]
    rows = (
        (cr * cy - sr * sp * sy, -sr * cp, cr * sy + sr * sp * cy),
        (sr * cy + cr * sp * sy, cr * cp, sr * sy - cr * sp * cy),
        (-cp * sy, sp, cp * cy),
    )
    return np.array(rows, np.float32)


def rotate(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return `matrix` [3, 3] times `vectors` [3, N], added in a fixed order (a BLAS need not)."""
    x, y, z = vectors
    return np.stack([row[0] * x + row[1] * y + row[2] * z for row in matrix])


def make_rays(pose: Pose, size: int) -> Rays:
    """Return the rays of a portrait, cropped around eyes and mouth wherever the head is turned.

    The square's half side is the larger of 2 eye distances and 1.8 times eyes to mouth, times the
    pose's zoom, as in FFHQ and CelebA-HQ.
    Source: Karras et al., "A Style-Based Generator Architecture for GANs", appendix A.
    """
    matrix = rotation_matrix(pose)
    marks = rotate(matrix, np.array([EYE, (-EYE[0], *EYE[1:]), MOUTH], np.float32).T).astype(float)
    eyes, eye_line = (marks[:, 0] + marks[:, 1]) / 2, marks[:, 0] - marks[:, 1]
    mouth_line = marks[:, 2] - eyes
    half = pose.zoom * max(2 * math.hypot(*eye_line[:2]), 1.8 * math.hypot(*mouth_line[:2]))
    aim = eyes + 0.1 * mouth_line
    camera = aim + np.array([pose.shift_x * half, -pose.shift_y * half, pose.distance])
    steps = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1) * np.float32(half)
    x, y = np.broadcast_to(steps, (size, size)).ravel(), np.repeat(-steps, size)
    length = np.sqrt(x * x + y * y + np.float32(pose.distance**2))
    directions = np.stack([x, y, np.full_like(x, -pose.distance)]) / length
    return Rays(
        origin=rotate(matrix.T, camera.astype(np.float32)[:, None]),
        directions=rotate(matrix.T, directions),
        distance=pose.distance + HEAD_DEPTH,
        pixel=2 * half / size,
        size=size,
        rotation=matrix,
    )


def trace_rays(rays: Rays, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each ray goes, float32 [N], and whether it meets a thing, bool [N].

    One cone per COARSE x COARSE rays skips the empty space. Every second ray of every second row is traced.
    Where the four traced rays around a ray agree, it meets the same surface between them, at a distance
    that one step finds. Only the other rays, along outlines, are traced as well.
    """
    size, travelled = rays.size, start_rays(rays, scene)
    start = travelled.copy()
    hit = np.zeros(size * size, bool)
    lattice = np.arange(size * size).reshape(size, size)[::2, ::2]
    march_rays(rays, scene, lattice.ravel(), travelled, hit)
    between, agree, empty = (grid.ravel() for grid in join_lattice(travelled[lattice], hit[lattice]))
    agree[lattice] = False
    near = np.flatnonzero(agree)
    travelled[near] = between[near]
    distance = scene.nearest(rays.origin + travelled[near] * rays.directions.take(near, axis=1))
    travelled[near] += distance
    hit[near] = np.abs(distance) < STEP_BETWEEN
    left = ~hit & ~empty
    left[lattice] = False
    left = np.flatnonzero(left)
    travelled[left] = start[left]
    march_rays(rays, scene, left, travelled, hit)
    return travelled, hit


def march_rays(rays: Rays, scene: Scene, chosen: np.ndarray, travelled: np.ndarray, hit: np.ndarray) -> None:
    """Follow the chosen rays to the first thing they meet; changes `travelled` and `hit` in place.

    Sphere tracing: a ray may safely go as far as the nearest thing is, again and again. Source: Hart, "Sphere
    Tracing", The Visual Computer 12 (1996). Along an outline such steps get ever shorter. So a step goes to
    where a straight line through the last two distances is zero, and at least a pixel and a half. After a
    step into a thing (a negative distance) the next one goes back.
    """
    end = rays.distance + HEAD_REACH
    alive = chosen[travelled[chosen] < end]
    here, directions = travelled[alive], rays.directions.take(alive, axis=1)
    last = before = None
    for _ in range(MOST_STEPS):
        if len(alive) == 0:
            break
        distance = scene.nearest(rays.origin + here * directions)
        if last is None:
            step = np.float32(0.9) * distance
        else:
            fall = (last - distance) / np.maximum(np.abs(here - before), 1e-5)
            step = np.minimum(distance / fall.clip(0.3, 1.2), distance + LONGEST_LEAP)
        close = distance < HIT_DISTANCE
        step = np.where(close, step, np.maximum(step, 1.5 * rays.pixel))
        there = here + step
        travelled[alive] = there
        hit[alive[close]] = True
        walking = np.flatnonzero(~close & (there < end))
        before, last = here[walking], distance[walking]
        here, alive, directions = there[walking], alive[walking], directions.take(walking, axis=1)
    if len(alive):
        hit[alive] = last < ALMOST_THERE


def join_lattice(depth: np.ndarray, hit: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interpolate the traced rays [S / 2, S / 2] to all rays, which lie on or between them.

    Returns, [S, S] each: the depth; where the traced neighbours all hit at about that depth; and where they
    all missed.
    """
    depth, half = np.where(hit, depth, np.float32(-1e3)), len(depth)
    # For each ray the four traced ones around it; at the last row and column the edge is repeated.
    sides = [np.minimum((np.arange(2 * half) + step) // 2, half - 1) for step in (0, 1)]
    corners = [depth.take(sides[down], axis=0).take(sides[right], axis=1) for down, right in BESIDE]
    low, high = reduce(np.minimum, corners), reduce(np.maximum, corners)
    between = 0.25 * (corners[0] + corners[1] + corners[2] + corners[3])
    return between, (low > -1e2) & (high - low < DEPTH_SPREAD), high < -1e2


def start_rays(rays: Rays, scene: Scene) -> np.ndarray:
    """Return how far every ray may safely go, float32 [N]: beyond the end for rays that meet nothing.

    A cone of COARSE x COARSE rays goes on until something may be inside it. A ray starts where the first of
    its own and the neighbouring cones stopped.
    """
    size, side = rays.size, rays.size // COARSE
    end = np.float32(rays.distance + HEAD_REACH)
    centres = np.arange(COARSE // 2, size, COARSE)
    middle = rays.directions.reshape(3, size, size)[:, centres[:, None], centres].reshape(3, -1)
    radius = 0.9 * COARSE * rays.pixel
    walked = np.full(side * side, rays.distance - HEAD_REACH, np.float32)
    blocked = np.zeros(side * side, bool)
    alive = np.arange(side * side)
    for _ in range(6):
        if len(alive) == 0:
            break
        distance = scene.nearest(rays.origin + walked[alive] * middle.take(alive, axis=1))
        near = distance < radius
        blocked[alive[near]] = True
        alive, step = alive[~near], distance[~near] - 0.4 * radius
        walked[alive] += step
        alive = alive[walked[alive] < end]
    blocked[alive] = True
    walked[~blocked] = end + 2
    padded = np.pad(walked.reshape(side, side), 1, mode="edge")
    shortest = np.minimum.reduce([padded[i : i + side, j : j + side] for i in range(3) for j in range(3)])
    return np.repeat(np.repeat(shortest, COARSE, 0), COARSE, 1).ravel() - np.float32(0.3 * radius)
