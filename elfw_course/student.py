"""`elfw student`: the notebooks once more, without the solutions of their exercises."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from elfw_course.notebook_files import list_notebooks, notebook_text, write_whole
from elfw_helpers.utils.errors import ElfwError

EXERCISE = re.compile(r"# exercise: (\w+)")
MARKER = re.compile(r"(?:###|<!--) (?:BEGIN|END) SOLUTION")
CODE_SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION$", re.DOTALL | re.MULTILINE)
TEXT_SOLUTION = re.compile(r"<!-- BEGIN SOLUTION -->.*?<!-- END SOLUTION -->\n?", re.DOTALL)


def write_student_copies(folder: Path) -> None:
    """Write the student's copy of every notebook of a folder into its subfolder `student`.

    A copy whose notebook is gone is removed.

    Args:
        folder: that of the notebooks.

    Raises:
        ElfwError: an exercise is marked wrongly; nothing was changed.
    """
    copies = student_copies(folder)
    for path, text in copies.items():
        write_whole(path, text)
    for path in list_notebooks(folder / "student"):
        if path not in copies:
            path.unlink()


def stale_copies(folder: Path) -> list[str]:
    """Return the file names in `student` that are missing, out of date or one too many.

    Args:
        folder: that of the notebooks.

    Raises:
        ElfwError: an exercise is marked wrongly.
    """
    wanted = student_copies(folder)
    found = {path: path.read_text(encoding="utf-8") for path in list_notebooks(folder / "student")}
    return sorted(path.name for path in wanted.keys() | found if wanted.get(path) != found.get(path))


def student_copies(folder: Path) -> dict[Path, str]:
    """Return the text of every student's copy by its path.

    Args:
        folder: that of the notebooks.

    Raises:
        ElfwError: an exercise is marked wrongly, or two have one name.
    """
    copies, places = {}, {}
    for path in list_notebooks(folder):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            exercise, place = exercise_name(cell), _place(path.name, cell)
            if exercise in places:
                raise ElfwError(f"{place} and {places[exercise]} are both exercise {exercise}: rename one.")
            if exercise:
                places[exercise] = place
        copies[folder / "student" / path.name] = notebook_text(student_version(notebook, path.name))
    return copies


def student_version(notebook: NotebookNode, name: str) -> NotebookNode:
    """Return a copy without solutions, outputs and execution counts, whose links start one folder deeper.

    Args:
        notebook: with solutions; it stays as it is.
        name: of its file, for errors.

    Raises:
        ElfwError: an exercise without a solution, a solution without an exercise, a marker without its pair.
    """
    version = copy.deepcopy(notebook)
    for cell in version.cells:
        place = _place(name, cell)
        if cell.cell_type == "code":
            cell.source = _without_code_solution(cell, place)
            cell.outputs, cell.execution_count = [], None
        else:
            cell.source = _deepen_links(_without_text_solution(cell.source, place))
    # Nothing is left of a text that was all solution.
    version.cells = [cell for cell in version.cells if cell.source or cell.cell_type == "code"]
    return version


def exercise_name(cell: NotebookNode) -> str | None:
    """Return NAME of a code cell that begins `# exercise: NAME`, or None for any other cell."""
    named = EXERCISE.match(cell.source) if cell.cell_type == "code" else None
    return named[1] if named else None


def _place(name: str, cell: NotebookNode) -> str:
    """Say where a cell is."""
    return f"{name}, cell {cell.id}"


def _without_code_solution(cell: NotebookNode, place: str) -> str:
    """Return the source of a code cell, with an error to be raised in place of its solution."""
    exercise, marked = exercise_name(cell), MARKER.search(cell.source)
    if exercise and not marked:
        raise ElfwError(f"{place}: exercise {exercise} marks no solution by ### BEGIN and END SOLUTION.")
    if marked and not exercise:
        raise ElfwError(f"{place}: a solution, but the first line is not `# exercise: NAME`.")
    unwritten = rf'\1# your code here\n\1raise NotImplementedError("write {exercise}")'
    return _cut(CODE_SOLUTION, unwritten, cell.source, place)


def _without_text_solution(source: str, place: str) -> str:
    """Return the source of a text cell without its solutions and the gaps they would leave."""
    if not MARKER.search(source):
        return source
    return re.sub(r"\n{3,}", "\n\n", _cut(TEXT_SOLUTION, "", source, place)).strip("\n")


def _cut(solution: re.Pattern, substitute: str, source: str, place: str) -> str:
    """Replace every solution; raise when there is a marker that opens or closes none of them."""
    cut, solutions = solution.subn(substitute, source)
    if len(MARKER.findall(source)) != 2 * solutions:
        raise ElfwError(f"{place}: BEGIN SOLUTION and END SOLUTION do not pair up, or are not written alike.")
    return cut


def _deepen_links(source: str) -> str:
    """Have links out of the notebooks' folder, and Colab's to the notebooks, start in its subfolder."""
    source = source.replace("](../", "](../../")
    return re.sub(r"(/blob/main/notebooks/)(?=\d\d_)", r"\1student/", source)
