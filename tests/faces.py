"""Small painted faces and their masks, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from elfw_helpers.data.labels import EYEWEAR, HAIR, SKIN, WEARABLE, encode_colours

SIDE = 32


def paint_face(attribute: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a crude face, uint8 [32, 32, 3], and its mask, uint8 [32, 32]: enough to be told apart."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[4:12, 6:26], mask[10:28, 8:24] = HAIR, SKIN
    if attribute == 1:
        mask[14:17, 9:23] = EYEWEAR
    if attribute == 2:
        mask[2:8, 5:27] = WEARABLE
    # Coarse blotches, so that no two faces look alike even as thumbnails.
    blotches = np.random.default_rng(seed).integers(0, 100, (8, 8, 3)).repeat(4, 0).repeat(4, 1)
    return (encode_colours(mask) * 0.6 + blotches).astype(np.uint8), mask


def write_face(folder: Path, name: str, attribute: int, seed: int) -> None:
    """Write faces/NAME.png (lossless, so that tests may compare pixels) and labels/NAME.png."""
    image, mask = paint_face(attribute, seed)
    for kind, array in (("faces", image), ("labels", encode_colours(mask))):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / kind / f"{name}.png")
