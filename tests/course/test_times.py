"""How long a notebook takes is measured, and README and titles say what was measured."""

import json

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook

from elfw_course import times
from elfw_course.student import list_notebooks
from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.paths import project_folder

README = """| notebook | question | study | computing | |
|---|---|---|---|---|
| [01 one](notebooks/01_one.ipynb) | Why? | 45 min | old | badge |
| a row of another table | Why? | 45 min | old | badge |
"""
TITLE = "# 01 · One\n\n**Time:** 60 minutes of study. Computing: {} on 2 CPU cores.\nOn Colab's T4: nothing."


@pytest.fixture
def project(tmp_path):
    """A project with one notebook, which took 100 seconds (median of three)."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    cells = [new_markdown_cell(TITLE.format("an hour"))]
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / "01_one.ipynb")
    store(tmp_path, [{"what": "01_one", "values": [101.0, 99.0, 100.0], "unit": "s"}])
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    return tmp_path


def store(project, figures):
    """Store figures as the benchmark does."""
    file = project / "benchmarks" / "results" / f"{times.BENCHMARK}.json"
    file.write_text(json.dumps({"figures": figures}), encoding="utf-8")


def test_readme_and_title_get_the_measured_time_and_nothing_else_changes(project):
    times.write_times(project)
    assert (project / "README.md").read_text(encoding="utf-8") == README.replace("old", "2 min", 1)
    notebook = nbformat.read(project / "notebooks" / "01_one.ipynb", as_version=4)
    assert notebook.cells[0].source == TITLE.format("2 minutes")


@pytest.mark.parametrize(
    ("seconds", "short", "long"),
    [(3, "½ min", "half a minute"), (44, "½ min", "half a minute"), (46, "1 min", "1 minute"),
     (89, "1 min", "1 minute"), (91, "2 min", "2 minutes"), (3599, "60 min", "60 minutes")],
)  # fmt: skip
def test_times_are_written_in_minutes(seconds, short, long):
    assert (times.format_minutes(seconds), times.write_minutes(seconds)) == (short, long)


def test_a_notebook_that_was_not_measured_is_named(project):
    store(project, [])
    with pytest.raises(ElfwError, match=r"01_one: nobody knows .*notebooks_alone\.py --store"):
        times.write_times(project)


def test_times_that_are_none_are_said_so(project):
    store(project, [{"what": "01_one"}])
    with pytest.raises(ElfwError, match=r"no times of notebooks .*notebooks_alone\.py --store"):
        times.write_times(project)


def test_readme_and_titles_of_the_repository_say_what_was_measured():
    notebooks = list_notebooks(project_folder() / "notebooks")
    titles = {path.stem: nbformat.read(path, as_version=4).cells[0].source for path in notebooks}
    assert [name for name, title in titles.items() if not times.STATED.search(title)] == []
    readme = (project_folder() / "README.md").read_text(encoding="utf-8")
    assert times.ROW.findall(readme) == list(titles)
    measured = times.read_times(project_folder())
    stale = [name for name, title in titles.items() if times.put_in_title(title, name, measured) != title]
    assert stale == [] and times.put_in_table(readme, measured) == readme, "run `elfw results`"
