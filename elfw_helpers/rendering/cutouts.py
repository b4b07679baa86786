"""Eyewear, mouth-masks and hands alone, cut out of a picture with their transparency.

Each is rendered on a bald face of a middle skin tone that looks straight into the camera.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from elfw_helpers.data import labels
from elfw_helpers.rendering.camera import EYE, MOUTH, Rays, make_rays, trace_rays
from elfw_helpers.rendering.eyewear import put_on_eyewear
from elfw_helpers.rendering.face import render_parameters
from elfw_helpers.rendering.lighting import light_surface
from elfw_helpers.rendering.materials import paint_surface
from elfw_helpers.rendering.parameters import Camera, FaceParameters, Light, Pose
from elfw_helpers.rendering.photo import develop
from elfw_helpers.rendering.random_parameters import draw_part, sample_parameters
from elfw_helpers.rendering.scene import HAND, MOUTH_MASK, Scene
from elfw_helpers.rendering.surface import find_surface
from elfw_helpers.rendering.textures import make_textures

# Crops that hold the whole object (an arm reaches far down), and their sides in pixels. A head gets as many
# pixels as in a photo of 250 pixels, but fewer beside a hand.
ZOOMS = {"eyewear": 0.65, "mouth-mask": 0.85, "hand": 1.8}
SIDES = {"eyewear": 192, "mouth-mask": 192, "hand": 256}
OVERSAMPLING, SKIN_SIDE = 2, 32
# Larger than the renderer's, to fit photos: there, eyewear is 2.26 eye distances wide (the median), the
# renderer's 2.02, and a hand is about as long as a face.
ENLARGEMENT = {"eyewear": 1.08, "mouth-mask": 1.08, "hand": 1.0}
HAND_ENLARGEMENT = 1.3  # around the hand's own middle
SKIN_TONE = 0.35
# The renderer paints eyewear without light, so its wearer stands in this light.
EVEN_LIGHT = Light((0.0, 0.447, 0.894), lamp=(1.2,) * 3, sky=(0.6,) * 3, softness=0.4, shine=0.08)
PLAIN_CAMERA = Camera(0.8, (1.0, 1.0, 1.0), contrast=1.0, saturation=1.0, blur=0.4, noise=0, jpeg_quality=95)
# The lowest opacity of a lens: above `compositing.THRESHOLD`, since ELFW labels clear spectacles whole.
CLEAREST = 0.12
# Opacity is measured by how two backgrounds show through, as dark and as light as skin in linear light.
GROUNDS = (0.1, 0.5)


class Cutout(NamedTuple):
    """An object without its wearer.

    rgba: uint8 [H, W, 4], cropped to what can be seen.
    x, y: the point midway between the wearer's eyes, pixels of `rgba` from the middle of the first.
    eye_distance: of the wearer, pixels of `rgba`.
    skin: uint8 [N, 3], pixels of the wearer's skin without the object, in the same light.
    """

    rgba: np.ndarray
    x: float
    y: float
    eye_distance: float
    skin: np.ndarray


def render_cutout(kind: str, seed: int) -> Cutout:
    """Render an object; `kind` is one of ZOOMS, the non-negative seed decides shape, colours and light."""
    face = draw_wearer(kind, seed)
    rays = make_rays(face.pose, OVERSAMPLING * SIDES[kind])
    pixels = cut_out_eyewear(face, rays) if kind == "eyewear" else cut_out_solid(face, rays, kind)
    picture = Image.fromarray(pixels, "RGBA").reduce(OVERSAMPLING)
    left, top, right, bottom = picture.getchannel("A").getbbox()
    # The camera aims a tenth of the way from the eyes to the mouth.
    unit = 1 / (OVERSAMPLING * rays.pixel)
    middle, up = (SIDES[kind] - 1) / 2, 0.1 * (EYE[1] - MOUTH[1]) * unit
    eye_distance = 2 * EYE[0] * unit / ENLARGEMENT[kind]
    cropped = np.asarray(picture.crop((left, top, right, bottom)))
    return Cutout(cropped, middle - left, middle - up - top, eye_distance, render_skin(face))


def draw_wearer(kind: str, seed: int) -> FaceParameters:
    """Draw a face, looking straight ahead, that wears the object and nothing else."""
    face = sample_parameters(seed, seed, "hair")
    identity = replace(face.identity, skin_tone=SKIN_TONE, skin_warmth=0.0, freckles=0.0, hair_length="bald")
    part = kind.replace("-", "_")
    worn = draw_part(part, seed, identity)
    if kind == "hand":
        worn = replace(worn, skin=identity.skin, size=HAND_ENLARGEMENT * worn.size)
    return replace(
        face,
        identity=identity,
        pose=Pose(0.0, 0.0, 0.0, distance=16.0, zoom=ZOOMS[kind], shift_x=0.0, shift_y=0.0),
        beard="none",
        light=EVEN_LIGHT if kind == "eyewear" else face.light,
        camera=PLAIN_CAMERA,
        **dict.fromkeys(("eyewear", "headwear", "mouth_mask", "hand")) | {part: worn},
    )


def cut_out_eyewear(face: FaceParameters, rays: Rays) -> np.ndarray:
    """Return eyewear alone, uint8 [S, S, 4]; its opacity is how little two backgrounds show through it."""
    count = rays.directions.shape[1]
    nothing = np.full(count, np.float32(np.inf))
    grounds = [np.full((3, count), ground, np.float32) for ground in GROUNDS]
    (dark, worn), (light, _) = (put_on_eyewear(ground, rays, nothing, face.eyewear) for ground in grounds)
    dark, light, black, white = (expose(picture) for picture in (dark, light, *grounds))
    alpha = np.clip(1 - ((light - dark) / (white - black)).mean(0), 0, 1)
    alpha = np.where(worn, np.maximum(alpha, CLEAREST), alpha)
    # The colour that gives, on the middle background, what was seen there.
    seen, ground = (dark + light) / 2, (black + white) / 2
    return to_pixels((seen - (1 - alpha) * ground) / np.maximum(alpha, 1e-3), alpha, rays.size)


def cut_out_solid(face: FaceParameters, rays: Rays, kind: str) -> np.ndarray:
    """Return a mouth-mask or a hand alone, uint8 [S, S, 4]."""
    scene = Scene(face, only=HAND if kind == "hand" else MOUTH_MASK)
    travelled, hit = trace_rays(rays, scene)
    surface = find_surface(scene, rays, travelled, hit, make_textures(face.seed))
    colour, gloss, _ = paint_surface(surface)
    picture = np.zeros((3, len(hit)), np.float32)
    picture[:, surface.pixels] = expose(light_surface(surface, colour, gloss))
    return to_pixels(picture, hit, rays.size)


def expose(light: np.ndarray) -> np.ndarray:
    """Return linear light, float32 [3, N], as PLAIN_CAMERA's pictures show it, 0..1."""
    return develop(PLAIN_CAMERA.exposure * np.maximum(light, 0))


def to_pixels(colour: np.ndarray, alpha: np.ndarray, size: int) -> np.ndarray:
    """Return colour [3, S * S] and alpha [S * S], in 0..1, as uint8 [S, S, 4]."""
    values = np.concatenate([colour, alpha[None]]).clip(0, 1)
    return np.ascontiguousarray((255 * values + 0.5).astype(np.uint8).T.reshape(size, size, 4))


def render_skin(face: FaceParameters) -> np.ndarray:
    """Return the pixels of the wearer's skin without the object, uint8 [N, 3]."""
    bare = replace(face, eyewear=None, mouth_mask=None, hand=None, pose=replace(face.pose, zoom=1.0))
    rendered = render_parameters(bare, SKIN_SIDE)
    return rendered.image[rendered.mask == labels.SKIN]
