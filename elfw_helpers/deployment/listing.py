"""The photos behind the paths that somebody named: files, and folders of which all photos are taken.

torch is not loaded here: a wrong name, or a place that cannot be written, is told at once.
"""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from elfw_helpers.data.images import IMAGE_SUFFIXES, OTHER_PHOTO_SUFFIXES, is_picture, open_image
from elfw_helpers.data.layout import find_link_fault, find_root
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import explain_error, require_creatable

# At most this many of the files that a folder passes over are named for each reason.
MOST_NAMED = 20


@dataclass
class Listing:
    """The photos behind the paths that somebody named, each once, and whatever else was found there."""

    photos: list[Path] = field(default_factory=list)
    errors: list[DataError] = field(default_factory=list)
    # What is no photo, by its folder and the reason.
    passed_over: dict[tuple[Path, str], list[Path]] = field(default_factory=dict)

    def pass_over(self, path: Path, reason: str) -> None:
        """Note that something in a folder is passed over."""
        self.passed_over.setdefault((path.parent, reason), []).append(path)

    def describe_passed_over(self) -> Iterator[str]:
        """Yield a line for each folder and reason, with the names."""
        for (folder, reason), paths in self.passed_over.items():
            names = ", ".join(path.name for path in paths[:MOST_NAMED])
            more = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
            yield f"{folder}: {len(paths)} passed over, {reason}: {names}{more}"


def require_photos(paths: Iterable[str | Path]) -> Listing:
    """Return the photos behind paths as `list_photos` does, and print to stderr what is passed over.

    Raises:
        DataError: there is none.
    """
    listing = list_photos(paths)
    lines = list(listing.describe_passed_over())
    if not listing.photos:
        lines.extend(map(str, listing.errors[:-1]))
    for line in lines:
        print(f"elfw: {line}", file=sys.stderr)
    if not listing.photos:
        raise listing.errors[-1]
    return listing


def require_place(out: Path, photos: list[Path]) -> None:
    """Raise DataError if the folder for outputs cannot be made or written into, or photos lie in it."""
    target = out.resolve()
    inside = [photo for photo in photos if target in (photo.parent.resolve(), photo.resolve().parent)]
    if inside:
        found = f"holds {inside[0].name}, one of the photos: an output could overwrite it"
        raise DataError(out, found, "Name another folder with --out")
    require_creatable(out)


def list_photos(paths: Iterable[str | Path]) -> Listing:
    """Return the photos behind paths: files of any name, and folders, of which all photos are taken."""
    listing, photos = Listing(), {}
    for path in map(Path, paths):
        try:
            for photo in list_folder(path, listing) if is_folder(path) else [path]:
                first = photos.setdefault(photo.resolve(), photo)
                if photo.is_symlink() and photo != first:
                    listing.pass_over(photo, "links to photos that are predicted")
        except DataError as error:
            listing.errors.append(error)
        except OSError as error:
            listing.errors.append(explain_error(error, path))
        # Links that lead round in a circle, in Python before 3.13.
        except RuntimeError as error:
            listing.errors.append(DataError(path, f"cannot be looked up ({error})", "Check where it leads"))
    listing.photos = list(photos.values())
    return listing


def is_folder(path: Path) -> bool:
    """Say whether a path is a folder; raise OSError if nothing of this name is there."""
    return stat.S_ISDIR(path.stat().st_mode)


def list_folder(folder: Path, listing: Listing) -> list[Path]:
    """Return the photos of a folder, or of its faces/, by name; all else in it goes to `listing`."""
    root = find_root(folder)
    faces = root / "faces" if (root / "faces").is_dir() else root
    photos = []
    for path in sorted(faces.iterdir()):
        try:
            if reason := reason_to_pass_over(path):
                listing.pass_over(path, reason)
            else:
                check_photo(path, faces)
                photos.append(path)
        except DataError as error:
            listing.errors.append(error)
    for path in sorted(root.iterdir()) if faces != root else []:
        if not reason_to_pass_over(path):
            listing.pass_over(path, "beside faces/")
    if not photos:
        raise DataError(folder, "holds no images", "Photos are files such as JPEG, PNG, WebP, AVIF or TIFF")
    # Links last: of a photo and a link to it, the photo is predicted.
    return sorted(photos, key=Path.is_symlink)


def reason_to_pass_over(path: Path) -> str | None:
    """Return why something in a folder is no photo, or None if it is one, or is meant to be."""
    if path.name.startswith("."):
        return "hidden"
    if path.is_dir():
        return "subfolders, to be named themselves"
    if not path.is_file() and not path.is_symlink():
        return "neither files nor folders"
    if path.suffix.lower() in (*IMAGE_SUFFIXES, *OTHER_PHOTO_SUFFIXES) or is_picture(path):
        return None
    return "of no kind that is opened here"


def check_photo(path: Path, folder: Path) -> None:
    """Raise DataError if a photo in a folder cannot be one, as far as that shows before it is decoded."""
    if fault := find_link_fault(path, folder):
        raise DataError(path, *fault)
    if path.suffix.lower() in OTHER_PHOTO_SUFFIXES:
        with open_image(path):
            pass
