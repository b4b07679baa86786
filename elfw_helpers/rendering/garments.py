"""The shape of headwear, mouth-masks and clothes, as signed distance functions: points [3, N] to [N]."""

from __future__ import annotations

import numpy as np

from elfw_helpers.rendering.parameters import Clothes, Headwear, Identity, MouthMask
from elfw_helpers.rendering.shapes import ellipsoid, positive, smooth_union, wave

COVERING = ("headscarf", "hood")
OPEN_TOPPED = ("headband", "visor")


def clothes_distance(points: np.ndarray, neck: np.ndarray, clothes: Clothes) -> np.ndarray:
    """Return the distance to shoulders and collar; `neck` is the distance to the neck."""
    x, y, z = points
    shoulders = ellipsoid(x, y + 2.36, z + 0.35, 1.7, 0.98, 0.75)
    top = y + 1.34 + 0.3 * clothes.neckline + (0.0 if clothes.shirt is None else 0.25 * z)
    collar = np.maximum(neck - 0.09, top)
    return smooth_union(shoulders, collar, 0.15)


def mask_distance(points: np.ndarray, head: np.ndarray, mask: MouthMask) -> np.ndarray:
    """Return the distance to a mouth-mask, which follows the face a little in front of it."""
    x, y, z = points
    side = np.abs(x)
    sheet = head - 0.04 - mask.pleats * wave(6 * y)
    # Highest on the nose, falling to the ears.
    upper = y - mask.top + 0.45 * positive(side - 0.1)
    lower = -1.06 - y + 0.25 * side
    edge = np.maximum(np.maximum(upper, lower), np.maximum(side - 0.64, 0.05 - z))
    return np.maximum(sheet, edge)


def headwear_distance(points: np.ndarray, wear: Headwear, identity: Identity, volume: float) -> np.ndarray:
    """Return the distance to the headwear; `volume` is the thickness of the hair beneath."""
    x, y, z = points
    room = 0.07 + 0.6 * volume + wear.slack
    front = front_edge(x, z, wear)
    if wear.kind in COVERING:
        return covering_distance(x, y, z, wear, identity, room)
    if wear.kind == "bandana":
        room = 0.05 + 0.4 * volume
    extra = wear.height * (1.0 if wear.kind in ("beanie", "brimmed hat", "curled hat") else 0.4)
    crown = ellipsoid(x, y - 0.34, z + 0.28, identity.face_width + room, 0.80 + room + extra, 0.95 + room)
    if wear.kind in OPEN_TOPPED:
        height = 0.16 if wear.kind == "headband" else 0.26
        band = np.maximum(np.maximum(crown, front - y), y - front - height)
        return smooth_union(band, peak_distance(x, y, z, wear), 0.03) if wear.kind == "visor" else band
    return add_brim(np.maximum(crown, front - y), crown, points, front, wear)


def front_edge(x, z, wear: Headwear) -> np.ndarray:
    """Return the height y of the headwear's lower edge, which falls towards the back."""
    return wear.front + 0.28 * (z - 0.7) + 2 * wear.tilt * x


