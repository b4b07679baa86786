"""`elfw check FOLDER`: find all that is wrong or suspicious in a folder of faces before training on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from elfw_helpers.data.datasets import in_parallel
from elfw_helpers.data.image_names import COPY, find_source
from elfw_helpers.data.images import is_coloured, read_pair
from elfw_helpers.data.labels import ATTRIBUTES, PIXEL_CLASSES, attribute_from_mask
from elfw_helpers.data.layout import (
    MANIFEST,
    PERSONS_FILE,
    SPLIT_NAMES,
    Layout,
    describe_others,
    scan_folder,
)
from elfw_helpers.data.splits import BY_HAND, PARTS, find_lack
from elfw_helpers.data.suspicious_masks import MaskMeasures, find_suspicious_masks, measure_mask
from elfw_helpers.utils.errors import DataError

# Root mean square difference of two 16 x 16 thumbnails, in gray levels, below which they show one photo:
# on real photos the nearest two differ by over 20, one saved twice (other size, other quality) by under 2.
THUMBNAIL, SAME_PHOTO = 16, 4.0
# The report lists at most this many files passed over, problems, and suspects, each.
MOST_LISTED = 20


@dataclass
class FaceRecord:
    """What the audit keeps of one face.

    Attributes:
        size: width and height in pixels.
        attribute: class index, or None when nothing says which.
        thumbnail: float32 [256], gray levels, to find a photo stored twice.
        relabelled: labels.txt says something else than the mask.
        mask: what was measured on the mask, or None without one.
    """

    size: tuple[int, int]
    attribute: int | None
    thumbnail: np.ndarray
    relabelled: bool
    mask: MaskMeasures | None


@dataclass
class Audit:
    """Everything `elfw check` found.

    Attributes:
        layout: the files of the folder.
        faces: what is kept of each readable face, by name.
        problems: what is wrong: loading the folder would fail, or results on it would mislead.
        suspects: what may be wrong: a person should look at it.
    """

    layout: Layout
    faces: dict[str, FaceRecord]
    problems: list[DataError]
    suspects: list[DataError]


def check_folder(root: str | Path) -> Audit:
    """Audit a folder in ELFW's layout, reading every file of it.

    Raises:
        DataError: there is no such folder.
    """
    layout = scan_folder(root)
    problems = list(layout.problems)
    names = list(layout.images)
    results = list(in_parallel(lambda name: examine_face(layout, name), names, "checking faces"))
    problems.extend(result for result in results if isinstance(result, DataError))
    faces = {
        name: result for name, result in zip(names, results, strict=True) if isinstance(result, FaceRecord)
    }
    problems.extend(find_shared_persons(layout))
    problems.extend(find_repeated_photos(layout, faces))
    return Audit(layout, faces, problems, list(find_suspects(layout, faces)))


def examine_face(layout: Layout, name: str) -> FaceRecord | DataError:
    """Read one face and return what the audit needs of it, or what is wrong with its files."""
    listed = layout.listed.get(name)
    try:
        image, mask = read_pair(layout.images[name], layout.masks.get(name))
        in_colours = mask is not None and is_coloured(layout.masks[name])
    except DataError as error:
        return error
    tiny = image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    thumbnail = np.asarray(tiny, np.float32).ravel()
    if mask is None:
        return FaceRecord(image.size, listed, thumbnail, False, None)
    by_mask = attribute_from_mask(mask)
    attribute = by_mask if listed is None else listed
    measures = measure_mask(image, mask, in_colours)
    return FaceRecord(image.size, attribute, thumbnail, attribute != by_mask, measures)


def find_shared_persons(layout: Layout) -> Iterator[DataError]:
    """Yield an error for every person with photos in two frozen splits."""
    home: dict[str, tuple[str, str]] = {}
    for split, names in layout.splits.items():
        for name in names:
            person = layout.persons.get(name, name)
            first_split, first_name = home.setdefault(person, (split, name))
            if first_split != split:
                found = f"{person} is in {first_split} ({first_name}) and in {split} ({name})"
                fix = "Keep a person in one split: networks recognise faces. persons.txt can say who is who"
                yield DataError(layout.root / f"{split}.txt", found, fix)


def find_repeated_photos(layout: Layout, faces: dict[str, FaceRecord]) -> Iterator[DataError]:
    """Yield an error for every photo that is stored twice, even at another size or quality."""
    split_of = {name: split for split, names in layout.splits.items() for name in names}
    names, thumbnails = list(faces), np.array([face.thumbnail for face in faces.values()])
    sources = np.array([find_source(name) for name in names])
    for index, name in enumerate(names[1:], 1):
        distance = np.sqrt(((thumbnails[:index] - thumbnails[index]) ** 2).mean(1))
        # Augmented copies of one face look alike, and are meant to.
        distance[sources[:index] == sources[index]] = np.inf
        if distance.min() < SAME_PHOTO:
            twin = names[distance.argmin()]
            places = [split_of.get(twin), split_of.get(name)]
            across = f" (one in {places[0]}, one in {places[1]})" if len(set(places)) > 1 else ""
            found = f"the same picture as {layout.images[twin].name}{across}"
            yield DataError(layout.images[name], found, "Remove one of the two")


def find_suspects(layout: Layout, faces: dict[str, FaceRecord]) -> Iterator[DataError]:
    """Yield what a person should look at: suspicious masks, labels that contradict them, stray copies."""
    masks = {name: face.mask for name, face in faces.items() if face.mask}
    for (found, fix), names in find_suspicious_masks(masks).items():
        yield DataError(layout.masks[names[0]], found + describe_others(names), fix)
    relabelled = [name for name, face in faces.items() if face.relabelled]
    if relabelled:
        found = f"{relabelled[0]} has another label than the rule gives its mask{describe_others(relabelled)}"
        yield DataError(layout.root / "labels.txt", found, "Look at both, unless it is on purpose")
    copies = [name for name in layout.images if COPY.fullmatch(name) and name not in layout.origins]
    if copies:
        found = f"is named like an augmented copy, and no {MANIFEST} says of which face"
        found += describe_others(copies)
        fix = f"Copy the {MANIFEST} that `elfw augment` wrote into the folder"
        yield DataError(layout.images[copies[0]], found, fix)


def describe_audit(audit: Audit) -> str:
    """Return the audit as text: counts, then files passed over, problems and suspects."""
    layout = audit.layout
    lines = [f"{layout.root}: {count_images(len(layout.images))}, {len(audit.faces)} of them readable"]
    if audit.faces:
        lines.extend(describe_faces(audit))
    titles = [("file passed over", "files passed over", layout.passed_over)] if layout.passed_over else []
    titles += [("problem", "problems", audit.problems), ("suspect", "suspects", audit.suspects)]
    for one, several, faults in titles:
        lines.append(f"{len(faults)} {one if len(faults) == 1 else several}")
        lines.extend(f"  - {fault}" for fault in faults[:MOST_LISTED])
        if len(faults) > MOST_LISTED:
            lines.append(f"  - and {len(faults) - MOST_LISTED} more")
    # Names that are not valid Unicode, as old archives leave them, would stop the printing.
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def describe_faces(audit: Audit) -> Iterator[str]:
    """Yield what was counted in the readable faces: sizes, attributes, pixels, persons and splits."""
    layout, faces = audit.layout, audit.faces
    sizes = Counter(face.size for face in faces.values()).most_common()
    shown = ", ".join(f"{width} x {height} ({count})" for (width, height), count in sizes[:5])
    yield f"  sizes       {shown}" + (f" and {len(sizes) - 5} more" if len(sizes) > 5 else "")
    yield f"  attributes  {count_attributes(faces.values())}"
    shares = np.array([face.mask.shares for face in faces.values() if face.mask])
    if not len(shares):
        yield "  pixels      no masks"
    for name, column in zip(PIXEL_CLASSES, shares.T, strict=False):
        lead = "pixels" if name == PIXEL_CLASSES[0] else ""
        seen = count_images(np.count_nonzero(column))
        yield f"  {lead:<11} {name:<15} {column.mean():6.1%} of the pixels, in {seen}"
    told = layout.persons_from == f"by {PERSONS_FILE}"
    remark = "" if told else f" ({PERSONS_FILE} can say who is on each)"
    yield f"  persons     {len(set(layout.persons.values()))}, {layout.persons_from}{remark}"
    for split, names in layout.splits.items():
        counts = count_attributes(faces[name] for name in names if name in faces)
        yield f"  {split:<11} {count_images(len(names))}: {counts}"
    if lack := find_split_lack(layout, faces):
        yield f"  split       {lack}"


def find_split_lack(layout: Layout, faces: dict[str, FaceRecord]) -> str:
    """Return why the notebooks cannot split the faces, or not well, and what to do; nothing if they can."""
    attributes = {name: face.attribute for name, face in faces.items() if face.attribute is not None}
    if not attributes or len(layout.splits) == len(SPLIT_NAMES):
        return ""
    held_out = {layout.persons[name] for name in layout.splits.get("test", ())}
    persons = {name: layout.persons[name] for name in attributes if layout.persons[name] not in held_out}
    listed, parts = [attributes[name] for name in persons], PARTS - bool(held_out)
    if lack := find_lack(listed, list(persons.values()), parts):
        return f"the notebooks will stop: {lack[0]}. {lack[1]}"
    return "" if held_out else describe_rare(zip(listed, persons.values(), strict=True))


def describe_rare(labels: Iterable[tuple[int, str]]) -> str:
    """Return which attributes few people have, of (class index, person) pairs, and what to do; or nothing."""
    people = Counter(attribute for attribute, _ in set(labels))
    rare = [f"{ATTRIBUTES[index]} ({people[index]})" for index in sorted(people) if people[index] < PARTS]
    if not rare:
        return ""
    found = f"few people have {', '.join(rare)}, and the test, a tenth of all people, may have none of them"
    return f"{found}. Add photos of other people, up to {PARTS} of each, or {BY_HAND}"


def count_images(count: int) -> str:
    """Return a number of images in words."""
    return f"{count} image" if count == 1 else f"{count} images"


def count_attributes(faces: Iterable[FaceRecord]) -> str:
    """Return how many faces have each attribute, in words."""
    counts = Counter(face.attribute for face in faces)
    return ", ".join(f"{name} {counts[index]}" for index, name in enumerate(ATTRIBUTES))
