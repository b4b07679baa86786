"""Puts an object on a face: fits it, matches its colours, blends it in, and labels it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from elfw_helpers.augmentation.colour_transfer import SkinColours, match_light, match_skin, measure_skin
from elfw_helpers.augmentation.face_geometry import FaceGeometry, PlacingError, locate_face
from elfw_helpers.augmentation.objects import LABELS, FaceObject
from elfw_helpers.data.labels import BACKGROUND, BEARD, EYEWEAR, HAIR, MOUTH_MASK, SKIN, WEARABLE
from elfw_helpers.data.labels import PIXEL_CLASSES as CLASS_NAMES

# Pixels of less opacity are neither blended nor labelled, so image and mask always agree.
THRESHOLD = 0.1
# Where an object may show: a mouth-mask is on the skin, and hair falls over it and over eyewear.
SHOWS_ON = {
    "eyewear": (BACKGROUND, SKIN, BEARD, MOUTH_MASK),
    "mouth-mask": (SKIN, BEARD),
    "hand": (BACKGROUND, SKIN, HAIR, BEARD, EYEWEAR, WEARABLE, MOUTH_MASK),
}
# A face whose mask shows more of a class than this share wears such an object already.
WORN = 0.001
# The circle of skin whose colours are matched, in eye distances: below the eyes, without the neck.
FACE_CENTRE, FACE_RADIUS = 0.4, 1.5


def put_object(image: np.ndarray, mask: np.ndarray, face_object: FaceObject) -> tuple[np.ndarray, np.ndarray]:
    """Put an object on a face, by its labels alone.

    Args:
        image: uint8 [H, W, 3].
        mask: uint8 [H, W], class ids.

    Returns:
        a new image and a new mask. Exactly the pixels that were blended have the object's label.

    Raises:
        ValueError: image and mask differ in size.
        PlacingError: the mask shows no face, or one that wears such an object, or nothing of it would show.
    """
    if image.ndim != 3 or image.shape != (*mask.shape, 3):
        raise ValueError(
            f"an image [H, W, 3] and its mask [H, W] go together, not {image.shape}, {mask.shape}"
        )
    label = LABELS[face_object.kind]
    if label != BACKGROUND and np.mean(mask == label) > WORN:
        raise PlacingError(f"the face wears {CLASS_NAMES[label]} already")
    layer = place_object(image, mask, face_object)
    opacity = layer[..., 3:] / 255
    covered = (opacity[..., 0] >= THRESHOLD) & np.isin(mask, SHOWS_ON[face_object.kind])
    if not covered.any():
        raise PlacingError(f"nothing of the {face_object.kind} would show on this face")
    blended = np.rint(opacity * layer[..., :3] + (1 - opacity) * image)
    image = np.where(covered[..., None], blended, image).astype(np.uint8)
    return image, np.where(covered, label, mask).astype(np.uint8)


def place_object(image: np.ndarray, mask: np.ndarray, face_object: FaceObject) -> np.ndarray:
    """Move an object to its place on a face, and match its colours.

    Args:
        image: uint8 [H, W, 3].
        mask: uint8 [H, W], class ids.

    Returns:
        float64 [H, W, 4], red, green, blue and opacity, 0..255.

    Raises:
        PlacingError: the mask shows no face.
    """
    face = locate_face(mask)
    layer = warp_object(face_object, face, mask.shape)
    seen = layer[..., 3] > 0
    match = match_skin if face_object.kind == "hand" else match_light
    placed = layer.astype(np.float64)
    placed[seen, :3] = match(layer[seen, :3], face_object.skin, face_skin(image, mask, face))
    return placed


def warp_object(face_object: FaceObject, face: FaceGeometry, shape: tuple[int, int]) -> np.ndarray:
    """Scale, turn and move an object to its place in a picture of this height and width, uint8 [H, W, 4]."""
    # Interpolation looks at the nearest four pixels only, so an object that shrinks is averaged before.
    factor = max(1, int(face_object.face.eye_distance / face.eye_distance))
    sprite = Image.fromarray(face_object.rgba, "RGBA").reduce(factor)
    made_for = face_object.face
    scale = made_for.eye_distance / (face.eye_distance * factor)
    cosine, sine = scale * np.cos(face.roll), scale * np.sin(face.roll)
    # Pillow counts from the corner of the first pixel, the geometry from its middle.
    x, y = face.x + 0.5, face.y + 0.5
    to_sprite = (
        *(cosine, sine, (made_for.x + 0.5) / factor - cosine * x - sine * y),
        *(-sine, cosine, (made_for.y + 0.5) / factor + sine * x - cosine * y),
    )
    size = (shape[1], shape[0])
    return np.asarray(sprite.transform(size, Image.Transform.AFFINE, to_sprite, Image.Resampling.BILINEAR))


def face_skin(image: np.ndarray, mask: np.ndarray, face: FaceGeometry) -> SkinColours:
    """Return the colours of a face's skin without its neck; where no such skin shows, of all skin."""
    rows, columns = np.nonzero(mask == SKIN)
    if len(rows) == 0:
        rows, columns = np.nonzero((mask == BEARD) | (mask == MOUTH_MASK) | (mask == EYEWEAR))
    x, y = face.to_face(columns, rows)
    near = x**2 + (y - FACE_CENTRE) ** 2 < FACE_RADIUS**2
    near = near if near.any() else slice(None)
    return measure_skin(image[rows[near], columns[near]])
