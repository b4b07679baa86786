"""`elfw student` and `elfw address`: copies of the notebooks without solutions, and the course's address."""

from __future__ import annotations

import copy
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from elfw_helpers import __version__
from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.files import write_atomically
from elfw_helpers.utils.paths import project_folder

if TYPE_CHECKING:
    from nbformat import NotebookNode

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

# The first line of an exercise and of its check, however an editor has spaced it.
EXERCISE = re.compile(r"\s*#\s*exercise\s*:\s*(\w+)")
CHECK = re.compile(r"\s*#\s*check\s*:\s*(\w*)")
# An exercise's mark on any line. [ \t], never \s: over millions of blank lines, that would take for ever.
EXERCISE_LINE = re.compile(r"^[ \t\f]*#[ \t]*exercise[ \t]*:[ \t]*(\w+)[ \t]*$", re.MULTILINE | re.IGNORECASE)
SOLUTION_MARK = re.compile(r"(?:###|<!--) (?:BEGIN|END) SOLUTION")
CODE_SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION$", re.DOTALL | re.MULTILINE)
TEXT_SOLUTION = re.compile(r"<!-- BEGIN SOLUTION -->.*?<!-- END SOLUTION -->\n?", re.DOTALL)
# In the students' copies, a check that fails says so in a sentence, and "Run all" goes on.
CHECKED = """# check: {name}
from elfw_helpers.notebook import check_exercise

with check_exercise("{name}"):
{body}"""
# What a progress bar leaves among the outputs.
WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
ADDRESS = re.compile(r"https://github\.com/([\w-]+/[\w.-]+?)(?:\.git)?/?", re.ASCII)
# Of a course without an address yet. No account on GitHub has such a name, so a stranger cannot register it.
PLACEHOLDER = "_your_account_/elfw-course"
# What names the address beside the notebooks; README also says whether there is one.
ADDRESSED = ("README.md", "CITATION.cff")
NOTE_BEGIN, NOTE_END = "<!-- address: written by `elfw address` -->", "<!-- end of address -->"
NO_ADDRESS = (
    "> **This copy of the course has no address yet**: the badges and the clone line below lead nowhere.\n"
    "> Instructors, see [docs/instructors.md](docs/instructors.md#before-handing-out)."
)
# The setup cell refuses a course of another edition: raise `__version__` when notebooks need something new.
SETUP_EDITION = re.compile(r'(edition = \\")[^"\\]+(\\")')
SETUP_ADDRESS = re.compile(r'repository = \\"https://github\.com/([^"\\]+)\\"')


def list_notebooks(folder: Path) -> list[Path]:
    """Return the files NN_name.ipynb of a folder, in order."""
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))


def find_notebooks(names: Sequence[str]) -> list[Path]:
    """Return the course's notebooks in order, or only those named by their file name or number.

    Raises:
        ElfwError: there is no such notebook; names those that there are.
    """
    folder = project_folder() / "notebooks"
    notebooks = list_notebooks(folder)
    wanted = {Path(name).name.removesuffix(".ipynb").zfill(2): name for name in names}
    known = ", ".join(path.stem for path in notebooks) or "none"
    for stem, name in wanted.items():
        if not any(stem in (path.stem, path.stem[:2]) for path in notebooks):
            raise ElfwError(f"There is no notebook {name!r} in {folder}. There are: {known}.")
    if not notebooks:
        raise ElfwError(f"There is no notebook in {folder}: is this the project's own checkout?")
    return [path for path in notebooks if not names or {path.stem, path.stem[:2]} & wanted.keys()]


def format_notebook(notebook: NotebookNode) -> str:
    """Return the text of a notebook's file; raise nbformat.ValidationError if it is no valid notebook."""
    import nbformat  # not above: the grader, which needs the marks alone, stays small

    nbformat.validate(notebook)
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def write_if_changed(path: Path, text: str) -> None:
    """Write a file entirely or not at all, and not when it holds this text already; makes its folder."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())


def read_repository(project: Path) -> str:
    """Return OWNER/NAME of the course's address on GitHub: `repository` in pyproject.toml's [project.urls].

    Raises:
        ElfwError: there is no such line, or its address is not https://github.com/OWNER/NAME.
    """
    file = project / "pyproject.toml"
    urls = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}).get("urls", {})
    if "repository" not in urls:
        raise ElfwError(f'{file}: [project.urls] has no line `repository = "..."`.')
    address = urls["repository"]
    found = ADDRESS.fullmatch(address)
    if not found:
        raise ElfwError(
            f"{file}: {address!r} is no address of a repository. Give https://github.com/OWNER/NAME."
        )
    return found[1]


def is_placeholder(repository: str) -> bool:
    """Say whether OWNER/NAME stands for an address that nobody has chosen yet."""
    return repository == PLACEHOLDER


def change_address(project: Path, address: str) -> None:
    """Write another address into pyproject.toml, and from there to every place that names the course's.

    Raises:
        ElfwError: it is not https://github.com/OWNER/NAME; nothing was changed.
    """
    found = ADDRESS.fullmatch(address)
    if not found:
        raise ElfwError(
            f"{address!r} is no address of a repository on GitHub. Give https://github.com/OWNER/NAME. "
            "Elsewhere, as on GitLab, the course needs none (docs/instructors.md, 'Before handing out')."
        )
    file = project / "pyproject.toml"
    text = replace_repository(file.read_text(encoding="utf-8"), read_repository(project), found[1])
    write_if_changed(file, text)
    write_address(project)
    write_student_copies(project / "notebooks")


def write_address(project: Path) -> None:
    """Write pyproject.toml's address into badges and setup cells, README and CITATION.cff.

    The package's version goes into the setup cells too.
    """
    new = read_repository(project)
    others = [project / name for name in ADDRESSED if (project / name).exists()]
    for path in list_notebooks(project / "notebooks"):
        text = path.read_text(encoding="utf-8")
        old = SETUP_ADDRESS.search(text)
        if old:
            text = SETUP_EDITION.sub(rf"\g<1>{__version__}\g<2>", text)
            write_if_changed(path, replace_repository(text, old[1], new))
        for file in others if old else ():
            write_if_changed(file, replace_repository(file.read_text(encoding="utf-8"), old[1], new))
    readme = project / "README.md"
    if readme.exists():
        note = NO_ADDRESS if is_placeholder(new) else ""
        text = readme.read_text(encoding="utf-8")
        write_if_changed(readme, put_between(NOTE_BEGIN, NOTE_END, note, text, readme))


def put_between(begin: str, end: str, words: str, text: str, file: Path) -> str:
    """Return the text of a file with words between two marks; raise ElfwError where they are not there."""
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ElfwError(
            f"{file}: a part is generated, and has no place. Put the lines {begin} and {end} there."
        )
    inside = f"\n{words}\n" if words else "\n"
    return f"{before}{begin}{inside}{end}{after}"


def replace_repository(text: str, old: str, new: str) -> str:
    """Replace OWNER/NAME `old` by `new` in links to GitHub and to Colab's view of it."""
    # A longer name, such as NAME-data, is another repository; a full stop may end a sentence.
    link = rf"(https://github\.com/|//colab\.research\.google\.com/github/){re.escape(old)}(?![\w.-]*\w)"
    return re.sub(link, rf"\g<1>{new}", text)


