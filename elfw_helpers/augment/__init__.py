"""Faces changed so that a network sees more of them: shaken in every epoch, or given an object.

`shaking` moves and recolours a batch. `objects` renders eyewear, mouth-masks and hands; `placing` finds a
face by its labels; `blending` puts the one on the other, with `colours` matched. `copies` does so with many
faces in memory; `folder` writes them down with a manifest, and keeps copies of held-out faces out of
training.
"""

from elfw_helpers.augment.blending import put_object
from elfw_helpers.augment.copies import Origin, augment_faces, find_wearers
from elfw_helpers.augment.folder import augment_folder, read_augmented, read_origins, select_for_training
from elfw_helpers.augment.objects import OBJECT_SEEDS, OBJECTS, FaceObject, is_held_out, render_object
from elfw_helpers.augment.placing import FaceGeometry, PlacingError, locate_face
from elfw_helpers.augment.shaking import change_colours, draw_movements, move_faces, shake_faces

__all__ = [
    "OBJECTS",
    "OBJECT_SEEDS",
    "FaceGeometry",
    "FaceObject",
    "Origin",
    "PlacingError",
    "augment_faces",
    "augment_folder",
    "change_colours",
    "draw_movements",
    "find_wearers",
    "is_held_out",
    "locate_face",
    "move_faces",
    "put_object",
    "read_augmented",
    "read_origins",
    "render_object",
    "select_for_training",
    "shake_faces",
]
