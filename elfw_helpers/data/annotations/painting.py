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
    entry: AnnotatedPhoto, shapes: Sequence[Shape], ids: Sequence[int], height: int, width: int
) -> tuple[np.ndarray, list[DataError]]:
    """Return the mask of an annotation, and what a person should look at.

    Args:
        shapes: those of the annotation that are drawn: later ones over earlier ones, over the background.
        ids: the class id of each.

    Returns:
        class ids, uint8 [H, W]; remarks.

    Raises:
        DataError: a shape encloses no area or has a hole that its format cannot have, or they are too many.
    """
    if len(shapes) > MOST_SHAPES:
        fix = f"Draw at most {MOST_SHAPES:,}"
        raise DataError(entry.file, f"{entry.name!r} has {len(shapes):,} shapes", fix)
    # Which shape lies on top: the number of the shape, from 1.
    top = np.zeros((height, width), np.uint16)
    drawn = np.zeros(len(shapes) + 1, bool)
    remarks = []
    for number, shape in enumerate(shapes, 1):
        try:
            inside, crossed = shape.area.fill(height, width)
        except ValueError as error:
            raise DataError(entry.file, f"{entry.name!r}, {shape.place}: {error}", MEND) from None
        top[inside] = number
        drawn[number] = inside.any()
        if crossed:
            remarks.append(explain_crossed(entry, shape, *crossed))
        elif not drawn[number]:
            found = f"{entry.name!r}, {shape.place} covers no pixel of the photo"
            remarks.append(DataError(entry.file, found, "Delete it, or move it onto the photo"))
    seen = np.bincount(top.ravel(), minlength=len(drawn)) > 0
    for number in np.flatnonzero(drawn & ~seen):
        found = f"{entry.name!r}, {shapes[number - 1].place} lies wholly under later shapes"
        remarks.append(DataError(entry.file, found, "Move it to the front, if it should be seen"))
    return np.array([BACKGROUND, *ids], np.uint8)[top], remarks


def explain_crossed(entry: AnnotatedPhoto, shape: Shape, row: int, column: int) -> DataError:
    """Return the remark on an outline that crosses itself."""
    found = (
        f"{entry.name!r}, the outline of {shape.place} crosses itself, as around row {row}, column {column}; "
    )
    found += "what it goes around twice was left out (even-odd rule)"
    return DataError(entry.file, found, "Look at the mask, or move the crossed points apart")
