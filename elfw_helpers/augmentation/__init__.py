"""Data augmentation: faces changed by random transforms, or by objects put on them.

`transforms` moves and recolours a batch. `objects` renders eyewear, mouth-masks and hands; `face_geometry`
finds a face by its labels; `compositing` puts an object on a face, with colours matched by
`colour_transfer`. `copies` does so with many faces in memory; `folder` writes them to disk.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compositing": ["THRESHOLD", "place_object", "put_object"],
        "copies": ["augment_faces", "find_wearers"],
        "face_geometry": ["FaceGeometry", "PlacingError", "locate_face"],
        "folder": ["augment_folder", "select_for_training"],
        "objects": ["OBJECTS", "OBJECT_SEEDS", "FaceObject", "is_held_out", "render_object"],
        "transforms": ["jitter_colours", "draw_affine_maps", "warp_batch", "augment_batch"],
    },
)
