"""What students were given: stubs to tell an attempt from, and names that their code may lean on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from elfw_helpers.grading.load import Cell, parse_notebook

EXERCISE = re.compile(r"\s*#\s*exercise\s*:\s*(\w+)")
CHECK = re.compile(r"\s*#\s*check:")
# Docstrings and comments, whose words are prose that would have half the course imported.
PROSE = re.compile(r'"""(?!").*?"""|#.*?$', re.DOTALL | re.MULTILINE)
WORD = re.compile(r"[^\W\d]\w*")


def normalise(source: str) -> str:
    """Return code without blank lines and trailing blanks, which editors change unasked."""
    return "\n".join(line.rstrip() for line in source.splitlines() if line.strip())


class Released:
    """The notebook that students were given.

    Attributes:
        sources: all its code cells, normalised.
        exercises: the names of all exercises.
        exercise_ids: from the id of an exercise's cell to the exercise's name.
        markdown: its text cells.
    """

    def __init__(self, path: Path):
        cells = parse_notebook(path.read_bytes())
        code = [cell for cell in cells if cell.kind == "code"]
        self.sources = {normalise(cell.source) for cell in code}
        self.markdown = {normalise(cell.source) for cell in cells if cell.kind == "markdown"}
        marked = [(cell.id, found[1]) for cell in code if (found := EXERCISE.match(cell.source))]
        self.exercises = {name for _, name in marked}
        self.exercise_ids = {cell_id: name for cell_id, name in marked if cell_id}
        self._statements: dict[str, str] = {}
        for cell in code:
            self._statements.update(read_statements(cell))

    def code_for(self, sources: Iterable[str]) -> str:
        """Return the lecture's imports, functions and classes that code mentions, and those they mention.

        Args:
            sources: code of a submission. It is searched, never parsed: a parser can be made to crash.
        """
        wanted: set[str] = set()
        code = [PROSE.sub("", source) for source in sources]
        mentioned = {word for source in code for word in self._find_words(source)}
        while new := mentioned - wanted:
            wanted |= new
            mentioned = {word for name in new for word in self._find_words(self._statements[name])}
        return "\n".join(self._statements[name] for name in self._statements if name in wanted)

    def _find_words(self, source: str) -> Iterator[str]:
        """Yield the names of the lecture in some code, one by one: it may hold millions of words."""
        return (word[0] for word in WORD.finditer(source) if word[0] in self._statements)


def read_statements(cell: Cell) -> dict[str, str]:
    """Return the code that makes each name which a lecture's cell imports or defines.

    An exercise's cell gives none: its function is for the student to write.
    """
    if EXERCISE.match(cell.source):
        return {}
    source = re.sub(r"^(\s*)(?:[%!]|\w+ *= *[%!]).*$", r"\1pass", cell.source, flags=re.MULTILINE)
    statements = {}
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not CHECK.match(source):
            statements[node.name] = ast.unparse(node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                alone = ast.Import([alias])
                if isinstance(node, ast.ImportFrom):
                    alone = ast.ImportFrom(node.module, [alias], node.level)
                statements[alias.asname or alias.name.partition(".")[0]] = ast.unparse(alone)
    return statements
