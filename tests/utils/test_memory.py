"""Pages of a mapped file are given back, changes in them never."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elfw_helpers.utils import memory
from elfw_helpers.utils.fingerprints import fingerprint
from elfw_helpers.utils.memory import release_pages

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which pages hold changes")
SIZE = 1 << 24


@pytest.fixture
def mapped(tmp_path, monkeypatch) -> Tensor:
    """Sixteen megabytes of a file, mapped as decoded faces are; they count as large."""
    monkeypatch.setattr(memory, "LARGE", SIZE)
    monkeypatch.setattr("elfw_helpers.utils.fingerprints.RELEASE_AFTER", SIZE // 4)
    np.save(tmp_path / "pixels.npy", np.arange(SIZE, dtype=np.uint32).astype(np.uint8))
    return torch.from_numpy(np.load(tmp_path / "pixels.npy", mmap_mode="c"))


def count_resident(tensor: Tensor) -> int:
    """Return the bytes of a tensor's mapping that are in memory now."""
    areas = re.findall(
        r"^(\w+)-(\w+) .*?^Rss: +(\d+) kB",
        Path("/proc/self/smaps").read_text("utf-8", "replace"),
        re.M | re.S,
    )
    around = [int(rss) for start, end, rss in areas if int(start, 16) <= tensor.data_ptr() < int(end, 16)]
    return 1024 * around[0]


def test_pages_that_were_read_are_given_back_and_read_again(mapped):
    total = int(mapped.sum())
    assert count_resident(mapped) >= SIZE
    release_pages(mapped)
    assert count_resident(mapped) < SIZE / 8
    assert int(mapped.sum()) == total


def test_a_change_is_never_given_back(mapped):
    mapped[SIZE // 2] = 77
    mapped.sum()
    release_pages(mapped)
    assert mapped[SIZE // 2] == 77 and count_resident(mapped) >= SIZE


def test_a_part_of_a_mapping_counts_with_the_whole(mapped):
    mapped[0] = 78
    release_pages(mapped[SIZE // 2 :])
    assert mapped[0] == 78


def test_memory_of_no_file_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(memory, "LARGE", SIZE)
    tensor = torch.full((2 * SIZE,), 7, dtype=torch.uint8)
    release_pages(tensor)
    assert (tensor == 7).all()


def test_small_tensors_stay_in_memory(mapped, monkeypatch):
    monkeypatch.setattr(memory, "LARGE", 2 * SIZE)
    mapped.sum()
    release_pages(mapped)
    assert count_resident(mapped) >= SIZE


def test_a_fingerprint_reads_all_of_a_mapped_file_and_keeps_little(mapped):
    before = fingerprint(mapped)
    assert count_resident(mapped) < SIZE / 2
    assert before == fingerprint(mapped.clone())
    # In a page that was given back, and the last byte of all.
    mapped[-1] ^= 1
    after = fingerprint(mapped)
    assert after != before and after == fingerprint(mapped.clone())
