"""Notebooks that name the course's one address, and copies of them for students: no solution, none stale."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from elfw_course.cli import main
from elfw_course.student import (
    ADDRESSED,
    NO_ADDRESS,
    NOTE_BEGIN,
    NOTE_END,
    PLACEHOLDER,
    exercise_name,
    is_placeholder,
    list_notebooks,
    make_student_copies,
    read_repository,
    replace_repository,
    student_version,
    write_student_copies,
)
from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.paths import project_folder

ROOT = project_folder()
NOTEBOOKS = ROOT / "notebooks"
OTHER = "some-school/faces.2025"
HALVE = """\
# exercise: halve
def halve(mask):
    \"\"\"Return half a mask.\"\"\"
    ### BEGIN SOLUTION
    middle = len(mask) // 2

    return mask[:middle]
    ### END SOLUTION"""


def write_course(folder: Path, *sources: str) -> Path:
    """Write one notebook for each source, a code cell with the id `task`; return their folder."""
    folder.mkdir(exist_ok=True)
    for number, source in enumerate(sources, start=1):
        notebook = new_notebook(cells=[new_code_cell(source, id="task")])
        nbformat.write(notebook, folder / f"{number:02d}_name.ipynb")
    return folder


def write_pyproject(project: Path, repository: str) -> None:
    """Write a pyproject.toml with an address."""
    text = f'[project.urls]\nhome = "x"\n# ours:\nrepository = "{repository}"\n'
    (project / "pyproject.toml").write_text(text, encoding="utf-8")


def stale_copies(folder: Path) -> list[str]:
    """Return the file names in `student` that are missing, out of date or one too many."""
    wanted = make_student_copies(folder)
    found = {path: path.read_text(encoding="utf-8") for path in list_notebooks(folder / "student")}
    return sorted(path.name for path in wanted.keys() | found if wanted.get(path) != found.get(path))


def version_of(cell) -> str:
    """Return the source that a student finds in a cell."""
    return student_version(new_notebook(cells=[cell]), "01_name.ipynb").cells[0].source


def test_the_repository_has_a_copy_of_every_notebook_and_none_is_stale():
    assert stale_copies(NOTEBOOKS) == [], "run: elfw student"


@pytest.mark.parametrize("path", list_notebooks(NOTEBOOKS), ids=lambda path: path.stem)
def test_no_solution_of_the_repository_shows(path):
    student = nbformat.read(NOTEBOOKS / "student" / path.name, as_version=4)
    found = {cell.id: cell.source.splitlines() for cell in student.cells}
    assert "SOLUTION" not in str(found)
    exercises = [cell for cell in nbformat.read(path, as_version=4).cells if exercise_name(cell)]
    for cell in exercises:
        solution = re.search(r"### BEGIN SOLUTION\n(.*?) *### END SOLUTION", cell.source, re.DOTALL)[1]
        assert set(filter(None, solution.splitlines())).isdisjoint(found[cell.id])
        assert f'raise NotImplementedError("write {exercise_name(cell)}")' in map(str.strip, found[cell.id])
    assert exercises


@pytest.mark.parametrize("path", list_notebooks(NOTEBOOKS / "student"), ids=lambda path: path.stem)
def test_links_of_the_repositorys_copies_lead_somewhere(path):
    text = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert [link for link in links if link.endswith(f"/notebooks/student/{path.name}")], "the Colab badge"
    relative = [link.partition("#")[0] for link in links if "://" not in link and not link.startswith("#")]
    assert [link for link in relative if not (path.parent / link).exists()] == []


def test_solution_gives_way_to_an_error_at_its_indentation():
    assert version_of(new_code_cell(HALVE)) == (
        '# exercise: halve\ndef halve(mask):\n    """Return half a mask."""\n'
        '    # your code here\n    raise NotImplementedError("write halve")'
    )


