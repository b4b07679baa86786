"""From a folder of faces to batches: labels, images, layout, splits, and an audit of all of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batches": ["IMAGENET_MEAN", "IMAGENET_STD", "Batches", "channel_statistics", "split_batches"],
        "datasets": ["CustomDataset", "FaceFolder", "FaceTensors"],
        "images": ["mask_picture", "read_image"],
        "labels": [
            "ATTRIBUTES",
            "BACKGROUND",
            "BEARD",
            "DISPLAY_COLOURS",
            "EYEWEAR",
            "HAIR",
            "MOUTH_MASK",
            "PALETTE",
            "PIXEL_CLASSES",
            "SKIN",
            "WEARABLE",
            "attribute_from_mask",
            "decode_colours",
            "encode_colours",
        ],
        "layout": ["read_origins"],
        "splits": ["Split", "draw_split", "pick_faces"],
    },
)
