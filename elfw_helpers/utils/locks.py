"""Keeps two processes from writing into one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from elfw_helpers.utils.errors import ElfwError


@contextmanager
def hold_lock(file: Path, refusal: ElfwError) -> Iterator[None]:
    """Hold a lock file for a while, then delete it; raise `refusal` where another process holds it."""
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
