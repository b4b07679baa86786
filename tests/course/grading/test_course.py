"""The course's own answer keys: the solutions get every point, the student's copies none."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from elfw_course.grading.batch import grade_folder
from elfw_course.grading.key import Key, find_key, read_key
from elfw_course.student import exercise_name, list_notebooks, student_version
from elfw_helpers.utils.paths import project_folder
from tests.course.grading.sandboxes import SANDBOXED

NOTEBOOKS = list_notebooks(project_folder() / "notebooks")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def course_notebook(request) -> Path:
    """One notebook of the course, with its solutions."""
    return request.param


@pytest.fixture
def key(course_notebook) -> Key:
    """Its answer key."""
    return read_key(find_key(course_notebook.stem[:2]))


def test_solution_gets_all_points_and_student_copy_none(course_notebook, key, tmp_path):
    folder = tmp_path / "submissions"
    folder.mkdir()
    shutil.copy(course_notebook, folder / "solution.ipynb")
    shutil.copy(key.released, folder / "student.ipynb")
    # Both are the course's own code, so that they may run where there is no sandbox.
    number = course_notebook.stem[:2]
    assert grade_folder(number, folder, tmp_path / "out", jobs=2, unsandboxed=not SANDBOXED) == 0
    with (tmp_path / "out" / "grades.csv").open(encoding="utf-8") as stream:
        solution, student = csv.DictReader(stream)
    assert (solution["total"], solution["flags"]) == (f"{key.points:g}", ""), solution
    assert (student["status"], student["total"]) == ("graded", "0"), student
    assert student["flags"].count("left as it was given") == len(key.exercises), student


def test_key_asks_about_every_exercise(course_notebook, key):
    cells = nbformat.read(course_notebook, as_version=4).cells
    assert [exercise.name for exercise in key.exercises] == list(filter(None, map(exercise_name, cells)))


def test_most_points_ask_for_more_than_students_can_read(key):
    shown = "\n".join(cell.source for cell in nbformat.read(key.released, as_version=4).cells)
    for exercise in key.exercises:
        copied = sum(probe.points for probe in exercise.probes if not probe.given and probe.call in shown)
        assert len(exercise.probes) >= 3 and copied < exercise.points / 2, exercise.name


def test_the_example_of_the_readme_works_as_it_is_written(tmp_path):
    text = (project_folder() / "grading" / "README.md").read_text(encoding="utf-8")
    source, key = (
        re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)[1] for language in ("python", "toml")
    )
    solution = new_notebook(cells=[new_code_cell(source)])
    given = student_version(solution, "09_segmentation.ipynb")
    folder = tmp_path / "submissions"
    folder.mkdir()
    (tmp_path / "key.toml").write_text(key, encoding="utf-8")
    for path, one in (
        ("09_segmentation", given),
        ("submissions/student", given),
        ("submissions/solution", solution),
    ):
        nbformat.write(one, tmp_path / f"{path}.ipynb")
    key = str(tmp_path / "key.toml")
    assert grade_folder(key, folder, tmp_path / "out", jobs=2, unsandboxed=not SANDBOXED) == 0
    with (tmp_path / "out" / "grades.csv").open(encoding="utf-8") as stream:
        totals = {row["student"]: row["total"] for row in csv.DictReader(stream)}
    assert totals == {"solution": "3", "student": "0"}
