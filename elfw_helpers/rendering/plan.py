"""Plans a set of faces: who is on how many photos, what each one wears, and in which split it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from elfw_helpers.data.labels import ATTRIBUTES
from elfw_helpers.rendering.random_streams import PLAN, Sampler

ATTRIBUTE_SHARES = (0.6, 0.2, 0.2)
HELD_OUT_SHARE = 0.1  # of validation, and again of test
WRONG_SHARE = 0.03  # of the labels, on purpose: annotators make mistakes
# How many people have 1, 2, 3 ... photos: most have few, as in LFW.
PHOTO_WEIGHTS = (0.5, 0.2, 0.1, 0.07, 0.05, 0.04, 0.02, 0.02)


@dataclass(frozen=True)
class PlannedFace:
    """A face to be rendered."""

    index: int  # place in the set, which decides the photo's seed
    name: str  # `person_PPPP_NNNN`
    identity_seed: int  # decides who it is
    attribute: int  # index into ATTRIBUTES, which the mask has to show in the end
    label: int  # index into ATTRIBUTES for labels.txt; for a few it is not the attribute, on purpose
    split: str  # one of SPLIT_NAMES

    @property
    def person(self) -> str:
        """The name without its last number, as in LFW."""
        return self.name.rpartition("_")[0]


def plan_faces(count: int, seed: int) -> list[PlannedFace]:
    """Return the faces of a set, in the order of their names; `count` and `seed` alone decide them."""
    sampler = Sampler(PLAN, seed)
    sizes = draw_photo_counts(sampler, count)
    totals = share_out(count, ATTRIBUTE_SHARES)
    attributes = sampler.shuffle([kind for kind, total in enumerate(totals) for _ in range(total)])
    identity_seeds = [sampler.integer() for _ in sizes]
    owners = [person for person, size in enumerate(sizes) for _ in range(size)]
    splits = split_people(sampler, owners, attributes)
    labels = exchange_labels(sampler, attributes, [splits[person] for person in owners])
    numbers, faces = Counter(), []
    for index, (person, attribute, label) in enumerate(zip(owners, attributes, labels, strict=True)):
        numbers[person] += 1
        name = f"person_{person + 1:04d}_{numbers[person]:04d}"
        faces.append(PlannedFace(index, name, identity_seeds[person], attribute, label, splits[person]))
    return faces


def photo_seed(seed: int, index: int, attempt: int) -> int:
    """Return the seed of a photo; a new attempt is another photo of the same person."""
    return Sampler(PLAN, seed, index, attempt).integer()


def draw_photo_counts(sampler: Sampler, count: int) -> list[int]:
    """Return how many photos each person has, `count` in all."""
    sizes: list[int] = []
    while sum(sizes) < count:
        drawn = sampler.choose(range(1, len(PHOTO_WEIGHTS) + 1), PHOTO_WEIGHTS)
        sizes.append(min(drawn, count - sum(sizes)))
    return sizes


def share_out(count: int, shares: tuple[float, ...]) -> list[int]:
    """Return whole numbers in proportion to `shares` that add up to `count` (largest remainders)."""
    # Rounded: without it, 3 could come out as 2.9999999999999996.
    exact = [round(count * share / sum(shares), 6) for share in shares]
    whole = [int(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda place: whole[place] - exact[place])
    for place in by_remainder[: count - sum(whole)]:
        whole[place] += 1
    return whole


def exchange_labels(sampler: Sampler, attributes: list[int], splits: list[str]) -> list[int]:
    """Return the attributes of the photos, a share of WRONG_SHARE exchanged for another one.

    None of the wrong ones is in the test split, which has to measure how good a network is.
    """
    labels = list(attributes)
    candidates = [index for index, split in enumerate(splits) if split != "test"]
    for index in sampler.shuffle(candidates)[: round(WRONG_SHARE * len(labels))]:
        labels[index] = sampler.choose([kind for kind in range(len(ATTRIBUTES)) if kind != labels[index]])
    return labels


def split_people(sampler: Sampler, owners: list[int], attributes: list[int]) -> list[str]:
    """Return the split of every person, so that the held-out splits hold a tenth of each attribute.

    `owners` are the persons on the photos, `attributes` what the photos show.
    """
    wanted: dict[int, Counter] = {}
    for person, attribute in zip(owners, attributes, strict=True):
        wanted.setdefault(person, Counter())[attribute] += 1
    held_out = round(HELD_OUT_SHARE * len(owners))
    totals = Counter(attributes)
    targets = share_out(held_out, tuple(totals[kind] for kind in range(len(ATTRIBUTES))))
    splits = ["train"] * len(wanted)
    for split in ("test", "validation"):
        people = sampler.shuffle([person for person in wanted if splits[person] == "train"])
        for person in choose_people(people, wanted, targets):
            splits[person] = split
    return splits


def choose_people(people: list[int], photos: dict[int, Counter], targets: list[int]) -> list[int]:
    """Return people whose photos hold `targets` of each attribute, or nearly so: all who still fit are taken.

    Most people have a single photo, so every target is met exactly except in very small sets. There a second
    round looks only at the total.
    """
    chosen, open_places = [], Counter(dict(enumerate(targets)))
    for person in people:
        if all(open_places[kind] >= number for kind, number in photos[person].items()):
            open_places.subtract(photos[person])
            chosen.append(person)
    left = sum(open_places.values())
    for person in people:
        if person not in chosen and photos[person].total() <= left:
            left -= photos[person].total()
            chosen.append(person)
    return chosen
