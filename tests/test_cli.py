"""The commands: what they print, and their exit codes. What they do is tested where it is written."""

import sys

import pytest

from elfw_helpers import __version__
from elfw_helpers.cli import main


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


def test_renders_a_set_that_the_check_finds_sound(tmp_path, capsys):
    assert main(["render", "--count", "40", "--size", "32", "--out", str(tmp_path / "set")]) == 0
    assert main(["check", str(tmp_path / "set")]) == 0
    assert "40 images, 40 of them readable" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--size", "30"], ["--seed", "-1"], ["--count", "0"]])
def test_numbers_that_make_no_sense_are_refused_before_anything_is_written(tmp_path, capsys, wrong):
    arguments = ["render", "--count", "4", "--out", str(tmp_path / "set"), *wrong]
    assert main(arguments) == 2
    assert wrong[0].strip("-") in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_folder_with_other_content_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    assert main(["render", "--count", "4", "--out", str(tmp_path)]) == 1
    assert "elfw: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_grading_says_that_it_needs_linux_and_loads_nothing_that_only_linux_has(monkeypatch, capsys, system):
    monkeypatch.setattr(sys, "platform", system)
    for module in ("resource", "fcntl", "pwd", "elfw_helpers.grading.batch"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["grade", "03", "submissions", "--out", "grades"]) == 1
    assert capsys.readouterr().err.startswith("elfw: grading needs Linux")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "grade" in capsys.readouterr().out
