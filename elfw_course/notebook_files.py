"""Notebook files: which ones make the course, and how they are written."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import NotebookNode

from elfw_helpers.utils.files import write_atomically


def list_notebooks(folder: Path) -> list[Path]:
    """Return the files NN_name.ipynb of a folder, in order."""
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))


def notebook_text(notebook: NotebookNode) -> str:
    """Return the text of a notebook's file.

    Raises:
        nbformat.ValidationError: it is no valid notebook.
    """
    nbformat.validate(notebook)
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def write_whole(path: Path, text: str) -> None:
    """Write a file entirely or not at all, and not when it holds this text already; makes its folder."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
