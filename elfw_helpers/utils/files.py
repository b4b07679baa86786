"""Writes files atomically, keeps two processes apart, and explains why a file cannot be read or written."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from elfw_helpers.utils.errors import DataError, ElfwError

# More than a file system keeps inside a folder's own entry: a full disk shows.
PROBE = bytes(1 << 16)
RIGHTS = "Change its rights (`ls -ld` shows them), or name another place"
FILE_IN_PLACE = "A file stands where a folder is needed: move it away, or name another place"
REMEDIES = {
    errno.EACCES: RIGHTS,
    errno.EPERM: RIGHTS,
    errno.EROFS: "Nothing can be written on that disk: name a place on another one",
    errno.ENOSPC: "The disk is full: free some space, or name a place on another one",
    errno.EDQUOT: "Your share of the disk is full: free some space, or name a place on another one",
    errno.EFBIG: "Files there cannot be so large: name a place on another disk",
    errno.ENOENT: "Check the name: nothing of it is there, or it was moved or deleted meanwhile",
    errno.EEXIST: FILE_IN_PLACE,
    errno.ENOTDIR: FILE_IN_PLACE,
    errno.EISDIR: "A folder stands where a file is needed: move it away, or name another place",
    errno.ENOTEMPTY: "The folder holds files: move them away, or name another place",
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.ELOOP: "Its links lead round in a circle: name the place itself",
    errno.EMFILE: "Too many files are open: close other programs, or raise the limit (`ulimit -n`)",
    errno.EIO: "The disk or the network behind it fails: copy the files to another one",
}
ANY_REMEDY = "Check that the place is there, and that you may read and write it"
# In the folder of a training: its settings, and what keeps other trainings out.
RUN, LOCK = "run.json", ".lock"


def explain_error(error: OSError, path: str | Path | None = None) -> DataError:
    """Return what the operating system refused as an error that names the file and what to do.

    Args:
        path: the file, where the error itself does not name it.
    """
    named = error.filename if isinstance(error.filename, (str, bytes, os.PathLike)) else None
    place = os.fsdecode(named) if named is not None else path or "a file"
    return DataError(place, error.strerror or str(error), REMEDIES.get(error.errno, ANY_REMEDY))


def require_writable(folder: Path) -> None:
    """Create a folder, with its parents, and prove that a file can be written into it; else raise DataError.

    Commands call it first: an hour of work is not lost to a folder that cannot hold the result.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".elfw_") as probe:
            probe.write(PROBE)
            probe.flush()
    except OSError as error:
        # The probe's own name would tell its reader nothing.
        explained = explain_error(OSError(error.errno, error.strerror or str(error)), folder)
        raise DataError(folder, f"cannot be written into ({explained.found})", explained.fix) from None


def require_creatable(folder: Path) -> None:
    """Prove that a folder can be made, or written into where there is one; else raise DataError."""
    require_writable(next((place for place in (folder, *folder.parents) if place.exists()), folder))


def require_writable_file(file: Path) -> None:
    """Prove that a file can be written, in a folder that is made if needed; else raise DataError."""
    require_writable(file.parent)
    if file.is_dir():
        raise explain_error(OSError(errno.EISDIR, os.strerror(errno.EISDIR)), file)


def require_new_file(file: Path, replace: bool) -> None:
    """Prove that a file can be written, and is new or to be replaced; else raise DataError."""
    if file.exists() and not replace:
        raise DataError(file, "is there already", "Overwrite it with --replace, or name another file")
    require_writable_file(file)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that whoever reads it sees the old content or the new, never a part.

    Raises:
        OSError: it cannot be written; its `filename` is the path.
    """
    # Not the process's number: on another machine that shares the folder, a process may have the same.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            # The error of a full disk names no file; other errors name the temporary one.
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def hold_lock(file: Path, refusal: ElfwError) -> Iterator[None]:
    """Hold a lock file for a while, then delete it; raise `refusal` where another process holds it."""
    # Here, because it brings asyncio, for which every command would wait.
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise refusal from None
    try:
        yield
    finally:
        # Windows deletes no file that is open: there it stays.
        with suppress(OSError):
            file.unlink()
        lock.release()


def check_run_folder(out: Path, resume: bool) -> None:
    """Raise DataError unless a training's folder can be written, and is new, or that of a run to resume."""
    found = {path.name for path in out.iterdir()} - {LOCK} if out.is_dir() else set()
    if resume and RUN not in found:
        raise DataError(out, "holds no run to go on with", "Check the name, or start one without --resume")
    if found and not resume:
        what = "holds a run already" if RUN in found else "is not empty"
        fix = "Go on with it by --resume, or name a new folder" if RUN in found else "Name a new folder"
        raise DataError(out, what, fix)
    require_writable(out)


@contextmanager
def hold_run_folder(out: Path, resume: bool) -> Iterator[None]:
    """Keep other trainings out of a folder; raise DataError unless it is new, or that of a run to resume."""
    check_run_folder(out, resume)
    fix = "Wait until it has ended, or name another folder"
    with hold_lock(out / LOCK, DataError(out, "another training is writing into it", fix)):
        yield
