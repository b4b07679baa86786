"""One address of the repository, wherever the course names it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from elfw_course.address import replace_repository, stamp_course, stored_repository
from elfw_course.cli import main
from elfw_course.notebook_files import list_notebooks
from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.paths import project_folder

ROOT = project_folder()
OTHER = "some-school/faces.2025"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what names the address, with student's copies that are not stale."""
    (tmp_path / "notebooks").mkdir()
    for path in (*list_notebooks(ROOT / "notebooks"), ROOT / "README.md", ROOT / "pyproject.toml"):
        shutil.copyfile(path, tmp_path / path.relative_to(ROOT))
    with (tmp_path / "README.md").open("a", encoding="utf-8") as readme:
        readme.write(f"\nFrom https://github.com/{stored_repository(ROOT)}.\n")
    monkeypatch.setattr("elfw_course.cli.project_folder", lambda: tmp_path)
    assert main(["student"]) == 0
    return tmp_path


def read_all(folder: Path) -> dict[str, str]:
    """Return the text of all files in a folder, and in those within it, by path."""
    return {str(path): path.read_text("utf-8") for path in sorted(folder.rglob("*")) if path.is_file()}


def test_stamping_changes_the_address_alone_and_can_be_undone(project):
    before, stored = read_all(project), stored_repository(project)
    assert main(["stamp", f"https://github.com/{OTHER}"]) == 0
    stamped = read_all(project)
    assert stamped.keys() == before.keys()
    for path, text in stamped.items():
        assert text != before[path], path
        assert stored not in text, path
        assert text.replace(OTHER, stored) == before[path]
    assert main(["stamp", f"https://github.com/{stored}"]) == 0
    assert read_all(project) == before


def test_stamping_the_stored_address_writes_nothing(project):
    files = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    stamp_course(f"https://github.com/{stored_repository(project)}", project)
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == files


@pytest.mark.parametrize("folder", ["notebooks", "notebooks/student"])
def test_the_repositorys_notebooks_and_pyproject_are_in_step(folder):
    stored = stored_repository(ROOT)
    for path in list_notebooks(ROOT / folder):
        text = path.read_text(encoding="utf-8")
        badges = re.findall(r"colab\.research\.google\.com/github/([^/]+/[^/]+)/blob/main/([^)]+)\)", text)
        assert (stored, f"{folder}/{path.name}") in badges
        assert {repository for repository, _ in badges} == {stored}
        assert re.findall(r'repository = \\"https://github\.com/(.*?)\\"', text) == [stored]


@pytest.mark.parametrize("end", ["", "/", ".git", ".git/"])
def test_addresses_may_end_in_a_slash_or_git(project, end):
    assert main(["stamp", f"https://github.com/{OTHER}{end}"]) == 0
    assert stored_repository(project) == OTHER


@pytest.mark.parametrize(
    "wrong",
    [
        "some-school/faces",
        "http://github.com/some-school/faces",
        "https://gitlab.com/some-school/faces",
        "https://github.com/some-school",
        "https://github.com/some-school/faces/tree/main",
        "https://github.com/some school/faces",
        "https://github.com/some-school/faces\n",
        "git@github.com:some-school/faces.git",
    ],
)
def test_other_addresses_are_refused_and_change_nothing(project, capsys, wrong):
    before = read_all(project)
    assert main(["stamp", wrong]) == 1
    assert capsys.readouterr().err == (
        f"elfw: {wrong!r} is no address of a repository. Give https://github.com/OWNER/NAME.\n"
    )
    assert read_all(project) == before


def test_other_repositories_are_left_alone():
    others = "https://github.com/o/name-data https://github.com/o/name.py https://github.com/a/o/name o/name"
    assert replace_repository(others, "o/name", OTHER) == others
    text = 'See https://github.com/o/name. Or "https://github.com/o/name/issues"'
    assert replace_repository(text, "o/name", "a/b") == text.replace("o/name", "a/b")


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ('[project.urls]\nhome = "x"\n[tool]\nrepository = "https://github.com/o/n"\n', "has no line"),
        ('[project.urls]\n# ours:\nrepository = "https://o.org/n"\n', "'https://o.org/n' is no address"),
    ],
)
def test_pyproject_without_an_address_is_named(tmp_path, table, found):
    (tmp_path / "pyproject.toml").write_text(table, encoding="utf-8")
    with pytest.raises(ElfwError, match=found):
        stored_repository(tmp_path)


def test_address_is_found_below_other_lines_of_its_table(tmp_path):
    table = '[project.urls]\nhomepage = "https://o.org"\n\nrepository = "https://github.com/o/n"\n[tool]\n'
    (tmp_path / "pyproject.toml").write_text(table, encoding="utf-8")
    assert stored_repository(tmp_path) == "o/n"
