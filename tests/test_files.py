import os

import pytest

from elfw_helpers.files import write_atomically


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
