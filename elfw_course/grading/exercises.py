"""The exercises that students were given, and where their answers are in a submission."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elfw_course.grading.inside.magics import FUNCTIONS, WORD, parse_cell
from elfw_course.grading.submission import Cell, parse_notebook
from elfw_course.student import CHECK, EXERCISE, EXERCISE_LINE

# An import from the course's package. Not [^)]: over many brackets that stay open, that would take for ever.
COURSE_IMPORT = re.compile(r"^from elfw_helpers(?:\.[\w.]*)? import (\([^()]*\)|.*)$", re.MULTILINE)


def strip_blanks(source: str) -> str:
    """Return code without blank lines and trailing blanks, which editors change unasked."""
    return "\n".join(line.rstrip() for line in source.splitlines() if line.strip())


def read_given(source: str) -> tuple[frozenset[str], str]:
    """Return the names that some code imports from the course's package, and the rest of it without blanks.

    Which of its modules they come from is left out. They have moved, and a submission that was begun before
    the move has the lecture's cells as they were given then: to run these would take minutes.
    """
    names = {name.strip() for found in COURSE_IMPORT.findall(source) for name in found.strip("()").split(",")}
    return frozenset(names - {""}), strip_blanks(COURSE_IMPORT.sub("", source))


class Released:
    """The notebook that students were given.

    Attributes:
        sources, markdown: the sources of its code and text cells, without blanks.
        exercises: the names of all exercises.
        exercise_ids: from the id of an exercise's cell to the exercise's name.
        checks: the source of each exercise's check, by the exercise's name.
        names: what the lecture imports and defines.
    """

    def __init__(self, path: Path):
        cells = parse_notebook(path.read_bytes()).cells
        code = [cell for cell in cells if cell.kind == "code"]
        self.sources = {strip_blanks(cell.source) for cell in code}
        self._given = {read_given(cell.source) for cell in code}
        self._ids = {cell.id for cell in cells}
        # Of the lecture's cells, such as 04-grid; those that a student adds get random ones.
        self._id_of_ours = re.compile(rf"{re.escape(path.name[:2])}-[a-z0-9-]+")
        self.markdown = {strip_blanks(cell.source) for cell in cells if cell.kind == "markdown"}
        marked = [(cell.id, found[1]) for cell in code if (found := EXERCISE.match(cell.source))]
        self.exercises = {name for _, name in marked}
        self.exercise_ids = {cell_id: name for cell_id, name in marked if cell_id}
        self.checks = {found[1]: cell.source for cell in code if (found := CHECK.match(cell.source))}
        self._statements: dict[str, str] = {}
        for cell in code:
            self._statements |= _read_statements(cell)
        self.names = frozenset(self._statements)

    def contains(self, cell: Cell) -> bool:
        """Say whether a code cell is as students were given it, in this edition of the notebook or another.

        Of this edition, whatever modules its imports name; of another one, by its id.
        """
        return read_given(cell.source) in self._given or self._is_of_another_edition(cell)

    def _is_of_another_edition(self, cell: Cell) -> bool:
        if EXERCISE.match(cell.source) or CHECK.match(cell.source):
            return False
        return bool(self._id_of_ours.fullmatch(cell.id or "")) and cell.id not in self._ids

    def code_for(self, mentioned: Iterable[str]) -> str:
        """Return the lecture's imports, functions and classes by these names, and those that they use."""
        wanted: set[str] = set()
        mentioned = self.names.intersection(mentioned)
        while new := mentioned - wanted:
            wanted |= new
            mentioned = {word for name in new for word in WORD.findall(self._statements[name])} & self.names
        return "\n".join(self._statements[name] for name in self._statements if name in wanted)


def _read_statements(cell: Cell) -> dict[str, str]:
    """Return the code that makes each name which a lecture's cell imports or defines.

    Of an exercise's cell and of a check, only what they import: the function is for the student to write.
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


@dataclass(frozen=True)
class Names:
    """The names of a cell, as `runner.read_names` finds them."""

    made: frozenset[str] = frozenset()  # at its outermost level, stubs left out
    read: frozenset[str] = frozenset()  # and not made
    mentioned: frozenset[str] = frozenset()  # those of the lecture, even in strings

    @classmethod
    def from_answer(cls, answer: Any) -> Names:
        """Return the names in an answer of the runner, lists of strings."""
        lists = answer if isinstance(answer, list) and len(answer) == 3 else [[]] * 3
        return cls(*(frozenset(name for name in one if isinstance(name, str)) for one in lists))


@dataclass(frozen=True, eq=False)
class Step:
    """A cell to run."""

    cell: Cell
    exercises: tuple[str, ...] = ()  # those that it answers; none, if the student added the cell
    asked: tuple[str, ...] = ()  # the exercises to ask about after it
    check: str = ""  # for a check that the student changed, the one that was given


@dataclass(frozen=True)
class Plan:
    """What to run of a submission, in its order."""

    steps: tuple[Step, ...]
    cells: dict[str, Cell]  # by exercise; one that was not found is missing
    flags: tuple[str, ...]  # what an instructor may want to look at


def list_own_cells(cells: Sequence[Cell], released: Released) -> list[Cell]:
    """Return the cells that may be run: the student's own, and exercises left as they were given."""
    code = (cell for cell in cells if cell.kind == "code" and cell.source.strip())
    return [cell for cell in code if EXERCISE.match(cell.source) or not released.contains(cell)]


