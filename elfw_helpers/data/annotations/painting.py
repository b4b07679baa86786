"""Makes the mask of one annotated photo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from elfw_helpers.data.annotations.records import MEND, AnnotatedPhoto, Shape
from elfw_helpers.data.images import read_size
from elfw_helpers.data.labels import BACKGROUND
from elfw_helpers.utils.errors import DataError

# The number of each shape fits into two bytes per pixel.
MOST_SHAPES = (1 << 16) - 1


def check_size(entry: AnnotatedPhoto, photo: Path) -> tuple[int, int]:
    """Return width and height of an upright photo.

    Raises:
        DataError: it cannot be read, or it was annotated at another size.
    """
    size, sideways = read_size(photo)
    if entry.size in (None, size):
        return size
    found = f"{entry.name!r} was annotated at {{}} x {{}} pixels, and has {{}} x {{}}".format(
        *entry.size, *size
    )
    fix = "Put the photo at the annotated size into the folder, or annotate this one"
    if sideways and entry.size == size[::-1]:
        found += ", after its EXIF rotation"
        fix = "Save the photo upright, without that rotation, and annotate it again"
    raise DataError(entry.file, found, fix)


def paint_mask(
    entry: AnnotatedPhoto, drawn: Sequence[tuple[Shape, int]], width: int, height: int
) -> tuple[np.ndarray, list[DataError]]:
    """Return the mask of an annotation, and what a person should look at.

    Args:
        drawn: its shapes with their class ids; later ones lie over earlier ones, all over the background.

    Returns:
        class ids, uint8 [H, W]; remarks.

    Raises:
        DataError: a shape encloses no area or has a hole that its format cannot have, or they are too many.
    """
    if len(drawn) > MOST_SHAPES:
        fix = f"Draw at most {MOST_SHAPES:,}"
        raise DataError(entry.file, f"{entry.name!r} has {len(drawn):,} shapes", fix)
    # Which shape lies on top: the number of the shape, from 1.
    top = np.zeros((height, width), np.uint16)
    places, remarks = [], []
    for number, (shape, _) in enumerate(drawn, 1):
        places.append(f"{entry.name!r}, {shape.place}")
        try:
            inside, crossed = shape.area.fill(height, width)
        except ValueError as error:
            raise DataError(entry.file, f"{places[-1]}: {error}", MEND) from None
        top[inside] = number
        if crossed:
            remarks.append(explain_crossed(entry.file, places[-1], *crossed))
    seen = np.bincount(top.ravel(), minlength=len(drawn) + 1)[1:] > 0
    for place in (place for place, is_seen in zip(places, seen, strict=True) if not is_seen):
        found = f"{place} is not to be seen: it lies under later shapes, or on no pixel of the photo"
        remarks.append(DataError(entry.file, found, "Move it to the front or onto the photo, or delete it"))
    return np.array([BACKGROUND, *(number for _, number in drawn)], np.uint8)[top], remarks


def explain_crossed(file: Path, place: str, row: int, column: int) -> DataError:
    """Return the remark on an outline that crosses itself."""
    found = f"{place}: the outline crosses itself; one of its loops lies around x {column}, y {row}. "
    found += "Where loops lie on each other, nothing was drawn (even-odd rule)"
    return DataError(file, found, "Look at the mask, or move the crossed points apart")
