"""What a submission is asked, without what is expected: all of a key that whoever runs submissions is told.

It may be another machine than that of the key. So nothing here holds an expected value, nor a tolerance.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from elfw_course.grading.session import UNREADABLE


@dataclass(frozen=True)
class Question:
    """What is asked by one probe."""

    given: str  # code that runs before the call
    call: str  # the expression that is evaluated


@dataclass(frozen=True)
class AskedExercise:
    """An exercise, by what it is asked; its fields are those of `key.Exercise`."""

    name: str
    seconds: float
    questions: tuple[Question, ...]
    inputs: bytes


@dataclass(frozen=True)
class Questions:
    """All that a submission is asked; its fields are those of `key.Key`."""

    setup: str
    memory: int
    own_seconds: float
    exercises: tuple[AskedExercise, ...]

    @property
    def seconds(self) -> float:
        """Seconds that all of a submission may use."""
        return self.own_seconds + sum(exercise.seconds for exercise in self.exercises)


@dataclass(frozen=True)
class Answer:
    """What came of one question: a value that is still to be judged, or why there is none."""

    value: str = ""  # JSON as `encode.Encoder` writes it; it may be forged
    problem: str = ""  # "" if there is a value
    is_late: bool = False  # whether it came when all cells had run, after an error in its place

    @classmethod
    def from_content(cls, content: Any) -> Answer:
        """Return the answer of what a session gave back, as a text: no more of memory than was received."""
        try:
            return cls(json.dumps(content, ensure_ascii=False))
        except RecursionError:  # as deep as the session could just read
            return cls(json.dumps(UNREADABLE[1]))