def plan_submission(
    cells: Sequence[Cell], released: Released, exercises: Sequence[str], names: Mapping[int, Names]
) -> Plan:
    """Find the exercises of a submission and the cells that its student added or changed.

    An exercise is asked about where its check stands, or after its cell if there is none below. Of checks,
    only those that the student changed are run; of the lecture's own cells, none.
    The names are by the `id()` of each cell that `list_own_cells` returns.
    """
    search = _Search(cells, released, names)
    found: dict[str, Cell] = {}
    flags: list[str] = []
    for name in exercises:
        cell, about = search.find(name)
        if cell:
            found[name] = cell
        flags += [f"{name}: {flag}" for flag in about]
    chosen = {id(cell) for cell in found.values()}
    run = [cell for cell in search.own if id(cell) in chosen or search.is_run(cell)]
    asked = {name: search.find_place(name, cell, run) for name, cell in found.items()}
    steps = []
    for cell in run:
        own, after = (tuple(name for name in exercises if of.get(name) is cell) for of in (found, asked))
        check = CHECK.match(cell.source)
        steps.append(Step(cell, own, after, released.checks.get(check[1], "#") if check else ""))
    return Plan(tuple(steps), found, tuple(flags))


class _Search:
    """The search for exercises in a submission; its arguments are those of `plan_submission`."""

    def __init__(self, cells: Sequence[Cell], released: Released, names: Mapping[int, Names]):
        self.cells, self.released, self.names = cells, released, names
        self.own = [cell for cell in cells if id(cell) in names]
        self.given = {id(cell) for cell in self.own if released.contains(cell)}
        self.places = {id(cell): place for place, cell in enumerate(cells)}
        self.marks = {
            id(cell): {mark.lower() for mark in EXERCISE_LINE.findall(cell.source)} for cell in self.own
        }

    def is_run(self, cell: Cell) -> bool:
        """Say whether a cell that is no exercise's is run: a check only if it makes something."""
        return id(cell) not in self.given and bool(not _is_check(cell) or self.names[id(cell)].made)

    def find(self, name: str) -> tuple[Cell | None, list[str]]:
        """Return the cell of an exercise, or None, and what is out of the ordinary about it.

        The last one that defines it counts: of those marked `# exercise: NAME`; of those whose metadata or id
        name it; of all others; of checks. Where none does, the last one that is marked or named.
        """
        changed = [cell for cell in self.own if id(cell) not in self.given]
        others = [cell for cell in changed if not _is_check(cell)]
        ways = {
            "": [cell for cell in others if self._is_marked(cell, name)],
            "found by metadata": [cell for cell in others if self._read_metadata(cell) == name],
            "found by name": [cell for cell in others if self._makes(cell, name)],
            "found in a check": [cell for cell in changed if _is_check(cell) and self._makes(cell, name)],
        }
        for must_make in (True, False):
            for how, candidates in ways.items():
                chosen = [cell for cell in candidates if not must_make or self._makes(cell, name)]
                if chosen:
                    return self._describe(name, candidates, chosen[-1], [how] if how else [])
        stubs = [cell for cell in self.own if self._is_marked(cell, name)]
        if not stubs:
            return None, ["not found", *self._look_at_texts(name)]
        return self._describe(name, stubs, stubs[-1], ["left as it was given"])

    def _describe(
        self, name: str, candidates: Sequence[Cell], cell: Cell, flags: list[str]
    ) -> tuple[Cell, list[str]]:
        """Return the cell of an exercise, or one below it that defines it again, and its flags."""
        if len(candidates) > 1:
            which = "the last one" if cell is candidates[-1] else "the last that defines it"
            flags.append(f"{len(candidates)} cells, {which} counts")
        if id(cell) not in self.given and (below := self._find_below(name, cell)):
            flags.append("defined once more in a cell below, which counts")
            cell = below
        if not self._makes(cell, name) and id(cell) not in self.given:
            flags.append("its cell does not define it")
        return cell, flags + self._look_at_texts(name)

    def _find_below(self, name: str, cell: Cell) -> Cell | None:
        """Return the last cell that defines an exercise again, as far as its check or the next exercise."""
        found = None
        for other in self.cells[self.places[id(cell)] + 1 :]:
            is_end = _is_check(other) or self.marks.get(id(other)) or self._read_metadata(other)
            if is_end and not _is_check(other, name):
                break
            if self._makes(other, name):
                found = other
            if is_end:
                break
        return found

    def find_place(self, name: str, cell: Cell, run: Sequence[Cell]) -> Cell:
        """Return the cell after which an exercise is asked about: the last that is run before its check."""
        start = self.places[id(cell)]
        below = enumerate(self.cells[start + 1 :], start + 1)
        end = next((place for place, one in below if _is_check(one, name)), start + 1)
        return [one for one in run if start <= self.places[id(one)] < end][-1]

    def _makes(self, cell: Cell, name: str) -> bool:
        return name in self.names.get(id(cell), Names()).made

    def _is_marked(self, cell: Cell, name: str) -> bool:
        return name.lower() in self.marks[id(cell)]

    def _read_metadata(self, cell: Cell) -> str | None:
        """Return the exercise that a cell's metadata or id names."""
        named = [*cell.marks.values(), self.released.exercise_ids.get(cell.id)]
        return next(filter(None, named), None)

    def _look_at_texts(self, name: str) -> list[str]:
        """Return a flag where a text cell holds the code of an exercise."""
        texts = [cell.source for cell in self.cells if cell.kind != "code"]
        pattern = re.compile(rf"^[ \t]*def +{re.escape(name)}\b", re.MULTILINE)
        return ["code in a text cell"] if any(map(pattern.search, texts)) else []


def _is_check(cell: Cell, name: str = "") -> bool:
    """Say whether a cell is a check: of an exercise, if one is named."""
    found = CHECK.match(cell.source) if cell.kind == "code" else None
    return found is not None and name in ("", found[1])
