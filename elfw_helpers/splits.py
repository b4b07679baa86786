"""Train, validation and test: frozen lists where there are any, else drawn by person from a seed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from elfw_helpers.errors import DataError
from elfw_helpers.labels import ATTRIBUTES
from elfw_helpers.origins import source_of

SPLIT_NAMES = ("train", "validation", "test")
NUMBERED = re.compile(r"(.+)_\d{1,4}")
SUBJECT = re.compile(r"(person|subject|identity)_?\d+", re.IGNORECASE)
# Words in the names that cameras, phones and programs give to photos.
NO_PERSON = re.compile(
    r"(camera|canon|capture|cimg|crop|dcim|dji|dsc|dscf|dscn|face|file|frame|gopro|image|img|iphone|kodak|mvimg|"
    r"nikon|pano|photo|pic|picture|pxl|samsung|scan|screenshot|selfie|sony|vid|video|webcam|whatsapp)\d*",
    re.IGNORECASE,
)


class SplitWarning(UserWarning):
    """A split cannot measure what it should: a class has no test image."""


@dataclass(frozen=True)
class Split:
    """Which images are for training, for choosing, and for the one look at the end.

    Attributes:
        train, validation, test: int64 [n], indices into the folder's names, ascending.
    """

    train: Tensor
    validation: Tensor
    test: Tensor


def persons_of(names: Sequence[str]) -> list[str]:
    """Return who is on each photo, by LFW's naming: `First_Last_0001` is a photo of First_Last.

    An augmented copy shows who is on its source. Where most names are of that form, one word before the
    number is a person too (`Madonna_0001`). All other photos are of a person of their own: `IMG_1001` and
    `face_0001` number photos, not somebody's photos.
    """
    sources = [source_of(name) for name in names]
    heads = [match[1] if (match := NUMBERED.fullmatch(name)) else "" for name in sources]
    named = [is_person(head) for head in heads]
    least_words = 1 if sum(named) > len(named) / 2 else 2
    return [head if is_person(head, least_words) else name for head, name in zip(heads, sources, strict=True)]


def is_person(head: str, least_words: int = 2) -> bool:
    """Return whether what stands before a photo's number names a person: `First_Last` or `person_0001`."""
    if SUBJECT.fullmatch(head):
        return True
    words = head.split("_")
    named = all(word[:1].isalpha() and not NO_PERSON.fullmatch(word) for word in words)
    return named and len(words) >= least_words and not head[0].islower()


def draw_split(root: Path, attributes: Tensor, persons: Sequence[str], seed: int = 0) -> Split:
    """Draw 80 / 10 / 10 %, stratified by attribute, each person on one side only.

    Args:
        root: the folder, to name in an error.
        attributes: int64 [N], class indices.
        persons: who is on each image.
        seed: the same seed draws the same split.

    Raises:
        DataError: fewer than ten persons, so that a tenth of them cannot be held out.
    """
    test, validation, *train = cut_by_person(root, attributes, persons, 10, seed)
    return make_split(torch.cat(train), validation, test)


def carve_validation(
    root: Path, attributes: Tensor, persons: Sequence[str], held_out: Tensor, seed: int = 0
) -> Split:
    """Keep a frozen held-out list as the test split and draw a ninth of the rest for validation.

    Photos of held-out persons that are not on the list themselves are left out altogether.

    Args:
        root, attributes, persons, seed: as in `draw_split`.
        held_out: int64 [n], indices of the frozen list (`elfw_set_NN.txt`).

    Raises:
        DataError: none or fewer than nine other persons.
    """
    known = {persons[index] for index in held_out.tolist()}
    rest = torch.tensor([index for index, person in enumerate(persons) if person not in known], dtype=torch.long)
    if not len(rest):
        fix = "Take people off the list, or write train.txt, validation.txt and test.txt by hand"
        raise DataError(root, "every person is on the held-out list: nobody is left to train with", fix)
    others = [persons[index] for index in rest.tolist()]
    validation, *train = cut_by_person(root, attributes[rest], others, 9, seed)
    return make_split(rest[torch.cat(train)], rest[validation], held_out)


def cut_by_person(
    root: Path, attributes: Tensor, persons: Sequence[str], parts: int, seed: int
) -> list[Tensor]:
    """Cut images into parts of equal size and equal class shares, as far as whole persons allow.

    Returns:
        `parts` index tensors, int64, together a permutation of 0 .. N-1.
    """
    people = len(set(persons))
    if people < parts:
        fix = "Add photos of more people, or write train.txt, validation.txt and test.txt by hand"
        raise DataError(root, f"{people} person{'s' * (people != 1)} cannot be cut into {parts} parts by person", fix)
    most = int(torch.bincount(attributes).max())
    if most < parts:
        fix = "Add photos, or write train.txt, validation.txt and test.txt by hand"
        raise DataError(root, f"at most {most} images of a class cannot be cut into {parts} parts", fix)
    # The seed renumbers the persons, which decides between equals. scikit-learn's own shuffling spoiled the
    # sizes and the class shares before its release 1.8.
    _, groups = np.unique(persons, return_inverse=True)
    groups = np.random.default_rng(seed).permutation(groups.max() + 1)[groups]
    folds = StratifiedGroupKFold(n_splits=parts)
    with warnings.catch_warnings():
        # scikit-learn warns of classes with fewer images than parts; warn_of_untested says it better.
        warnings.simplefilter("ignore", UserWarning)
        cuts = folds.split(np.zeros(len(persons)), attributes.numpy(), groups)
        return [torch.from_numpy(part) for _, part in cuts]


def make_split(train: Tensor, validation: Tensor, test: Tensor) -> Split:
    """Return a split with its indices in ascending order."""
    return Split(*(indices.long().sort().values for indices in (train, validation, test)))


def warn_of_untested(root: Path, split: Split, attributes: Tensor) -> None:
    """Warn when a class that the folder has is missing from the test split: nothing measures it there."""
    counts = torch.bincount(attributes, minlength=len(ATTRIBUTES)).tolist()
    tested = torch.bincount(attributes[split.test], minlength=len(ATTRIBUTES)).tolist()
    for name, count, test_count in zip(ATTRIBUTES, counts, tested, strict=True):
        if count and not test_count:
            warnings.warn(
                f"{root}: no {name} in the test split ({count} in the folder), so its score will be "
                f"undefined, not zero. Add images of {name} with other people, try another seed, or write "
                "train.txt, validation.txt and test.txt by hand",
                SplitWarning,
                stacklevel=3,
            )
