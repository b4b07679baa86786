"""A hand before the face: a palm, a thumb, four fingers and the arm it comes from."""

from __future__ import annotations

import math

import numpy as np

from elfw_helpers.rendering.parameters import Hand
from elfw_helpers.rendering.shapes import capsule, ellipsoid, smooth_union

# Across the palm and length of index, middle, ring and little finger, in palm sizes.
FINGERS = ((-0.19, 0.36), (-0.065, 0.42), (0.065, 0.39), (0.19, 0.30))
FINGER_RADIUS = 0.062


def hand_distance(points: np.ndarray, hand: Hand) -> np.ndarray:
    """Return the distance of points [3, N], head units, to a hand and its forearm, float32 [N]."""
    x, y, z = place_in_hand(points, hand)
    palm = ellipsoid(x, y, z, 0.27, 0.31, 0.085)
    arm = capsule(x, y, z, (0.0, -0.25, 0.0), (0.05, -2.0, -0.1), 0.17)
    found = smooth_union(palm, arm, 0.12)
    thumb = capsule(x, y, z, (-0.2, -0.08, 0.0), (-0.42, 0.16, -0.05), 0.07)
    found = smooth_union(found, thumb, 0.06)
    for place, (across, length) in enumerate(FINGERS):
        lean = hand.spread * (place - 1.5)
        tip = (across + length * math.sin(lean), 0.22 + length * math.cos(lean), -hand.bend * length)
        finger = capsule(x, y, z, (across, 0.22, 0.0), tip, FINGER_RADIUS)
        found = smooth_union(found, finger, 0.03)
    return found * hand.size


def place_in_hand(points: np.ndarray, hand: Hand) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points in the hand's own coordinates: palm in the middle, fingers up, thumb to the left."""
    cosine, sine, scale = math.cos(hand.turn), math.sin(hand.turn), 1 / hand.size
    x, y = points[0] - hand.x, points[1] - hand.y
    across, up = (cosine * x + sine * y) * scale, (cosine * y - sine * x) * scale
    return (across if hand.left else -across), up, (points[2] - hand.depth) * scale
