import errno
import os
import secrets
import tempfile

import pytest

from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import explain_error, require_writable, write_atomically


def test_a_file_is_written_whole_and_nothing_else_is_left(tmp_path):
    write_atomically(tmp_path / "a", b"old")
    write_atomically(tmp_path / "a", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"new")]


@pytest.mark.parametrize("fault", [OSError("No space left on device"), KeyboardInterrupt()])
def test_a_write_cut_off_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, fault):
    write_atomically(tmp_path / "a", b"old")

    def fail(descriptor):
        raise fault

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(fault)):
        write_atomically(tmp_path / "a", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


@pytest.mark.skipif(os.name == "nt", reason="no /dev/full there")
def test_a_write_that_fails_says_which_file(tmp_path, monkeypatch):
    monkeypatch.setattr(secrets, "token_hex", lambda size: "drawn")
    (tmp_path / ".a.drawn").symlink_to("/dev/full")
    with pytest.raises(OSError) as caught:
        write_atomically(tmp_path / "a", b"new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError) as caught:
        write_atomically(tmp_path / ("n" * 300), b"new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENAMETOOLONG, str(tmp_path / ("n" * 300)))


def test_a_folder_is_made_with_its_parents_and_left_empty(tmp_path):
    require_writable(tmp_path / "a" / "b")
    require_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def refuse(number):
    """Return a function that fails as the operating system does."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number), "a name that nobody gave")

    return fail


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.EACCES, "rights"),
        (errno.EROFS, "another"),
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EPROTO, "Check"),
    ],
)
def test_a_folder_that_cannot_be_written_into_is_refused_by_name(tmp_path, monkeypatch, number, fix):
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse(number))
    with pytest.raises(DataError) as caught:
        require_writable(tmp_path)
    error = caught.value
    assert error.file == tmp_path and fix in error.fix
    assert error.found == f"cannot be written into ({os.strerror(number)})"


def test_a_file_in_a_folders_place_is_refused(tmp_path):
    (tmp_path / "notes").write_text("mine", encoding="utf-8")
    for folder in (tmp_path / "notes", tmp_path / "notes" / "below"):
        with pytest.raises(DataError, match="A file stands where a folder is needed") as caught:
            require_writable(folder)
        assert caught.value.file == folder
    with pytest.raises(DataError, match="Choose a shorter name"):
        require_writable(tmp_path / ("n" * 300))
    assert (tmp_path / "notes").read_text(encoding="utf-8") == "mine"


def test_an_error_names_the_file_it_is_about(tmp_path):
    try:
        (tmp_path / "gone.txt").read_text(encoding="utf-8")
    except OSError as error:
        explained = explain_error(error)
    assert explained.file == tmp_path / "gone.txt" and "moved or deleted" in explained.fix
    assert explain_error(OSError(28, "full"), tmp_path / "x").file == tmp_path / "x"
    assert "an odd fault" in str(explain_error(OSError("an odd fault")))
