"""Reads a submitted notebook: a file that may hold anything."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

LARGEST_FILE = 64 << 20  # bytes; an honest notebook full of charts has some 20 MB
MOST_CELLS = 1000
LONGEST_CODE = 1 << 20  # characters of one cell
MOST_CODE = 4 << 20  # characters of all cells
# Brackets and commas: the parser takes about a hundred bytes for each. A picture has none, a chart of numbers
# for a browser a million.
MOST_PARTS = 3_000_000
CLEAR = "Clear its outputs (Edit, Clear Outputs of All Cells), save it and hand it in once more"


class Unreadable(Exception):
    """A submission is not a notebook; the message says what it is instead."""


@dataclass(frozen=True)
class Cell:
    """One cell of a submission."""

    kind: str  # "code", "markdown", or whatever else the file says
    source: str
    id: str = ""
    marks: dict[str, str] = field(default_factory=dict)  # of its metadata, what may name its exercise
    outputs: list[Any] = field(default_factory=list)  # as saved in the file: anything


@dataclass(frozen=True)
class Submission:
    """A notebook that was handed in."""

    cells: list[Cell]
    python: str = ""  # the version that it was written with, such as "3.12.1"
    colab: bool = False  # whether Colab saved it

    def without_outputs(self) -> Submission:
        """Return what is run: texts alone, for outputs are large, and nested as deeply as a file can be."""
        return replace(self, cells=[replace(cell, outputs=[]) for cell in self.cells])


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file of at most 64 MB, without following a link.

    Raises:
        Unreadable: it is a link, a folder, a pipe, too large or empty.
        OSError: it cannot be opened.
    """
    if path.is_symlink():
        raise Unreadable("a symbolic link")
    # No link even if one took its place just now. Not blocking: opening a pipe waits for a writer.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise Unreadable("a folder, not a file" if stat.S_ISDIR(mode) else "not a regular file")
    with os.fdopen(handle, "rb") as stream:
        content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise Unreadable(f"larger than {LARGEST_FILE >> 20} MB. {CLEAR}")
    if not content.strip():
        raise Unreadable("an empty file")
    return content


def parse_notebook(content: bytes) -> Submission:
    """Return a notebook of format 3 or 4; cells that make no sense are left out.

    Raises:
        Unreadable: it is not a notebook.
    """
    document = _parse_json(content)
    listed = _find_cells(document)
    if len(listed) > MOST_CELLS:
        raise Unreadable(f"more than {MOST_CELLS} cells")
    cells = [cell for cell in map(_read_cell, listed) if cell]
    code = [len(cell.source) for cell in cells if cell.kind == "code"]
    if max(code, default=0) > LONGEST_CODE:
        raise Unreadable("a cell of more than 1 MB of code")
    if sum(code) > MOST_CODE:
        raise Unreadable(f"more than {MOST_CODE >> 20} MB of code")
    metadata = take(document, "metadata", dict)
    version = take(take(metadata, "language_info", dict), "version", str)
    is_version = re.fullmatch(r"3\.\d{1,3}(\.\w{1,9})?", version)
    return Submission(cells, version if is_version else "", "colab" in metadata)


def take(table: dict[str, Any], key: str, kind: type) -> Any:
    """Return a value of a notebook's JSON if it is of its type, or an empty one of that type."""
    value = table.get(key)
    return value if isinstance(value, kind) else kind()


def join_lines(text: Any) -> Any:
    """Return the text of a list of lines, which is how notebooks keep texts; anything else as it is."""
    return "".join(line for line in text if isinstance(line, str)) if isinstance(text, list) else text


def _parse_json(content: bytes) -> dict[str, Any]:
    """Return the object that a notebook's JSON is."""
    if sum(map(content.count, (b"[", b"{", b","))) > MOST_PARTS:
        raise Unreadable(f"nested or split up more than any notebook is. {CLEAR}")
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Unreadable("not text in UTF-8") from None
    except RecursionError:
        raise Unreadable("nested more deeply than any notebook is") from None
    except ValueError:
        page = content.lstrip().startswith(b"<")
        raise Unreadable("a web page" if page else "not JSON, or only a part of it") from None
    if not isinstance(document, dict):
        raise Unreadable("JSON, but not a notebook")
    return document


def _find_cells(document: dict[str, Any]) -> list[Any]:
    """Return the list of cells of a notebook's JSON, wherever its format keeps it."""
    sheets = document.get("worksheets")
    if isinstance(sheets, list):  # format 3
        document = next((sheet for sheet in sheets if isinstance(sheet, dict)), {})
    cells = document.get("cells")
    if not isinstance(cells, list):
        raise Unreadable("JSON, but not a notebook")
    return cells


def _read_cell(cell: Any) -> Cell | None:
    """Return one cell, or None if it is not a cell."""
    if not isinstance(cell, dict):
        return None
    source = join_lines(cell.get("source", cell.get("input")))
    if not isinstance(source, str):
        return None
    # Half of a surrogate pair is valid JSON, and cannot be written anywhere.
    source = source.encode("utf-8", "replace").decode("utf-8")
    metadata = take(cell, "metadata", dict)
    named = {"exercise": metadata.get("exercise")}
    named["grade_id"] = take(metadata, "nbgrader", dict).get("grade_id")
    return Cell(
        take(cell, "cell_type", str),
        source.replace("\r\n", "\n").replace("\r", "\n"),
        take(cell, "id", str),
        {key: name for key, name in named.items() if isinstance(name, str)},
        take(cell, "outputs", list),
    )
