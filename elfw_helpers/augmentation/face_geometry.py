"""Finds where a face is from its pixel labels alone: no landmark model, only the shape of skin and hair.

An oval is moved, scaled and turned until as much as possible of it is face, and as little as possible of a
ring around it. The ring is open below, where the neck may be skin too. Where skin and hair lie in and around
the oval then tells where in it the eyes are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from elfw_helpers.data.labels import BEARD, EYEWEAR, HAIR, MOUTH_MASK, SKIN, WEARABLE
from elfw_helpers.utils.errors import ElfwError

FACE, HAIR_OR_HEADWEAR = (SKIN, BEARD, EYEWEAR, MOUTH_MASK), (HAIR, WEARABLE)
# The oval is searched for in a mask with this many pixels on its larger side.
GRID = 48
LEAST_FACE = 0.02  # of the picture
# An oval that is all face, in a ring without face, scores 1. Rendered and real faces score 0.4 or more.
LEAST_SCORE = 0.3

HEIGHT = 1.3  # of the oval, in its widths
RINGS, RING_OPENING = (1.1, 1.35), 50.0  # in half widths of the oval; degrees to either side of straight down
ROLL_PENALTY = 0.1  # times the roll squared: most heads are held straight
FIRST_SIZES = (0.6, 0.72, 0.85, 1.0, 1.15)
ROUNDS, SHRINKAGE = 6, 0.6
SURE_ROLL = 0.05  # radians: a smaller estimate counts as zero


class PlacingError(ElfwError, ValueError):
    """A mask shows no face to put an object on, or one that wears such an object already."""


@dataclass(frozen=True)
class FaceGeometry:
    """Where a face is in its picture.

    Attributes:
        x, y: the point midway between the eyes, pixels from the middle of the first pixel.
        eye_distance: between the middles of the eyes, pixels.
        roll: angle by which the head is tilted clockwise, as the viewer sees it, radians.
    """

    x: float
    y: float
    eye_distance: float
    roll: float

    def to_face(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far right and down of the point between the eyes pixels lie, in eye distances."""
        x, y = x - self.x, y - self.y
        cosine, sine = np.cos(self.roll) / self.eye_distance, np.sin(self.roll) / self.eye_distance
        return cosine * x + sine * y, cosine * y - sine * x


def locate_face(mask: np.ndarray) -> FaceGeometry:
    """Estimate where the face is, from its labels.

    Args:
        mask: uint8 [H, W], class ids. Ears, neck and shoulders may be labelled as skin or not.

    Raises:
        PlacingError: the mask shows no face.
    """
    scale = max(mask.shape) / GRID
    rows, columns = (
        np.minimum((np.arange(max(1, round(side / scale))) + 0.5) * scale, side - 1).astype(int)
        for side in mask.shape
    )
    small = mask[np.ix_(rows, columns)]
    face = np.isin(small, FACE)
    if face.mean() < LEAST_FACE:
        raise PlacingError(f"the mask shows no face: {face.mean():.1%} of it is skin, beard or eyewear")
    (x, y, size, roll), score = fit_oval(face)
    if score < LEAST_SCORE:
        raise PlacingError("the mask shows no face: what is skin in it has no face's shape")
    aside, down, distance, turn = find_eyes(small, face, x, y, size, roll)
    cosine, sine = size * np.cos(roll), size * np.sin(roll)
    x, y = x + cosine * aside - sine * down, y + sine * aside + cosine * down
    return FaceGeometry((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5, distance * size * scale, turn)


def oval_points() -> tuple[np.ndarray, np.ndarray]:
    """Return points in and around an oval of half width 1, float32 [P, 2], and their weights, float32 [P]."""
    steps = np.linspace(-0.9, 0.9, 10)
    inside = np.array([(x, y) for y in steps for x in steps if x * x + y * y <= 1])
    angles = np.radians(np.arange(RING_OPENING, 361 - RING_OPENING, 10))
    ring = np.array([(r * np.sin(angle), r * np.cos(angle)) for r in RINGS for angle in angles])
    weights = np.concatenate([np.full(len(inside), 1 / len(inside)), np.full(len(ring), -1 / len(ring))])
    points = np.concatenate([inside, ring]) * (1, HEIGHT)
    return points.astype(np.float32), weights.astype(np.float32)


POINTS, WEIGHTS = oval_points()


def fit_oval(face: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the oval that fits `face`, bool [H, W], best (x, y, half width, roll) and its score, at most 1.

    A coarse grid search, then ever finer ones around the best oval.
    """
    rows, columns = np.nonzero(face)
    size = np.sqrt(len(rows) / (np.pi * HEIGHT))
    across, down = (np.linspace(places.min(), places.max(), 9) for places in (columns, rows))
    ovals = grid_of(across, down, size * np.array(FIRST_SIZES), np.zeros(1))
    steps = np.array([np.ptp(across) / 16, np.ptp(down) / 16, 0.08 * size, 0.12])
    moves = grid_of(*[np.array([-1.0, 0.0, 1.0])] * 4)
    best, score = best_oval(face, ovals)
    for _ in range(ROUNDS):
        best, score = best_oval(face, best + steps * moves)
        steps = SHRINKAGE * steps
    return best, score


def grid_of(*axes: np.ndarray) -> np.ndarray:
    """Return all combinations of the axes' values, float32 [N, number of axes]."""
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes)).astype(np.float32)


def best_oval(face: np.ndarray, ovals: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the oval, of [N, 4], that has the most face inside and the least around; and its score."""
    x, y, size, roll = ovals.T[..., None]
    cosine, sine = size * np.cos(roll), size * np.sin(roll)
    columns = np.rint(x + cosine * POINTS[:, 0] - sine * POINTS[:, 1]).astype(np.int32)
    rows = np.rint(y + sine * POINTS[:, 0] + cosine * POINTS[:, 1]).astype(np.int32)
    height, width = face.shape
    # The border is repeated outside the picture: many crops cut through chin or hair.
    found = face[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    scores = found @ WEIGHTS - ROLL_PENALTY * roll[:, 0] ** 2
    place = int(scores.argmax())
    return ovals[place], float(scores[place])


def find_eyes(mask: np.ndarray, face: np.ndarray, x: float, y: float, size: float, roll: float):
    """Return where the eyes are in the oval, their distance (both in half widths), and the head's roll.

    Eyes are higher where hair reaches higher, and lower where skin reaches lower in the oval. A head that
    shows more hair on one side has turned to the other.
    """
    rows, columns = np.indices(mask.shape)
    # In half widths of the oval.
    across, along = FaceGeometry(x, y, size, roll).to_face(columns, rows)
    # Below the oval are neck and shoulders, on which hair may hang.
    around = (np.abs(across) < 2) & (along > -2.2) & (along < 0.9)
    hairy = np.isin(mask, HAIR_OR_HEADWEAR) & around
    within = face & (across**2 + (along / HEIGHT) ** 2 < 1.25**2)
    head, low, hair = mean_of(along, (face & around) | hairy), mean_of(along, within), mean_of(across, hairy)
    # Fitted by least squares, on rendered faces (whose eyes are known) and photos (aligned by their eyes).
    turn = roll + 0.28 * hair
    turn = float(np.sign(turn) * max(abs(turn) - SURE_ROLL, 0))
    return -0.24 * hair, -0.03 + 0.8 * head + 1.2 * low, 0.78 - 0.30 * head, turn


def mean_of(values: np.ndarray, chosen: np.ndarray) -> float:
    """Return the mean of the chosen values, or 0 where none is chosen."""
    return float(values[chosen].mean()) if chosen.any() else 0.0
