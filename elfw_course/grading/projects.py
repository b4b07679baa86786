"""Judges what has many right answers: a split by person, the sections of a model card, numbers in a text.

Like all of `judge`, outside the sandbox and on values that may be forged: what is hashed are ints within
bounds and words, whose hashes nobody outside can choose, and each pattern takes time in step with the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

# Of train, validation and test: the shares that a split should have, and how far off each may be.
SHARES, SLACK = (0.8, 0.1, 0.1), 0.06
OWN_WORDS = 8  # different words of a section that the worked example's section does not have
ROUNDING = 0.0051  # a number of a text may be rounded to two decimals, or to a whole per cent
HEADING = re.compile(r"^#{1,6}[ \t]+(\S.*)$", re.MULTILINE)
WORD = re.compile(r"[^\W\d_]{2,}")
NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,18})?")


def judge_splits(expected: dict[str, list], value: Any) -> str:
    """Return "" for splits by person that depend on their seed alone, or what is wrong with them.

    Args:
        expected: `persons`, one id for each photo, and `seeds`, one for each split.
        value: for each seed, the indices of train, validation and test.
    """
    persons, seeds = expected["persons"], expected["seeds"]
    if type(value) is not list or len(value) != len(seeds):
        return "not one split for each seed"
    splits = [_read_parts(split, len(persons)) for split in value]
    if None in splits:
        return "not three lists of indices: train, validation and test"
    for parts in splits:
        if fault := _find_fault(parts, persons):
            return fault
    for place, parts in enumerate(splits):
        for other, earlier in zip(seeds[:place], splits[:place], strict=True):
            if (other == seeds[place]) != (earlier == parts):
                return "equal seeds do not give equal splits, or unlike seeds give the same one"
    return ""


def _read_parts(split: Any, photos: int) -> list[list[int]] | None:
    """Return the three lists of a split, each in ascending order, or None if it is no split."""
    parts = [getattr(part, "flat", part) for part in split] if type(split) is list else []
    if len(parts) != len(SHARES) or not all(isinstance(part, (list, tuple)) for part in parts):
        return None
    if not all(type(index) is int and 0 <= index < photos for part in parts for index in part):
        return None
    return [sorted(part) for part in parts]


def _find_fault(parts: Sequence[Sequence[int]], persons: Sequence[int]) -> str:
    """Say what is wrong with one split, or nothing."""
    if sorted(index for part in parts for index in part) != list(range(len(persons))):
        return "a photo is in no part, or in two"
    people = [{persons[index] for index in part} for part in parts]
    if sum(map(len, people)) > len(set(persons)):
        return "a person is in two parts"
    # Whole persons cannot be cut: where there are few, or one has many photos, shares are farther off.
    slack = SLACK + max(Counter(persons).values()) / len(persons)
    if not all(
        abs(len(part) / len(persons) - share) <= slack for part, share in zip(parts, SHARES, strict=True)
    ):
        return "its parts are not about 80, 10 and 10 % of the photos"
    return "" if all(parts) else "a part is empty"


def judge_sections(expected: dict[str, str], value: Any) -> str:
    """Return "" for a text in Markdown with all sections, each in words of its own, or what is missing.

    Args:
        expected: by heading, the words of the worked example's section, which do not count.
        value: the text.
    """
    if type(value) is not str:
        return "not a text"
    _, *pieces = HEADING.split(value)
    sections: dict[str, set[str]] = {}
    for heading, text in zip(pieces[::2], pieces[1::2], strict=True):
        sections.setdefault(heading.strip("#*: \t").lower(), set()).update(WORD.findall(text.lower()))
    for heading, example in expected.items():
        if heading.lower() not in sections:
            return f"no section {heading!r}"
        if len(sections[heading.lower()] - set(WORD.findall(example.lower()))) < OWN_WORDS:
            return f"hardly a word of your own in section {heading!r}"
    return ""


def judge_numbers(expected: list[float], value: Any) -> str:
    """Return "" for a text that states all numbers, as shares or in per cent, or that one is missing."""
    if type(value) is not str:
        return "not a text"
    stated = [float(number) for number in NUMBER.findall(value)]
    for number in expected:
        if not any(min(abs(one - number), abs(one / 100 - number)) <= ROUNDING for one in stated):
            return "a number that it was given is not in it"
    return ""


JUDGES: dict[str, Callable[[Any, Any], str]] = {
    "splits": judge_splits,
    "sections": judge_sections,
    "numbers": judge_numbers,
}
