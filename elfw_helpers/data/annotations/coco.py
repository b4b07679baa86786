"""Reads instances in COCO's format: one JSON with images, annotations and categories.

The format: https://cocodataset.org/#format-data. Compressed run lengths: `rleFrString` of
https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c. Its library, pycocotools,
would be one more package for two small functions, and its C code trusts the run lengths that it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elfw_helpers.data.annotations.areas import Area, Bitmap, NoArea, Parts, Polygon, decode_runs
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

SECTIONS = ("images", "annotations", "categories")


def read_coco(folder: Path) -> Iterator[AnnotatedPhoto | DataError]:
    """Yield what the files below a folder say of each photo, or what is wrong."""
    for file in find_files(folder, (".json",)):
        try:
            content = read_json(file)
            if not isinstance(content, dict) or not all(
                isinstance(content.get(key), list) for key in SECTIONS
            ):
                found = "holds no instances in COCO's format (images, annotations and categories)"
                yield OtherFormat(file, found, "Move it out of the folder, or export it as instances")
                continue
            if any("segments_info" in entry for entry in content["annotations"] if isinstance(entry, dict)):
                found = "holds panoptic segments, whose masks lie in other files"
                yield OtherFormat(file, found, "Export it as instances")
                continue
            yield from read_file(file, content)
        except DataError as error:
            yield error
        except ValueError as error:
            yield DataError(file, str(error), MEND)


def read_file(file: Path, content: dict) -> Iterator[AnnotatedPhoto | DataError]:
    """Yield what one file says of each photo, or what is wrong with the annotations of one."""
    names = {key: take(entry, "name", str) for key, entry in index_entries(content, "categories").items()}
    images = index_entries(content, "images")
    drawn: dict[Any, list[Any]] = {key: [] for key in images}
    for number, entry in enumerate(content["annotations"], 1):
        key = take(entry, "image_id", int, str)
        if key not in drawn:
            found = f"annotation {entry.get('id', number)} is of image {key!r}, which the file does not list"
            yield DataError(file, found, MEND)
            continue
        drawn[key].append(entry)
    for key, image in images.items():
        try:
            yield read_photo(file, image, drawn[key], names)
        except ValueError as error:
            yield DataError(file, f"image {image.get('file_name', key)!r}, {error}", MEND)


def index_entries(content: dict, section: str) -> dict[Any, dict]:
    """Return the entries of a section by id; raise ValueError where one has none, or two have the same."""
    entries: dict[Any, dict] = {}
    for entry in content[section]:
        key = take(entry, "id", int, str)
        if key in entries:
            raise ValueError(f"two {section} have the id {key!r}")
        entries[key] = entry
    return entries


def read_photo(file: Path, image: dict, annotations: list, names: dict[Any, str]) -> AnnotatedPhoto:
    """Return what a file says of one photo; raise ValueError with what is wrong."""
    size, shapes = take_size(image, "width", "height"), []
    for number, entry in enumerate(annotations, 1):
        category = take(entry, "category_id", int, str)
        place = f"annotation {entry.get('id', number)}"
        if category not in names:
            raise ValueError(f"{place}: category {category!r}, which the file does not name")
        place += f" ({names[category]!r})"
        try:
            area = read_area(entry)
            size = match_size(area, size)
            shapes.append(Shape(names[category], place, area))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
    return AnnotatedPhoto(file, take(image, "file_name", str), size, shapes)


def match_size(area: Area, size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return a photo's width and height, from run lengths if need be; raise ValueError if they differ."""
    if not isinstance(area, Bitmap):
        return size
    height, width = area.pixels.shape
    if size not in (None, (width, height)):
        raise ValueError(f"run lengths for {width} x {height} pixels of a photo of {size[0]} x {size[1]}")
    return width, height


def read_area(entry: dict) -> Area:
    """Return the area of an annotation: pieces, each a list x, y, x, y, ..., or run lengths."""
    drawn = entry.get("segmentation")
    if not drawn:
        return NoArea(f"a {'set of keypoints' if 'keypoints' in entry else 'box'} without a segmentation")
    if isinstance(drawn, list):
        if not all(isinstance(part, list) and len(part) % 2 == 0 for part in drawn):
            raise ValueError("an outline that is not a list x, y, x, y, ...")
        polygons = [Polygon(to_points(zip(part[::2], part[1::2], strict=True))) for part in drawn]
        return polygons[0] if len(polygons) == 1 else Parts(polygons)
    counts, size = take(drawn, "counts", list, str), take(drawn, "size", list)
    if len(size) != 2 or not all(type(side) is int for side in size):
        raise ValueError("run lengths without a size, height and width")
    counts = decode_counts(counts) if isinstance(counts, str) else counts
    return Bitmap(decode_runs(counts, *size, by_columns=True))


def decode_counts(text: str) -> list[int]:
    """Return the run lengths in a compressed text; raise ValueError if it is none.

    Each character holds five bits, the lowest first, and one that says whether more follow. From the fourth
    number on, it is the difference to the number before the last.
    """
    counts: list[int] = []
    number = shift = 0
    for code in (ord(character) - 48 for character in text):
        if not 0 <= code < 64 or shift > 30:
            raise ValueError("run lengths that are not compressed as COCO does it")
        number |= (code & 31) << shift
        shift += 5
        if not code & 32:
            number -= (1 << shift) if code & 16 else 0
            counts.append(number + (counts[-2] if len(counts) > 2 else 0))
            number = shift = 0
    return counts
