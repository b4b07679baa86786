"""Where in a submission the exercises are, and which of its cells are the student's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elfw_course.grading.released import CHECK, EXERCISE, Released, normalise
from elfw_course.grading.submission import Cell

# [ \t], never \s: over millions of blank lines, that would take for ever.
MARK = re.compile(r"^[ \t\f]*#[ \t]*exercise[ \t]*:[ \t]*(\w+)[ \t]*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Names:
    """The names of a cell, as `runner.read_names` finds them.

    Attributes:
        made: all that it makes at its outermost level, but for stubs.
        read: what it uses and does not make.
        mentioned: those of the lecture that it mentions anyhow.
    """

    made: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()
    mentioned: frozenset[str] = frozenset()

    @classmethod
    def from_answer(cls, answer: Any) -> Names:
        """Return the names that the runner has answered, as lists of strings."""
        lists = answer if isinstance(answer, list) and len(answer) == 3 else [[]] * 3
        return cls(*(frozenset(name for name in one if isinstance(name, str)) for one in lists))


@dataclass(frozen=True, eq=False)
class Step:
    """A cell to run.

    Attributes:
        cell: the cell.
        exercises: those that it is the cell of; none, if the student added it.
        asked: the exercises to ask about after it.
        check: for a check that the student changed, the one that was given.
    """

    cell: Cell
    exercises: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    check: str = ""


@dataclass(frozen=True)
class Plan:
    """What to run of a submission, in its order."""

    steps: tuple[Step, ...]
    cells: dict[str, Cell]  # by exercise; one that was not found is missing
    flags: tuple[str, ...]  # what an instructor may want to look at


def list_own_cells(cells: Sequence[Cell], released: Released) -> list[Cell]:
    """Return the cells that may be run: the student's own, and exercises left as they were given."""
    return [
        cell
        for cell in cells
        if cell.kind == "code"
        and cell.source.strip()
        and (EXERCISE.match(cell.source) or not is_given(cell, released))
    ]


def is_given(cell: Cell, released: Released) -> bool:
    """Say whether a cell is as students were given it."""
    return normalise(cell.source) in released.sources


def plan_submission(
    cells: Sequence[Cell], released: Released, exercises: Sequence[str], names: Mapping[int, Names]
) -> Plan:
    """Find the exercises of a submission and the cells that its student added or changed.

    An exercise is asked about where its check stands, or after its cell if there is none below. Of checks,
    only those that the student changed are run; of the lecture's own cells, none.

    Args:
        cells: of the submission.
        released: what students were given.
        exercises: their names.
        names: by the `id()` of each cell that `list_own_cells` returns.
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
        check = CHECK.match(cell.source)
        steps.append(
            Step(
                cell,
                tuple(name for name in exercises if found.get(name) is cell),
                tuple(name for name in exercises if asked.get(name) is cell),
                released.checks.get(check[1], "#") if check else "",
            )
        )
    return Plan(tuple(steps), found, tuple(flags))


class _Search:
    """The search for exercises in a submission; its arguments are those of `plan_submission`."""

    def __init__(self, cells: Sequence[Cell], released: Released, names: Mapping[int, Names]):
        self.cells, self.released, self.names = cells, released, names
        self.own = [cell for cell in cells if id(cell) in names]
        self.given = {id(cell) for cell in self.own if is_given(cell, released)}
        self.places = {id(cell): place for place, cell in enumerate(cells)}
        self.marks = {id(cell): {mark.lower() for mark in MARK.findall(cell.source)} for cell in self.own}

    def is_run(self, cell: Cell) -> bool:
        """Say whether a cell that is no exercise's is run: a check only if it makes something."""
        return id(cell) not in self.given and bool(not is_check(cell) or self.names[id(cell)].made)

    def find(self, name: str) -> tuple[Cell | None, list[str]]:
        """Return the cell of an exercise, or None, and what is out of the ordinary about it.

        The last one that defines it counts: of those marked `# exercise: NAME`; of those whose metadata or id
        name it; of all others; of checks. Where none does, the last one that is marked or named.
        """
        attempts = [cell for cell in self.own if id(cell) not in self.given]
        others = [cell for cell in attempts if not is_check(cell)]
        ways = {
            "": [cell for cell in others if self._is_marked(cell, name)],
            "found by metadata": [cell for cell in others if self._is_named(cell, name)],
            "found by name": [cell for cell in others if self._makes(cell, name)],
            "found in a check": [cell for cell in attempts if is_check(cell) and self._makes(cell, name)],
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
        """Return the cell of an exercise, or one below it that defines it anew, and its flags."""
        if len(candidates) > 1:
            which = "the last one" if cell is candidates[-1] else "the last that defines it"
            flags.append(f"{len(candidates)} cells, {which} counts")
        if id(cell) not in self.given and (below := self._find_below(name, cell)):
            flags.append("defined once more in a cell below, which counts")
            cell = below
        if not self._makes(cell, name):
            flags.append("its cell does not define it")
        return cell, flags + self._look_at_texts(name)

    def _find_below(self, name: str, cell: Cell) -> Cell | None:
        """Return the last cell that defines an exercise anew, as far as its check or the next exercise."""
        found = None
        for other in self.cells[self.places[id(cell)] + 1 :]:
            is_end = is_check(other) or self.marks.get(id(other)) or self._read_metadata(other)
            if is_end and not is_check(other, name):
                break
            if name in self.names.get(id(other), Names()).made:
                found = other
            if is_end:
                break
        return found

    def find_place(self, name: str, cell: Cell, run: Sequence[Cell]) -> Cell:
        """Return the cell after which an exercise is asked about: the last that is run before its check."""
        start = self.places[id(cell)]
        below = self.cells[start + 1 :]
        checks = (place for place, one in enumerate(below, start + 1) if is_check(one, name))
        end = next(checks, start + 1)
        return [one for one in run if start <= self.places[id(one)] < end][-1]

    def _makes(self, cell: Cell, name: str) -> bool:
        return name in self.names[id(cell)].made

    def _is_marked(self, cell: Cell, name: str) -> bool:
        return name.lower() in self.marks[id(cell)]

    def _is_named(self, cell: Cell, name: str) -> bool:
        return self._read_metadata(cell) == name

    def _read_metadata(self, cell: Cell) -> str | None:
        """Return the exercise that a cell's metadata or id names."""
        nbgrader = cell.metadata.get("nbgrader")
        grade_id = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
        named = [cell.metadata.get("exercise"), grade_id, self.released.exercise_ids.get(cell.id)]
        return next((name for name in named if isinstance(name, str)), None)

    def _look_at_texts(self, name: str) -> list[str]:
        """Return a flag where a text cell holds the code of an exercise."""
        texts = [cell.source for cell in self.cells if cell.kind != "code"]
        pattern = re.compile(rf"^[ \t]*def +{re.escape(name)}\b", re.MULTILINE)
        return ["code in a text cell"] if any(map(pattern.search, texts)) else []


def is_check(cell: Cell, name: str = "") -> bool:
    """Say whether a cell is a check: of an exercise, if one is named."""
    found = CHECK.match(cell.source) if cell.kind == "code" else None
    return found is not None and name in ("", found[1])
