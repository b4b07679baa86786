"""Answers, from the value inside the sandbox to the verdict outside."""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import replace
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision import tv_tensors

from elfw_course.grading.inside.encode import LARGEST, Encoder
from elfw_course.grading.judge import Array, accuracy, decode, judge, matches, mean_iou
from elfw_course.grading.key import Probe

PROBE = Probe("a probe", "f()", "", 1, 0, 1e-6, 1e-5, None, None, None, 0, 0)


def verdict(expected, value, **fields) -> str:
    """Return what is wrong with a value where another was expected."""
    content = json.loads(Encoder().encode(value))
    return judge(replace(PROBE, expect=expected, **fields), content)


class Always:
    """Equals everything, and says it is an int."""

    __class__ = int

    def __eq__(self, other):
        return True

    def __index__(self):
        return 3

    __int__, __hash__, __ge__, __le__ = __index__, __index__, __eq__, __eq__


class Size(IntEnum):
    LARGE = 3


class Point(NamedTuple):
    x: int
    y: str


class Text(str):
    """A string that shows another one."""

    def __str__(self):
        return "another"


class Liar(list):
    """A list that says it holds other things."""

    def __iter__(self):
        return iter([7])

    def __len__(self):
        return 1


class Empty(dict):
    """A dict that says it is empty."""

    def items(self):
        return []


class Deaf(torch.Tensor):
    """A tensor on which no function works."""

    @classmethod
    def __torch_function__(cls, *_, **__):
        raise ValueError


