"""Judges whether an answer is right, outside the sandbox, where the expected values and the points are.

What comes out of the sandbox may be forged. So lengths and types are checked before anything is computed
from them or hashed: an answer costs time that grows with its size and no faster.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from elfw_course.grading.inside.encode import DEEPEST
from elfw_course.grading.key import Exercise, Probe
from elfw_course.grading.projects import JUDGES
from elfw_course.grading.questions import Answer

MOST_SIDES = 64  # of an array; NumPy's own limit
LONGEST_SIDE = 1 << 62
LONGEST_FLOAT = 32  # characters in hexadecimal: more than `float.hex` ever writes


@dataclass(frozen=True)
class Array:
    """An array or tensor of an answer."""

    dtype: str
    shape: tuple[int, ...]
    flat: tuple[Any, ...]


@dataclass(frozen=True)
class Pairs:
    """A dict of an answer, whose keys are not hashed: they may be made to collide."""

    pairs: tuple[tuple[Any, Any], ...]


class ImpossibleAnswer(Exception):
    """No right answer is like this one; the message says what it is."""


def judge_answers(exercise: Exercise, answers: Sequence[Answer]) -> list[str]:
    """Return for each probe of an exercise "" for a right answer, or what is wrong with it."""
    return [
        answer.problem or judge_text(probe, answer.value)
        for probe, answer in zip(exercise.probes, answers, strict=True)
    ]


def judge_text(probe: Probe, text: str) -> str:
    """Return what `judge` says of an answer's JSON."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):  # forged: just as deep as it could still be written
        return "its value cannot be read"
    return judge(probe, content)


def judge(probe: Probe, content: Any) -> str:
    """Return "" for a right answer, or what is wrong with it, naming no expected value.

    The content is from the sandbox, as `encode.Encoder` writes it; it may be forged.
    """
    try:
        value = decode(content)
        if probe.dtype and getattr(value, "dtype", None) != probe.dtype:
            return "not of the dtype that was asked for"
        if probe.shape is not None and getattr(value, "shape", None) != probe.shape:
            return "not of the shape that was asked for"
        if probe.judged_as:
            return JUDGES[probe.judged_as](probe.expect, value)
        if probe.measure:
            return judge_predictions(probe, value)
        if matches(probe.expect, value, probe.atol, probe.rtol):
            return ""
        return _compare_types(probe.expect, value) or "not the expected value"
    except ImpossibleAnswer as error:
        return str(error)
    # Whatever was forged must not look like a fault of the grader.
    except (ValueError, TypeError, IndexError, RecursionError, OverflowError):
        return "its value cannot be read"


def _compare_types(expected: Any, value: Any) -> str:
    """Say that a value, or what it holds, is not of the expected type, or nothing."""
    verb = "of"
    if isinstance(value, Array):
        sides, value = value.shape if value.flat else (), value.flat[0] if value.flat else []
        for _ in sides:
            value = [value]
    while isinstance(expected, list) and isinstance(value, list) and expected and value:
        expected, value, verb = expected[0], value[0], "holding"
    asked, given = ("dict" if isinstance(one, Pairs) else type(one).__name__ for one in (expected, value))
    # Any number will do for a float.
    right = asked == given or (asked, given) == ("float", "int")
    return "" if right else f"{verb} type {given} where {asked} was asked for"


def decode(content: Any, depth: int = 0) -> Any:
    """Return the value of an answer: a number, string, list, None, Array or Pairs.

    Raises:
        ImpossibleAnswer: it is too large, or of a type that no right answer has.
        ValueError, TypeError, IndexError: it is malformed.
    """
    if type(content) is not list or len(content) > 4:
        raise ValueError
    kind, *rest = content
    if kind == "too large" or depth > DEEPEST:
        raise ImpossibleAnswer("larger than any right answer")
    if kind == "other":
        raise ImpossibleAnswer("neither a number, text, list, dict, array nor tensor")
    if kind == "none":
        return None
    if kind == "list":
        return [decode(item, depth + 1) for item in rest[0]]
    if kind == "dict":
        return Pairs(tuple((_decode_key(key), decode(value, depth + 1)) for key, value in rest[0]))
    if kind == "array":
        return _decode_array(*rest)
    value = rest[0] if kind == "str" else _decode_number(rest[0])
    if type(value).__name__ != kind:
        raise ValueError
    return value


def _decode_number(number: Any) -> Any:
    """Return a number; floats come as hexadecimal text."""
    if type(number) is str and len(number) <= LONGEST_FLOAT:
        return float.fromhex(number)
    if type(number) not in (bool, int):
        raise ValueError
    return number


