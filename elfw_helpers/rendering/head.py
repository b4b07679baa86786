"""The shape of head, neck and hair, as signed distance functions: points [3, N] to distances [N]."""

from __future__ import annotations

import numpy as np

from elfw_helpers.rendering.parameters import Expression, Hair, Identity
from elfw_helpers.rendering.shapes import ellipsoid, smooth_cut, smooth_union, smoothstep, turn_around, wave


def head_distance(points: np.ndarray, identity: Identity, expression: Expression) -> np.ndarray:
    """Return the distance to the head without hair or neck."""
    x, y, z = points
    side = np.abs(x)
    wide, smile = identity.face_width, max(expression.smile, 0)
    chin = identity.chin_height
    head = ellipsoid(x, y - 0.28, z + 0.27, wide, 0.80, 0.93)
    jaw = ellipsoid(x, y + 0.46, z - 0.05, identity.jaw_width, -chin - 0.46, 0.62)
    head = smooth_union(head, jaw, 0.3)
    cheeks = ellipsoid(x, y + 0.20 - 0.03 * smile, z - 0.28, wide * identity.cheek, 0.32, 0.37)
    head = smooth_union(head, cheeks, 0.2)
    chin_ball = ellipsoid(x, y - chin - 0.17, z - 0.50, identity.chin_width, 0.15, 0.14)
    head = smooth_union(head, chin_ball, 0.15)
    head = smooth_cut(head, ellipsoid(side - 0.32, y - 0.01, z - 0.80, 0.18, 0.11, identity.eye_depth), 0.12)
    head = smooth_union(head, ellipsoid(side - 0.31, y + 0.005, z - 0.55, 0.13, 0.10, 0.11), 0.03)
    head = smooth_union(head, ellipsoid(x, y + 0.72, z - 0.59, 0.24, 0.13, 0.13), 0.08)
    head = add_nose(head, x, side, y, z, identity)
    ear = ellipsoid(side - wide - 0.03, y + 0.10, z + 0.22 - 0.3 * (side - wide), 0.07, 0.23, 0.14)
    return smooth_union(head, ear, 0.05)


def add_nose(head, x, side, y, z, identity: Identity) -> np.ndarray:
    """Return the head with ridge, tip and wings of a nose."""
    wide, depth = identity.nose_width, identity.nose_depth
    ridge = ellipsoid(x, y + 0.15, z - 0.64 + 0.16 * y, wide * 0.55, 0.29, 0.13)
    tip = ellipsoid(x, y + 0.36, z - depth + 0.08, wide * 0.9, 0.09, 0.13)
    wings = ellipsoid(side - wide, y + 0.385, z - 0.65, 0.055, 0.055, 0.09)
    return smooth_union(smooth_union(smooth_union(head, ridge, 0.1), tip, 0.08), wings, 0.05)


def neck_distance(points: np.ndarray, identity: Identity) -> np.ndarray:
    """Return the distance to an endless neck; the wider the jaw, the wider the neck."""
    x, y, z = points
    depth = z + 0.30 - 0.12 * (y + 1)
    return np.sqrt(x * x + depth * depth) - (0.40 + 0.5 * (identity.jaw_width - 0.62))


def hair_distance(
    points: np.ndarray, head: np.ndarray, hair: Hair, identity: Identity, relief: float
) -> np.ndarray | None:
    """Return the distance to the hair, or None for a bald head.

    Hair is the surface of the head lifted by a volume that rises from zero at the hairline, so that it
    grows out of the skin instead of sitting on it like a helmet. `head` is the distance to the bald head,
    `relief` how much of the strands' relief to show, 0..1.
    """
    if identity.hair_length == "bald":
        return None
    x, y, z = points
    strands = strand_relief(x, y, z, hair, identity)
    growth = hair_growth(x, y, z, hair, identity) + relief * hair.wisps * strands
    # Thin hair has little relief, or the scalp would show through it.
    strands = relief * min(hair.roughness, 0.25 * hair.volume) * strands
    ramp = max(0.16, 1.1 * hair.volume)
    # Fuller on top than at the temples.
    volume = hair.volume * (0.5 + 0.7 * smoothstep(-0.1, 0.9, y))
    if hair.quiff:
        volume = volume + hair.quiff * smoothstep(0.2, 0.8, y) * smoothstep(-0.3, 0.5, z)
    volume = volume * smoothstep(0, ramp, growth)
    # Where no hair grows, the surface sinks below the skin, out of sight.
    lifted = head - 0.012 - volume - strands + np.maximum(-growth, 0)
    if identity.hair_length in ("bob", "long") and hair.tied != "back":
        lifted = smooth_union(lifted, lock_distance(x, y, z, hair, identity) - 2 * strands, 0.12)
    return lifted


