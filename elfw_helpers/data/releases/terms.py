"""Under which terms each release may be used, and how to get it. Nothing here fetches anything.

Sources: https://github.com/switchablenorms/CelebAMask-HQ (its agreement),
https://multimedia-eurecat.github.io/2020/06/22/extended-faces-in-the-wild.html, and
http://vis-www.cs.umass.edu/lfw/ with part_labels/ below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """What to know before a release is used.

    Attributes:
        title: what its authors call it.
        licence: in our words.
        access: the steps to get it.
        holds: files and folders in its own folder, the one that tells it from others first.
        count: photos in the whole release; None where its authors name no number that we could verify.
    """

    title: str
    licence: str
    access: Sequence[str]
    holds: Sequence[str]
    count: int | None = None


TERMS = {
    "celebamask-hq": Terms(
        "CelebAMask-HQ",
        "For non-commercial research and education only. Photos, masks and what is made of them may not be "
        "sold, published or passed on; copies may be made within one site of one organisation.",
        (
            "Read the agreement on https://github.com/switchablenorms/CelebAMask-HQ, and download "
            "CelebAMask-HQ.zip by the link there",
            "Unpack it",
            "To know who is on each photo, ask for identity_CelebA.txt at "
            "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, and put it into the folder that holds "
            "CelebA-HQ-img",
        ),
        ("CelebAMask-HQ-mask-anno", "CelebA-HQ-img"),
        30_000,
    ),
    "elfw": Terms(
        "Extended Labeled Faces in-the-Wild (ELFW)",
        "Under the Hippocratic Licence, which forbids uses against human rights. The photos are those of "
        "LFW, of real people, and belong to others: for research and education.",
        (
            "Fill in the request form on "
            "https://multimedia-eurecat.github.io/2020/06/22/extended-faces-in-the-wild.html",
            "Unpack all that you got into one folder: elfw_01_basic, and the augmented folders beside it",
        ),
        ("elfw_01_basic",),
    ),
    "lfw-parts": Terms(
        "LFW Part Labels",
        "No formal licence. The photos show real people and belong to others: for research and education. "
        "Its authors ask not to conclude from results on LFW that an algorithm is fit for commercial use.",
        (
            "Download lfw-funneled.tgz from http://vis-www.cs.umass.edu/lfw/",
            "Download parts_lfw_funneled_gt_images.tgz, parts_train.txt, parts_validation.txt and "
            "parts_test.txt from http://vis-www.cs.umass.edu/lfw/part_labels/",
            "Unpack both archives into the folder with the three lists",
        ),
        ("parts_lfw_funneled_gt_images", "lfw_funneled"),
        2_927,
    ),
}


def describe_terms(kind: str) -> str:
    """Return title and licence of a release, as text."""
    return f"{TERMS[kind].title}. {TERMS[kind].licence}"


def describe_access(kind: str) -> str:
    """Return how to get a release, as text."""
    steps = (f"  {number}. {step}." for number, step in enumerate(TERMS[kind].access, 1))
    return "\n".join([f"How to get {TERMS[kind].title}:", *steps])
