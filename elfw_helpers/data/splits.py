"""Train, validation and test: frozen lists where there are any, else drawn by person from a seed."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from elfw_helpers.data.labels import ATTRIBUTES
from elfw_helpers.data.origins import source_of
from elfw_helpers.utils.errors import DataError

SPLIT_NAMES = ("train", "validation", "test")
NUMBERED = re.compile(r"(.+)_\d{1,4}")
SUBJECT = re.compile(r"(person|subject|identity)(_?\d+|_[A-Z])", re.IGNORECASE)
# Words in the names that people, cameras, phones and programs give to photos and folders.
NO_PERSON = re.compile(
    r"(album|app|archive|backup|batch|bild|bilder|birthday|burst|cam|camera|canon|capture|celeb|celeba|"
    r"cimg|clip|copy|crop|data|dataset|dcim|dji|download|dsc|dscf|dscn|edited|export|face|facebook|"
    r"file|film|folder|foto|frame|front|fuji|fujifilm|galaxy|google|gopro|group|huawei|image|img|"
    r"import|input|instagram|ipad|iphone|kamera|kodak|label|left|leica|lumix|mask|mobile|mode|motorola|"
    r"mvimg|new|nikon|nokia|nr|number|olympus|output|panasonic|pano|panorama|party|pentax|phone|photo|"
    r"pic|picture|pixel|portrait|preview|profile|pxl|raw|rear|resized|result|right|sample|samsung|scan|"
    r"screen|screenshot|selfie|set|side|snap|snapchat|sony|test|thumb|thumbnail|train|training|trip|"
    r"untitled|upload|urlaub|vacation|validation|version|vid|video|webcam|wedding|whatsapp|xiaomi)s?\d*",
    re.IGNORECASE,
)
# Of the people of a folder none is on most of so many images: in LFW the most frequent is on 4 %.
MANY = 30


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
    number is a person too (`Madonna_0001`). What stands there on most of many images is the name of a
    camera or an album; numbers of persons (`person_0001_0002`) are believed all the same. All other photos
    are of a person of their own: `IMG_1001` and `face_0001` number photos, not somebody's photos.
    """
    sources = [source_of(name) for name in names]
    heads = [match[1] if (match := NUMBERED.fullmatch(name)) else "" for name in sources]
    heads = blank_commonest(heads)
    named = [is_person(head) for head in heads]
    least_words = 1 if sum(named) > len(named) / 2 else 2
    return [head if is_person(head, least_words) else name for head, name in zip(heads, sources, strict=True)]


def blank_commonest(heads: list[str]) -> list[str]:
    """Return what stands before the photos' numbers, without what is there on most of many photos."""
    head, count = Counter(heads).most_common(1)[0] if heads else ("", 0)
    if len(heads) < MANY or count <= len(heads) / 2 or SUBJECT.fullmatch(head):
        return heads
    return ["" if other == head else other for other in heads]


def is_person(head: str, least_words: int = 2) -> bool:
    """Return whether what stands before a photo's number names a person: `First_Last` or `person_0001`."""
    if SUBJECT.fullmatch(head):
        return True
    words = head.split("_")
    if len(words) < least_words or head[:1].islower():
        return False
    if not all(word[:1].isalpha() and not NO_PERSON.fullmatch(word) for word in words):
        return False
    # Capitals alone are codes (EOS_R, LRM_EXPORT); but initials lead a name (JK_Rowling), a numeral ends one.
    numbered = len(words) > 2 and re.fullmatch("[IVX]+", words[-1])
    return (len(words[0]) <= 2 or not words[0].isupper()) and (bool(numbered) or not words[-1].isupper())


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
    rest = torch.tensor(
        [index for index, person in enumerate(persons) if person not in known], dtype=torch.long
    )
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
        raise DataError(
            root, f"{people} person{'s' * (people != 1)} cannot be cut into {parts} parts by person", fix
        )
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
