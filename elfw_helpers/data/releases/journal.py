"""Which faces an earlier run has finished: a line for each, written after its files.

A line is JSON: the face, the stamp of its sources, and what its mask shows. One that a killed process left
half-written counts for nothing, and its face is made again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from elfw_helpers import __version__
from elfw_helpers.data.releases.listing import Face

FILE = "done.txt"


class Result(NamedTuple):
    """What became of a face.

    Attributes:
        classes: the ids in its mask.
        attribute: class index, by the rule.
        problem: why there is no mask; empty if there is one.
    """

    classes: tuple[int, ...] = ()
    attribute: int = 0
    problem: str = ""


class Journal:
    """The finished faces of a folder that is being prepared."""

    def __init__(self, work: Path):
        self.file = work / FILE
        self._done: dict[str, tuple[str, Result]] = {}
        text = self.file.read_text(encoding="utf-8", errors="replace") if self.file.exists() else ""
        for line in text.splitlines():
            try:
                place, stamp, classes, attribute = json.loads(line)
                self._done[place] = stamp, Result(tuple(classes), attribute)
            except (ValueError, TypeError):
                continue
        self._stream = self.file.open("a", encoding="utf-8")
        if text and not text.endswith("\n"):
            self._stream.write("\n")

    def find(self, face: Face, stamp: str) -> Result | None:
        """Return what became of a face, if it was made of the files that are there now."""
        found, result = self._done.get(face.place, ("", None))
        return result if found == stamp else None

    def add(self, face: Face, stamp: str, result: Result) -> None:
        """Note a face whose files are written."""
        line = json.dumps([face.place, stamp, result.classes, result.attribute])
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """End the writing."""
        self._stream.close()


def stamp_sources(root: Path, face: Face) -> str:
    """Return a text that changes when a file of a face does, by size and date, or when this package does.

    Raises:
        OSError: a file is not there any more.
    """
    facts = [__version__, str(root)]
    for file in (face.photo, *face.masks):
        status = (root / file).stat()
        facts.append(f"{file} {status.st_size} {status.st_mtime_ns}")
    return hashlib.blake2b("\n".join(facts).encode(errors="surrogateescape"), digest_size=12).hexdigest()
