"""What the site is built from: executed notebooks, texts, and pages made of README and docstrings."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from elfw_course.results import format_speed_table, join_rows
from elfw_course.student import CHECK, EXERCISE, is_placeholder, list_notebooks, read_repository
from elfw_course.web_page import read_executed, replace_badges
from elfw_helpers.utils.errors import DataError

# Texts that become pages under their own names, so that their links to each other hold.
TEXTS = ("docs/*.md", "data/README.md", "data/weights/README.md", "grading/README.md", "benchmarks/README.md")
# The site's own texts: pages, but for the placeholders in them.
OWN_TEXTS = "docs/site/*.md"
COLUMNS = ("notebook", "question", "study", "computing")
TABLE_OF_NOTEBOOKS = re.compile(r"^\| " + r" \| ".join(COLUMNS) + r" \|.*\n(?:\|.*\n)+", re.MULTILINE)
README_BADGE = re.compile(r"\[!\[([^\]]*)\]\[\w+\]\](?=\[\d\d\])")
ADDRESSES = re.compile(r"^\[\d\d\]: .*$", re.MULTILINE)


def write_sources(project: Path, out: Path) -> None:
    """Write the site's sources into a folder; what was in it is removed first.

    Args:
        project: the course's checkout.
        out: a folder that holds nothing else.

    Raises:
        ElfwError: a notebook has not been executed, or README has no table of notebooks.
    """
    notebooks = {path.name: read_executed(path) for path in list_notebooks(project / "notebooks")}
    if out.exists():
        shutil.rmtree(out)
    for folder in ("figures", "notebooks/student"):
        shutil.copytree(project / folder, out / folder)
    for text in (text for pattern in TEXTS for text in project.glob(pattern)):
        write_text(out / text.relative_to(project), text.read_text(encoding="utf-8"))
    for name, notebook in notebooks.items():
        prepare_cells(notebook)
        write_text(out / "notebooks" / name, nbformat.writes(notebook))
    filling = read_filling(project)
    for text in project.glob(OWN_TEXTS):
        write_text(out / text.name, fill_placeholders(text.read_text(encoding="utf-8"), filling))
    for name, page in write_reference(project / "elfw_helpers"):
        write_text(out / "reference" / f"{name}.md", page)


def prepare_cells(notebook: NotebookNode) -> None:
    """Fold code that a reader need not see at once, and describe figures by their alt texts, in place.

    Badges become links of words, because their pictures would be fetched from the web.
    """
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            # `path:` makes the student's copies files to download: they are no pages.
            cell.source = replace_badges(cell.source).replace("](student/", "](path:student/")
        elif EXERCISE.match(cell.source):
            _fold(cell, "a solution")
        elif CHECK.match(cell.source):
            _fold(cell, "the check")
        elif cell.metadata.get("jupyter", {}).get("source_hidden"):
            _fold(cell, "the setup cell")
        figures = [output.get("metadata", {}).get("image/png", {}) for output in cell.get("outputs", [])]
        if alts := [figure["alt"] for figure in figures if "alt" in figure]:
            cell.metadata.setdefault("mystnb", {})["image"] = {"alt": "; ".join(alts)}


def _fold(cell: NotebookNode, what: str) -> None:
    """Have MyST-NB fold a code cell, and say what is in it."""
    cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
    cell.metadata["mystnb"] = {"code_prompt_show": f"Show {what}", "code_prompt_hide": f"Hide {what}"}


def read_filling(project: Path) -> dict[str, str]:
    """Return what fills the placeholders of the site's own pages, by name.

    Raises:
        DataError: README has no table of notebooks.
    """
    readme = project / "README.md"
    text = readme.read_text(encoding="utf-8")
    table = TABLE_OF_NOTEBOOKS.search(text)
    if not table:
        found = f"no table whose columns begin with {', '.join(COLUMNS)}"
        raise DataError(readme, found, "The site shows that table: put it back.")
    repository = read_repository(project)
    has_address = not is_placeholder(repository)
    without_badges = README_BADGE.sub(r"[\1]", table[0])
    return {
        "readme": f"[its README](https://github.com/{repository}#start)" if has_address else "its README",
        "introduction": text.partition("\n## ")[0],
        "notebooks": "\n".join([without_badges, *ADDRESSES.findall(text)]),
        "times": take_columns(table[0], ("notebook", "study", "computing")),
        "speed": format_speed_table(project),
    }


def take_columns(table: str, names: tuple[str, ...]) -> str:
    """Return the columns of these names of a table in Markdown, in their order in the table."""
    rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in table.splitlines()
        if "---" not in line
    ]
    places = [rows[0].index(name) for name in names]
    head, *body = ([row[place] for place in places] for row in rows)
    return join_rows([head, ["---"] * len(names), *body])


def fill_placeholders(text: str, filling: dict[str, str]) -> str:
    """Return a text with each `{{ name }}` replaced; raise KeyError for a name that is not there."""
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: filling[found[1]], text)


def write_reference(package: Path) -> Iterator[tuple[str, str]]:
    """Write a page of reference for each part of a package, from the docstrings of its modules.

    Args:
        package: the folder of elfw_helpers.

    Yields:
        The name of a part (a package or module in it), and its page in Markdown.
    """
    parts = [path for path in package.iterdir() if (path / "__init__.py").is_file() or path.suffix == ".py"]
    for part in sorted(parts):
        if part.name != "__init__.py":
            files = sorted(part.rglob("*.py")) if part.is_dir() else [part]
            names = [_module_name(file, package.parent) for file in files]
            yield part.stem, _format_reference(names)


def _module_name(file: Path, root: Path) -> str:
    """Return the name that a module is imported by; `root` is the folder that its package lies in."""
    return ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _format_reference(modules: list[str]) -> str:
    """Return a page: the first module as its title, the others as sections."""
    lines = []
    for number, module in enumerate(modules):
        lines += [
            f"{'##' if number else '#'} {module}",
            "",
            "```{eval-rst}",
            f".. automodule:: {module}",
            "```",
            "",
        ]
    return "\n".join(lines)


def write_text(path: Path, text: str) -> None:
    """Write a file, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
