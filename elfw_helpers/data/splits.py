"""Train, validation and test split, drawn so that all photos of a person are on the same side."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from elfw_helpers.data.labels import ATTRIBUTES
from elfw_helpers.utils.errors import DataError

# Tenths of the images: one for the test, one for validation, eight to train with.
PARTS = 10
BY_HAND = "write train.txt, validation.txt and test.txt by hand"


class SplitWarning(UserWarning):
    """A split cannot measure what it should: a class has no test image."""


@dataclass(frozen=True)
class Split:
    """Which images are for training, for choosing settings, and for one test at the end.

    Attributes:
        train, validation, test: int64 [n], indices into the folder's names, ascending.
    """

    train: Tensor
    validation: Tensor
    test: Tensor


def draw_split(
    root: Path, attributes: Tensor, persons: Sequence[str], seed: int = 0, held_out: Tensor | None = None
) -> Split:
    """Draw 80 / 10 / 10 %, stratified by attribute, each person on one side only.

    Args:
        root: the folder, to name in an error.
        attributes: int64 [N], class indices.
        persons: who is on each image.
        seed: the same seed draws the same split.
        held_out: int64 [n], indices of a frozen list that is the test split as it is. Then a ninth of the
            other persons' photos is for validation; other photos of held-out persons are left out.

    Raises:
        DataError: too few persons or images to cut.
    """
    if held_out is None:
        test, validation, *train = cut_by_person(root, attributes, persons, PARTS, seed)
        return make_split(torch.cat(train), validation, test)
    known = {persons[index] for index in held_out.tolist()}
    rest = [index for index, person in enumerate(persons) if person not in known]
    if not rest:
        found = "every person is on the held-out list: nobody is left to train with"
        raise DataError(root, found, f"Take people off the list, or {BY_HAND}")
    others = [persons[index] for index in rest]
    rest = torch.tensor(rest)
    validation, *train = cut_by_person(root, attributes[rest], others, PARTS - 1, seed)
    return make_split(rest[torch.cat(train)], rest[validation], held_out)


def cut_by_person(
    root: Path, attributes: Tensor, persons: Sequence[str], parts: int, seed: int
) -> list[Tensor]:
    """Cut images into parts of equal size and equal class shares, as far as whole persons allow.

    Returns:
        `parts` index tensors, int64, together a permutation of 0 .. N-1.
    """
    # Here, so that opening a folder does not load scikit-learn.
    from sklearn.model_selection import StratifiedGroupKFold

    if lack := find_lack(attributes.tolist(), persons, parts):
        raise DataError(root, *lack)
    # The seed renumbers the persons, which decides between equals. scikit-learn's own shuffling spoiled the
    # sizes and the class shares before its release 1.8.
    _, groups = np.unique(persons, return_inverse=True)
    groups = np.random.default_rng(seed).permutation(groups.max() + 1)[groups]
    with warnings.catch_warnings():
        # scikit-learn warns of classes with fewer images than parts; warn_of_untested says it better.
        warnings.simplefilter("ignore", UserWarning)
        cuts = StratifiedGroupKFold(parts).split(np.zeros(len(persons)), attributes.numpy(), groups)
        return [torch.from_numpy(part) for _, part in cuts]


def find_lack(attributes: Sequence[int], persons: Sequence[str], parts: int) -> tuple[str, str] | None:
    """Return what images lack to be cut into parts by person, and what to do about it; None if nothing.

    Args:
        attributes: class index of each image.
        persons: who is on each image.
    """
    people = len(set(persons))
    if people < parts:
        what = "1 person is" if people == 1 else f"{people} people are"
        found = f"{what} too few to cut the images into {parts} parts, each with other people"
        return found, f"Add photos of {parts - people} more, or {BY_HAND}"
    index, most = Counter(attributes).most_common(1)[0]
    if most < parts:
        found = (
            f"{most} images of {ATTRIBUTES[index]}, of which there are most, are too few for {parts} parts"
        )
        return found, f"Add {parts - most} more, or {BY_HAND}"
    return None


def make_split(train: Tensor, validation: Tensor, test: Tensor) -> Split:
    """Return a split with its indices in ascending order."""
    return Split(*(indices.long().sort().values for indices in (train, validation, test)))


def warn_of_untested(root: Path, split: Split, attributes: Tensor) -> None:
    """Warn when a class that the folder has is missing from the test split: nothing measures it there."""
    counts = torch.bincount(attributes, minlength=len(ATTRIBUTES)).tolist()
    tested = set(attributes[split.test].tolist())
    for index, name in enumerate(ATTRIBUTES):
        if counts[index] and index not in tested:
            warnings.warn(
                f"{root}: no {name} in the test split ({counts[index]} in the folder), so its score will be "
                f"undefined, not zero. Add images of {name} with other people, try another seed, or "
                f"{BY_HAND}",
                SplitWarning,
                stacklevel=3,
            )


def pick_faces(attributes: Tensor, among: Tensor, count: int, seed: int) -> Tensor:
    """Draw faces to look at: the attributes in turn, as long as there are any of them.

    Args:
        attributes: int64 [N], class indices.
        among: int64 [n], the indices to draw from, such as a split's.
        count: how many; fewer if there are not so many.
        seed: another one draws other faces.

    Returns:
        int64 [count], indices, none twice.
    """
    shuffled = among[torch.randperm(len(among), generator=torch.Generator().manual_seed(seed))]
    labels = attributes[shuffled]
    # The first of each attribute, then the second of each, and so on.
    turns = torch.zeros_like(labels)
    for attribute in labels.unique():
        turns[labels == attribute] = torch.arange(int((labels == attribute).sum()))
    return shuffled[torch.argsort(turns * len(ATTRIBUTES) + labels)][:count]