def _decode_array(dtype: Any, shape: Any, flat: Any) -> Array:
    """Return an array whose shape and number of values agree."""
    if type(dtype) is not str or type(shape) is not list or len(shape) > MOST_SIDES:
        raise ValueError
    if not all(type(side) is int and 0 <= side < LONGEST_SIDE for side in shape):
        raise ValueError
    if math.prod(shape) != len(flat):
        raise ValueError
    return Array(dtype, tuple(shape), tuple(map(_decode_number, flat)))


def _decode_key(content: Any) -> Any:
    """Return a dict's key, or raise for one that no right answer has."""
    if isinstance(content, list) and content and content[0] in ("list", "dict", "array", "other"):
        raise ImpossibleAnswer("a dict whose keys are no strings or numbers")
    return decode(content, DEEPEST)


def matches(expected: Any, value: Any, atol: float, rtol: float) -> bool:
    """Say whether a value is the expected one.

    Ints, strings, bools and lengths are exact; an int is never a bool or a float. Where a float is expected,
    any number within `atol + rtol * |expected|` matches; NaN matches only NaN. An array or tensor
    matches the lists of its values.
    """
    if isinstance(value, Array):
        expected, value = _flatten_to_shape(expected, value.shape), list(value.flat)
    if isinstance(expected, list):
        return (
            isinstance(value, list)
            and len(value) == len(expected)
            and all(matches(one, other, atol, rtol) for one, other in zip(expected, value, strict=True))
        )
    if isinstance(expected, dict):
        # Only as many keys are hashed as are expected.
        if not isinstance(value, Pairs) or len(value.pairs) != len(expected):
            return False
        found = dict(value.pairs)
        return found.keys() == expected.keys() and all(
            matches(expected[key], found[key], atol, rtol) for key in expected
        )
    if isinstance(expected, float):
        return type(value) in (int, float) and _is_close(expected, value, atol, rtol)
    return type(value) is type(expected) and value == expected


def _flatten_to_shape(expected: Any, shape: tuple[int, ...]) -> list[Any] | None:
    """Return what expected lists hold, or None if their shape is not that of the array."""
    level = [expected]
    for side in shape:
        if not all(isinstance(one, list) and len(one) == side for one in level):
            return None
        level = [inner for one in level for inner in one]
    return level


def _is_close(expected: float, value: float, atol: float, rtol: float) -> bool:
    """Say whether two numbers agree within the tolerance."""
    if math.isfinite(expected) and math.isfinite(value):
        return abs(value - expected) <= atol + rtol * abs(expected)
    return expected == value or (math.isnan(expected) and math.isnan(value))


def judge_predictions(probe: Probe, value: Any) -> str:
    """Return "" when predicted classes are good enough, or by how much they are not.

    The truth is `probe.expect`: class ids in lists of any depth, such as one per pixel.
    """
    truth, predicted = _flatten(probe.expect), value.flat if isinstance(value, Array) else _flatten(value)
    if len(truth) != len(predicted) or any(type(one) is not int for one in predicted):
        return f"not one class id, an int, for each of {len(truth)} inputs"
    measures = {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy, "mean_iou": mean_iou}
    score = measures[probe.measure](truth, predicted)
    if score >= probe.at_least - probe.margin:
        return ""
    return f"{probe.measure.replace('_', ' ')} {score:.3f} on hidden inputs; {probe.at_least} was asked for"


def _flatten(values: Any) -> list[Any]:
    """Return what lists in lists hold."""
    flat, left = [], [values]
    while left:
        one = left.pop()
        if isinstance(one, list):
            left += reversed(one)
        else:
            flat.append(one)
    return flat


def accuracy(truth: Sequence[int], predicted: Sequence[int]) -> float:
    """Return the share of right answers."""
    return sum(map(int.__eq__, truth, predicted)) / len(truth)


def balanced_accuracy(truth: Sequence[int], predicted: Sequence[int]) -> float:
    """Return the mean recall of the classes that occur in the truth."""
    right, support = Counter(), Counter(truth)
    right.update(one for one, other in zip(truth, predicted, strict=True) if one == other)
    return sum(right[label] / count for label, count in support.items()) / len(support)


def mean_iou(truth: Sequence[int], predicted: Sequence[int]) -> float:
    """Return the mean intersection over union of the classes that occur in the truth."""
    ious = []
    for label in set(truth):
        pairs = [(one == label, other == label) for one, other in zip(truth, predicted, strict=True)]
        ious.append(sum(a and b for a, b in pairs) / sum(a or b for a, b in pairs))
    return sum(ious) / len(ious)
