"""Decoded faces on disk: found again, never stale, made again when damaged, done without when it must be."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from elfw_helpers.data import cache, datasets
from elfw_helpers.data.cache import CacheWarning
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.fingerprints import fingerprint
from tests.faces import write_face

SIZE = 16


@pytest.fixture
def decoded(tmp_path, monkeypatch):
    """Where decoded faces are kept: a folder of its own, on a machine whose clock has no ticks."""
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path / "build"))
    monkeypatch.setattr(cache, "TICK", 0)
    monkeypatch.setattr(cache, "MOST_OF_FREE", 1)
    cache.warn_once.cache_clear()
    return tmp_path / "build" / "decoded"


@pytest.fixture
def opened(monkeypatch):
    """The files that were decoded, in order."""
    files, decode_face = [], datasets.decode_face

    def note(image, mask, size):
        files.append(image.name)
        return decode_face(image, mask, size)

    monkeypatch.setattr(datasets, "decode_face", note)
    # That code decides the entry, and its list of files would be part of it.
    monkeypatch.setattr(datasets, "fingerprint", lambda *values: "the same code")
    return files


def find_entries(decoded: Path) -> list[Path]:
    return sorted(decoded.iterdir()) if decoded.exists() else []


def test_a_second_start_decodes_nothing_and_gives_the_same(folder, decoded, opened):
    first = FaceFolder(folder).preload(SIZE)
    assert len(opened) == 60 and len(find_entries(decoded)) == 1
    second = FaceFolder(folder).preload(SIZE)
    assert len(opened) == 60
    for name in ("images", "masks", "attributes"):
        assert torch.equal(getattr(first, name), getattr(second, name))
        assert getattr(first, name).dtype == getattr(second, name).dtype
    assert torch.bincount(second.attributes).tolist() == [36, 12, 12]
    assert fingerprint(first.images) == fingerprint(second.images) == fingerprint(first.images.clone())


def test_a_second_start_reads_no_file(folder, decoded, monkeypatch):
    FaceFolder(folder).preload(SIZE)
    faces = FaceFolder(folder)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    faces.preload(SIZE)


def test_sizes_are_kept_apart(folder, decoded):
    faces = FaceFolder(folder)
    assert [faces.preload(size).images.shape[1] for size in (16, 8, 16, 8)] == [16, 8, 16, 8]
    assert len(find_entries(decoded)) == 2


def test_a_copy_of_a_folder_is_decoded_already(folder, decoded, opened, tmp_path):
    FaceFolder(folder).preload(SIZE)
    shutil.copytree(folder, tmp_path / "copy")
    FaceFolder(tmp_path / "copy").preload(SIZE)
    assert len(opened) == 60 and len(find_entries(decoded)) == 1


@pytest.mark.parametrize("kind", ["faces", "labels"])
def test_a_changed_file_is_noticed_even_with_its_former_size_and_time(folder, decoded, kind):
    path = folder / kind / "Some_Person01_0002.png"
    before, status = FaceFolder(folder).preload(SIZE), path.stat()
    black = Image.new("RGB", Image.open(path).size)
    black.save(path)
    # A PNG's text takes 14 bytes and its letters.
    padding = PngInfo()
    padding.add_text("a", "a" * (status.st_size - path.stat().st_size - 14))
    black.save(path, pnginfo=padding)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    after = FaceFolder(folder).preload(SIZE)
    changed = [
        not torch.equal(*pair) for pair in ((before.images, after.images), (before.masks, after.masks))
    ]
    assert changed == [kind == "faces", kind == "labels"]
    assert fingerprint(before.images, before.masks) != fingerprint(after.images, after.masks)


def test_attributes_follow_the_list_though_the_faces_are_kept(folder, decoded):
    faces = FaceFolder(folder)
    faces.preload(SIZE)
    (folder / "labels.txt").write_text("".join(f"{name} cap\n" for name in faces.names), encoding="utf-8")
    assert FaceFolder(folder).preload(SIZE).attributes.tolist() == [2] * 60
    (folder / "labels.txt").unlink()
    assert torch.bincount(FaceFolder(folder).preload(SIZE).attributes).tolist() == [36, 12, 12]


def test_changes_in_the_tensors_stay_in_them(folder, decoded):
    before = FaceFolder(folder).preload(SIZE)
    kept = before.images.clone()
    before.images.fill_(7)
    before.masks.numpy()[:] = 3
    after = FaceFolder(folder).preload(SIZE)
    assert torch.equal(after.images, kept) and len(after.masks.unique()) > 1
    assert (before.images == 7).all()


def test_files_written_a_moment_ago_are_decoded_but_not_kept(folder, decoded, monkeypatch):
    monkeypatch.setattr(cache, "TICK", 3600)
    assert len(FaceFolder(folder).preload(SIZE)) == 60
    assert find_entries(decoded) == []


def test_a_file_changed_while_the_faces_are_decoded_keeps_nothing(folder, decoded, monkeypatch):
    decode_face = datasets.decode_face

    def change(image, mask, size):
        os.utime(image)
        return decode_face(image, mask, size)

    monkeypatch.setattr(datasets, "decode_face", change)
    assert len(FaceFolder(folder).preload(SIZE)) == 60
    assert find_entries(decoded) == []


def test_other_code_decodes_anew(folder, decoded, monkeypatch):
    images = FaceFolder(folder).preload(SIZE).images
    decode_face = datasets.decode_face

    def invert(image, mask, size):
        return 255 - decode_face(image, None, size)[0], *decode_face(image, mask, size)[1:]

    monkeypatch.setattr(datasets, "decode_face", invert)
    assert torch.equal(FaceFolder(folder).preload(SIZE).images, 255 - images)


def truncate(entry: Path) -> None:
    with (entry / "images.npy").open("rb+") as stream:
        stream.truncate(1000)


def alter(entry: Path) -> None:
    content = bytearray((entry / "images.npy").read_bytes())
    content[-1] ^= 1
    (entry / "images.npy").write_bytes(content)


def age(entry: Path) -> None:
    facts = json.loads((entry / "facts.json").read_text("utf-8"))
    (entry / "facts.json").write_text(json.dumps({**facts, "version": 0}), "utf-8")


def lose(entry: Path) -> None:
    (entry / "facts.json").unlink()


def scramble(entry: Path) -> None:
    (entry / "facts.json").write_text("[1]", "utf-8")


@pytest.mark.parametrize(
    "damage, found",
    [
        (truncate, "images.npy has changed"),
        (alter, "images.npy has changed"),
        (age, "version 0, not 1"),
        (lose, "facts.json"),
        (scramble, "made again"),
    ],
)
def test_a_damaged_entry_is_made_again_and_said_so(folder, decoded, damage, found):
    images = FaceFolder(folder).preload(SIZE).images.clone()
    damage(find_entries(decoded)[0])
    with pytest.warns(CacheWarning, match=found):
        again = FaceFolder(folder).preload(SIZE)
    assert torch.equal(again.images, images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(FaceFolder(folder).preload(SIZE).images, images)


def test_a_damaged_face_is_named_and_leaves_nothing(folder, decoded):
    face = folder / "faces" / "Some_Person01_0001.png"
    face.write_bytes(face.read_bytes()[:200])
    for _ in range(2):
        with pytest.raises(DataError, match="Some_Person01_0001.png"):
            FaceFolder(folder).preload(SIZE)
    assert find_entries(decoded) == []


def assert_works_and_says_once(folder: Path, found: str) -> None:
    with pytest.warns(CacheWarning, match=found) as said:
        first, second = FaceFolder(folder).preload(SIZE), FaceFolder(folder).preload(SIZE)
    assert len(said) == 1 and "decoded again each time" in str(said[0].message)
    assert torch.equal(first.images, second.images) and len(first) == 60


def test_a_full_disk_keeps_nothing_and_leaves_nothing(folder, decoded, tmp_path):
    disk = tmp_path / "build"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.name != "posix" or os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        # The files need 78 KB; what is free is not asked before.
        assert_works_and_says_once(folder, "The disk is full")
        assert find_entries(decoded) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_failing_disk_keeps_nothing_and_leaves_nothing(folder, decoded, monkeypatch):
    def fail(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    assert_works_and_says_once(folder, "The disk is full")
    assert find_entries(decoded) == []


def test_a_disk_with_little_room_is_left_alone(folder, decoded, monkeypatch):
    monkeypatch.setattr(cache, "MOST_OF_FREE", 0)
    assert_works_and_says_once(folder, "are over a tenth of what is free")


def test_a_build_folder_that_cannot_be_made(folder, decoded, tmp_path):
    (tmp_path / "build").write_text("a file", encoding="utf-8")
    assert_works_and_says_once(folder, "build")


def test_faces_kept_in_a_folder_that_cannot_be_written_are_used(folder, decoded, opened, monkeypatch):
    FaceFolder(folder).preload(SIZE)

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FaceFolder(folder).preload(SIZE)
    assert len(opened) == 60


def test_another_process_that_was_faster(folder, decoded, monkeypatch):
    rename = Path.rename

    def be_late(part, entry):
        shutil.copytree(part, entry, copy_function=shutil.copy2)
        return rename(part, entry)

    monkeypatch.setattr(Path, "rename", be_late)
    images = FaceFolder(folder).preload(SIZE).images
    assert len(find_entries(decoded)) == 1
    assert torch.equal(FaceFolder(folder).preload(SIZE).images, images)


def test_what_was_used_least_recently_goes_first(folder, decoded, monkeypatch):
    faces = FaceFolder(folder)
    for size in (16, 17, 18):
        faces.preload(size)
        for entry in find_entries(decoded):
            os.utime(entry, (entry.stat().st_atime, entry.stat().st_mtime - 60))
    faces.preload(16)
    (forgotten := decoded / ".unfinished").mkdir()
    os.utime(forgotten, (0, 0))
    monkeypatch.setattr(cache, "MOST_BYTES", 170_000)
    faces.preload(19)
    shapes = sorted(np.load(entry / "images.npy").shape[1] for entry in find_entries(decoded))
    assert shapes == [16, 19]


def test_a_folder_without_masks(tmp_path, decoded, opened):
    for number in range(4):
        write_face(tmp_path / "set", f"Some_Person{number}_0001", 0, number)
    shutil.rmtree(tmp_path / "set" / "labels")
    lines = [f"Some_Person{number}_0001 {number % 3 + 1}\n" for number in range(4)]
    (tmp_path / "set" / "labels.txt").write_text("".join(lines), encoding="utf-8")
    for _ in range(2):
        tensors = FaceFolder(tmp_path / "set").preload(SIZE)
        assert tensors.masks is None and tensors.attributes.tolist() == [0, 1, 2, 0]
    assert len(opened) == 4


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_that_is_none(folder, size):
    with pytest.raises(ValueError, match=f"size is {size}: give the side"):
        FaceFolder(folder).preload(size)