def strand_relief(x, y, z, hair: Hair, identity: Identity) -> np.ndarray:
    """Return the relief of strands (or of curls), about -2..2."""
    turn = turn_around(x - hair.parting, z + 0.4)
    if identity.curl == 1.0:
        coarse = wave(2.6 * x + hair.phase) * wave(2.8 * y + z)
        return coarse + 0.7 * wave(4.4 * z + 2 * x + hair.phase) * wave(4.7 * y + x)
    bend = identity.curl * wave(0.6 * y + hair.phase)
    width = hair.strand_width
    return (
        wave(width * turn + 0.3 * bend)
        + 0.6 * wave(2.3 * width * turn + bend + 0.4 * y)
        + 0.4 * wave(6 * width * turn + 0.8 * y + hair.phase)
    )


def hair_growth(x, y, z, hair: Hair, identity: Identity) -> np.ndarray:
    """Return how far inside the hairy part of the head a point is: positive where hair grows."""
    top, middle = identity.hairline, -0.30
    # The face is an oval without hair; its corners go back with age, and the hair may fall to one side.
    corner = 0.25 * identity.recession * np.abs(wave(0.5 * np.clip(x, -1, 1) + 0.5))
    across = x * (1 / (identity.face_width - 0.08))
    along = y - middle - hair.sweep * np.maximum(y, 0) * x - corner
    if hair.curtain:
        along += hair.curtain * np.abs(x - hair.parting) * np.clip(2 * y + 0.5, 0, 1)
    along *= 1 / (top - middle)
    # The fourth power squares the oval's shoulders; below its middle the oval is open: no hair on chins.
    across, along = across * across, np.maximum(along, 0) ** 2
    growth = (np.sqrt(np.sqrt(across * across + along * along)) - 1) * 0.66
    if hair.fringe is not None:
        falls_to = hair.fringe + hair.fringe_slope * (x - hair.parting) + 0.4 * x * x
        growth = np.maximum(growth, y - falls_to)
    growth = np.maximum(growth, -0.12 - z)
    if identity.hair_length in ("cropped", "short"):
        # Sideburns end at the ear, and the ear stays free.
        growth = np.minimum(growth, y - hair.nape - 0.3 * np.minimum(z, 0.3))
        ear = ellipsoid(np.abs(x) - identity.face_width - 0.03, y + 0.10, z + 0.20, 0.18, 0.25, 0.17)
        growth = np.minimum(growth, ear)
    return growth


def lock_distance(x, y, z, hair: Hair, identity: Identity) -> np.ndarray:
    """Return the distance to hair that hangs down at the sides and the back, or is tied up in a bun."""
    if hair.tied == "bun":
        return ellipsoid(x - 0.5 * hair.parting, y - 1.15, z + 0.45, 0.34, 0.30, 0.32)
    top = 0.55
    middle, half = 0.5 * (top + hair.lock_bottom), 0.5 * (top - hair.lock_bottom)
    x = x + 0.06 * identity.curl * wave(0.7 * y + hair.phase)
    beside, front = np.abs(x) - identity.face_width - 0.06, z - hair.lock_front + 0.3
    locks = ellipsoid(beside, y - middle, front, hair.lock_width, half, 0.36)
    back = ellipsoid(x, y - middle, z + 0.6, identity.face_width + 0.1, half, 0.45)
    return smooth_union(locks, back, 0.2)
