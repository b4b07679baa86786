"""What the readers of all formats return: a photo with its shapes. And how they look into untrusted files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from elfw_helpers.data.annotations.areas import Area
from elfw_helpers.data.image_names import find_encoding
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import explain_error

# A JSON is read as a whole, into about seven times its size of memory; COCO's own largest has 449 MiB.
MOST_BYTES = 1 << 29
MEND = "Mend or delete it in the program that it was drawn with, and export again"
KINDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}


class OtherFormat(DataError):
    """A file is none of the tool that was named."""


class MissingPhoto(DataError):
    """A photo that is annotated is not there."""


@dataclass(frozen=True)
class Shape:
    """An area with the name of its class, as its author wrote it, and where it stands in the file."""

    label: str
    place: str
    area: Area


@dataclass(frozen=True)
class AnnotatedPhoto:
    """What a file says about one photo.

    Attributes:
        file: the annotation file.
        name: what it calls the photo, mostly a path on another computer.
        size: width and height, as annotated; None where the file does not say.
        shapes: a later one lies over an earlier one.
        words: its tags or flags, such as an attribute.
        embedded: the photo itself, as a file, where the annotation holds it.
    """

    file: Path
    name: str
    size: tuple[int, int] | None
    shapes: Sequence[Shape]
    words: Sequence[str] = field(default_factory=tuple)
    embedded: bytes | None = None


def find_files(folder: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """Yield the files below a folder with one of these suffixes, sorted; hidden ones are left out."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        # macOS puts the second into archives.
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if path.suffix.lower() in suffixes and not hidden and path.is_file():
            yield path


def read_json(file: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        DataError: it cannot be read, or is no JSON.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            fix = "Export the photos in several parts"
            raise DataError(file, f"is larger than {MOST_BYTES >> 20:,} MiB", fix)
        content = file.read_bytes()
        return json.loads(content.decode(find_encoding(content)))
    except OSError as error:
        raise explain_error(error, file) from None
    except UnicodeDecodeError as error:
        raise DataError(file, f"cannot be read as text ({error})", "Save it as UTF-8 text") from None
    except json.JSONDecodeError as error:
        fix = "Export it again, or mend it in an editor"
        raise DataError(file, f"is no valid JSON ({error.msg})", fix, error.lineno) from None
    except (ValueError, RecursionError) as error:
        fix = "Export it again, or mend it in an editor"
        raise DataError(file, f"is no valid JSON ({error})", fix) from None


def take(entry: Any, key: str, *kinds: type) -> Any:
    """Return `entry[key]`; raise ValueError where it is not there or of another kind."""
    if not isinstance(entry, dict):
        raise ValueError("what should be an object is none")
    value = entry.get(key)
    if not isinstance(value, kinds) or isinstance(value, bool):
        wanted = " or ".join(KINDS[kind] for kind in kinds)
        raise ValueError(f"no {key!r} that is {wanted}" if value is None else f"{key!r} is not {wanted}")
    return value


def take_size(entry: dict, width: str, height: str) -> tuple[int, int] | None:
    """Return width and height of a photo in pixels, None where the entry gives neither."""
    if entry.get(width) is None and entry.get(height) is None:
        return None
    return take(entry, width, int), take(entry, height, int)


def to_points(values: Any) -> np.ndarray:
    """Return pairs of numbers as float64 [N, 2]; raise ValueError for anything else."""
    try:
        points = np.array([(float(x), float(y)) for x, y in values], np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("points that are not pairs of numbers") from None
    return points.reshape(-1, 2)
