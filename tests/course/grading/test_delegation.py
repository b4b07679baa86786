"""Answers that leave the work to the course's own functions are flagged, whichever way they get there."""

from __future__ import annotations

import csv
import time
from dataclasses import replace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from elfw_course.grading.batch import grade_folder
from elfw_course.grading.delegation import MOST_CODE, flag_delegations
from elfw_course.grading.key import find_key, read_key
from tests.course.grading.sandboxes import SANDBOXED

COURSE_FLAG = "wilson: uses elfw_helpers.evaluation.wilson_interval"
NAMES = ", ".join(f"a{i}" for i in range(12_000))
LECTURE = ["from elfw_helpers.evaluation import wilson_interval\nfrom elfw_helpers.data import EYEWEAR"]


def write(value: str) -> str:
    """Return the code of an answer that returns some value."""
    return f"def wilson(correct, total, z=1.96):\n    return {value}\n"


BY_HAND = write("correct / total - z, correct / total + z")


@pytest.fixture(scope="module")
def key():
    """A key with one exercise, `wilson`, to be solved without NumPy."""
    key = read_key(find_key("05"))
    return replace(key, exercises=(replace(key.exercises[0], without=("numpy",)),))


@pytest.mark.parametrize(
    "cells",
    [
        ["wilson = wilson_interval"],
        [write("wilson_interval(correct, total)")],
        ["from elfw_helpers.evaluation import wilson_interval as wilson"],
        ["from elfw_helpers.evaluation import wilson_interval as w\nwilson = lambda c, t, z=1.96: w(c, t)"],
        [
            "import elfw_helpers.evaluation\n"
            + write("elfw_helpers.evaluation.wilson_interval(correct, total)")
        ],
        ["import elfw_helpers.evaluation as m", write("m.wilson_interval(correct, total)")],
        ["from elfw_helpers import evaluation", "f = evaluation.wilson_interval", write("f(correct, total)")],
        ["import functools\nwilson = functools.partial(wilson_interval)"],
        ["import functools\nhelp_me = functools.partial(wilson_interval)", write("help_me(correct, total)")],
        ["def helper(a, b):\n    return wilson_interval(a, b)", write("helper(correct, total)")],
        [write("later(correct, total)"), "def later(a, b):\n    return wilson_interval(a, b)"],
        ["class Wilson:\n    f = staticmethod(wilson_interval)", write("Wilson.f(correct, total)")],
        ["class Wilson:\n    f = wilson_interval", "one = Wilson()", write("one.f(correct, total)")],
        ["try:\n    1 / 0\nexcept ZeroDivisionError:\n    w = wilson_interval", write("w(correct, total)")],
        ["%%time\n" + write("wilson_interval(correct, total)")],
        ["files = !ls\n%matplotlib inline\n!ls\n" + write("wilson_interval(correct, total)")],
        ["!pip install --quiet \\\n    tqdm \\\n    rich\n" + write("wilson_interval(correct, total)")],
        ["def wilson(c, t, f=wilson_interval):\n    return f(c, t)"],
        ["def wilson(c, t, wilson_interval=wilson_interval):\n    return wilson_interval(c, t)"],
        ["def wilson(c, t):\n    best = wilson_interval\n    return best(c, t)"],
        ["def wilson(c, t):\n    [z for wilson_interval in ()]\n    return wilson_interval(c, t)"],
        ["def wilson(c, t):\n    f = lambda wilson_interval: 1\n    return wilson_interval(c, t)"],
        ["def wilson(c, t):\n    class Own:\n        wilson_interval = 1\n    return wilson_interval(c, t)"],
        ["def wilson(c, t):\n    return [one for one in wilson_interval(c, t)]"],
        ["@wilson_interval\ndef wilson(c, t):\n    return c"],
        [
            "def wilson(correct, total, z=1.96):\n"
            "    from elfw_helpers.evaluation import wilson_interval as mine\n"
            "    return mine(correct, total)"
        ],
    ],
)
def test_the_course_function_is_found(key, cells):
    assert flag_delegations(key, cells, LECTURE) == [COURSE_FLAG]


