"""The colours of a head: skin, eyes, brows, mouth and beard, from the place on the face alone."""

from __future__ import annotations

import numpy as np

from elfw_helpers.rendering.colours import column, scale_colour
from elfw_helpers.rendering.parameters import Expression, FaceParameters, Identity
from elfw_helpers.rendering.shapes import bump, smoothstep
from elfw_helpers.rendering.textures import Textures, look_up

FLUSH = np.array([[1.12], [0.86], [0.84]], np.float32)
MOUTH_HEIGHT = -0.71
EYE_X = 0.32


def paint_head(points: np.ndarray, face: FaceParameters, textures: Textures, pixel: float):
    """Return the colour [3, N] of points [3, N] on the head, and how much of each is beard, [N] in 0..1.

    Stubble is painted, but is skin. Edges are as soft as `pixel`, the side of a pixel in head units.
    """
    x, y, z = points
    colour = paint_skin(x, y, z, face.identity, textures)
    colour = paint_brows(colour, x, y, z, face, textures)
    colour = paint_eyes(colour, x, y, z, face, pixel)
    colour, lips = paint_mouth(colour, x, y, z, face, pixel)
    beard = beard_coverage(x, y, z, face, textures) * (1 - lips)
    strands = 1 + 0.35 * look_up(textures.strands, 1.5 * x, y)
    hair = column(scale_colour(face.identity.hair_colour, 0.7)) * np.clip(strands, 0.3, 2)
    stubble = face.beard == "stubble"
    colour = blend(colour, hair, beard * (0.25 if stubble else 0.93))
    return colour, np.zeros_like(beard) if stubble else beard


def blend(below: np.ndarray, above, coverage: np.ndarray) -> np.ndarray:
    """Return `above` painted over `below` [3, N] where `coverage` [N] is 1."""
    return below + (above - below) * coverage


def darken(colour: np.ndarray, where: np.ndarray, amount: float) -> np.ndarray:
    """Return the colour [3, N], darker by `amount` where `where` [N] is 1."""
    return colour * (1 - amount * where)


def paint_skin(x, y, z, identity: Identity, textures: Textures) -> np.ndarray:
    """Return the colour of bare skin with flushed cheeks, folds and freckles, float32 [3, N]."""
    side, front = np.abs(x), (z > 0.15).astype(np.float32)
    blotches = look_up(textures.blotches, 0.3 * x, 0.3 * y)
    colour = column(identity.skin) * (1 + 0.045 * blotches)
    cheeks = bump((side - 0.42) / 0.2) * bump((y + 0.34) / 0.18)
    nose = bump(x / 0.13) * bump((y + 0.37) / 0.12)
    colour = colour * (1 + (FLUSH - 1) * (0.6 * cheeks + 0.4 * nose))
    socket = front * bump((side - EYE_X) / 0.2) * bump((y - 0.05) / 0.09)
    colour = darken(colour, socket, identity.socket_shade)
    bags = front * bump((side - EYE_X) / 0.13) * bump((y + 0.12) / 0.03)
    colour = darken(colour, bags, 0.05 + 0.2 * identity.age)
    fold = np.abs(0.85 * (side - 0.17) + 0.52 * (y + 0.40))
    fold = front * smoothstep(0.05, 0, fold) * smoothstep(-0.36, -0.46, y) * smoothstep(-0.80, -0.68, y)
    colour = darken(colour, fold, 0.08 + 0.25 * identity.age)
    lines = 7 * y + 0.5 * x * x
    forehead = np.abs(lines - np.floor(lines) - 0.5) < 0.09
    colour = darken(colour, front * smoothstep(0.34, 0.42, y) * forehead, 0.14 * identity.age)
    freckles = front * (look_up(textures.curls, x, y) > 1.2)
    freckles = freckles * smoothstep(0.1, -0.05, y) * smoothstep(-0.6, -0.45, y)
    colour = darken(colour, freckles, 0.3 * identity.freckles)
    nostrils = np.sqrt(((side - 0.07) / 0.045) ** 2 + ((y + 0.435) / 0.022) ** 2)
    return darken(colour, front * smoothstep(1.4, 0.5, nostrils), 0.7)


def paint_brows(colour, x, y, z, face: FaceParameters, textures: Textures) -> np.ndarray:
    """Return the colour with eyebrows, never paler than dark blond."""
    identity = face.identity
    out = (np.abs(x) - 0.34) / 0.2
    middle = identity.brow_height + 0.02 * face.expression.smile + 0.045 * (1 - out * out)
    thickness = identity.brow_thickness * (1.15 - 0.35 * out)
    shape = smoothstep(0.25, 0.17, np.abs(np.abs(x) - 0.33))
    shape = shape * smoothstep(1.3, 0.5, np.abs(y - middle) / thickness)
    hairs = np.clip(0.8 + 0.15 * look_up(textures.strands, 2 * x, y), 0, 1)
    tone = np.minimum(column(identity.hair_colour), 0.09) * 0.7
    return blend(colour, tone, (z > 0.15) * shape * hairs * 0.95)


