"""The folder that holds a release: the one that was named, or the one above or below it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from elfw_helpers.data.releases.terms import TERMS, describe_access
from elfw_helpers.utils.errors import DataError


def find_root(kind: str, source: Path) -> Path:
    """Return the folder that holds the files of a release, one level above or below `source` if need be.

    Raises:
        DataError: it is not there, or more than one is.
    """
    if source.is_file():
        fix = "Unpack it (`unzip`, or `tar xf`) into a new folder, and name that folder"
        raise DataError(source, "is a file, not the folder of the release", fix)
    if not source.is_dir():
        raise DataError(source, "no such folder", describe_access(kind))
    for places in ((source,), (source.parent,), sorted(filter(Path.is_dir, source.iterdir()))):
        found = [place for place in places if holds_release(kind, place)]
        if len(found) > 1:
            names = " and ".join(place.name for place in found[:2])
            raise DataError(source, f"holds the release more than once, in {names}", "Name one of them")
        if found and (places[0] != source.parent or is_part(kind, source)):
            return found[0]
    there = [name for name in TERMS[kind].holds if find_entry(source, name)]
    missing = " and no ".join(name for name in TERMS[kind].holds if name not in there)
    found = f"holds {' and '.join(there)}, and no {missing}" if there else f"holds no {missing}"
    raise DataError(source, found, describe_access(kind))


def holds_release(kind: str, folder: Path) -> bool:
    """Return whether a folder holds all folders by which a release is known."""
    return all(find_entry(folder, name) for name in TERMS[kind].holds)


def is_part(kind: str, folder: Path) -> bool:
    """Return whether a folder is one of those by which a release is known."""
    return folder.name.casefold() in map(str.casefold, TERMS[kind].holds)


def find_entry(folder: Path, name: str) -> Path | None:
    """Return the file or folder of a name, whose case may have changed on its way here; None without it."""
    return next((path for path in list_entries(folder) if path.name.casefold() == name.casefold()), None)


def list_entries(folder: Path) -> Iterator[Path]:
    """Yield the files and folders in a folder, sorted, without hidden ones; nothing if it is none."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        # A link to nothing counts as missing. From a pipe, a reader would wait for ever.
        names = [entry.name for entry in entries if entry.is_file() or entry.is_dir()]
    yield from (folder / name for name in sorted(names) if not name.startswith("."))