class Number(int):
    """An int that equals everything."""

    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (3, 3),
        (3, np.int64(3)),
        (3, np.array(3)),
        (3, torch.tensor(3)),
        (True, True),
        (True, np.bool_(True)),
        ("three", "three"),
        ("zeile\n\0\ud800é", "zeile\n\0\ud800é"),
        (10**30, 10**30),
        (0.5, 0.5),
        (0.5, 0.5000001),
        (3.0, 3),
        (0.1, np.float32(0.1)),
        (0.1, torch.tensor(0.1, requires_grad=True)),
        (math.nan, math.nan),
        (math.inf, math.inf),
        (-math.inf, np.float64("-inf")),
        (0.0, -0.0),
        ([1, 2], [1, 2]),
        ([1, 2], (1, 2)),
        ([1, 2], np.array([1, 2])),
        ([1, 2], torch.tensor([1, 2])),
        ([], []),
        ([[1, 2], [3, 4]], torch.tensor([[1, 2], [3, 4]])),
        ([[1.0], [2.0]], np.array([[1], [2]])),
        ([True, False], torch.tensor([True, False])),
        ([0.25], torch.nn.Parameter(torch.tensor([0.25]))),
        ([0.5], torch.tensor([0.5], dtype=torch.bfloat16)),
        ([], torch.zeros(0)),
        ({"a": 1, "b": [0.5]}, {"b": [0.5], "a": 1}),
        (3, Size.LARGE),
        (0.5, np.longdouble("0.5")),
        ("three", np.str_("three")),
        ("text", Text("text")),
        ([3, "x"], Point(3, "x")),
        ([1, 2], Liar([1, 2])),
        ([1, 2], range(1, 3)),
        ([1, 2], {1: 3, 2: 4}.keys()),
        ([1, 2], deque([1, 2])),
        ([1, 2], torch.Size([1, 2])),
        ([1, 2], pd.Index([1, 2])),
        ([1, 2], pd.Series([1, 2])),
        ([1, 2], pd.array([1, 2])),
        (["a", "b"], np.array(["a", "b"])),
        (["a", "b"], pd.Index(["a", "b"])),
        ([["a"], [None]], np.array([["a"], [None]], dtype=object)),
        ([[1, 2]], np.matrix([[1, 2]])),
        ([1, 2], np.ma.masked_array([1, 2], mask=[False, False])),
        ([[1, 2]], tv_tensors.Mask(torch.tensor([[1, 2]]))),
        ([1.0, 2.0], Deaf([1, 2])),
        ([0.5], torch.nn.Buffer(torch.tensor([0.5]))),
        ([[1.0, 0.0], [0.0, 1.0]], torch.eye(2).to_sparse()),
        ({"a": 1}, OrderedDict(a=1)),
        ({"a": 1}, defaultdict(int, a=1)),
        ({"a": 2}, Counter("aa")),
        ({"a": 1}, Empty(a=1)),
        ({"a": 1}, {np.str_("a"): np.int64(1)}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_right_answers_are_right(expected, value):
    assert verdict(expected, value) == ""


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (3, 4),
        (3, 3.0),
        (1, True),
        (True, 1),
        (3, "3"),
        ("3", 3),
        (3, None),
        (3, [3]),
        ([3], 3),
        (0.5, "0.5"),
        (0.5, 0.5001),
        (0.5, math.nan),
        (math.nan, 0.5),
        (math.inf, 1e308),
        (math.inf, -math.inf),
        (1.0, True),
        ([1, 2], [1, 2, 3]),
        ([1, 2], [2, 1]),
        ([1, 2], {1, 2}),
        ([1, 2], torch.tensor([1.0, 2.0])),
        ([[1, 2]], torch.tensor([1, 2])),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, [1]),
        (3, Always()),
        (3, Number(3)),
        ([3], [Always()]),
        (3, np.array([3], dtype=object)),
        (1.0, 1 + 0j),
        (3, lambda: 3),
        (3, int),
        (3, [1] * (LARGEST + 1)),
        (3, torch.zeros(LARGEST + 1)),
        (3, 1 << 100_000),
        ([1, 2], Liar([7])),
        ([7], Liar([1, 2])),
        ("another", Text("text")),
        ({}, Empty(a=1)),
        (3, range(10**30)),
        (3, torch.ones(2, device="meta")),
        (3, b"3"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_wrong_answers_are_wrong_and_tell_no_expected_value(expected, value):
    problem = verdict(expected, value)
    assert problem
    assert "3" not in problem and "0.5" not in problem


def test_a_wrong_type_is_named():
    assert verdict(64, 64.0) == "of type float where int was asked for"
    assert verdict(0.5, 10**400) == "its value cannot be read"
    assert verdict([1, 2], None) == "of type NoneType where list was asked for"
    assert verdict([1, 2], [1.0, 2.0]) == "holding type float where int was asked for"
    assert verdict(0.5, 3) == "not the expected value", "any number will do for a float"


def test_keys_of_another_kind_are_named():
    for key in ((1, 2), (), b"x", frozenset()):
        assert verdict({"a": 3}, {key: 3}) == "a dict whose keys are no strings or numbers"


def test_dtype_and_shape_can_be_asked_for():
    mask = torch.zeros(2, 3, dtype=torch.uint8)
    assert verdict([[0, 0, 0]] * 2, mask, dtype="uint8", shape=(2, 3)) == ""
    assert "dtype" in verdict([[0, 0, 0]] * 2, mask.long(), dtype="uint8")
    assert "shape" in verdict([[0, 0, 0]] * 2, mask, shape=(3, 2))
    assert "dtype" in verdict([0], [0], dtype="uint8")


def test_tolerance_is_the_keys():
    assert verdict(100.0, 101.0, atol=0, rtol=0.01) == ""
    assert verdict(100.0, 101.1, atol=0, rtol=0.01)
    assert verdict(0.0, 0.01, atol=0.01, rtol=0) == ""


@pytest.mark.parametrize(
    "content",
    [
        None,
        3,
        "int",
        [],
        {},
        ["int"],
        ["int", "3"],
        ["int", 3.5],
        ["int", True],
        ["bool", 1],
        ["float", 3],
        ["float", "x"],
        ["str", 3],
        ["list", 3],
        ["list", [3]],
        ["dict", [[1]]],
        ["dict", [[["list", []], ["int", 1]]]],
        ["array", "int64", [2], [1]],
        ["array", "int64", [-1], []],
        ["array", "int64", ["a"], [1]],
        ["array", "int64"],
        ["array", "int64", [1], [[]]],
        ["other", 3],
        ["what", 3],
        [[], []],
    ],
)
def test_forged_content_is_wrong_and_breaks_nothing(content):
    assert judge(replace(PROBE, expect=3), content)


def test_content_nested_without_end_breaks_nothing():
    content = ["int", 3]
    for _ in range(1200):
        content = ["list", [content]]
        assert judge(replace(PROBE, expect=3), content)
        assert judge(replace(PROBE, expect=[3], measure="accuracy", at_least=2), content)


def test_endless_values_are_too_large():
    loop = []
    loop.append(loop)
    assert json.loads(Encoder().encode(loop)) == ["too large"]
    assert "larger" in verdict(3, {"a": "x" * (LARGEST + 1)})


def test_predictions_are_judged_by_a_threshold_less_its_margin():
    probe = {"measure": "accuracy", "at_least": 0.8, "margin": 0.05}
    truth = [0, 1, 2, 1] * 5
    assert verdict(truth, torch.tensor([0, 1, 2, 0] * 5), **probe | {"at_least": 0.75, "margin": 0}) == ""
    assert verdict(truth, [0, 1, 2, 0] * 5, **probe) == ""
    assert verdict(truth, [0, 1, 0, 0] * 5, **probe) == "accuracy 0.500 on hidden inputs; 0.8 was asked for"
    assert "one class id" in verdict(truth, truth[1:], **probe)
    assert "one class id" in verdict(truth, [float(label) for label in truth], **probe)
    masks = np.array([[[0, 0], [1, 1]], [[0, 2], [2, 2]]])
    assert verdict(masks.tolist(), masks, measure="mean_iou", at_least=1, margin=0) == ""


def test_measures():
    assert accuracy([0, 1, 2, 2], [0, 1, 1, 2]) == 0.75
    assert mean_iou([0, 0, 1, 1], [0, 1, 1, 1]) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert mean_iou([0, 0], [0, 5]) == 0.5


def test_arrays_decode_to_their_shape():
    array = decode(["array", "int64", [2, 2], [1, 2, 3, 4]])
    assert array == Array("int64", (2, 2), (1, 2, 3, 4)) and matches([[1, 2], [3, 4]], array, 0, 0)
    assert not any(matches(expected, array, 0, 0) for expected in ([1, 2, 3, 4], [[1, 2, 3, 4]], None, 1))
    assert matches(1.0, decode(["array", "float32", [], ["0x1p+0"]]), 0, 0)
