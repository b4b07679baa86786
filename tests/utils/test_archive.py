"""Faces packed into one archive; they are unpacked whole or not at all, and nobody's files are touched."""

import errno
import multiprocessing
import os
import shutil
import stat
import time
import zipfile
from pathlib import Path

import pytest

from elfw_helpers.utils import paths
from elfw_helpers.utils.archive import list_folder, pack_folder, unpack_once
from elfw_helpers.utils.errors import DataError


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """An archive of five files in a folder of its own."""
    write_files(tmp_path / "made", "faces/a.jpg", "faces/b.jpg", "labels/a.png", "labels.txt", "train.txt")
    (tmp_path / "data").mkdir()
    pack_folder(tmp_path / "made", tmp_path / "data" / "set.zip")
    return tmp_path / "data" / "set.zip"


def write_files(folder: Path, *names: str, content: str = "") -> None:
    """Write files that hold their names, or something else."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content or name * 9, encoding="utf-8")


def refusal(archive: Path) -> str:
    """Return what an archive that cannot be unpacked says; nothing of it may be left."""
    before = sorted(archive.parent.iterdir())
    with pytest.raises(DataError) as refused:
        unpack_once(archive, archive.with_suffix(""))
    left = set(archive.parent.iterdir()) - {archive.with_name(".set.lock")}
    assert left == set(before) - {archive.with_name(".set.lock")}
    return str(refused.value)


def test_unpacks_once_all_that_was_packed(packed, tmp_path):
    folder = unpack_once(packed, packed.with_suffix(""))
    assert list_folder(folder) == list_folder(tmp_path / "made")
    first = (folder / "labels.txt").stat().st_ino
    assert unpack_once(packed, folder) == folder
    assert (folder / "labels.txt").stat().st_ino == first
    # Others may read it, as far as new folders are open to them: submissions run as another user.
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((tmp_path / "made").stat().st_mode)


def test_same_files_make_the_same_archive_of_stored_images_and_deflated_text(packed, tmp_path):
    again = tmp_path / "again.zip"
    unpack_once(packed, tmp_path / "copy")
    pack_folder(tmp_path / "copy", again)
    assert again.read_bytes() == packed.read_bytes()
    with zipfile.ZipFile(packed) as opened:
        entries = opened.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    stored = {entry.filename for entry in entries if entry.compress_type == zipfile.ZIP_STORED}
    assert stored == {"faces/a.jpg", "faces/b.jpg", "labels/a.png"}


def test_newer_archive_takes_the_place_of_what_the_old_one_left(packed, tmp_path):
    folder = unpack_once(packed, packed.with_suffix(""))
    write_files(tmp_path / "made", "train.txt", "faces/c.jpg", content="newer")
    (tmp_path / "made" / "labels" / "a.png").unlink()
    pack_folder(tmp_path / "made", packed)
    assert list_folder(unpack_once(packed, folder)) == list_folder(tmp_path / "made")


def test_folder_that_was_there_before_is_taken_as_it_is_if_nothing_differs(packed, tmp_path):
    folder = shutil.copytree(tmp_path / "made", packed.with_suffix(""))
    first = (folder / "labels.txt").stat().st_ino
    assert unpack_once(packed, folder).with_name("set.unpacked").is_file()
    assert (folder / "labels.txt").stat().st_ino == first
    # What is missing is added.
    packed.with_name("set.unpacked").unlink()
    (folder / "train.txt").unlink()
    assert list_folder(unpack_once(packed, folder)) == list_folder(tmp_path / "made")


@pytest.mark.parametrize("own", ["train.txt", "faces/me.jpg"])
@pytest.mark.parametrize("stamped", [True, False])
def test_edited_and_own_files_are_named_and_stay(packed, tmp_path, own, stamped):
    folder = packed.with_suffix("")
    if stamped:
        unpack_once(packed, folder)
        write_files(tmp_path / "made", "labels.txt", content="newer")
        pack_folder(tmp_path / "made", packed)
    write_files(folder, own, content="mine")
    before = list_folder(folder)
    said = refusal(packed)
    assert f"{folder}: {own}: not the files of set.zip" in said and "Move what is yours" in said
    assert list_folder(folder) == before


def test_damaged_archives_say_how_to_get_them_back(packed):
    whole = packed.read_bytes()
    changed = whole.replace(b"faces/a.jpgfaces", b"faces/a.jpgFACES")
    for damaged in (b"", whole[: len(whole) // 2], whole[:-1], changed):
        assert damaged != whole
        packed.write_bytes(damaged)
        assert "it is damaged" in refusal(packed)
        assert "git checkout -- data/set.zip" in refusal(packed)
    packed.unlink()
    assert "no such file. Restore it: git checkout" in refusal(packed)


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "faces/../../out.txt", "a\\..\\out", "C:out.txt"])
def test_archive_that_would_leave_its_folder_is_refused(packed, name):
    with zipfile.ZipFile(packed, "a") as opened:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = (stat.S_IFREG | 0o644) << 16
        opened.writestr(entry, "out")
    assert "is no plain file inside the folder" in refusal(packed)


def test_link_in_an_archive_is_refused(packed):
    with zipfile.ZipFile(packed, "a") as opened:
        entry = zipfile.ZipInfo("faces/link.jpg")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(entry, "/etc/passwd")
    assert "'faces/link.jpg' is no plain file" in refusal(packed)


def test_full_disk_leaves_nothing_half_written(packed, monkeypatch):
    extracted = []

    def fill_disk(self, entry, place):
        extracted.append(entry)
        if len(extracted) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_files(place, entry.filename)

    monkeypatch.setattr(zipfile.ZipFile, "extract", fill_disk)
    assert "The disk is full: free some space" in refusal(packed)


def test_two_processes_at_once_unpack_it_one_time(packed, tmp_path):
    folder = packed.with_suffix("")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.starmap(unpack_and_count, [(packed, folder)] * 2) in ([5, 0], [0, 5])
    assert list_folder(folder) == list_folder(tmp_path / "made")


def unpack_and_count(packed: Path, folder: Path) -> int:
    """Unpack an archive, slowly, and return how many files this process extracted."""
    count, extract = 0, zipfile.ZipFile.extract

    def slow_extract(*arguments):
        nonlocal count
        count += 1
        time.sleep(0.05)
        return extract(*arguments)

    zipfile.ZipFile.extract = slow_extract
    unpack_once(packed, folder)
    return count


def test_where_nothing_can_be_written_the_faces_go_into_the_build_folder(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "embedded_archive", lambda: packed)
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path / "build"))
    monkeypatch.delenv("ELFW_DATA", raising=False)
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    assert paths.data_folder() == tmp_path / "build" / "set"
    assert list_folder(tmp_path / "build" / "set") == list_folder(tmp_path / "made")
    # A checkout that was unpacked before it was locked is used as it is.
    unpack_once(packed, packed.with_suffix(""))
    assert paths.data_folder() == packed.with_suffix("")


def test_an_own_folder_needs_no_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "embedded_archive", lambda: tmp_path / "missing.zip")
    monkeypatch.setenv("ELFW_DATA", str(tmp_path))
    assert paths.data_folder() == tmp_path
