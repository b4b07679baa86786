"""What a release holds: its faces with their files, its lists, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from elfw_helpers.utils.errors import DataError

# Of many files with one fault, this many are named.
MOST_NAMED = 5
AGAIN = "Unpack the release again"
# A number in a list; Python refuses to read those of thousands of digits.
NUMBER = re.compile("[0-9]{1,9}")


@dataclass(frozen=True)
class Face:
    """The files of one face, by their paths in the release's folder.

    Attributes:
        name: in the folder that is made, without extension.
        photo: the photo, which is copied bit for bit.
        masks: from which its mask is made, in the order of painting.
        folder: the folder that is made, inside the whole; empty for the whole itself.
    """

    name: str
    photo: str
    masks: tuple[str, ...]
    folder: str = ""

    @property
    def place(self) -> str:
        """Its name, with the folder in front of it where it lies in one."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


@dataclass
class ReleaseListing:
    """A release, as far as it is known without decoding an image.

    Attributes:
        root: its folder.
        faces: those that have all their files.
        columns: value by name of a face, by the list that is written, such as persons.txt.
        lists: names of faces, by the list that is written, such as test.txt.
        sides: split by name of a face, where the release has one of its own.
        told: class index of the attribute by name, where the release says it; to compare with the masks'.
        problems: what is wrong.
        remarks: what a person should know.
    """

    root: Path
    faces: list[Face] = field(default_factory=list)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    sides: dict[str, str] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    problems: list[DataError] = field(default_factory=list)
    remarks: list[DataError] = field(default_factory=list)

    def report(self, file: Path, found: str, fix: str, line: int | None = None) -> None:
        """Add a problem."""
        self.problems.append(DataError(file, found, fix, line))

    def report_all(self, file: Path, found: str, names: Sequence[str], fix: str) -> None:
        """Add a problem that several files have: how many, and the first of them. None without a file."""
        if names:
            self.report(file, f"{found}: {name_first(names)}", fix)

    def assign(self, name: str, split: str, file: Path, line: int) -> None:
        """Put a face on a side of the split, as a line of a file says; report one that is on one."""
        if name in self.sides:
            found = f"{name!r} is listed already, for {self.sides[name]}"
            self.report(file, found, "An image belongs to one split, once", line)
        else:
            self.sides[name] = split
            self.lists.setdefault(f"{split}.txt", []).append(name)

    def remark(self, file: Path, found: str, fix: str) -> None:
        """Add a remark."""
        self.remarks.append(DataError(file, found, fix))


def name_first(names: Sequence[str]) -> str:
    """Return how many there are, and the first of them."""
    more = " ..." if len(names) > MOST_NAMED else ""
    return f"{len(names):,} ({', '.join(names[:MOST_NAMED])}{more})"


def check_mask_size(file: Path, mask: np.ndarray, size: tuple[int, int]) -> None:
    """Raise DataError unless a mask, uint8 [H, W], has the size of its photo, width and height."""
    if mask.shape != size[::-1]:
        found = f"a mask of {mask.shape[1]} x {mask.shape[0]} pixels, for a photo of {size[0]} x {size[1]}"
        raise DataError(file, found, AGAIN)
