"""Where in a submission the exercises are, and which of its cells are the student's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from elfw_helpers.grading.load import Cell
from elfw_helpers.grading.released import CHECK, Released, normalise


@dataclass(frozen=True, eq=False)
class Step:
    """A cell to run, and the exercises to probe after it: none after a cell that the student added."""

    cell: Cell
    exercises: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What to run of a submission, in its order."""

    steps: tuple[Step, ...]
    cells: dict[str, Cell]  # by exercise; one that was not found is missing
    flags: tuple[str, ...]  # what an instructor may want to look at


def plan_submission(cells: Sequence[Cell], released: Released, exercises: Sequence[str]) -> Plan:
    """Find the exercises of a submission and the cells that its student added or changed.

    An exercise is the last cell marked `# exercise: NAME`; without one, the last whose metadata or id
    names it; without one, the last that defines it. A cell left as it was given counts only when there
    is no other. Cells marked `# check:` and those of the lecture are not run.
    """
    code = [cell for cell in cells if cell.kind == "code" and not CHECK.match(cell.source)]
    found: dict[str, Cell] = {}
    flags: list[str] = []
    passed_over: set[int] = set()
    for name in exercises:
        candidates, how = _find_candidates(name, code, released)
        if candidates:
            found[name] = candidates[-1]
            passed_over.update(id(cell) for cell in candidates[:-1])
        flags += _flag(name, candidates, how, cells, released)
    steps = []
    for cell in code:
        asked = tuple(name for name in exercises if found.get(name) is cell)
        given = normalise(cell.source) in released.sources or not cell.source.strip()
        if asked or not (given or id(cell) in passed_over):
            steps.append(Step(cell, asked))
    return Plan(tuple(steps), found, tuple(flags))


def _find_candidates(name: str, code: Sequence[Cell], released: Released) -> tuple[list[Cell], str]:
    """Return the cells that may be an exercise, in order, and by what they were found."""
    # [ \t], never \s: over millions of blank lines, that would take for ever.
    line = rf"^[ \t]*#[ \t]*exercise[ \t]*:[ \t]*{re.escape(name)}[ \t\r]*$"
    marker = re.compile(line, re.MULTILINE | re.IGNORECASE)
    ways = {
        "marker": [cell for cell in code if marker.search(cell.source)],
        "metadata": [cell for cell in code if _name_of_metadata(cell, released) == name],
        "name": [cell for cell in code if defines(cell.source, name)],
    }
    for how, candidates in ways.items():
        attempts = [cell for cell in candidates if normalise(cell.source) not in released.sources]
        if attempts:
            return attempts, how
    return ways["marker"], "marker"


def _name_of_metadata(cell: Cell, released: Released) -> str | None:
    """Return the exercise that a cell's metadata or id names."""
    nbgrader = cell.metadata.get("nbgrader")
    named = [cell.metadata.get("exercise"), nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None]
    named.append(released.exercise_ids.get(cell.id))
    return next((name for name in named if isinstance(name, str)), None)


def defines(source: str, name: str) -> bool:
    """Say whether code defines a name at its outermost level, as far as searching it can tell."""
    name = re.escape(name)
    pattern = rf"^(?:(?:async +)?def +{name}\b|class +{name}\b|{name} *(?::[^=\n]*)?=(?!=))"
    return re.search(pattern, source, re.MULTILINE) is not None


def _flag(
    name: str, candidates: Sequence[Cell], how: str, cells: Sequence[Cell], released: Released
) -> list[str]:
    """Return what is out of the ordinary about where an exercise was found."""
    flags = []
    if not candidates:
        flags.append(f"{name}: not found")
    elif normalise(candidates[-1].source) in released.sources:
        flags.append(f"{name}: left as it was given")
    elif how != "marker":
        flags.append(f"{name}: found by {how}")
    if len(candidates) > 1:
        flags.append(f"{name}: {len(candidates)} cells, the last one counts")
    if candidates and not defines(candidates[-1].source, name):
        flags.append(f"{name}: its cell does not define it")
    texts = [cell.source for cell in cells if cell.kind != "code"]
    if any(re.search(rf"^[ \t]*def +{re.escape(name)}\b", text, re.MULTILINE) for text in texts):
        flags.append(f"{name}: code in a text cell")
    return flags
