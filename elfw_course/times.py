"""How long each notebook takes when it is opened alone: a benchmark measures it, README and titles say it."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path

import nbformat

from elfw_course.student import format_notebook, list_notebooks, write_if_changed, write_student_copies
from elfw_helpers.utils.errors import ElfwError

BENCHMARK = "notebooks_alone"
# In the title cell of a notebook.
STATED = re.compile(r"Computing: [^.;:]+ on 2 CPU cores")
# In README's table of notebooks, the row of one, and the name of its column.
ROW, COLUMN = re.compile(r"\| \[\d\d [^]]*\]\(notebooks/(\w+)\.ipynb\) \|"), "computing"


def read_times(project: Path) -> dict[str, float]:
    """Return the seconds of each notebook, by its name, opened alone with nothing stored before.

    Raises:
        ElfwError: the benchmark's file cannot be read.
    """
    file = project / "benchmarks" / "results" / f"{BENCHMARK}.json"
    try:
        figures = json.loads(file.read_text(encoding="utf-8"))["figures"]
        return {one["what"]: statistics.median(one["values"]) for one in figures if one["unit"] == "s"}
    except (OSError, ValueError, KeyError, TypeError) as error:
        cure = f"`python benchmarks/{BENCHMARK}.py --store` writes it"
        raise ElfwError(f"{file}: no times of notebooks ({error!r}). {cure}.") from None


def format_minutes(seconds: float) -> str:
    """Write a time in whole minutes, or as half a minute, for a narrow column."""
    return "½ min" if seconds < 45 else f"{round(seconds / 60)} min"


def write_minutes(seconds: float) -> str:
    """Write a time in whole minutes, or as half a minute, for a sentence."""
    minutes = max(1, round(seconds / 60))
    return "half a minute" if seconds < 45 else f"{minutes} minute{'s' * (minutes > 1)}"


def put_in_table(text: str, times: dict[str, float]) -> str:
    """Return README with each notebook's time in its row."""
    lines, column = text.splitlines(keepends=True), None
    for place, line in enumerate(lines):
        cells = line.split("|")
        names = [cell.strip() for cell in cells]
        column = names.index(COLUMN) if COLUMN in names else column
        row = ROW.match(line)
        if row and column:
            cells[column] = f" {format_minutes(find_time(row[1], times))} "
            lines[place] = "|".join(cells)
    return "".join(lines)


def put_in_title(text: str, name: str, times: dict[str, float]) -> str:
    """Return the text of a title cell with the notebook's time."""
    if not STATED.search(text):
        return text
    return STATED.sub(f"Computing: {write_minutes(find_time(name, times))} on 2 CPU cores", text)


def find_time(name: str, times: dict[str, float]) -> float:
    """Return the seconds of a notebook; raise ElfwError where it was not measured."""
    if name not in times:
        cure = f"`python benchmarks/{BENCHMARK}.py --store` measures it"
        raise ElfwError(f"{name}: nobody knows how long it takes. {cure}.")
    return times[name]


def write_times(project: Path) -> None:
    """Write the measured times into README, the notebooks' titles and the students' copies."""
    times, readme = read_times(project), project / "README.md"
    write_if_changed(readme, put_in_table(readme.read_text(encoding="utf-8"), times))
    for path in list_notebooks(project / "notebooks"):
        notebook = nbformat.read(path, as_version=4)
        if notebook.cells and notebook.cells[0].cell_type == "markdown":
            notebook.cells[0].source = put_in_title(notebook.cells[0].source, path.stem, times)
            write_if_changed(path, format_notebook(notebook))
    write_student_copies(project / "notebooks")
