"""`elfw stamp`: the repository's one address, kept in pyproject.toml, wherever the course names it."""

from __future__ import annotations

import re
from pathlib import Path

from elfw_course.notebook_files import list_notebooks, write_whole
from elfw_course.student import write_student_copies
from elfw_helpers.utils.errors import ElfwError

GITHUB = "https://github.com/"
ADDRESS = re.compile(rf"{re.escape(GITHUB)}([\w-]+/[\w.-]+?)(?:\.git)?/?", re.ASCII)
# Python 3.10 cannot parse TOML: the line `repository = "..."` of the table [project.urls].
STORED = re.compile(r'^\[project\.urls\]\n(?:[^\[\n].*\n|\n)*?repository *= *"(.*)"', re.MULTILINE)


def stamp_course(address: str, project: Path) -> None:
    """Replace the repository's address in notebooks, README, student's copies and pyproject.toml.

    Only text is replaced: the notebooks keep their outputs.

    Args:
        address: such as https://github.com/OWNER/NAME.
        project: the root of the checkout.

    Raises:
        ElfwError: this or the stored address is none on GitHub, or an exercise is marked wrongly.
    """
    new, old = repository_of(address), stored_repository(project)
    for path in [*list_notebooks(project / "notebooks"), project / "README.md"]:
        write_whole(path, replace_repository(path.read_text(encoding="utf-8"), old, new))
    write_student_copies(project / "notebooks")
    # Last, so that the same command can finish what was interrupted.
    pyproject = project / "pyproject.toml"
    write_whole(pyproject, replace_repository(pyproject.read_text(encoding="utf-8"), old, new))


def stored_repository(project: Path) -> str:
    """Return OWNER/NAME of the address in pyproject.toml.

    Raises:
        ElfwError: there is none, or none on GitHub.
    """
    stored = STORED.search((project / "pyproject.toml").read_text(encoding="utf-8"))
    if not stored:
        raise ElfwError(f'{project / "pyproject.toml"}: [project.urls] has no line `repository = "..."`.')
    return repository_of(stored[1])


def repository_of(address: str) -> str:
    """Return OWNER/NAME of https://github.com/OWNER/NAME, which may end in a slash or .git.

    Raises:
        ElfwError: it is no such address.
    """
    named = ADDRESS.fullmatch(address)
    if not named:
        raise ElfwError(f"{address!r} is no address of a repository. Give {GITHUB}OWNER/NAME.")
    return named[1]


def replace_repository(text: str, old: str, new: str) -> str:
    """Replace OWNER/NAME `old` by `new` in links to GitHub and to Colab's view of it."""
    # A longer name, such as NAME-data, is another repository; a full stop may end a sentence.
    link = rf"(https://github\.com/|//colab\.research\.google\.com/github/){re.escape(old)}(?![\w.-]*\w)"
    return re.sub(link, rf"\g<1>{new}", text)
