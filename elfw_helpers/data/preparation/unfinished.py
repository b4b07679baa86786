"""The folder in which `elfw prepare` works: OUT.unfinished, which takes the place of OUT when all is done.

So whoever finds OUT finds it complete, and an interrupted run is gone on with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import hold_lock, require_writable, write_atomically

MARK, LABELS_FILE = "prepare.txt", "labels.txt"
FOLDERS = ("faces", "labels")


def check_place(source: Path, out: Path) -> None:
    """Raise DataError unless the result goes into a new or empty folder outside the source."""
    if out.is_file():
        raise DataError(out, "is a file", "Name a new or an empty folder")
    if out.is_dir() and any(out.iterdir()):
        raise DataError(out, "holds files already", "Name a new or an empty folder")
    if source.is_dir() and out.is_relative_to(source):
        raise DataError(out, f"lies inside {source}, where photos are looked for", "Name a folder outside it")


@contextmanager
def hold_place(out: Path) -> Iterator[None]:
    """Keep other runs of `elfw prepare` away from a folder; raise DataError where one is at work on it."""
    require_writable(out.parent)
    fix = "Wait until it has ended, or name another folder"
    refusal = DataError(out, "another `elfw prepare` is writing it", fix)
    with hold_lock(out.with_name(f".{out.name}.lock"), refusal):
        yield


def begin(out: Path) -> Path:
    """Return the folder to write into first, made by this call or by an earlier one; else raise DataError."""
    work = out.with_name(f"{out.name}.unfinished")
    if work.exists() and not (work / MARK).is_file():
        raise DataError(work, "is not what `elfw prepare` began", "Move it away, or name another folder")
    require_writable(work)
    write_atomically(work / MARK, f"`elfw prepare` makes {out.name} here.\n".encode())
    for name in FOLDERS:
        (work / name).mkdir(exist_ok=True)
    return work


def remove_others(folder: Path, files: Collection[Path]) -> None:
    """Delete what an earlier run wrote into faces/ and labels/ of sources that have changed since."""
    for path in (path for name in FOLDERS for path in (folder / name).iterdir()):
        if path not in files:
            path.unlink()


def write_list(file: Path, lines: Sequence[str]) -> None:
    """Write a list, or none where it has no line; an earlier run's goes."""
    file.unlink(missing_ok=True)
    if lines:
        write_atomically(file, "".join(f"{line}\n" for line in lines).encode())


def put_in_place(work: Path, out: Path) -> None:
    """Give the finished folder its name."""
    if out.exists():
        out.rmdir()
    work.rename(out)
    (out / MARK).unlink()
