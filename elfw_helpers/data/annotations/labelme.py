"""Reads labelme's files, one JSON beside each photo.

Written as by labelme 4 to 6, whose `LabelFile` reads and writes them:
https://github.com/wkentaro/labelme/blob/main/labelme/_label_file.py
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterator
from math import hypot
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from elfw_helpers.data.annotations.areas import Area, Bitmap, Ellipse, NoArea, Polygon, check_places, make_box
from elfw_helpers.data.annotations.records import (
    MEND,
    AnnotatedPhoto,
    OtherFormat,
    Shape,
    find_files,
    read_json,
    take,
    take_size,
    to_points,
)
from elfw_helpers.utils.errors import DataError


def read_labelme(folder: Path) -> Iterator[AnnotatedPhoto | DataError]:
    """Yield what each of labelme's files below a folder says, or what is wrong with it."""
    for file in find_files(folder, (".json",)):
        try:
            content = read_json(file)
            if not isinstance(content, dict) or "shapes" not in content:
                yield OtherFormat(
                    file, "is no file of labelme (it has no 'shapes')", "Move it out of the folder"
                )
                continue
            yield read_photo(file, content)
        except DataError as error:
            yield error
        except ValueError as error:
            yield DataError(file, str(error), MEND)


def read_photo(file: Path, content: dict) -> AnnotatedPhoto:
    """Return what one file says; raise ValueError with what is wrong."""
    shapes = [read_shape(entry, number) for number, entry in enumerate(take(content, "shapes", list), 1)]
    flags = content.get("flags") or {}
    words = [word for word, value in flags.items() if value is True] if isinstance(flags, dict) else []
    size = take_size(content, "imageWidth", "imageHeight")
    embedded = content.get("imageData")
    name = take(content, "imagePath", str)
    return AnnotatedPhoto(
        file, name, size, shapes, words, decode_base64(embedded) if embedded is not None else None
    )


def read_shape(entry: Any, number: int) -> Shape:
    """Return one of a file's shapes; raise ValueError that names it."""
    place = f"shape {number}"
    try:
        label = take(entry, "label", str)
        place += f" ({label!r})"
        return Shape(label, place, read_area(entry))
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def read_area(entry: dict) -> Area:
    """Return the area of a shape; raise ValueError where it has none."""
    kind = entry.get("shape_type") or "polygon"
    points = to_points(take(entry, "points", list))
    if kind in ("polygon", "oriented_rectangle") or (kind == "rectangle" and len(points) != 2):
        return Polygon(points)
    if kind not in ("rectangle", "circle", "mask"):
        return NoArea(f"a {kind}")
    if len(points) != 2:
        raise ValueError(f"a {kind} of {len(points)} points, where 2 make one")
    (x, y), (other_x, other_y) = points.tolist()
    if kind == "rectangle":
        return make_box(x, y, other_x, other_y)
    if kind == "circle":
        radius = hypot(x - other_x, y - other_y)
        return Ellipse((x, y), (radius, radius))
    # The two points of a mask are its first and last pixel.
    check_places(points)
    size = int(other_x) - int(x) + 1, int(other_y) - int(y) + 1
    return Bitmap(decode_bitmap(take(entry, "mask", str), size), int(x), int(y))


def decode_bitmap(text: str, size: tuple[int, int]) -> np.ndarray:
    """Return a mask stored as PNG in Base64, boolean [h, w]; raise ValueError if it is not of that size."""
    try:
        with Image.open(io.BytesIO(decode_base64(text)), formats=("PNG",)) as image:
            if image.size != size:
                found = "{} x {} pixels between points for {} x {}".format(*image.size, *size)
                raise ValueError(f"a mask of {found}")
            return np.asarray(image.convert("L")) > 0
    # Pillow raises nearly anything on a broken file.
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"a mask that cannot be read as PNG ({error})") from None


def decode_base64(text: Any) -> bytes:
    """Return the bytes of a text in Base64; raise ValueError if it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ValueError("a picture that is not in Base64") from None
