"""Faces changed so that a network sees more of them: shaken in every epoch, or given an object.

`shaking` moves and recolours a batch. `objects` renders eyewear, mouth-masks and hands; `placing` finds a
face by its labels; `blending` puts the one on the other, with `colours` matched. `copies` does so with many
faces in memory; `folder` writes them down with a manifest, and keeps copies of held-out faces out of
training.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compositing": ["THRESHOLD", "put_object"],
        "copies": ["augment_faces", "find_wearers"],
        "face_geometry": ["FaceGeometry", "PlacingError", "locate_face"],
        "folder": ["augment_folder", "read_augmented", "select_for_training"],
        "objects": ["OBJECTS", "OBJECT_SEEDS", "FaceObject", "is_held_out", "render_object"],
        "transforms": ["change_colours", "draw_movements", "move_faces", "shake_faces"],
    },
)
