"""How many folders with wrong masks does `elfw check` suspect, and how many right ones?

Masks that are valid in form are made wrong on purpose, all of a folder in the same way. Folders are drawn at
random from the faces of one set, with masks as they are (right) and with each mistake; a mistake counts as
found when a suspect names it. Right masks are also checked in other framings than that of the set.

    python benchmarks/check.py [--real FOLDER] [--folders 400]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from elfw_helpers.data.datasets import FaceFolder, in_parallel
from elfw_helpers.data.labels import PIXEL_CLASSES
from elfw_helpers.data.suspicious_masks import MaskMeasures, find_suspicious_masks, measure_mask
from elfw_helpers.utils.paths import embedded_faces

SIZES = (1, 3, 10, 40, 200)

Change = Callable[[np.ndarray], np.ndarray]


def store_as(*stored: int) -> Change:
    """Return a function that exchanges the classes of a mask: class k becomes stored[k]."""
    return lambda mask: np.array(stored)[mask]


def store_background_as(index: int) -> Change:
    """Return a function that stores the background of a mask as another class."""
    return lambda mask: np.where(mask == 0, index, mask)


def resize_and_back(mask: np.ndarray, resample: Image.Resampling) -> np.ndarray:
    """Return a mask that was resized to 7 / 8 and back."""
    picture = Image.fromarray(mask)
    smaller = picture.resize((picture.width * 7 // 8, picture.height * 7 // 8), resample)
    return np.asarray(smaller.resize(picture.size, resample))


# What is done to each mask, and what the suspect then says. Masks that would not be valid after it, such as
# ids from 1 with a class 6, are left out.
MISTAKES: dict[str, tuple[Change, str]] = {
    "BGR": (store_as(0, 1, 4, 6, 2, 5, 3), "order BGR"),
    "ids from 1": (lambda mask: mask + 1, "begin at 1"),
    "blue background": (store_background_as(4), "stored as sunglasses: LFW"),
    "background and skin exchanged": (store_as(1, 0, 2, 3, 4, 5, 6), "and skin exchanged"),
    "skin and hair exchanged": (store_as(0, 2, 1, 3, 4, 5, 6), "and hair exchanged"),
    **{
        f"background stored as {PIXEL_CLASSES[index]}": (store_background_as(index), "no background")
        for index in (1, 2, 3, 5, 6)
    },
    "one class": (np.zeros_like, "all of it is background"),
    "ids smoothed": (lambda mask: resize_and_back(mask, Image.Resampling.BILINEAR), "smoothed"),
    "resized by nearest (right)": (lambda mask: resize_and_back(mask, Image.Resampling.NEAREST), "smoothed"),
    "turned by 90 degrees": (np.rot90, "90 degrees clockwise"),
    "turned by 180 degrees": (lambda mask: np.rot90(mask, 2), "180 degrees"),
    "turned by 270 degrees": (lambda mask: np.rot90(mask, 3), "90 degrees counter-clockwise"),
    "mirrored left to right": (np.fliplr, "left to right"),
    "mirrored top to bottom": (np.flipud, "top to bottom"),
}

# Right photos with their masks, cropped or with a black margin: left, top, right and bottom edge, in widths.
WHOLE = (0, 0, 1, 1)
FRAMINGS = {
    "right, inner 3 / 4": (1 / 8, 1 / 8, 7 / 8, 7 / 8),
    "right, inner 5 / 8": (3 / 16, 3 / 16, 13 / 16, 13 / 16),
    "right, inner 1 / 2": (1 / 4, 1 / 4, 3 / 4, 3 / 4),
    "right, margin of 1 / 4": (-1 / 4, -1 / 4, 5 / 4, 5 / 4),
    "right, margin of 1 / 2": (-1 / 2, -1 / 2, 3 / 2, 3 / 2),
    "right, upper 5 / 8": (0, 0, 1, 5 / 8),
}


def measure_changed(
    faces: FaceFolder, index: int, change: Change | None, framing: tuple[float, ...] = WHOLE
) -> MaskMeasures | None:
    """Return what `elfw check` measures on a mask after a change; None if that mask would not be valid."""
    image, mask = faces.read(index)
    if framing != WHOLE:
        box = tuple(round(edge * image.width) for edge in framing)
        image, mask = image.crop(box), np.asarray(Image.fromarray(mask).crop(box))
    if change is not None:
        mask = np.ascontiguousarray(change(mask), np.uint8)
    if mask.max() >= len(PIXEL_CLASSES) or mask.shape != (image.height, image.width):
        return None
    return measure_mask(image, mask)


def share_of_folders(masks: list[MaskMeasures], said: str, folders: int) -> list[float]:
    """Return the share of folders of each size with a suspect whose text contains `said`."""
    generator = np.random.default_rng(0)
    shares = []
    for size in SIZES:
        found = 0
        for _ in range(folders):
            drawn = {str(place): masks[place] for place in generator.permutation(len(masks))[:size]}
            found += any(said in fault for fault, _ in find_suspicious_masks(drawn))
        shares.append(found / folders)
    return shares


def report(root: Path, folders: int) -> None:
    """Print a table for the faces of one folder."""
    faces = FaceFolder(root)
    print(f"\n{root}: {len(faces)} faces, {folders} folders of each size", flush=True)
    print(f"{'':<32}" + "".join(f"{size:>8}" for size in SIZES))
    rows = {"right": (None, "the mask", WHOLE)}
    rows |= {name: (None, "the mask", framing) for name, framing in FRAMINGS.items()}
    rows |= {name: (change, said, WHOLE) for name, (change, said) in MISTAKES.items()}
    for name, (change, said, framing) in rows.items():
        measure = partial(measure_changed, faces, change=change, framing=framing)
        masks = [mask for mask in in_parallel(measure, range(len(faces)), name) if mask]
        shares = share_of_folders(masks, said, folders)
        print(f"{name:<32}" + "".join(f"{share:8.1%}" for share in shares), flush=True)


def main() -> None:
    """Measure on the embedded faces, and on a folder of photos if one is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, help="photos with masks, in ELFW's layout")
    parser.add_argument("--folders", type=int, default=400, help="folders of each size (default 400)")
    arguments = parser.parse_args()
    for root in filter(None, (embedded_faces(), arguments.real)):
        report(root, arguments.folders)


if __name__ == "__main__":
    main()
