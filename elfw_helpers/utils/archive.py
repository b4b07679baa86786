"""A folder of faces packed into one zip: thousands of small files would make git and Colab slow."""

from __future__ import annotations

import stat
import tempfile
import zipfile
import zlib
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from tqdm import tqdm

from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import explain_error, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

# These are compressed already.
IMAGES = (".jpg", ".png")
# The first that zip can tell; with one date for all, the same files make the same archive.
DATE = (1980, 1, 1, 0, 0, 0)
# What damaged archives make `zipfile` raise.
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError)

# CRC-32 and size in bytes of every file, by its path in the folder, such as faces/NAME.jpg.
Listing = dict[str, tuple[int, int]]


def pack_folder(folder: Path, archive: Path) -> None:
    """Pack all files of a folder: the same files make the same archive, byte for byte with one zlib.

    Args:
        folder: its own name is not stored.
        archive: is written entirely or not at all.

    Raises:
        DataError: it cannot be written.
    """
    files = (path for path in folder.rglob("*") if path.is_file())
    paths = sorted(files, key=lambda path: path.relative_to(folder).as_posix())
    try:
        with tempfile.TemporaryFile(dir=archive.parent) as stream:
            with zipfile.ZipFile(stream, "w") as packed:
                for path in paths:
                    entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), DATE)
                    entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
                    stored = path.suffix in IMAGES
                    entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
                    packed.writestr(entry, path.read_bytes(), compresslevel=9)
            stream.seek(0)
            write_atomically(archive, stream.read())
    except OSError as error:
        raise explain_error(error, archive) from None


def unpack_once(archive: Path, folder: Path) -> Path:
    """Unpack an archive into a folder, unless a stamp beside the folder says that this has been done.

    The stamp, FOLDER.unpacked, lists what was unpacked. So a newer archive is noticed, and so are files that
    are someone's own: these are never touched. Any number of processes may do this at once.

    Returns:
        the folder.

    Raises:
        DataError: the archive is damaged, the folder holds files of someone's own, or the disk is full.
    """
    listing = list_archive(archive)
    if is_stamped(folder, listing):
        return folder
    try:
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            # Another process may have done it meanwhile.
            if not is_stamped(folder, listing):
                refuse_own_files(archive, folder, listing)
                if list_folder(folder) != listing:
                    unpack(archive, folder)
                write_atomically(stamp_of(folder), encode_listing(listing))
    except OSError as error:
        raise explain_error(error, folder) from None
    return folder


def is_stamped(folder: Path, listing: Listing) -> bool:
    """Say whether a folder is there, with the stamp of an archive that lists this."""
    stamp = stamp_of(folder)
    return folder.is_dir() and stamp.is_file() and stamp.read_bytes() == encode_listing(listing)


def refuse_own_files(archive: Path, folder: Path, listing: Listing) -> None:
    """Raise DataError if a folder holds a file that neither this archive nor the one before put there."""
    known = set(listing.items()) | read_stamp(folder)
    own = sorted(name for name, content in list_folder(folder).items() if (name, content) not in known)
    if own:
        more = f" and {len(own) - 3} more" if len(own) > 3 else ""
        found = f"{', '.join(own[:3])}{more}: not the files of {archive.name}, so nothing was unpacked"
        raise DataError(folder, found, "Move what is yours to another folder, or rename the whole folder")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive beside a folder, then put it in the folder's place, whole or not at all."""
    with (
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}_") as place,
        open_archive(archive) as packed,
    ):
        # Of the rights that the user gives to new folders: those of `place` let nobody else in.
        new = Path(place) / "new"
        new.mkdir()
        for entry in tqdm(packed.infolist(), f"Unpacking {archive.name}", unit="file", delay=2, leave=False):
            packed.extract(entry, new)
        if folder.exists():
            folder.rename(Path(place) / "old")
        new.rename(folder)


@contextmanager
def open_archive(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; whatever is damaged in it, now or when it is read, becomes a DataError."""
    cure = f"Restore it: git checkout -- data/{archive.name}"
    try:
        with zipfile.ZipFile(archive) as packed:
            yield packed
    except FileNotFoundError:
        raise DataError(archive, "no such file", cure) from None
    except DAMAGE as error:
        raise DataError(archive, f"it is damaged ({error})", cure) from None


def list_archive(archive: Path) -> Listing:
    """Return what an archive holds; it is read again only when its size or date has changed.

    Raises:
        DataError: it is missing or damaged, or holds something that would leave its folder, or no file.
    """
    found = archive.stat() if archive.is_file() else None
    return _list_archive(archive, found and (found.st_size, found.st_mtime_ns))


@lru_cache(maxsize=1)
def _list_archive(archive: Path, version: tuple[int, int] | None) -> Listing:
    """Read the list that `list_archive` returns."""
    with open_archive(archive) as packed:
        entries = packed.infolist()
        for entry in entries:
            steps = entry.filename.split("/")
            outside = {"", ".", ".."} & set(steps) or "\\" in entry.filename or ":" in entry.filename
            if outside or not stat.S_ISREG(entry.external_attr >> 16):
                raise zipfile.BadZipFile(f"{entry.filename!r} is no plain file inside the folder")
    return {entry.filename: (entry.CRC, entry.file_size) for entry in entries}


def list_folder(folder: Path) -> Listing:
    """Return what a folder holds, in the form of `list_archive`."""
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    contents = ((path.relative_to(folder).as_posix(), path.read_bytes()) for path in files)
    return {name: (zlib.crc32(content), len(content)) for name, content in contents}


def stamp_of(folder: Path) -> Path:
    """Return the file beside a folder that lists what was unpacked into it."""
    return folder.with_name(f"{folder.name}.unpacked")


def encode_listing(listing: Listing) -> bytes:
    """Return the text of a stamp: CRC-32, size and path of one file per line."""
    return "".join(f"{crc:08x} {size} {name}\n" for name, (crc, size) in listing.items()).encode()


def read_stamp(folder: Path) -> set[tuple[str, tuple[int, int]]]:
    """Return the files that a folder's stamp lists, none where there is no stamp."""
    with suppress(FileNotFoundError):
        rows = (line.split(" ", 2) for line in stamp_of(folder).read_text(encoding="utf-8").splitlines())
        return {(name, (int(crc, 16), int(size))) for crc, size, name in rows}
    return set()