def test_all_solutions_of_a_cell_go_and_what_stands_between_stays():
    twice = f"{HALVE}\nx = 1\n### BEGIN SOLUTION\nx = 2\n### END SOLUTION\nprint(x)"
    unwritten = '# your code here\nraise NotImplementedError("write halve")'
    assert version_of(new_code_cell(twice)).endswith(f'halve")\nx = 1\n{unwritten}\nprint(x)')


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("Why?\n\n<!-- BEGIN SOLUTION -->\nFor.\n\nSo.\n<!-- END SOLUTION -->\n\nNext.", "Why?\n\nNext."),
        ("<!-- BEGIN SOLUTION -->\nHere.\n<!-- END SOLUTION -->\n\nWhy?", "Why?"),
        ("Why?\n\n<!-- BEGIN SOLUTION -->For.<!-- END SOLUTION -->", "Why?"),
        ("- a\n<!-- BEGIN SOLUTION -->\n- b\n<!-- END SOLUTION -->\n- c", "- a\n- c"),
        ("What stands between BEGIN and END SOLUTION", "What stands between BEGIN and END SOLUTION"),
    ],
)
def test_solution_in_text_leaves_no_gap(source, expected):
    assert version_of(new_markdown_cell(source)) == expected


def test_text_that_is_all_solution_goes():
    solution = new_markdown_cell("<!-- BEGIN SOLUTION -->\nFor.\n<!-- END SOLUTION -->", id="answer")
    notebook = new_notebook(cells=[solution, new_code_cell("", id="yours")])
    assert [cell.id for cell in student_version(notebook, "01_name.ipynb").cells] == ["yours"]


def test_links_start_one_folder_deeper():
    badge = "(https://colab.research.google.com/github/o/n/blob/main/notebooks/{}01_name.ipynb)"
    source = "[![Colab](https://o.org/badge.svg)]{} [how](../data/README.md) [next](02_name.ipynb)"
    assert version_of(new_markdown_cell(source.format(badge.format("")))) == source.format(
        badge.format("student/")
    ).replace("](../data", "](../../data")


def test_outputs_go_and_the_rest_of_a_cell_stays():
    tagged = new_code_cell("link = '](../data)'", id="shown", metadata={"tags": ["nbval-ignore-output"]})
    tagged.outputs, tagged.execution_count = [new_output("stream", text="1")], 3
    notebook = new_notebook(cells=[tagged], metadata={"title": "Halves"})
    before = copy.deepcopy(notebook)
    version = student_version(notebook, "01_name.ipynb")
    assert notebook == before
    assert version.cells[0] == {**before.cells[0], "outputs": [], "execution_count": None}
    assert version.metadata == before.metadata


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (HALVE.replace("BEGIN", "BEGINNING").replace("END", "ENDING"), "exercise halve marks no solution"),
        (HALVE.replace("    ### END SOLUTION", ""), "do not pair up"),
        (HALVE.replace("    ### BEGIN SOLUTION\n", ""), "do not pair up"),
        (HALVE.replace("middle =", "### BEGIN SOLUTION\n    middle ="), "do not pair up"),
        (HALVE.replace("# exercise: ", "# exercise "), "a solution, but the first line is not"),
    ],
)
def test_exercises_marked_wrongly_are_named(tmp_path, source, found):
    with pytest.raises(ElfwError, match=rf"^01_name\.ipynb, cell task: .*{found}"):
        write_student_copies(write_course(tmp_path, source))
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize("source", ["<!-- BEGIN SOLUTION -->\nFor.", "### BEGIN SOLUTION\n### END SOLUTION"])
def test_text_marked_wrongly_is_named(source):
    with pytest.raises(ElfwError, match="01_name.ipynb, cell answer: .*do not pair up"):
        student_version(new_notebook(cells=[new_markdown_cell(source, id="answer")]), "01_name.ipynb")


