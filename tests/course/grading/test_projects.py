"""What has many right answers: splits by person, sections of a card, numbers in a text."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from elfw_course.grading.inside.encode import Encoder
from elfw_course.grading.judge import balanced_accuracy, judge
from elfw_course.grading.key import find_key, read_key
from elfw_helpers.utils.errors import DataError
from tests.course.grading.test_answers import PROBE

PERSONS = [k // 2 for k in range(40)]
SPLIT = [list(range(32)), list(range(32, 36)), list(range(36, 40))]
OTHER = [list(range(8, 40)), [0, 1, 2, 3], [4, 5, 6, 7]]
EXAMPLE = {"Data": "pictures of nobody", "Limits": "never tried on photographs"}
WORDS = " ".join(["alpha beta gamma delta", "epsilon zeta eta theta"])


def verdict(kind, expected, value) -> str:
    content = json.loads(Encoder().encode(value))
    return judge(replace(PROBE, expect=expected, judged_as=kind), content)


@pytest.mark.parametrize(
    "value",
    [
        [SPLIT, SPLIT, OTHER],
        ([part[::-1] for part in SPLIT], tuple(map(tuple, SPLIT)), [np.array(part) for part in OTHER]),
        [[torch.tensor(part) for part in split] for split in (SPLIT, SPLIT, OTHER)],
    ],
)
def test_splits_by_person_are_right_in_any_order_and_type(value):
    assert verdict("splits", {"persons": PERSONS, "seeds": [1, 1, 2]}, value) == ""


@pytest.mark.parametrize(
    ("split", "fault"),
    [
        ([SPLIT[0][1:], *SPLIT[1:]], "in no part"),
        ([[*SPLIT[0], 39], *SPLIT[1:]], "or in two"),
        ([[*SPLIT[0][:-1], 32], [31, *SPLIT[1][1:]], SPLIT[2]], "a person is in two parts"),
        ([list(range(20)), list(range(20, 30)), list(range(30, 40))], "80, 10 and 10"),
        ([list(range(36)), list(range(36, 40)), []], "empty"),
        ([[float(i) for i in part] for part in SPLIT], "three lists"),
        ([[*SPLIT[0][:-1], -1], *SPLIT[1:]], "three lists"),
        ([[True, *SPLIT[0]], *SPLIT[1:]], "three lists"),
        (SPLIT[:2], "three lists"),
        ("abc", "three lists"),
        ([{0: 1}, 1, 2], "three lists"),
    ],
)
def test_what_is_wrong_with_a_split_is_said(split, fault):
    assert fault in verdict("splits", {"persons": PERSONS, "seeds": [1]}, [split])


@pytest.mark.parametrize("value", [[SPLIT, SPLIT], [SPLIT, OTHER, OTHER], [SPLIT, SPLIT, SPLIT], None, 3])
def test_the_seed_alone_decides_a_split(value):
    assert verdict("splits", {"persons": PERSONS, "seeds": [1, 1, 2]}, value)


def test_one_person_with_many_photos_moves_the_shares():
    persons = [0] * 12 + [1 + k for k in range(28)]
    split = [list(range(12, 40)), list(range(12)), []]
    split = [split[0][2:], split[1], split[0][:2]]
    assert verdict("splits", {"persons": persons, "seeds": [0]}, [split]) == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"## Data\n{WORDS}\n# LIMITS:\n{WORDS}", ""),
        (f"## Data\n{WORDS}\n", "no section 'Limits'"),
        (f"## Limits\n{WORDS}\n## Data\npictures of nobody nobody nobody", "in section 'Data'"),
        (f"## Limits\n## Data\n{WORDS}", "in section 'Limits'"),
        (f"Limits\n{WORDS}\nData\n{WORDS}", "no section"),
        ("", "no section"),
        (None, "not a text"),
        ({"Data": WORDS, "Limits": WORDS}, "not a text"),
    ],
)
def test_sections_need_words_of_their_own(text, fault):
    found = verdict("sections", EXAMPLE, text)
    assert fault in found and bool(found) == bool(fault)


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ("accuracy 0.814, baseline 0.57", True),
        ("81.4 % against 57%", True),
        ("81 per cent and .574? no: 0.5724", True),
        ("0.80 and 0.57", False),
        ("0.814", False),
        ("", False),
        (0.814, False),
    ],
)
def test_numbers_may_be_rounded_and_written_as_share_or_per_cent(text, is_right):
    assert (verdict("numbers", [0.8137, 0.5724], text) == "") == is_right


@pytest.mark.parametrize(
    "text", ["#" * 200_000, "## \t" * 60_000, "1" * 300_000, "a" * 300_000, "1." * 150_000]
)
def test_long_forged_texts_are_soon_judged(text):
    assert verdict("sections", EXAMPLE, text) and verdict("numbers", [0.33], text)


def test_balanced_accuracy_is_the_mean_recall():
    assert balanced_accuracy([0, 0, 0, 1], [0, 0, 1, 2]) == pytest.approx((2 / 3 + 0) / 2)
    assert balanced_accuracy([5] * 9 + [7], [5] * 10) == 0.5


def test_a_key_that_judges_in_an_unknown_way_is_refused(tmp_path):
    text = find_key("10").read_text(encoding="utf-8").replace('judged_as = "splits"', 'judged_as = "split"')
    for file in find_key("10").parent.glob("*.npz"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "10.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="judged as 'split'"):
        read_key(tmp_path / "10.toml")
