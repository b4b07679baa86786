"""Decoded faces on disk: written once, found by the content of their files, mapped into memory.

`build/decoded/KEY/` holds `images.npy`, with masks also `masks.npy` and `attributes.npy`, all uint8, and
`facts.json` about them. KEY is a checksum of the contents of all files, of the size, and of the code that
decodes. So that a second start opens none of the files, an empty file beside the arrays is named by a
checksum of their paths, sizes and times, as in git's index.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import math
import os
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from elfw_helpers.utils.files import explain_error
from elfw_helpers.utils.paths import build_folder

VERSION = 1
FACTS = "facts.json"
# A file that changes twice within a tick of its disk's clock may keep its times. FAT's ticks are the longest.
TICK = 2.0  # seconds
# All entries together; what was used least recently goes first. A new one takes at most this share of what
# is free on its disk.
MOST_BYTES, MOST_OF_FREE = 8 << 30, 0.1
# An unfinished entry of this age is of a process that was killed.
FORGOTTEN = 24 * 3600  # seconds

Shapes = Mapping[str, tuple[int, ...]]
# Returns the arrays of one face after the other, in the order of the names in Shapes.
Decode = Callable[[], Iterable[Sequence[np.ndarray]]]


class CacheWarning(UserWarning):
    """Decoded faces cannot be kept on disk, or those that were kept are damaged and made again."""


def load_decoded(files: Sequence[Path], shapes: Shapes, decode: Decode, code: str) -> dict[str, Tensor]:
    """Return the arrays of decoded faces: mapped from disk, or decoded and kept there first.

    What is changed in the tensors stays in this process: the mapping is private.

    Args:
        files: all that is decoded.
        shapes: of the arrays, by name; the first axis counts faces.
        decode: called where the faces are not on disk.
        code: a fingerprint of what decodes.

    Returns:
        uint8 tensors, by name.

    Warns:
        CacheWarning: what was kept is damaged or of another version; or nothing can be kept (said once).
    """
    listing = list_files(files, shapes, code)
    if listing is None:
        return decode_into_memory(shapes, decode())
    try:
        folder = build_folder() / "decoded"
        folder.mkdir(exist_ok=True)
        known = next(folder.glob(f"*/{listing}"), None)
        if not known:
            require_room(folder, shapes)
        entry = known.parent if known else folder / hash_contents(files, shapes, code)
        try:
            arrays = read_entry(entry, shapes)
        except (OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{entry} is not used and made again: {error}", CacheWarning, stacklevel=3)
            with suppress(FileNotFoundError):  # Another process has removed it.
                shutil.rmtree(entry)
            arrays = known = None
        if arrays is None:
            write_entry(entry, shapes, decode(), lambda: list_files(files, shapes, code) == listing)
            arrays = read_entry(entry, shapes)
        if arrays is not None:
            if not known and list_files(files, shapes, code) == listing:
                (entry / listing).touch()
            return arrays
    except OSError as error:
        warn_once(f"decoded faces are not kept, and are decoded again each time: {explain_error(error)}")
    return decode_into_memory(shapes, decode())


@functools.cache
def warn_once(text: str) -> None:
    """Warn of something, the first time that it is said."""
    warnings.warn(text, CacheWarning, stacklevel=4)


def decode_into_memory(shapes: Shapes, faces: Iterable[Sequence[np.ndarray]]) -> dict[str, Tensor]:
    """Return the arrays of decoded faces, uint8, by name."""
    arrays = {name: np.empty(shape, np.uint8) for name, shape in shapes.items()}
    for index, face in enumerate(faces):
        for array, part in zip(arrays.values(), face, strict=True):
            array[index] = part
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def list_files(files: Sequence[Path], shapes: Shapes, code: str) -> str | None:
    """Return a checksum of the paths, sizes and times of files; None where it would not tell of a change.

    A file may have changed a moment ago, and change again in the same tick of the clock.
    """
    now, digest = time.time(), hashlib.sha256(repr((shapes, code)).encode())
    for file in files:
        try:
            status = file.stat()
        except OSError:
            return None  # Decoding says why.
        # Windows has the time of creation there.
        if (status.st_mtime if os.name == "nt" else status.st_ctime) > now - TICK:
            return None
        facts = (str(file), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        digest.update(repr(facts).encode())
    return digest.hexdigest()[:32]


def hash_contents(files: Sequence[Path], shapes: Shapes, code: str) -> str:
    """Return a checksum of the contents of files, whatever their names; OSError where one is unreadable."""
    digest = hashlib.sha256(repr((shapes, code)).encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:32]


def read_entry(entry: Path, shapes: Shapes) -> dict[str, Tensor] | None:
    """Return the arrays of an entry, mapped privately; None where there is no entry.

    Raises:
        OSError, ValueError, KeyError, TypeError: it is damaged or of another version.
    """
    if not entry.is_dir():
        return None
    facts, arrays = json.loads((entry / FACTS).read_text(encoding="utf-8")), {}
    if facts["version"] != VERSION:
        raise ValueError(f"it is of version {facts['version']}, not {VERSION}")
    for name, shape in shapes.items():
        file = entry / f"{name}.npy"
        if describe_file(file) != facts[name]:
            raise ValueError(f"{file.name} has changed since it was written")
        array = np.load(file, mmap_mode="c")
        if array.shape != shape or array.dtype != np.uint8:
            raise ValueError(f"{file.name} holds {array.dtype} {array.shape}, not uint8 {shape}")
        arrays[name] = torch.from_numpy(array)
    with suppress(OSError):
        os.utime(entry)
    return arrays


def describe_file(file: Path) -> list[int]:
    """Return a file's size in bytes and the time of its last change in nanoseconds."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def require_room(folder: Path, shapes: Shapes) -> None:
    """Raise OSError where an entry would take too much of what is free on a disk."""
    needed = sum(math.prod(shape) for shape in shapes.values())
    if needed > MOST_OF_FREE * shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, f"{needed >> 20} MB are over a tenth of what is free", str(folder))


