"""The course's own keys against what students really write: right answers get all points, wrong ones a third.

The answers are those of `wrong_answers/NN.py`, one after another, each below a line `# right: NAME: what`
or `# wrong: NAME: what`; what stands above the first is run before each. To them come a few answers that are
wrong everywhere. All are the course's own code, so they need no sandbox. (The solutions: `test_course.py`.)
"""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
import os
import re
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn

from elfw_course.grading.inside.runner import Runner
from elfw_course.grading.judge import judge
from elfw_course.grading.key import Exercise, Key, find_key, read_key
from elfw_helpers.models import hub
from elfw_helpers.models.hub import TrainedModel, load_model
from tests.course.grading.sandboxes import run_cell

FILES = sorted((Path(__file__).parent / "wrong_answers").glob("*.py"))
# The share of the points that an answer of a kind may get at most.
MOST = {"right": 1, "wrong": 1 / 3}
MARKER = re.compile(r"^# (right|wrong): (\w+): (.+)\n", re.MULTILINE)
# None, "prints", "hands back what it was given" and constants: wrong in every exercise.
EVERYWHERE = (
    *("None", "print(*inputs)", "inputs[0]", "inputs[-1]", "inputs", "0", "1", "2", "0.0", "1.0", "0.5"),
    *("True", "''", "[]", "{}", "[0]", "[0, 1]", "(0.0, 1.0)", "float('nan')", "1 / 0"),
)


class Answer(NamedTuple):
    """An answer to one exercise."""

    kind: str  # "right" or "wrong"
    exercise: str
    what: str  # is right or wrong about it
    source: str


def read_answers(path: Path) -> tuple[str, list[Answer]]:
    """Return what is run before each answer of a file, and the answers."""
    before, *parts = MARKER.split(path.read_text(encoding="utf-8"))
    return before, [Answer(*parts[start : start + 4]) for start in range(0, len(parts), 4)]


class Remembering(nn.Module):
    """A pre-trained network that computes no batch twice: many answers ask it for the same faces."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network, self.known = network, {}

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        key = inputs.numpy().tobytes()
        if key not in self.known:
            self.known[key] = self.network(inputs)
        return self.known[key].clone()


@functools.cache
def load_remembering(name: str) -> TrainedModel:
    """Load a shipped model as `load_model` does."""
    model = load_model(name)
    return replace(model, network=Remembering(model.network))


def share_points(path: Path) -> list[tuple[Answer, float]]:
    """Return all answers to the exercises of a file, each with its share of the points."""
    hub.load_model = load_remembering
    key = read_key(find_key(path.stem))
    before, answers = read_answers(path)
    for exercise in key.exercises:
        for value in EVERYWHERE:
            source = f"def {exercise.name}(*inputs, **named):\n    return {value}\n"
            answers.append(Answer("wrong", exercise.name, f"returns {value}", source))
    exercises = {exercise.name: exercise for exercise in key.exercises}
    return [
        (answer, ask(key, exercises[answer.exercise], before + answer.source, MOST[answer.kind]))
        for answer in answers
    ]


def ask(key: Key, exercise: Exercise, source: str, most: float) -> float:
    """Return the share of an exercise's points that a cell gets, lower ones no further than below `most`.

    What is worth most is asked first: an answer that trains a network and fails there is not trained again.
    As in the grader, the same question is asked once, even if two probes judge the answer.
    """
    runner, points, left, answers = Runner(), 0.0, exercise.points, {}
    runner.set_up(key.setup)
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        run_cell(runner, source)
        for probe in sorted(exercise.probes, key=lambda probe: -probe.points):
            if points + left <= most * exercise.points < exercise.points:
                break
            left -= probe.points
            question = probe.given, probe.call
            try:
                if question not in answers:
                    answers[question] = runner.probe(exercise.name, *question, exercise.inputs)
            except Exception as error:
                if is_slip(error):
                    raise
                continue
            points += probe.points * (judge(probe, json.loads(answers[question])) == "")
    return points / exercise.points


def is_slip(error: Exception) -> bool:
    """Say whether an error is a slip of whoever wrote the answer, which says nothing about the key."""
    frames = traceback.extract_tb(error.__traceback__)
    own = frames[-1].filename.startswith("<cell")
    return isinstance(error, NameError) or (own and isinstance(error, (AttributeError, ImportError)))


@pytest.fixture(scope="module")
def apart() -> Iterator[ProcessPoolExecutor]:
    """One other process: answers may do to it what they like, and torch is loaded once."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_right_answers_get_all_points_and_wrong_ones_a_third(path, apart):
    shares = apart.submit(share_points, path).result()
    misjudged = {
        f"{answer.kind}: {answer.exercise}: {answer.what}": f"{share:.2f} of the points"
        for answer, share in shares
        if (share < 1 if answer.kind == "right" else share > MOST["wrong"])
    }
    assert not misjudged


@pytest.mark.parametrize("slip", ["gone", "grid.gone", "__import__('gone')"])
def test_a_slip_in_an_answer_is_no_wrong_answer(slip, apart):
    key = read_key(find_key("04"))
    with pytest.raises((NameError, AttributeError, ImportError)):
        apart.submit(ask, key, key.exercises[0], f"def count_runs(grid):\n    return {slip}\n", 1).result()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_exercise_is_tried_from_both_sides(path):
    exercises = [exercise.name for exercise in read_key(find_key(path.stem)).exercises]
    tried = Counter((answer.kind, answer.exercise) for answer in read_answers(path)[1])
    assert {name for _, name in tried} == set(exercises)
    assert all(tried["wrong", name] >= 4 and tried["right", name] >= 2 for name in exercises), tried


def test_every_key_of_the_course_is_tried():
    keys = {path.stem for path in find_key("01").parent.glob("*.toml")}
    assert {path.stem for path in FILES} == keys
