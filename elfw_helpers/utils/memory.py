"""Keeps the memory small that tensors of a mapped file take."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from contextlib import suppress

import numpy as np
from torch import Tensor

# Bytes of a large tensor that are read before its pages are released. Around each page that is read, Linux
# maps those that it has at hand, so up to ten times as much is resident then.
RELEASE_AFTER = 1 << 22
# Smaller tensors stay in memory.
LARGE = 1 << 28
# Flags of a page in Linux' pagemap (https://docs.kernel.org/admin-guide/mm/pagemap.html).
PRESENT, SWAPPED, OF_FILE = (np.uint64(1 << bit) for bit in (63, 62, 61))


def release_pages(tensor: Tensor) -> None:
    """Give back the memory of a large tensor that is a mapped file: it is read again when it is needed.

    And with it what the C library keeps free between tensors, which may be as much again after many steps.
    A private mapping with a changed page, and memory that is no file's, stay as they are: the kernel would
    throw the change away. Where Linux' table of pages cannot be read, nothing happens.
    """
    storage = tensor.untyped_storage()
    if sys.platform != "linux" or tensor.device.type != "cpu" or storage.nbytes() < LARGE:
        return
    first = -(-storage.data_ptr() // mmap.PAGESIZE)
    count = (storage.data_ptr() + storage.nbytes()) // mmap.PAGESIZE - first
    if not is_unchanged(first, count):
        return
    library = ctypes.CDLL(None, use_errno=True)
    start, length = ctypes.c_void_p(first * mmap.PAGESIZE), ctypes.c_size_t(count * mmap.PAGESIZE)
    if library.madvise(start, length, mmap.MADV_DONTNEED):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return_freed_memory()


def return_freed_memory() -> None:
    """Give the system what the C library keeps free; other libraries than glibc have no such function."""
    if sys.platform == "linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def is_unchanged(first: int, count: int) -> bool:
    """Return whether pages of memory, given by their numbers, hold nothing that is not in a file."""
    pages = np.empty(1 << 13, np.uint64)
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as table:
            table.seek(8 * first)
            for start in range(0, count, len(pages)):
                part = pages[: count - start]
                if table.readinto(part) < part.nbytes:
                    return False
                if ((part & (PRESENT | SWAPPED) != 0) & (part & OF_FILE == 0)).any():
                    return False
    except OSError:
        return False
    return True
