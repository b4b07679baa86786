"""Reads exports of CVAT, "CVAT for images 1.1": annotations.xml, with the photos beside it.

Elements and attributes as in https://docs.cvat.ai/docs/other/xml_format and as written by
cvat/apps/dataset_manager/formats/cvat.py of https://github.com/cvat-ai/cvat; run lengths (row by row, the
first outside) and the sense of turns as in transformations.py beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from elfw_helpers.data.annotations.areas import Area, Bitmap, Ellipse, NoArea, Polygon, decode_runs, make_box
from elfw_helpers.data.annotations.records import (
    MEND,
    AnnotatedPhoto,
    OtherFormat,
    Shape,
    find_files,
    to_points,
)
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import explain_error

AGAIN = "Export again from CVAT, as `CVAT for images 1.1`"


def read_cvat(folder: Path) -> Iterator[AnnotatedPhoto | DataError]:
    """Yield what the exports below a folder say of each photo, or what is wrong."""
    for file in find_files(folder, (".xml",)):
        try:
            yield from read_file(file)
        except ParseError as error:
            yield DataError(file, f"is no valid XML ({error})", AGAIN, error.position[0])
        except DefusedXmlException:
            fix = "CVAT writes none: do not trust the file, and export again"
            yield DataError(file, "defines a document type or entities", fix)
        except (LookupError, ValueError) as error:
            yield DataError(file, f"cannot be read as text ({error})", AGAIN)
        except OSError as error:
            yield explain_error(error, file)


def read_file(file: Path) -> Iterator[AnnotatedPhoto | DataError]:
    """Yield what one export says of each photo; only one of them is in memory at a time."""
    with file.open("rb") as stream:
        root = None
        for event, element in iterparse(stream, events=("start", "end"), forbid_dtd=True):
            if root is None:
                root = element
                if root.tag != "annotations":
                    yield OtherFormat(
                        file, f"is no export of CVAT (it begins with <{root.tag}>)", "Move it away"
                    )
                    return
            elif event == "end" and element.tag == "track":
                yield DataError(file, "is the export of a video, with tracks", AGAIN)
                return
            elif event == "end" and element.tag == "image":
                yield read_photo_or_fault(file, element)
                root.clear()


def read_photo_or_fault(file: Path, element: Element) -> AnnotatedPhoto | DataError:
    """Return what an <image> says, or what is wrong with it."""
    try:
        return read_photo(file, element)
    except ValueError as error:
        return DataError(file, f"image {element.get('name')!r}, {error}", MEND)


def read_photo(file: Path, element: Element) -> AnnotatedPhoto:
    """Return what an <image> says; raise ValueError with what is wrong."""
    shapes, words = [], []
    for number, child in enumerate(element, 1):
        if child.tag == "tag":
            words.append(child.get("label", ""))
        else:
            place = f"{child.tag} {number} ({child.get('label')!r})"
            shapes.append((take_number(child, "z_order", place, 0), read_shape(child, place)))
    # A shape with a higher z_order is nearer; of two with the same, the later one lies over the other.
    shapes.sort(key=lambda shape: shape[0])
    size = tuple(int(take_number(element, key, "the photo")) for key in ("width", "height"))
    return AnnotatedPhoto(file, take_text(element, "name"), size, [shape for _, shape in shapes], words)


def read_shape(element: Element, place: str) -> Shape:
    """Return a shape; raise ValueError that names it."""
    try:
        return Shape(take_text(element, "label"), place, read_area(element))
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def read_area(element: Element) -> Area:
    """Return the area of a shape; raise ValueError where it has none."""
    if element.tag == "polygon":
        pairs = take_text(element, "points").strip(";").split(";")
        return Polygon(to_points(pair.split(",") for pair in pairs))
    if element.tag == "box":
        sides = [take_number(element, key) for key in ("xtl", "ytl", "xbr", "ybr")]
        return make_box(*sides, take_number(element, "rotation", default=0))
    if element.tag == "ellipse":
        x, y, *radii = (take_number(element, key) for key in ("cx", "cy", "rx", "ry"))
        return Ellipse((x, y), tuple(radii), take_number(element, "rotation", default=0))
    if element.tag == "mask":
        left, top, width, height = (
            int(take_number(element, key)) for key in ("left", "top", "width", "height")
        )
        try:
            counts = [int(count) for count in take_text(element, "rle").split(",")]
        except ValueError:
            raise ValueError("run lengths that are not whole numbers") from None
        return Bitmap(decode_runs(counts, height, width), left, top)
    return NoArea(f"a <{element.tag}>")


def take_text(element: Element, key: str) -> str:
    """Return an attribute of an element; raise ValueError without it."""
    value = element.get(key)
    if not value:
        raise ValueError(f"no {key!r}")
    return value


def take_number(element: Element, key: str, place: str = "", default: float | None = None) -> float:
    """Return an attribute as a finite number; raise ValueError without it, unless there is a default."""
    text = element.get(key)
    if text is None and default is not None:
        return default
    try:
        number = float(text or "")
    except ValueError:
        number = float("nan")
    if not abs(number) < 1e9:
        raise ValueError(f"{place}{': ' if place else ''}{key!r} is {text!r}, which is no size or place")
    return number
