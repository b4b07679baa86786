"""Which of ELFW's classes the class names of an annotation mean."""

from __future__ import annotations

import re
from pathlib import Path

from elfw_helpers.data.image_names import Names, read_lines
from elfw_helpers.data.labels import PIXEL_CLASSES
from elfw_helpers.utils.errors import DataError

IGNORE = "ignore"
KNOWN = ", ".join(PIXEL_CLASSES)
EXAMPLE = "`their name = our class`, such as `glasses = sunglasses`"
# Of an unknown name, so many photos that have it are named.
MOST_PHOTOS = 3


def simplify_class(name: str) -> str:
    """Return a class name without case, with hyphens for blanks and underscores, and none around it."""
    return re.sub(r"[\s_-]+", "-", name.strip().casefold()).strip("-")


def read_classes(file: Path | None = None) -> dict[str, int | None]:
    """Return the class id of each known name, simplified; None for names whose shapes are not to be drawn.

    ELFW's own names are known without a file, and so is `ignore`.

    Args:
        file: a line `their name = our class` for each other name; our class may be `ignore`.

    Raises:
        DataError: the file cannot be read, or a line of it names no class.
    """
    classes: dict[str, int | None] = {name: number for number, name in enumerate(PIXEL_CLASSES)}
    classes[IGNORE] = None
    own, seen = dict(classes), set()
    for line, text in read_lines(file, Names(())) if file else []:
        theirs, sign, ours = text.rpartition("=")
        name = simplify_class(theirs)
        if not sign or not name:
            raise DataError(file, f"{text!r} is no line of class names", f"Write {EXAMPLE}", line)
        if simplify_class(ours) not in own:
            found = f"{ours.strip()!r} is none of our classes"
            raise DataError(file, found, f"Known: {KNOWN}; or {IGNORE}, for shapes to leave out", line)
        if name in seen:
            raise DataError(file, f"{theirs.strip()!r} is given a second time", "Keep one of the lines", line)
        seen.add(name)
        classes[name] = own[simplify_class(ours)]
    return classes


def explain_unknown(place: Path, unknown: dict[str, list[str]], known: dict[str, int | None]) -> DataError:
    """Return the error that names the unknown class names, each with photos that have it."""
    parts = []
    for name, photos in sorted(unknown.items()):
        more = f" and {len(photos) - MOST_PHOTOS} more" if len(photos) > MOST_PHOTOS else ""
        parts.append(f"{name!r} (in {', '.join(photos[:MOST_PHOTOS])}{more})")
    found = ", ".join(parts)
    fix = f"Known: {', '.join(known)}. Write a file with a line {EXAMPLE}, for each unknown name "
    fix += f"(or `= {IGNORE}` to leave its shapes out), and add `--classes FILE`"
    return DataError(place, f"unknown class names: {found}", fix)