def write_student_copies(folder: Path) -> None:
    """Write the student's copy of every notebook of a folder into its subfolder `student`.

    A copy whose notebook is gone is removed; nothing is changed when an exercise is marked wrongly.
    """
    copies = make_student_copies(folder)
    for path, text in copies.items():
        write_if_changed(path, text)
    for path in list_notebooks(folder / "student"):
        if path not in copies:
            path.unlink()


def make_student_copies(folder: Path) -> dict[Path, str]:
    """Return the text of every student's copy by its path.

    Raises:
        ElfwError: an exercise is marked wrongly, or two have one name.
    """
    import nbformat

    copies, places = {}, {}
    for path in list_notebooks(folder):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            exercise, place = exercise_name(cell), f"{path.name}, cell {cell.id}"
            if exercise in places:
                raise ElfwError(f"{place} and {places[exercise]} are both exercise {exercise}: rename one.")
            if exercise:
                places[exercise] = place
        copies[folder / "student" / path.name] = format_notebook(student_version(notebook, path.name))
    return copies


def student_version(notebook: NotebookNode, name: str) -> NotebookNode:
    """Return a copy without solutions, outputs and execution counts, whose links start one folder deeper.

    Args:
        notebook: with solutions; it stays as it is.
        name: of its file, for errors.

    Raises:
        ElfwError: an exercise without a solution, a solution without an exercise, a mark without its pair.
    """
    version = copy.deepcopy(notebook)
    for cell in version.cells:
        place = f"{name}, cell {cell.id}"
        if cell.cell_type == "code":
            cell.source = _student_code(cell, place)
            cell.outputs, cell.execution_count = [], None
        else:
            cell.source = _student_text(cell.source, place)
    # Nothing is left of a text that was all solution.
    version.cells = [cell for cell in version.cells if cell.source or cell.cell_type == "code"]
    return version


def exercise_name(cell: NotebookNode) -> str | None:
    """Return NAME of a code cell that begins `# exercise: NAME`, or None for any other cell."""
    found = EXERCISE.match(cell.source) if cell.cell_type == "code" else None
    return found[1] if found else None


def _student_code(cell: NotebookNode, place: str) -> str:
    """Return the source of a code cell: a solution gives way to an error, a check to a caught one."""
    exercise, marked = exercise_name(cell), SOLUTION_MARK.search(cell.source)
    if check := CHECK.match(cell.source):
        body = textwrap.indent(cell.source.partition("\n")[2], "    ")
        return CHECKED.format(name=check[1], body=body)
    if exercise and not marked:
        raise ElfwError(f"{place}: exercise {exercise} marks no solution by ### BEGIN and END SOLUTION.")
    if marked and not exercise:
        raise ElfwError(f"{place}: a solution, but the first line is not `# exercise: NAME`.")
    unwritten = rf'\1# your code here\n\1raise NotImplementedError("write {exercise}")'
    return _cut(CODE_SOLUTION, unwritten, cell.source, place)


def _student_text(source: str, place: str) -> str:
    """Return the source of a text cell without solutions, its links starting in the folder `student`."""
    if SOLUTION_MARK.search(source):
        # A solution's blank lines would leave a gap.
        source = re.sub(r"\n{3,}", "\n\n", _cut(TEXT_SOLUTION, "", source, place)).strip("\n")
    source = source.replace("](../", "](../../")
    return re.sub(r"(/blob/main/notebooks/)(?=\d\d_)", r"\1student/", source)


def _cut(solution: re.Pattern, substitute: str, source: str, place: str) -> str:
    """Replace every solution; raise when there is a mark that opens or closes none of them."""
    cut, solutions = solution.subn(substitute, source)
    if len(SOLUTION_MARK.findall(source)) != 2 * solutions:
        raise ElfwError(f"{place}: BEGIN SOLUTION and END SOLUTION do not pair up, or are not written alike.")
    return cut
