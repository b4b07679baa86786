"""Reads answer keys: the exercises of a notebook, what they are asked, and what the answers must be."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elfw_course.grading.exercises import Released
from elfw_course.grading.projects import JUDGES
from elfw_course.grading.questions import AskedExercise, Question, Questions
from elfw_course.student import tomllib
from elfw_helpers.utils.errors import DataError, ElfwError
from elfw_helpers.utils.paths import project_folder

MEASURES = ("accuracy", "balanced_accuracy", "mean_iou")
NUMBER = (int, float)
KINDS = {str: "a text", int: "a whole number", NUMBER: "a number", list: "a list", dict: "a table"}
# What all processes of a submission may hold, if its key does not say otherwise.
MEMORY_MB = 2048
# The fields of each table: by name, the type, and the default if there is one.
KEY_FIELDS = {
    **{"notebook": (str,), "setup": (str, ""), "memory_mb": (int, MEMORY_MB), "own_seconds": (NUMBER, 20)},
    **{"exercises": (dict,), "written": (list, [])},
}
EXERCISE_FIELDS = {
    **{"seconds": (NUMBER, 10), "inputs": (str, ""), "probes": (list,)},
    **{"without": (list, []), "may_use": (list, [])},
}
PROBE_FIELDS = {
    **{"name": (str,), "call": (str,), "given": (str, ""), "points": (NUMBER, 1), "dtype": (str, None)},
    **{"shape": (list, None), "atol": (NUMBER, 1e-6), "rtol": (NUMBER, 1e-5), "judged_as": (str, None)},
}
MEASURE_FIELDS = {"measure": (str,), "at_least": (NUMBER,), "margin": (NUMBER,)}


@dataclass(frozen=True)
class Probe:
    """One question to a submission, and what its answer is worth."""

    name: str  # what students read about it
    call: str  # the expression that is evaluated inside the sandbox
    given: str  # code that runs before the call, inside too
    points: float
    expect: Any  # outside only: int, float, str, bool, or lists and dicts of them
    atol: float
    rtol: float
    dtype: str | None
    shape: tuple[int, ...] | None
    measure: str | None = None  # of predictions against `expect`: one of MEASURES
    at_least: float = 0.0  # what the measure must reach, as students are told
    margin: float = 0.0  # how far below is still right, for chance
    judged_as: str | None = None  # where many answers are right: one of JUDGES, which `expect` is for


@dataclass(frozen=True)
class Exercise:
    """One exercise: its name is that of the function, class or variable to write."""

    name: str
    seconds: float  # for its cell and all its probes
    probes: tuple[Probe, ...]
    inputs: bytes  # an .npz of hidden arrays, which probes find as `hidden`
    without: tuple[str, ...]  # packages that it is to be solved without; an answer that uses one is flagged
    may_use: tuple[str, ...] = ()  # packages that would be flagged, but are welcome here

    @property
    def points(self) -> float:
        """Points of all probes."""
        return sum(probe.points for probe in self.probes)


@dataclass(frozen=True)
class Key:
    """All that is known of one notebook's exercises."""

    path: Path
    released: Path  # the notebook that students were given
    setup: str  # code that runs in place of the lecture's cells
    memory: int  # bytes that all processes of a submission may hold
    own_seconds: float  # for all cells together that a student added
    exercises: tuple[Exercise, ...]
    written: tuple[str, ...]  # questions that a person reads the answers to
    digest: str  # of everything above: the same digest, the same grades

    @property
    def points(self) -> float:
        """Points of all exercises."""
        return sum(exercise.points for exercise in self.exercises)

    @property
    def questions(self) -> Questions:
        """What a submission is asked, without what is expected."""
        asked = (
            AskedExercise(
                exercise.name,
                exercise.seconds,
                tuple(Question(probe.given, probe.call) for probe in exercise.probes),
                exercise.inputs,
            )
            for exercise in self.exercises
        )
        return Questions(self.setup, self.memory, self.own_seconds, tuple(asked))


def find_key(name: str) -> Path:
    """Return the key of a notebook's number, such as 03 or 3, or the file named; else raise ElfwError."""
    folder, number = project_folder() / "grading", name.zfill(2)
    for path in (Path(name), folder / f"{number}.toml", folder / f"{number}.json"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in folder.glob("[0-9][0-9].*")))
    raise ElfwError(f"There is no answer key {name!r}. Name a file, or one of: {known or 'none'}.")