def add_brim(crown_cut, crown, points, front, wear: Headwear) -> np.ndarray:
    """Return the crown with its peak, rolled edge or brim, or the plate of a beret."""
    x, y, z = points
    if wear.kind == "cap":
        return smooth_union(crown_cut, peak_distance(x, y, z, wear), 0.03)
    if wear.kind == "beanie":
        cuff = np.maximum(np.maximum(crown - 0.05, front - y), y - front - 0.28)
        return smooth_union(crown_cut, cuff, 0.03)
    if wear.kind == "beret":
        lean = 1 if wear.tilt > 0 else -1
        plate = ellipsoid(x + 0.2 * lean, y - 0.95 + 0.3 * lean * x, z + 0.15, 1.1, 0.32, 1.05)
        return smooth_union(crown_cut, plate, 0.1)
    if wear.kind in ("turban", "helmet"):
        return low_sided_distance(crown, x, y, front, wear)
    if wear.kind == "newsboy cap":
        puff = ellipsoid(x + 2 * wear.tilt, y - 0.82, z + 0.1, 1.06, 0.42, 1.08)
        return smooth_union(smooth_union(crown_cut, puff, 0.12), peak_distance(x, y, z, wear), 0.03)
    if wear.kind == "curled hat":
        return curled_hat_distance(crown_cut, x, y, z, front, wear)
    if wear.kind == "brimmed hat":
        radius = np.sqrt(x * x + (z + 0.25) * (z + 0.25))
        droop = 0.12 * (radius - 0.8) * wave(0.5 * x + wear.height)
        brim = np.maximum(np.abs(y - front - 0.02 - droop) - 0.025, radius - 1.05 - wear.brim)
        return smooth_union(crown_cut, 0.8 * brim, 0.05)
    return crown_cut


def low_sided_distance(crown, x, y, front, wear: Headwear) -> np.ndarray:
    """Return the distance to a helmet, smooth, or a turban in folds, which go down at the sides."""
    side = np.abs(x)
    if wear.kind == "helmet":
        return np.maximum(crown - 0.06, front - y - 0.9 * positive(side - 0.55))
    folds = 0.05 * np.abs(wave(1.3 * y - 0.9 * side + wear.height))
    return 0.8 * np.maximum(crown - 0.1 - folds, front - y - 0.35 * side)


def curled_hat_distance(crown_cut, x, y, z, front, wear: Headwear) -> np.ndarray:
    """Return the distance to a hat with a dent on top, its brim curled up (or hanging) at the sides."""
    top = 1.0 + 0.5 * wear.height
    crown = np.maximum(crown_cut, y - top - 0.25 * np.abs(x) + 0.1 * z)
    radius = np.sqrt(x * x + (z + 0.25) * (z + 0.25))
    curl = (0.6 * wear.height - 0.08) * x * x
    brim = np.maximum(np.abs(y - front - 0.02 - curl) - 0.025, radius - 1.05 - wear.brim)
    return smooth_union(crown, 0.7 * brim, 0.05)


def peak_distance(x, y, z, wear: Headwear) -> np.ndarray:
    """Return the distance to the peak of a cap or visor, arched over the forehead."""
    rise = y - wear.front - 0.02 + 0.25 * x * x + 0.18 * (z - 0.8) - 2 * wear.tilt * x
    reach = 0.3 + wear.brim
    across, forward = x * (1 / 0.64), (z - 0.75) * (1 / reach)
    outline = (np.sqrt(across * across + forward * forward) - 1) * min(0.64, reach)
    return 0.85 * np.maximum(np.abs(rise) - 0.025, outline)


def covering_distance(x, y, z, wear: Headwear, identity: Identity, room: float) -> np.ndarray:
    """Return the distance to a headscarf or hood, which leaves an oval for the face."""
    over = ellipsoid(x, y - 0.34, z + 0.3, identity.face_width + 0.03 + room, 0.80 + room, 0.95 + room)
    wide = 0.85 if wear.kind == "headscarf" else 1.05
    around = ellipsoid(x, y + 0.75, z + 0.3, wide, 1.15, 0.78)
    sheet = smooth_union(over, around, 0.3) - 0.015 * wave(1.5 * x + 0.8 * y + wear.height)
    half_width = 0.62 if wear.kind == "headscarf" else 0.74
    bottom = -1.1 if wear.kind == "headscarf" else -1.5
    middle, half = 0.5 * (wear.front + 0.1 + bottom), 0.5 * (wear.front + 0.1 - bottom)
    across, along = x * (1 / half_width), (y - middle) * (1 / half)
    opening = (np.sqrt(across * across + along * along) - 1) * half_width
    return np.maximum(sheet, -np.maximum(opening, -z - 0.1))
