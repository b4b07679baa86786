"""Keeps the memory small that tensors of a mapped file take."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys

import numpy as np
from torch import Tensor

# Whoever walks through a large tensor releases its pages whenever he has read about this many bytes. Around
# each page that is read, Linux maps those that it has at hand, so several times as much is resident then.
RELEASE_AFTER = 1 << 25
# Smaller tensors stay in memory.
LARGE = 1 << 28
# Flags of a page in Linux' pagemap (https://docs.kernel.org/admin-guide/mm/pagemap.html).
PRESENT, SWAPPED, OF_FILE = (np.uint64(1 << bit) for bit in (63, 62, 61))


def release_pages(tensor: Tensor) -> None:
    """Give back the memory of a large tensor that is a mapped file: it is read again when it is needed.

    A private mapping with a changed page, and memory that is no file's, stay as they are: the kernel would
    throw the change away. Where Linux' table of pages cannot be read, nothing happens.
    """
    storage = tensor.untyped_storage()
    if sys.platform != "linux" or tensor.device.type != "cpu" or storage.nbytes() < LARGE:
        return
    first = -(-storage.data_ptr() // mmap.PAGESIZE)
    count = (storage.data_ptr() + storage.nbytes()) // mmap.PAGESIZE - first
    try:
        with open("/proc/self/pagemap", "rb") as table:
            table.seek(8 * first)
            pages = np.frombuffer(table.read(8 * count), np.uint64)
    except OSError:
        return
    changed = ((pages & (PRESENT | SWAPPED)) != 0) & ((pages & OF_FILE) == 0)
    if len(pages) < count or changed.any():
        return
    start, length = ctypes.c_void_p(first * mmap.PAGESIZE), ctypes.c_size_t(count * mmap.PAGESIZE)
    if ctypes.CDLL(None, use_errno=True).madvise(start, length, mmap.MADV_DONTNEED):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
