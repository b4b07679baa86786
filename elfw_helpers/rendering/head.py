"""The shape of head, neck and hair, as signed distance functions: points [3, N] to distances [N]."""

from __future__ import annotations

import numpy as np

from elfw_helpers.rendering.parameters import Expression, Hair, Identity
from elfw_helpers.rendering.shapes import (
    Triple,
    ellipsoid,
    ellipsoids,
    positive,
    smooth_cut,
    smooth_union,
    smoothstep,
    turn_around,
    wave,
)

# The ellipsoids that make up a head.
SKULL, JAW, CHEEKS, CHIN, SOCKETS, EYES, MOUTH, RIDGE, TIP, WINGS, EARS = range(11)


def head_distance(points: np.ndarray, identity: Identity, expression: Expression) -> np.ndarray:
    """Return the distance to the head without hair or neck."""
    # Left and right are the same, so one eye, one ear and one wing of the nose are enough.
    points = np.array((np.abs(points[0]), points[1], points[2]))
    side, y, _ = points
    middles, radii = head_parts(identity)
    offsets = points[:, None] - middles
    # Not part of the middles: the smile and the slopes; and the numbers alone, which would round differently.
    offsets[1, CHEEKS] -= 0.03 * max(expression.smile, 0)
    offsets[1, CHIN] -= 0.17
    offsets[2, RIDGE] += 0.16 * y
    offsets[2, TIP] += 0.08
    offsets[2, EARS] -= 0.3 * (side - identity.face_width)
    offsets[0, EARS] -= 0.03
    part = ellipsoids(offsets, radii)
    head = smooth_union(part[SKULL], part[JAW], 0.3)
    head = smooth_union(head, part[CHEEKS], 0.2)
    head = smooth_union(head, part[CHIN], 0.15)
    head = smooth_cut(head, part[SOCKETS], 0.12)
    head = smooth_union(head, part[EYES], 0.03)
    head = smooth_union(head, part[MOUTH], 0.08)
    head = smooth_union(head, part[RIDGE], 0.1)
    head = smooth_union(head, part[TIP], 0.08)
    head = smooth_union(head, part[WINGS], 0.05)
    return smooth_union(head, part[EARS], 0.05)


def head_parts(identity: Identity) -> tuple[np.ndarray, tuple[Triple, ...]]:
    """Return the middles, float32 [3, K, 1], and the radii of the ellipsoids that make up a head."""
    wide, nose = identity.face_width, identity.nose_width
    parts = {
        SKULL: ((0, 0.28, -0.27), (wide, 0.80, 0.93)),
        JAW: ((0, -0.46, 0.05), (identity.jaw_width, -identity.chin_height - 0.46, 0.62)),
        CHEEKS: ((0, -0.20, 0.28), (wide * identity.cheek, 0.32, 0.37)),
        CHIN: ((0, identity.chin_height, 0.50), (identity.chin_width, 0.15, 0.14)),
        SOCKETS: ((0.32, 0.01, 0.80), (0.18, 0.11, identity.eye_depth)),
        EYES: ((0.31, -0.005, 0.55), (0.13, 0.10, 0.11)),
        MOUTH: ((0, -0.72, 0.59), (0.24, 0.13, 0.13)),
        RIDGE: ((0, -0.15, 0.64), (nose * 0.55, 0.29, 0.13)),
        TIP: ((0, -0.36, identity.nose_depth), (nose * 0.9, 0.09, 0.13)),
        WINGS: ((nose, -0.385, 0.65), (0.055, 0.055, 0.09)),
        EARS: ((wide, -0.10, -0.22), (0.07, 0.23, 0.14)),
    }
    middles, radii = zip(*parts.values(), strict=True)
    return np.array(middles, np.float32).T[..., None], radii


def neck_distance(points: np.ndarray, identity: Identity) -> np.ndarray:
    """Return the distance to an endless neck; the wider the jaw, the wider the neck."""
    x, y, z = points
    depth = z + 0.30 - 0.12 * (y + 1)
    return np.sqrt(x * x + depth * depth) - (0.40 + 0.5 * (identity.jaw_width - 0.62))


def hair_distance(
    points: np.ndarray, head: np.ndarray, hair: Hair, identity: Identity, relief: float
) -> np.ndarray:
    """Return the distance to the hair of a head that is not bald.

    Hair is the surface of the head lifted by a volume that rises from zero at the hairline, so that it
    grows out of the skin instead of sitting on it like a helmet. `head` is the distance to the bald head,
    `relief` how much of the strands' relief to show, 0..1.
    """
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
    lifted = head - 0.012 - volume - strands + positive(-growth)
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
    corner = 0.25 * identity.recession * np.abs(wave(0.5 * x.clip(-1, 1) + 0.5))
    across = x * (1 / (identity.face_width - 0.08))
    along = y - middle - hair.sweep * positive(y) * x - corner
    if hair.curtain:
        along += hair.curtain * np.abs(x - hair.parting) * (2 * y + 0.5).clip(0, 1)
    along *= 1 / (top - middle)
    # The fourth power squares the oval's shoulders; below its middle the oval is open: no hair on chins.
    across, along = across * across, positive(along) ** 2
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
