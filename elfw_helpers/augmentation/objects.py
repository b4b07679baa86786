"""The objects that can be put on a face: eyewear, mouth-masks and hands, each rendered from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from elfw_helpers.augmentation.colour_transfer import SkinColours, measure_skin
from elfw_helpers.augmentation.face_geometry import FaceGeometry
from elfw_helpers.data.labels import BACKGROUND, EYEWEAR, MOUTH_MASK
from elfw_helpers.rendering.cutouts import render_cutout
from elfw_helpers.rendering.face import check_whole

# ELFW labels hands that hide a face as background.
LABELS = {"eyewear": EYEWEAR, "mouth-mask": MOUTH_MASK, "hand": BACKGROUND}
OBJECTS = tuple(LABELS)
# The number of objects of each kind. Every fifth is held out: training must not see it.
OBJECT_SEEDS, HELD_OUT_EVERY = 200, 5


@dataclass(frozen=True, eq=False)
class FaceObject:
    """An object to put on a face.

    Attributes:
        kind: one of OBJECTS.
        seed: decides shape, colours and light.
        rgba: uint8 [H, W, 4], cropped to what can be seen.
        face: the face that the object was rendered on, in pixels of `rgba`.
        skin: the colours of that face's skin, in the same light.
    """

    kind: str
    seed: int
    rgba: np.ndarray
    face: FaceGeometry
    skin: SkinColours


def is_held_out(object_seed: int) -> bool:
    """Return whether an object is kept for testing on objects that training never saw."""
    return object_seed % HELD_OUT_EVERY == HELD_OUT_EVERY - 1


def check_kind(kind: str) -> None:
    """Raise ValueError unless `kind` is one of OBJECTS."""
    if kind not in OBJECTS:
        raise ValueError(f"an object is one of {', '.join(OBJECTS)}, not {kind!r}")


@lru_cache(maxsize=len(OBJECTS) * OBJECT_SEEDS)
def render_object(kind: str, seed: int) -> FaceObject:
    """Render one object; the same arguments give the same pixels.

    Raises:
        ValueError: the kind is none of OBJECTS, or the seed is negative.
    """
    check_kind(kind)
    check_whole(seed, "seed")
    cutout = render_cutout(kind, seed)
    geometry = FaceGeometry(cutout.x, cutout.y, cutout.eye_distance, roll=0.0)
    return FaceObject(kind, seed, cutout.rgba, geometry, measure_skin(cutout.skin))
