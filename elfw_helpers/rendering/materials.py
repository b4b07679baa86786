"""The colour and gloss of every surface: hair, hands, garments, and heads by `head_colours`."""

from __future__ import annotations

import numpy as np

from elfw_helpers.rendering import scene as things
from elfw_helpers.rendering.colours import column
from elfw_helpers.rendering.garments import front_edge
from elfw_helpers.rendering.head_colours import blend, paint_head
from elfw_helpers.rendering.parameters import Cloth, FaceParameters
from elfw_helpers.rendering.shapes import smoothstep, turn_around, wave
from elfw_helpers.rendering.surface import Surface
from elfw_helpers.rendering.textures import Textures, look_up

CLOTH_GLOSS = 0.02


def paint_surface(surface: Surface) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return colour float32 [3, N] in linear light, gloss [N], and how much of each point is beard [N]."""
    face, textures = surface.face, surface.textures
    count = len(surface.pixels)
    colour = np.zeros((3, count), np.float32)
    gloss, beard = np.full(count, CLOTH_GLOSS, np.float32), np.zeros(count, np.float32)
    for thing in surface.scene.things:
        chosen = np.flatnonzero(surface.things == thing)
        points = surface.points.take(chosen, axis=1)
        if thing == things.SKIN:
            colour[:, chosen], beard[chosen] = paint_head(points, face, textures, surface.rays.pixel)
            gloss[chosen] = face.light.shine
        elif thing == things.HAIR:
            colour[:, chosen], gloss[chosen] = paint_hair(points, face, textures)
        elif thing == things.HAND:
            colour[:, chosen] = paint_hand(points, face, textures)
        else:
            colour[:, chosen] = paint_garment(thing, points, face, textures)
    return colour, gloss, beard


def paint_hair(points: np.ndarray, face: FaceParameters, textures: Textures) -> tuple[np.ndarray, np.ndarray]:
    """Return colour [3, N] and gloss [N] of hair: strands fall along the head's meridians."""
    x, y, z = points
    hair, curl = face.hair, face.identity.curl
    turn = turn_around(x - hair.parting, z + 0.4) + 0.04 * curl * wave(0.8 * y + hair.phase)
    if curl == 1.0:
        strands = look_up(textures.curls, 0.5 * x + 0.4 * z, 0.5 * y)
    else:
        strands = look_up(textures.strands, 0.9 * turn, 0.22 * y)
    clumps = look_up(textures.blotches, 0.3 * x, 0.2 * y)
    tone = np.clip(1 + hair.contrast * strands + 0.18 * clumps, 0.2, 2.4)
    roots = 1 - 0.35 * smoothstep(0.06, 0.0, np.abs(x - hair.parting)) * (y > 0.7)
    shine = hair.gloss * np.clip(0.6 + 0.5 * strands, 0, 2)
    return column(face.identity.hair_colour) * (tone * roots), shine


def paint_hand(points: np.ndarray, face: FaceParameters, textures: Textures) -> np.ndarray:
    """Return the colour [3, N] of a hand."""
    return column(face.hand.skin) * (1 + 0.06 * look_up(textures.blotches, 0.4 * points[0], 0.4 * points[1]))


def paint_garment(thing: int, points: np.ndarray, face: FaceParameters, textures: Textures) -> np.ndarray:
    """Return the colour [3, N] of headwear, mouth-mask or clothes."""
    x, y, _ = points
    if thing == things.MOUTH_MASK:
        return paint_cloth(points, face.mouth_mask.cloth, textures)
    if thing == things.HEADWEAR:
        colour = paint_cloth(points, face.headwear.cloth, textures)
        if face.headwear.kind == "curled hat":
            band = np.abs(y - front_edge(x, points[2], face.headwear) - 0.14)
            colour = blend(colour, column(face.headwear.cloth.second_colour), smoothstep(0.1, 0.08, band))
        if face.headwear.logo is None:
            return colour
        badge = np.sqrt(x * x + (y - 0.85) ** 2)
        return blend(colour, column(face.headwear.logo), smoothstep(0.17, 0.14, badge))
    colour = paint_cloth(points, face.clothes.cloth, textures)
    if face.clothes.shirt is None:
        return colour
    opening = 0.12 + 0.45 * (y + 1.95) - np.abs(x)
    return blend(colour, column(face.clothes.shirt), smoothstep(0, 0.03, opening))


def paint_cloth(points: np.ndarray, cloth: Cloth, textures: Textures) -> np.ndarray:
    """Return the colour of a material at points [3, N], float32 [3, N]."""
    x, y, z = points
    turn = turn_around(x, z + 0.3)
    amount = {
        "plain": lambda: np.zeros_like(x),
        "stripes": lambda: smoothstep(0.2, 0.4, wave(cloth.frequency * y)),
        "ribs": lambda: 0.25 + 0.25 * wave(5 * cloth.frequency * turn),
        "blotches": lambda: smoothstep(0.2, 0.6, look_up(textures.blotches, 0.5 * x, 0.5 * y)),
        "knit": lambda: np.clip(0.3 + 0.25 * look_up(textures.curls, 2 * turn, 0.6 * y), 0, 1),
    }[cloth.pattern]()
    weave = 1 + 0.07 * look_up(textures.blotches, x, y)
    plain = np.broadcast_to(column(cloth.colour), points.shape)
    return blend(plain, column(cloth.second_colour), amount) * weave
