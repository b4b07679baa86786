"""Renders one face: from a seed to a picture and its mask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from elfw_helpers.data import labels
from elfw_helpers.rendering.background import make_background
from elfw_helpers.rendering.camera import make_rays, trace_rays
from elfw_helpers.rendering.eyewear import pixel_class, put_on_eyewear, shade_behind
from elfw_helpers.rendering.lighting import lamp_direction, light_surface
from elfw_helpers.rendering.materials import paint_surface
from elfw_helpers.rendering.overrides import change_parameters
from elfw_helpers.rendering.parameters import FaceParameters
from elfw_helpers.rendering.photo import take_photo
from elfw_helpers.rendering.random_parameters import sample_parameters
from elfw_helpers.rendering.random_streams import NOISE, Sampler
from elfw_helpers.rendering.scene import PIXEL_CLASS, Scene
from elfw_helpers.rendering.surface import find_surface
from elfw_helpers.rendering.textures import make_textures

# Raised with every change of the pixels: a set is only continued by the version that began it.
RENDERER_VERSION = 2


@dataclass(frozen=True)
class RenderedFace:
    """A picture, its mask and what it was made from."""

    image: np.ndarray  # uint8 [S, S, 3], sRGB
    mask: np.ndarray  # uint8 [S, S], ELFW class ids
    parameters: FaceParameters


def render_face(
    seed: int,
    size: int = 128,
    identity_seed: int | None = None,
    attribute: str | None = None,
    ingredients: Iterable[str] = (),
    **parameters: Any,
) -> RenderedFace:
    """Render a face: the same arguments give the same pixels.

    Args:
        seed: decides the photo: pose, light, accessories, background; non-negative.
        size: side of the picture, pixels; a positive multiple of 8.
        identity_seed: decides the person, non-negative; the photo's own seed if None.
        attribute: "hair", "spectacles" or "cap": what to wear; drawn from the seed if None. "cap" may be
            glasses pushed up, and a tight crop or a hand can hide what is worn: `render_folder` alone
            makes sure that the mask shows it.
        ingredients: what makes a face more like a photo's, of `ingredients.INGREDIENTS`; none in the course.
        parameters: parts of `FaceParameters` to set by name instead of drawing them, as `change_parameters`
            takes them: `headwear={"kind": "beanie"}, beard="full", hand=None`

    Raises:
        ValueError: an argument is not one of these (numbers among the parameters are not checked).
    """
    check_whole(seed, "seed")
    check_whole(size, "size", 8, step=8)
    identity_seed = seed if identity_seed is None else identity_seed
    check_whole(identity_seed, "identity_seed")
    if attribute is not None and attribute not in labels.ATTRIBUTES:
        raise ValueError(f"attribute is one of {', '.join(labels.ATTRIBUTES)} or None, not {attribute!r}")
    face = sample_parameters(seed, identity_seed, attribute, ingredients)
    return render_parameters(change_parameters(face, parameters), size)


def render_parameters(parameters: FaceParameters, size: int) -> RenderedFace:
    """Render the face that the parameters describe: the scene, its light, and then the photo of it."""
    scene, rays = Scene(parameters), make_rays(parameters.pose, size)
    travelled, hit = trace_rays(rays, scene)
    surface = find_surface(scene, rays, travelled, hit, make_textures(parameters.seed))
    colour, gloss, beard = paint_surface(surface)
    light = light_surface(surface, colour, gloss)
    picture = make_background(parameters.background, size)
    mask = np.full(size * size, labels.BACKGROUND, np.uint8)
    mask[surface.pixels] = np.where(beard > 0.5, np.uint8(labels.BEARD), PIXEL_CLASS[surface.things])
    if parameters.eyewear:
        light = light * (1 - shade_behind(surface.points, lamp_direction(surface), parameters.eyewear))
    picture[:, surface.pixels] = light
    if parameters.eyewear:
        reach = np.where(hit, travelled, np.float32(np.inf))
        picture, worn = put_on_eyewear(picture, rays, reach, parameters.eyewear)
        mask[worn] = pixel_class(parameters.eyewear)
    light = picture.reshape(3, size, size)
    image = take_photo(light, parameters.camera, Sampler(NOISE, parameters.seed))
    return RenderedFace(image, mask.reshape(size, size), parameters)


def check_whole(value: int, name: str, least: int = 0, step: int = 1) -> None:
    """Raise ValueError unless `value` is a whole number, at least `least`, and a multiple of `step`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least or value % step:
        multiple = "" if step == 1 else f" that is a multiple of {step}"
        raise ValueError(f"{name} is a whole number from {least} on{multiple}, not {value!r}")
