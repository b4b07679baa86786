"""The camera: a ray for every pixel, and the first thing each ray meets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from elfw_helpers.rendering.parameters import Pose
from elfw_helpers.rendering.scene import Scene

# Landmarks that decide the crop, in head units: eyes and mouth.
EYE, MOUTH = (0.32, 0.0, 0.66), (0.0, -0.72, 0.70)
HEAD_DEPTH = 0.7  # from the face plane, where the camera aims, to the middle of the head
HEAD_REACH = 1.9  # rays are followed from so far before the middle of the head to so far behind it
COARSE = 4  # side, in pixels, of the squares that one cone looks at first
HIT_DISTANCE = 0.01
MOST_STEPS = 10
LONGEST_LEAP = 0.08  # of a step beyond the distance that is surely free
ALMOST_THERE = 0.05  # what still walks after the last step, this near to a thing, has met it
# Traced rays that end within this of each other lie on one surface, up to a turn of its own ...
DEPTH_SPREAD = 0.12
# ... from which the ray between them is no farther than this.
STEP_BETWEEN = 0.03
BESIDE = ((0, 0), (0, 1), (1, 0), (1, 1))  # the four traced rays around a ray: down, right


@dataclass(frozen=True)
class Rays:
    """One ray per pixel, in head coordinates.

    origin: float32 [3, 1], the camera.
    directions: float32 [3, N], unit length; N is size * size, row by row.
    distance: from the camera to the middle of the head, head units.
    pixel: side of a pixel in the face plane, head units.
    size: pixels along a side of the picture.
    rotation: float32 [3, 3], from head to camera coordinates.
    """

    origin: np.ndarray
    directions: np.ndarray
    distance: float
    pixel: float
    size: int
    rotation: np.ndarray


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
    """Find the first thing that every ray meets, in three steps that each leave less to the next.

    One cone for COARSE x COARSE rays skips the empty space; every second ray of every second row is
    traced in full; and where the four traced rays around a ray agree, it meets the same surface
    between them, so that one look is enough. Only the others, along outlines, are traced as well.

    Returns:
        how far each ray went, float32 [N], and whether it met a thing, bool [N].
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
    distance = scene.nearest(rays.origin + travelled[near] * rays.directions[:, near])
    travelled[near] += distance
    hit[near] = np.abs(distance) < STEP_BETWEEN
    left = ~hit & ~empty
    left[lattice] = False
    left = np.flatnonzero(left)
    travelled[left] = start[left]
    march_rays(rays, scene, left, travelled, hit)
    return travelled, hit


def march_rays(rays: Rays, scene: Scene, chosen: np.ndarray, travelled: np.ndarray, hit: np.ndarray) -> None:
    """Walk the chosen rays on to the first thing they meet, and note in place how far that is.

    Sphere tracing: the distance to the nearest thing is how far a ray may go without meeting any, so step
    by that, again and again. Source: Hart, "Sphere Tracing", The Visual Computer 12 (1996). Along an
    outline such steps get ever shorter, so here a step goes where the last two distances, joined by a
    straight line, would be zero, and at least a pixel and a half on (curls would hold it up for long);
    one that went in too deep (a negative distance) is followed by one back.
    """
    end = rays.distance + HEAD_REACH
    alive = chosen[travelled[chosen] < end]
    here, directions = travelled[alive], rays.directions[:, alive]
    last = before = None
    for _ in range(MOST_STEPS):
        if len(alive) == 0:
            break
        distance = scene.nearest(rays.origin + here * directions)
        if last is None:
            step = np.float32(0.9) * distance
        else:
            fall = (last - distance) / np.maximum(np.abs(here - before), 1e-5)
            step = np.minimum(distance / np.clip(fall, 0.3, 1.2), distance + LONGEST_LEAP)
        close = distance < HIT_DISTANCE
        step = np.where(close, step, np.maximum(step, 1.5 * rays.pixel))
        travelled[alive] = here + step
        hit[alive[close]] = True
        walking = ~close & (here + step < end)
        before, last = here[walking], distance[walking]
        here, alive, directions = (here + step)[walking], alive[walking], directions[:, walking]
    if len(alive):
        hit[alive] = last < ALMOST_THERE


def join_lattice(depth: np.ndarray, hit: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the traced rays [S / 2, S / 2] say of all rays [S, S], which lie on or between them.

    Returns:
        depth joined linearly, float32 [S, S]; where the traced neighbours all hit at about that depth,
        bool [S, S]; and where they all missed, bool [S, S].
    """
    corners = np.stack([double(np.where(hit, depth, np.float32(-1e3)), *step) for step in BESIDE])
    low, high = corners.min(0), corners.max(0)
    between = 0.25 * (corners[0] + corners[1] + corners[2] + corners[3])
    return between, (low > -1e2) & (high - low < DEPTH_SPREAD), high < -1e2


def double(grid: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return `grid` [S, S] at twice the size: for each place the value on one side of it.

    Places between two rows (columns) of the grid take the upper (left) value for `down` (`right`) 0 and
    the lower (right) one for 1; the last row and column have only one side.
    """
    padded = np.pad(grid, ((0, 1), (0, 1)), mode="edge")
    size = len(grid)
    rows, columns = np.arange(2 * size), np.arange(2 * size)
    return padded[(rows + down) // 2][:, (columns + right) // 2]


def start_rays(rays: Rays, scene: Scene) -> np.ndarray:
    """Return how far every ray may safely go, float32 [N]: beyond the end for rays that meet nothing.

    One cone stands for COARSE x COARSE rays; it walks until something might be inside it. The start
    of a ray is the shortest of its own cone's and the neighbours' walks.
    """
    size, side = rays.size, rays.size // COARSE
    end = np.float32(rays.distance + HEAD_REACH)
    middle = rays.directions.reshape(3, size, size)[:, COARSE // 2 :: COARSE, COARSE // 2 :: COARSE].reshape(
        3, -1
    )
    radius = 0.9 * COARSE * rays.pixel
    walked = np.full(side * side, rays.distance - HEAD_REACH, np.float32)
    blocked = np.zeros(side * side, bool)
    alive = np.arange(side * side)
    for _ in range(6):
        if len(alive) == 0:
            break
        distance = scene.nearest(rays.origin + walked[alive] * middle[:, alive])
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
