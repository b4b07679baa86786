"""The students' copies of the notebooks: no solutions in them, and none of them stale."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from elfw_course.cli import main
from elfw_course.notebook_files import list_notebooks
from elfw_course.student import exercise_name, stale_copies, student_version, write_student_copies
from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.paths import project_folder

NOTEBOOKS = project_folder() / "notebooks"
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
        assert f'    raise NotImplementedError("write {exercise_name(cell)}")' in found[cell.id]
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
