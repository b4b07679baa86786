"""The first code cell of every notebook: what it fetches on Colab, and what it says when it cannot.

Git and pip are played here; tests/test_colab.py lets them work.
"""

from __future__ import annotations

import ast
import functools
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest

from elfw_course.student import list_notebooks, replace_repository
from elfw_helpers import __version__
from elfw_helpers.utils.paths import project_folder

ROOT = project_folder()
NOTEBOOKS = list_notebooks(ROOT / "notebooks")
SCHOOL = "some-school/faces"


def setup_of(path: Path) -> str:
    """Return the first code cell of a notebook."""
    return next(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")


@pytest.fixture
def colab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which cells work, on a machine that looks like Colab."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr(sys, "path", sys.path[:])
    return tmp_path


def run_setup(monkeypatch: pytest.MonkeyPatch, version: str = __version__, fails: str = "", stderr: str = ""):
    """Run the setup cell of a course with an address; return the commands that it gave to git and pip."""
    commands = []

    def play(command, **options):
        commands.append(command)
        if fails and fails in command:
            return subprocess.CompletedProcess(command, 128, "", stderr)
        if "rm" in command:
            shutil.rmtree("elfw-course", ignore_errors=True)
        if "clone" in command:
            Path("elfw-course/elfw_helpers").mkdir(parents=True)
            text = f'__version__ = "{version}"\n'
            Path("elfw-course/elfw_helpers/__init__.py").write_text(text, encoding="utf-8")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", play)
    setup = replace_repository(setup_of(NOTEBOOKS[0]), "_your_account_/elfw-course", SCHOOL)
    exec(compile(setup, "setup cell", "exec"), {})
    return [" ".join(command[:4]) for command in commands]


def test_elsewhere_it_does_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_setup(monkeypatch, fails="clone") == []


def test_fetches_once_and_chooses_again(colab, monkeypatch):
    choose = ["git -C elfw-course sparse-checkout", f"{sys.executable} -m pip install"]
    assert run_setup(monkeypatch) == ["rm -rf elfw-course", "git clone --depth 1", *choose]
    assert sys.path[0] == str(colab / "elfw-course")
    assert run_setup(monkeypatch) == choose


def test_course_without_an_address_says_so_and_fetches_nothing(colab, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)
    with pytest.raises(ConnectionError, match=r"no address yet\. Instructors: see docs/instructors\.md"):
        exec(setup_of(NOTEBOOKS[0]), {})
    assert list(colab.iterdir()) == []


@pytest.mark.parametrize(
    ("fails", "stderr", "advice"),
    [
        (
            "clone",
            "fatal: Could not resolve host: github.com",
            "Check the connection and run this cell again",
        ),
        ("clone", "fatal: could not read Username for 'https://github.com'", "Or is the address wrong?"),
        ("sparse-checkout", "fatal: unable to write file: No space left on device", "The disk is full"),
        ("pip", "ERROR: Could not find a version that satisfies the requirement", "Check the connection"),
        ("pip", "ERROR: [Errno 28] No space left on device", "Disconnect and delete runtime"),
    ],
)
def test_what_fails_is_a_sentence_that_says_what_to_do(colab, monkeypatch, fails, stderr, advice):
    with pytest.raises(ConnectionError) as stopped:
        run_setup(monkeypatch, fails=fails, stderr=f"{stderr}\n")
    assert str(stopped.value).startswith(f"The course could not be fetched. {stderr}\n")
    assert advice in str(stopped.value)


def test_stale_fork_is_told_from_a_failure_and_fetched_anew_once_it_is_synced(colab, monkeypatch):
    with pytest.raises(ImportError) as stopped:
        run_setup(monkeypatch, version="0.1.0")
    assert f"https://github.com/{SCHOOL} is not of edition {__version__}" in str(stopped.value)
    assert "Press Sync fork" in str(stopped.value)
    assert run_setup(monkeypatch)[:2] == ["rm -rf elfw-course", "git clone --depth 1"]


def test_part_of_a_clone_that_was_killed_is_fetched_anew(colab, monkeypatch):
    (colab / "elfw-course" / ".git").mkdir(parents=True)
    assert run_setup(monkeypatch)[:2] == ["rm -rf elfw-course", "git clone --depth 1"]


def test_full_disk_is_told_where_git_does_not_say_so(colab, monkeypatch):
    with pytest.raises(ConnectionError, match="The disk is full: Runtime") as stopped:
        run_setup(monkeypatch, fails="sparse-checkout", stderr="error: unable to write file\n" * 92)
    assert len(str(stopped.value)) < 600


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_module_that_the_notebook_uses_is_fetched(path):
    code = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")
    used, found = set(), {f"elfw_helpers.{name}" for name in re.findall(r"from elfw_helpers\.(\w+)", code)}
    for package, names in re.findall(r"from elfw_helpers\.(\w+) import ([\w, ]+)", code):
        doors = read_front_door(package)
        found |= {f"elfw_helpers.{package}.{doors[name]}" for name in names.split(", ") if name in doors}
    while found - used:
        used |= found
        found = set().union(*map(find_imports, found))
    left_out = [name.replace("/", ".") for name in re.findall(r"!/(elfw_helpers/[\w/]+)", setup_of(path))]
    assert left_out
    assert [
        name for name in sorted(used) if f"{name}.".startswith(tuple(f"{one}." for one in left_out))
    ] == []


@functools.cache
def read_front_door(package: str) -> dict[str, str]:
    """Return the module that each name comes from which a package's `__init__` offers."""
    file = ROOT / "elfw_helpers" / package / "__init__.py"
    tree = ast.parse(file.read_text(encoding="utf-8") if file.is_file() else "")
    offered = [node.value for node in ast.walk(tree) if getattr(node, "arg", "") == "submod_attrs"]
    return {
        name: module
        for table in offered
        for module, names in ast.literal_eval(table).items()
        for name in names
    }


@functools.cache
def find_imports(module: str) -> set[str]:
    """Return the modules of elfw_helpers that one of them imports, at any place in its code."""
    place = ROOT.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    imports = [
        node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)
    ]
    return {node.module for node in imports if (node.module or "").startswith("elfw_helpers.")}


def test_setup_cells_name_the_packages_edition():
    for path in [*NOTEBOOKS, *list_notebooks(ROOT / "notebooks" / "student")]:
        assert f'    edition = "{__version__}"\n' in setup_of(path), f"{path}: run `elfw student`"
