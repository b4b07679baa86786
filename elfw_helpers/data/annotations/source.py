"""The folder or the archive that an annotation tool exported, and the photos in it."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from elfw_helpers.data.annotations.records import MissingPhoto, find_files
from elfw_helpers.data.image_names import compose_unicode
from elfw_helpers.data.images import IMAGE_SUFFIXES, OTHER_PHOTO_SUFFIXES
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import explain_error

# An archive that unpacks to more than this, and to more than so many times its size, is a trap.
LARGE, MOST_SQUEEZED = 1 << 30, 100
MOST_FILES = 1_000_000
AGAIN = "Export it again, or unpack it by hand and name the folder"


@contextmanager
def open_source(source: Path, beside: Path) -> Iterator[Path]:
    """Give the folder of an export; an archive is unpacked, for the time being, into the folder `beside`.

    Raises:
        DataError: there is no such folder, or the archive is damaged or not to be trusted.
    """
    if source.is_dir():
        yield source
        return
    if not source.is_file():
        raise DataError(
            source, "no such folder or archive", "Name the folder, or the .zip, that holds the export"
        )
    if not zipfile.is_zipfile(source):
        fix = "Name the folder that holds it and the photos, or the .zip that the tool exported"
        raise DataError(source, "is neither a folder nor a .zip", fix)
    with tempfile.TemporaryDirectory(dir=beside, prefix=".elfw_prepare_") as folder:
        unpack(source, Path(folder))
        yield Path(folder)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into a folder; nothing can be written outside it.

    Raises:
        DataError: it is damaged, protected, too large, or a name in it leads out of the folder.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            check_members(archive, members, shutil.disk_usage(folder).free)
            for member in tqdm(members, "unpacking", delay=2, unit="file"):
                opened.extract(member, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(archive, f"is a damaged archive ({error})", AGAIN) from None
    except RuntimeError as error:
        raise DataError(
            archive, f"cannot be unpacked ({error})", "Unpack it by hand and name the folder"
        ) from None
    except OSError as error:
        raise explain_error(error, folder) from None


def check_members(archive: Path, members: list[zipfile.ZipInfo], free: int) -> None:
    """Raise DataError for an archive that leads out of its folder, or would fill the disk.

    Python writes no more of a member than the size that the archive names, so the sizes can be relied on.
    """
    for member in members:
        parts = re.split(r"[/\\]", member.filename)
        if ".." in parts or not parts[0] or ":" in member.filename:
            found = f"holds {member.filename!r}, which leads out of the archive"
            raise DataError(archive, found, "Do not trust it, and export again")
    total = sum(member.file_size for member in members)
    if len(members) > MOST_FILES or (total > LARGE and total > MOST_SQUEEZED * archive.stat().st_size):
        found = f"would unpack to {len(members):,} files of {total >> 20:,} MiB in all"
        raise DataError(archive, found, "Do not trust it, and export again")
    if total > free:
        found = f"unpacks to {total >> 20:,} MiB, and the disk has {free >> 20:,} MiB free"
        raise DataError(archive, found, "Free some space, or name a place for the result on another disk")


class Photos:
    """The photos below a folder, to look up what annotations call them. Their text never becomes a path."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.paths = list(find_files(folder, (*IMAGE_SUFFIXES, *OTHER_PHOTO_SUFFIXES)))
        self._by_file_name = defaultdict(list)
        for path in self.paths:
            self._by_file_name[compose_unicode(path.name).casefold()].append(path)

    def find(self, text: str, near: Path) -> Path:
        """Return the photo that an annotation calls `text`; of several, the one next to the file `near`.

        Raises:
            MissingPhoto, DataError: none is called so, or several are.
        """
        parts = [part for part in re.split(r"[/\\]", compose_unicode(text)) if part not in ("", ".")]
        found = self._by_file_name.get(parts[-1].casefold(), []) if parts else []
        if len(found) > 1:
            # In several folders: as many as possible of those that the text names must fit, from the end.
            best = max(count_equal(path, parts) for path in found)
            found = [path for path in found if count_equal(path, parts) == best]
            found = [path for path in found if path.parent == near.parent] or found
        if not found:
            fix = "Put the photo into the folder under this name, or delete its annotation"
            raise MissingPhoto(near, f"the photo {text!r} is not there", fix)
        if len(found) > 1:
            places = " and ".join(str(path.relative_to(self.folder)) for path in found[:2])
            fix = "Rename one of them, in the annotation as well; of several exports, name one"
            raise DataError(near, f"{text!r} may be {places}", fix)
        return found[0]


def count_equal(path: Path, parts: list[str]) -> int:
    """Return how many parts of a path, from its end, are those of another."""
    pairs = zip(map(compose_unicode, reversed(path.parts)), reversed(parts), strict=False)
    return next((number for number, (one, other) in enumerate(pairs) if one != other), len(parts))