def test_two_exercises_of_one_name_are_named(tmp_path):
    both = "02_name.ipynb, cell task and 01_name.ipynb, cell task are both exercise halve"
    with pytest.raises(ElfwError, match=both):
        write_student_copies(write_course(tmp_path, HALVE, HALVE))


def test_command_writes_what_is_missing_or_stale_and_removes_what_is_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr("elfw_course.cli.project_folder", lambda: tmp_path)
    write_pyproject(tmp_path, f"https://github.com/{OTHER}")
    folder = write_course(tmp_path / "notebooks", HALVE, "print(1)", "print(2)")
    assert stale_copies(folder) == ["01_name.ipynb", "02_name.ipynb", "03_name.ipynb"]
    assert main(["student"]) == 0
    assert stale_copies(folder) == []
    unchanged = (folder / "student" / "01_name.ipynb").stat().st_ino
    write_course(folder, HALVE, "print(3)")
    (folder / "03_name.ipynb").unlink()
    assert stale_copies(folder) == ["02_name.ipynb", "03_name.ipynb"]
    assert main(["student"]) == 0
    assert {path.name for path in (folder / "student").iterdir()} == {"01_name.ipynb", "02_name.ipynb"}
    assert stale_copies(folder) == []
    assert (folder / "student" / "01_name.ipynb").stat().st_ino == unchanged


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the notebooks, with students' copies that are not stale, and of the address."""
    (tmp_path / "notebooks").mkdir()
    for path in list_notebooks(NOTEBOOKS):
        shutil.copyfile(path, tmp_path / path.relative_to(ROOT))
    write_pyproject(tmp_path, f"https://github.com/{read_repository(ROOT)}")
    monkeypatch.setattr("elfw_course.cli.project_folder", lambda: tmp_path)
    assert main(["student"]) == 0
    return tmp_path


def read_notebooks(project: Path) -> dict[str, str]:
    """Return the text of all notebooks and of the students' copies, by path."""
    return {str(path): path.read_text("utf-8") for path in sorted((project / "notebooks").rglob("*.ipynb"))}


def test_another_address_changes_nothing_else_and_can_be_undone(project):
    before, old = read_notebooks(project), read_repository(ROOT)
    write_pyproject(project, f"https://github.com/{OTHER}")
    assert main(["student"]) == 0
    changed = read_notebooks(project)
    assert changed.keys() == before.keys()
    for path, text in changed.items():
        assert text != before[path] and old not in text, path
        assert text.replace(OTHER, old) == before[path]
    write_pyproject(project, f"https://github.com/{old}")
    assert main(["student"]) == 0
    assert read_notebooks(project) == before


def test_the_address_that_is_there_already_writes_nothing(project):
    files = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    assert main(["student"]) == 0
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == files


@pytest.mark.parametrize("folder", ["notebooks", "notebooks/student"])
def test_the_repositorys_notebooks_and_pyproject_are_in_step(folder):
    stored = read_repository(ROOT)
    for path in list_notebooks(ROOT / folder):
        text = path.read_text(encoding="utf-8")
        badges = re.findall(r"colab\.research\.google\.com/github/([^/]+/[^/]+)/blob/main/([^)]+)\)", text)
        assert (stored, f"{folder}/{path.name}") in badges, "run: elfw student"
        assert {repository for repository, _ in badges} == {stored}
        # Colab shows no picture from beside the notebook, and its links lead nowhere: on GitHub they work.
        assert f"[on GitHub](https://github.com/{stored}/blob/main/{folder}/{path.name})" in text
        assert re.findall(r'repository = \\"https://github\.com/(.*?)\\"', text) == [stored]


@pytest.mark.parametrize("end", ["", "/", ".git", ".git/"])
def test_addresses_may_end_in_a_slash_or_git(tmp_path, end):
    write_pyproject(tmp_path, f"https://github.com/{OTHER}{end}")
    assert read_repository(tmp_path) == OTHER