@pytest.mark.parametrize(
    "cells",
    [
        [BY_HAND],
        [BY_HAND, "print(wilson_interval(18, 22), wilson(18, 22))"],
        [BY_HAND + "assert wilson(18, 22)[0] < wilson_interval(18, 22)[1]"],
        [BY_HAND, "def try_out():\n    return wilson(18, 22), wilson_interval(18, 22)"],
        [write("(correct / total, EYEWEAR)")],
        ["from elfw_helpers import labels", write("(correct / total, labels.EYEWEAR)")],
        ["from elfw_helpers.notebook import choose_device\ndevice = choose_device()", write("[device]")],
        ["def wilson_interval(a, b):\n    return a / b, 1", write("wilson_interval(correct, total)")],
        ["import math", write("(math.sqrt(correct), 1)")],
        ['def wilson(correct, total):\n    """As wilson_interval, by hand: \\d."""\n    # wilson_interval\n'],
        ["def wilson(c, t):\n    wilson_interval = c / t\n    return wilson_interval, 1"],
        ["def wilson(c, t):\n    for wilson_interval in (1, 2): pass\n    return lambda: wilson_interval"],
        ["def wilson(wilson_interval, z: wilson_interval) -> wilson_interval:\n    return wilson_interval"],
        ["def wilson(c, t):\n    low: wilson_interval = c\n    return low"],
        ["def wilson(c, t):\n    def wilson_interval():\n        return c\n    return wilson_interval()"],
        ["wilson = lambda wilson_interval, t: wilson_interval / t"],
        ["def wilson(c, t):\n    return [wilson_interval / t for wilson_interval in c]"],
        ["def wilson(:", "wilson_interval ="],
        [],
    ],
)
def test_work_of_ones_own_is_not_flagged(key, cells):
    assert flag_delegations(key, cells, LECTURE) == []


def test_a_package_that_was_ruled_out_is_found(key):
    cells = ["import numpy as np\n" + write("np.quantile([correct, total], [0, 1])")]
    assert flag_delegations(key, cells, LECTURE) == ["wilson: uses numpy.quantile"]


@pytest.mark.parametrize(
    "source",
    [
        "wilson = " + "(" * 90_000,
        "wilson = " + "-" * 190_000 + "1",
        "wilson = a" + ".a" * 90_000,
        "wilson = " + "[" * 90_000 + "]" * 90_000,
        "wilson = " + "lambda: " * 24_000 + "1",
        "wilson = " + "f(" * 49_000 + ")" * 49_000,
        "wilson = " + "9" * 190_000,
        "wilson = 1" + "+1" * 90_000,
        "\n" * 190_000 + "=",
        " " * 190_000 + "\n=",
        "a," * 95_000 + "=!",
        f"{NAMES} = wilson = {NAMES}",
        "import " + ", ".join(f"elfw_helpers.m{i} as a" for i in range(6_000)),
        "".join(f"def f{i}(): f{i + 1}()\n" for i in range(8_000)) + "wilson = f0",
        "wilson = 1\n" * 9_000 + "wilson = " + ", ".join(f"wilson.b{i}" for i in range(7_000)),
        "import elfw_helpers as a\nwilson = " + ", ".join(f"a.b{i}" for i in range(15_000)),
        f"from elfw_helpers.{'a' * 90_000} import a\nwilson = " + ", ".join(f"a.b{i}" for i in range(10_000)),
        "import elfw_helpers\nwilson = elfw_helpers." + "a" * 150_000,
        "wilson = '\0'",
        "wilson = 'x" + "é" * 100_000,
        "!a \\\n" * 38_000 + "=",
        "!a\n" * 60_000 + "=",
        "wilson = " + "lambda a: [" * 90 + "a, " * 60_000 + "]" * 90,
        "".join(f"{' ' * i}def f{i}(a{i}):\n" for i in range(95))
        + " " * 95
        + "a1," * 60_000
        + "\nwilson = f0",
    ],
    ids=range(24),
)
def test_hostile_code_costs_little_and_breaks_nothing(key, source):
    assert len(source) <= MOST_CODE
    start = time.thread_time()
    flags = flag_delegations(key, [source], LECTURE)
    assert time.thread_time() - start < 2
    assert sum(map(len, flags)) < 300


def test_code_without_end_is_not_parsed(key):
    assert flag_delegations(key, [BY_HAND, "#" * MOST_CODE], LECTURE) == [
        "too much code to see whose functions it uses"
    ]


def test_the_flag_is_in_the_table_and_costs_no_points(tmp_path):
    (tmp_path / "submissions").mkdir()
    answer = (
        "# exercise: class_iou\nfrom elfw_helpers.evaluation import iou_by_class\n"
        "def class_iou(matrix):\n    return iou_by_class(matrix)\n"
    )
    nbformat.write(new_notebook(cells=[new_code_cell(answer)]), tmp_path / "submissions" / "ann.ipynb")
    assert grade_folder("07", tmp_path / "submissions", tmp_path / "out", unsandboxed=not SANDBOXED) == 0
    with (tmp_path / "out" / "grades.csv").open(encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert row["class_iou"] == "6"
    assert "class_iou: uses elfw_helpers.evaluation.iou_by_class" in row["flags"]