def write_entry(
    entry: Path, shapes: Shapes, faces: Iterable[Sequence[np.ndarray]], is_current: Callable[[], bool]
) -> None:
    """Write an entry face by face, so that memory holds few; it appears when complete, if still current.

    Raises:
        OSError: it cannot be written.
    """
    part = entry.with_name(f".{entry.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        part.mkdir()
        with ExitStack() as opened:
            streams = [opened.enter_context((part / f"{name}.npy").open("wb")) for name in shapes]
            for stream, shape in zip(streams, shapes.values(), strict=True):
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(stream, header)
            for face in faces:
                for stream, array in zip(streams, face, strict=True):
                    stream.write(array.tobytes())
            for stream in streams:
                stream.flush()
                os.fsync(stream.fileno())
        facts = {"version": VERSION, **{name: describe_file(part / f"{name}.npy") for name in shapes}}
        (part / FACTS).write_text(json.dumps(facts), encoding="utf-8")
        if is_current():
            publish(part, entry)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def publish(part: Path, entry: Path) -> None:
    """Give a finished entry its name, unless another process has done so meanwhile, and remove old ones."""
    try:
        part.rename(entry)
    except OSError:
        if not entry.is_dir():
            raise
    remove_old(entry.parent)


def remove_old(folder: Path) -> None:
    """Remove unfinished entries that are forgotten, and from the least recently used what is too much."""
    used = []
    for entry in folder.iterdir():
        # Other processes may remove it meanwhile.
        with suppress(OSError):
            used.append((entry.stat().st_mtime, sum(file.stat().st_size for file in entry.iterdir()), entry))
    kept = 0
    for last, size, entry in sorted(used, reverse=True):
        kept += size
        if last < time.time() - FORGOTTEN if entry.name.startswith(".") else kept > max(size, MOST_BYTES):
            shutil.rmtree(entry, ignore_errors=True)