def paint_eyes(colour, x, y, z, face: FaceParameters, pixel: float) -> np.ndarray:
    """Return the colour with eyes between their lids and lashes."""
    identity, expression = face.identity, face.expression
    front = z > 0.3
    across = (np.abs(x) - EYE_X) / identity.eye_size
    up = (y - 0.01 - identity.eye_slant * (np.abs(x) - EYE_X)) / identity.eye_size
    height = 0.064 * expression.eyes_open
    # Rounder above than below, pointed at the corners.
    opening = (across / 0.145) ** 2 + np.abs(up / np.where(up > 0, height, 0.8 * height))
    crease = bump((up - height - 0.045 + 1.2 * across * across) / 0.014)
    colour = darken(colour, front * crease * smoothstep(0.2, 0.12, np.abs(across)), 0.3)
    lid = front * bump(across / 0.17) * bump((up - 0.04) / expression.eyeshadow_height)
    colour = blend(colour, colour * column(expression.eyeshadow_colour), lid * expression.eyeshadow)
    soft = 0.5 * pixel / height
    ball = eyeball(across, up, np.sign(x), height, identity, expression)
    colour = blend(colour, ball, front * smoothstep(1 + soft, 1 - soft, opening))
    liner = 0.65 + 0.35 * expression.eyeliner
    lashes = smoothstep(0.45 + 0.5 * liner, 0.05, np.abs(opening - 1.12))
    lashes = lashes * smoothstep(-0.035 * expression.eyeliner, 0.02, up)
    return blend(colour, 0.015, front * lashes * liner)


def eyeball(across, up, side, height: float, identity: Identity, expression: Expression) -> np.ndarray:
    """Return the colour of an eyeball, float32 [3, N]: white, iris, pupil and a highlight."""
    white = 0.3 * (1 - 0.5 * smoothstep(0.3 * height, height, up))
    from_middle = across - expression.gaze * side
    radius = np.sqrt(from_middle * from_middle + (up - 0.004) ** 2)
    iris = column(identity.eye_colour) * 0.7
    ball = blend(np.broadcast_to(white, (3, len(up))), iris, smoothstep(0.08, 0.066, radius))
    ball = blend(ball, 0.01, smoothstep(0.036, 0.024, radius))
    light = np.sqrt((across - 0.02) ** 2 + (up - 0.022) ** 2)
    return ball + 0.6 * smoothstep(0.022, 0.008, light)


def paint_mouth(colour, x, y, z, face: FaceParameters, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the colour with a mouth, and the mouth's coverage [N]."""
    identity, expression = face.identity, face.expression
    front = z > 0.3
    half = identity.mouth_width * (1 + 0.35 * max(expression.smile, 0))
    along = x / half
    above = y - MOUTH_HEIGHT - 0.075 * expression.smile * along * along
    taper = np.sqrt(np.clip(1 - along * along, 0, 1))
    lips = front * lip_coverage(x, above, taper, face, pixel)
    colour = blend(colour, lip_colour(above, face), lips)
    gap = expression.mouth_open * taper
    inside = smoothstep(0.5 * gap + pixel, 0.5 * gap, above) * smoothstep(-gap - pixel, -gap, above)
    inside = inside * smoothstep(0.1, 0.3, taper)
    teeth = smoothstep(1, 0.5, np.abs(along)) * smoothstep(-0.75 * gap - pixel, -0.55 * gap, above)
    # A closed mouth is a dark line.
    white = (0.5 if expression.mouth_open else 0.0) * teeth
    colour = blend(colour, np.array([[1.0], [0.95], [0.88]], np.float32) * white + 0.02, front * inside * 0.9)
    corners = bump((np.abs(x) - half) / 0.03) * bump((y - MOUTH_HEIGHT - 0.075 * expression.smile) / 0.03)
    return darken(colour, front * corners, 0.35), lips


def lip_coverage(x, above, taper, face: FaceParameters, pixel: float) -> np.ndarray:
    """Return where lips and open mouth are, float32 [N]; `above` is the height over the line between them."""
    full, gap = face.identity.lip_fullness, face.expression.mouth_open * taper
    cupid = 1 - 0.25 * bump(x / 0.045) + 0.15 * bump((np.abs(x) - 0.07) / 0.05)
    upper = 0.058 * full * taper * cupid + 0.5 * gap
    lower = 0.078 * full * (1 - 0.25 * max(face.expression.smile, 0)) * taper + gap
    inner = smoothstep(pixel, -pixel, above - upper) * smoothstep(-pixel, pixel, above + lower)
    return inner * smoothstep(0, 0.2, taper)


def lip_colour(above, face: FaceParameters) -> np.ndarray:
    """Return the colour of the lips, float32 [3, N]: the lower one catches the light."""
    tone = column(face.identity.skin) * np.array([[0.95], [0.58], [0.58]], np.float32)
    tone = tone + (column(face.expression.lipstick) - tone) * face.expression.lipstick_strength
    return tone * (1 + 0.3 * smoothstep(0.01, -0.04, above) - 0.25 * smoothstep(0, 0.05, above))


def beard_coverage(x, y, z, face: FaceParameters, textures: Textures) -> np.ndarray:
    """Return where the beard grows, float32 [N] in 0..1."""
    if face.beard == "none":
        return np.zeros_like(x)
    side = np.abs(x)
    rough = 0.05 * look_up(textures.strands, 0.8 * x, 0.4 * y)
    rise = (y + 0.57 - 0.09 * np.minimum(side / 0.3, 1) ** 2) / 0.075
    moustache = smoothstep(1.15, 0.8, np.sqrt((x / (0.29 + rough)) ** 2 + rise * rise))
    if face.beard == "moustache":
        return moustache * (z > 0.2)
    if face.beard == "goatee":
        chin = np.sqrt((x / 0.24) ** 2 + ((y + 1.0) / 0.25) ** 2)
        return np.maximum(moustache, smoothstep(1.15, 0.85, chin + rough)) * (z > 0.2)
    # A line from the ear, past the corner of the mouth, to below it.
    jaw = smoothstep(0, 0.1, -y - 0.28 - 0.36 * bump(side / 0.32) + 0.1 * (z < 0.1) + rough)
    neck = smoothstep(face.identity.chin_height - 0.2, face.identity.chin_height - 0.08, y)
    return np.maximum(jaw * neck, moustache * (z > 0.2)) * (z > -0.2)
