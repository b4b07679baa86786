"""What students were given: stubs to tell an attempt from, and names that their code may lean on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

from elfw_course.grading.inside.magics import FUNCTIONS, WORD, parse_cell
from elfw_course.grading.submission import Cell, parse_notebook

EXERCISE = re.compile(r"\s*#\s*exercise\s*:\s*(\w+)")
CHECK = re.compile(r"\s*#\s*check\s*:\s*(\w*)")


def normalise(source: str) -> str:
    """Return code without blank lines and trailing blanks, which editors change unasked."""
    return "\n".join(line.rstrip() for line in source.splitlines() if line.strip())


class Released:
    """The notebook that students were given.

    Attributes:
        sources: all its code cells, normalised.
        exercises: the names of all exercises.
        exercise_ids: from the id of an exercise's cell to the exercise's name.
        checks: the source of each exercise's check, by the exercise's name.
        markdown: its text cells.
    """

    def __init__(self, path: Path):
        cells = parse_notebook(path.read_bytes()).cells
        code = [cell for cell in cells if cell.kind == "code"]
        self.sources = {normalise(cell.source) for cell in code}
        self.markdown = {normalise(cell.source) for cell in cells if cell.kind == "markdown"}
        marked = [(cell.id, found[1]) for cell in code if (found := EXERCISE.match(cell.source))]
        self.exercises = {name for _, name in marked}
        self.exercise_ids = {cell_id: name for cell_id, name in marked if cell_id}
        self.checks = {found[1]: cell.source for cell in code if (found := CHECK.match(cell.source))}
        self._statements: dict[str, str] = {}
        for cell in code:
            self._statements.update(read_statements(cell))

    @property
    def names(self) -> frozenset[str]:
        """What the lecture imports and defines."""
        return frozenset(self._statements)

    def code_for(self, mentioned: Iterable[str]) -> str:
        """Return the lecture's imports, functions and classes of some names, and those that these mention."""
        wanted: set[str] = set()
        mentioned = self.names.intersection(mentioned)
        while new := mentioned - wanted:
            wanted |= new
            mentioned = {word for name in new for word in WORD.findall(self._statements[name])} & self.names
        return "\n".join(self._statements[name] for name in self._statements if name in wanted)


def read_statements(cell: Cell) -> dict[str, str]:
    """Return the code that makes each name which a lecture's cell imports or defines.

    Of an exercise's cell and of a check, that is what they import: the function is for the student to write.
    """
    statements = {}
    is_lecture = not (EXERCISE.match(cell.source) or CHECK.match(cell.source))
    for node in parse_cell(cell.source)[0]:
        if isinstance(node, FUNCTIONS) and is_lecture:
            statements[node.name] = ast.unparse(node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                alone = ast.Import([alias])
                if isinstance(node, ast.ImportFrom):
                    alone = ast.ImportFrom(node.module, [alias], node.level)
                statements[alias.asname or alias.name.partition(".")[0]] = ast.unparse(alone)
    return statements