def read_key(path: Path) -> Key:
    """Read an answer key, as `grading/README.md` describes it.

    Raises:
        DataError: something is missing in it, misspelt or not of its type.
    """
    content = path.read_bytes()
    try:
        table = json.loads(content) if path.suffix == ".json" else tomllib.loads(content.decode())
    except ValueError as error:
        raise DataError(path, f"cannot be read ({error})", "Mend the line it names") from error
    fields = _read_fields(path, "the key", table, KEY_FIELDS)
    released = _find_released(path, fields["notebook"])
    exercises = tuple(_read_exercise(path, name, inner) for name, inner in fields["exercises"].items())
    if not exercises:
        raise DataError(path, "holds no exercise", "Add [exercises.NAME] with its probes")
    unknown = [exercise.name for exercise in exercises if exercise.name not in Released(released).exercises]
    if unknown:
        raise DataError(path, f"exercise {unknown[0]} is not in {released.name}", "Is it misspelt?")
    digest = hashlib.sha256(content + released.read_bytes())
    for exercise in exercises:
        digest.update(exercise.inputs + repr([probe.expect for probe in exercise.probes]).encode())
    return Key(
        path,
        released,
        setup=fields["setup"],
        memory=fields["memory_mb"] << 20,
        own_seconds=fields["own_seconds"],
        exercises=exercises,
        written=tuple(fields["written"]),
        digest=digest.hexdigest(),
    )


def _find_released(path: Path, name: str) -> Path:
    """Return the notebook that students were given: of the course, or beside the key."""
    places = [project_folder() / "notebooks" / "student" / f"{name}.ipynb", path.parent / f"{name}.ipynb"]
    for place in places:
        if place.is_file():
            return place
    raise DataError(path, f"its notebook {name!r} is not there", f"Put it where it belongs: {places[0]}")


def _read_exercise(path: Path, name: str, table: Any) -> Exercise:
    """Read the table of one exercise."""
    fields = _read_fields(path, f"exercise {name}", table, EXERCISE_FIELDS)
    if not re.fullmatch(r"[^\W\d]\w*", name) or not fields["probes"]:
        raise DataError(path, f"exercise {name!r} has no probe, or no name of Python", "Give it both")
    probes = enumerate(fields["probes"], 1)
    return Exercise(
        name,
        float(fields["seconds"]),
        tuple(_read_probe(path, f"probe {place} of {name}", probe) for place, probe in probes),
        _read_beside(path, fields["inputs"]) if fields["inputs"] else b"",
        tuple(fields["without"]),
        tuple(fields["may_use"]),
    )


def _read_probe(path: Path, place: str, table: Any) -> Probe:
    """Read the table of one probe."""
    named = set(table) if isinstance(table, Mapping) else set()
    kinds = PROBE_FIELDS | ({"truth": (str,)} if "truth" in named else {"expect": (object,)})
    fields = _read_fields(path, place, table, kinds | (MEASURE_FIELDS if "measure" in named else {}))
    if "truth" in named:
        fields["expect"] = _read_truth(path, fields.pop("truth"))
    if fields["shape"] is not None:
        fields["shape"] = tuple(fields["shape"])
    probe = Probe(**fields)
    if probe.measure not in (None, *MEASURES):
        found = f"{place} has the measure {probe.measure!r}"
        raise DataError(path, found, f"Use one of {', '.join(MEASURES)}")
    if probe.judged_as not in (None, *JUDGES):
        raise DataError(path, f"{place} is judged as {probe.judged_as!r}", f"Use one of {', '.join(JUDGES)}")
    # Found out inside the sandbox, a slip of the key's would look like the student's.
    for field, code, mode in (("given", probe.given, "exec"), ("call", probe.call, "eval")):
        try:
            compile(code, field, mode)
        except (SyntaxError, ValueError) as error:
            raise DataError(path, f"{place}: its {field!r} is not Python ({error})", "Mend it") from None
    return probe


def _read_beside(path: Path, name: str) -> bytes:
    """Return the content of a file beside the key."""
    try:
        return (path.parent / name).read_bytes()
    except OSError as error:
        raise DataError(path, f"names {name}, which is not there", "Put it beside the key") from error


def _read_truth(path: Path, name: str) -> list[Any]:
    """Return the array `truth` of an .npz beside the key, as lists."""
    import io

    import numpy as np

    content = _read_beside(path, name)
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)["truth"].tolist()
    except (ValueError, KeyError, OSError) as error:
        raise DataError(path, f"{name} holds no array `truth`", "Save it by numpy.savez") from error


def _read_fields(path: Path, place: str, table: Any, kinds: Mapping[str, tuple]) -> dict[str, Any]:
    """Return the fields of a table; raise DataError for one that is missing, misspelt or not of its type."""
    if not isinstance(table, Mapping):
        raise DataError(path, f"{place} is no table", "See grading/README.md")
    fields = {}
    for name, (kind, *default) in kinds.items():
        if name not in table and not default:
            raise DataError(path, f"{place} has no {name!r}", "Add it")
        value = fields[name] = table[name] if name in table else default[0]
        is_kind = isinstance(value, kind) and (kind is object or not isinstance(value, bool))
        if name in table and not is_kind:
            raise DataError(path, f"{place}: {name!r} is {value!r}", f"Make it {KINDS[kind]}")
    if table.keys() - kinds:
        raise DataError(path, f"{place} has an unknown {min(table.keys() - kinds)!r}", "Is it misspelt?")
    return fields
