"""Spectacles, painted where each ray cuts the bent plane that they lie on: rims are too thin to trace."""

from __future__ import annotations

import math

import numpy as np

from elfw_helpers.data import labels
from elfw_helpers.rendering.camera import Rays
from elfw_helpers.rendering.colours import column
from elfw_helpers.rendering.head_colours import blend
from elfw_helpers.rendering.parameters import Eyewear
from elfw_helpers.rendering.shapes import smoothstep, wave

# Glasses that are pushed up turn around this axis, near the ears: y and z.
EARS_Y, EARS_Z = 0.1, -0.2
# Pushed up, they lie on hair and not on a nose.
LIFTED_OUT = 0.12


def pixel_class(eyewear: Eyewear) -> int:
    """Return the pixel class of spectacles: wearable, as in ELFW, if they are pushed up."""
    return labels.WEARABLE if eyewear.lift else labels.EYEWEAR


def put_on_eyewear(picture: np.ndarray, rays: Rays, reach: np.ndarray, eyewear: Eyewear):
    """Return the picture [3, N] with spectacles painted over it, and where they are, bool [N].

    `reach` [N] is how far each ray went; infinite where it met nothing.
    """
    origin, directions = lift_rays(rays.origin, rays.directions, eyewear)
    travelled, x, y = cut_plane(origin, directions, eyewear)
    lens, rim = lens_and_rim(x, y, eyewear)
    visible = (travelled < reach + 0.02) & (directions[2] < 0)
    soft = 0.6 * rays.pixel
    lens_cover, rim_cover = visible * smoothstep(soft, -soft, lens), visible * smoothstep(soft, -soft, rim)
    cover, temples = np.maximum(lens_cover, rim_cover), temple_cover(origin, directions, reach, eyewear)
    # Most of a picture is left as it is.
    seen, picture = np.flatnonzero(cover > 0), picture.copy()
    below = picture.take(seen, axis=1)
    x, y, rim, lens_cover, rim_cover = (values[seen] for values in (x, y, rim, lens_cover, rim_cover))
    mirrored = eyewear.reflection * smoothstep(-0.2, 0.6, wave(eyewear.reflection_slope * x + 0.7 * y))
    glass = column(eyewear.lens_colour) * (0.8 + 0.4 * y)
    glazed = blend(below, below * (1 - eyewear.tint) + eyewear.tint * glass + mirrored, lens_cover)
    frame = column(eyewear.frame_colour)
    picture[:, seen] = blend(glazed, frame * (1 + smoothstep(0.004, -0.02, rim)), rim_cover)
    picture[:, temples] = frame
    return picture, (cover > 0.5) | temples


def shade_behind(points: np.ndarray, lamp: np.ndarray, eyewear: Eyewear) -> np.ndarray:
    """Return the share of the light, [N], that frame and lenses take from points [3, N] behind them."""
    points, lamp = lift_rays(points, lamp, eyewear)
    _, x, y = cut_plane(points, np.broadcast_to(lamp, points.shape), eyewear)
    lens, rim = lens_and_rim(x, y, eyewear)
    dark = 0.45 if eyewear.dark else 0.06
    rim, lens = 0.4 * smoothstep(0.02, -0.01, rim), dark * smoothstep(0.02, -0.02, lens)
    return (points[2] > 0.1) * np.maximum(rim, lens)


def lift_rays(origin: np.ndarray, directions: np.ndarray, eyewear: Eyewear) -> tuple[np.ndarray, np.ndarray]:
    """Return rays, origins [3, N or 1] and directions likewise, as seen from spectacles pushed up."""
    if not eyewear.lift:
        return origin, directions
    cosine, sine = np.float32(math.cos(eyewear.lift)), np.float32(math.sin(eyewear.lift))
    y, z = origin[1] - EARS_Y, origin[2] - EARS_Z
    turned = [origin[0], cosine * y - sine * z + EARS_Y, cosine * z + sine * y + EARS_Z - LIFTED_OUT]
    x, y, z = directions
    return np.stack(turned), np.stack([x, cosine * y - sine * z, cosine * z + sine * y])


def cut_plane(origin: np.ndarray, directions: np.ndarray, eyewear: Eyewear):
    """Return where rays cut z = depth - bend x^2: distance along the ray, x and y, float32 [N] each."""
    forward = np.where(np.abs(directions[2]) < 0.05, np.float32(0.05), directions[2])
    travelled = (eyewear.depth - origin[2]) / forward
    # The plane is almost flat, so a few iterations are enough.
    for _ in range(3):
        x = origin[0] + travelled * directions[0]
        travelled = (eyewear.depth - eyewear.bend * np.minimum(x * x, 1) - origin[2]) / forward
    return travelled, origin[0] + travelled * directions[0], origin[1] + travelled * directions[1]


def lens_and_rim(x: np.ndarray, y: np.ndarray, eyewear: Eyewear) -> tuple[np.ndarray, np.ndarray]:
    """Return signed distances to the lenses and to rims and bridge on the plane, float32 [N] each."""
    up = y - eyewear.lens_y
    width = eyewear.lens_width * np.maximum(1 + eyewear.taper * up, 0.3)
    across, along = np.abs(np.abs(x) - eyewear.lens_x) / width, np.abs(up) * (1 / eyewear.lens_height)
    # The roundness is a power of 2, so squares and square roots are enough.
    doublings = int(math.log2(eyewear.roundness))
    for _ in range(doublings):
        across, along = across * across, along * along
    radius = across + along
    for _ in range(doublings):
        radius = np.sqrt(radius)
    lens = (radius - 1) * min(eyewear.lens_width, eyewear.lens_height)
    thickness = eyewear.rim * np.where(up > 0, 1, np.float32(eyewear.lower_rim))
    ring = np.abs(lens - 0.5 * eyewear.rim) - thickness
    arch = np.abs(up - 0.35 * eyewear.lens_height + 2 * x * x) - eyewear.rim
    bridge = np.maximum(arch, np.abs(x) - eyewear.lens_x + eyewear.lens_width)
    return lens, np.minimum(ring, bridge)


def temple_cover(
    origin: np.ndarray, directions: np.ndarray, reach: np.ndarray, eyewear: Eyewear
) -> np.ndarray:
    """Return where the arms to the ears are seen, bool [N]: strips on two planes beside the head."""
    cover = np.zeros(directions.shape[1], bool)
    sideways = np.where(np.abs(directions[0]) < 1e-3, np.float32(1e-3), directions[0])
    for side in (-1, 1):
        x = side * (eyewear.lens_x + eyewear.lens_width + 0.02)
        travelled = (x - origin[0]) / sideways
        y = origin[1] + travelled * directions[1]
        z = origin[2] + travelled * directions[2]
        strip = np.abs(y - eyewear.lens_y - 0.3 * eyewear.lens_height) < 1.6 * eyewear.rim
        between = (z < eyewear.depth - eyewear.bend * x * x + 0.02) & (z > -0.1)
        cover |= strip & between & (travelled > 0) & (travelled < reach)
    return cover