@pytest.mark.parametrize(
    "wrong",
    [
        "some-school/faces",
        "http://github.com/some-school/faces",
        "https://gitlab.com/some-school/faces",
        "https://github.com/some-school",
        "https://github.com/some-school/faces/tree/main",
        "https://github.com/some school/faces",
        "git@github.com:some-school/faces.git",
    ],
)
def test_other_addresses_are_refused_and_change_nothing(project, capsys, wrong):
    before = read_notebooks(project)
    write_pyproject(project, wrong)
    assert main(["student"]) == 1
    assert capsys.readouterr().err == (
        f"elfw: {project / 'pyproject.toml'}: {wrong!r} is no address of a repository. "
        "Give https://github.com/OWNER/NAME.\n"
    )
    assert read_notebooks(project) == before


@pytest.fixture
def whole(project: Path) -> Path:
    """A copy of all that names the address, with pyproject.toml, README and CITATION.cff as they are."""
    for name in ("pyproject.toml", *ADDRESSED):
        shutil.copyfile(ROOT / name, project / name)
    return project


def read_texts(project: Path) -> dict[str, str]:
    """Return the text of all files of a project, by path."""
    return {str(path): path.read_text("utf-8") for path in sorted(project.rglob("*")) if path.is_file()}


def test_one_command_gives_the_course_an_address_and_changes_nothing_else(whole, capsys):
    before, old = read_texts(whole), read_repository(ROOT)
    assert main(["address", f"https://github.com/{OTHER}"]) == 0
    assert f"https://github.com/{OTHER}\n" in capsys.readouterr().out
    after = read_texts(whole)
    note = "" if not is_placeholder(old) else NO_ADDRESS
    for path, text in after.items():
        assert text != before[path] and old not in text, path
        back = text.replace(f"{NOTE_BEGIN}\n{NOTE_END}", f"{NOTE_BEGIN}\n{note}\n{NOTE_END}")
        assert back.replace(OTHER, old) == before[path], path
    assert NO_ADDRESS not in after[str(whole / "README.md")]
    assert main(["address", f"https://github.com/{old}.git"]) == 0
    assert read_texts(whole) == before


def test_no_other_file_names_the_address():
    """Else `elfw address` would forget it."""
    tracked = subprocess.run(
        ["git", "grep", "-lF", f"github.com/{read_repository(ROOT)}"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
    )
    if tracked.returncode:
        pytest.skip("not a checkout of git")
    found = {name for name in tracked.stdout.split() if not name.startswith(("notebooks/", "tests/"))}
    assert found - {"docs/instructors.md"} == {"pyproject.toml", *ADDRESSED}
    assert PLACEHOLDER in (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")


def test_the_note_about_the_address_is_in_step():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    note = text.partition(NOTE_BEGIN)[2].partition(NOTE_END)[0].strip()
    assert note == (NO_ADDRESS if is_placeholder(read_repository(ROOT)) else ""), "run: elfw student"


def test_an_address_that_is_none_changes_nothing(whole, capsys):
    before = read_texts(whole)
    for wrong in ("https://gitlab.com/some-school/faces", "some-school/faces", ""):
        assert main(["address", wrong]) == 1
        error = capsys.readouterr().err
        assert (
            error.startswith(f"elfw: {wrong!r} is no address")
            and "GitLab" in error
            and error.count("\n") == 1
        )
    assert read_texts(whole) == before


def test_other_repositories_are_left_alone():
    others = "https://github.com/o/name-data https://github.com/o/name.py https://github.com/a/o/name o/name"
    assert replace_repository(others, "o/name", OTHER) == others
    text = 'See https://github.com/o/name. Or "https://github.com/o/name/issues"'
    assert replace_repository(text, "o/name", "a/b") == text.replace("o/name", "a/b")


def test_pyproject_without_an_address_is_named(tmp_path):
    text = '[project.urls]\nhome = "x"\n[tool]\nrepository = "https://github.com/o/n"\n'
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ElfwError, match="pyproject.toml: .* has no line"):
        read_repository(tmp_path)
