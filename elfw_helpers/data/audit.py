"""`elfw check FOLDER`: everything that is off in a folder of faces, before anything trains on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from elfw_helpers.data.datasets import in_parallel
from elfw_helpers.data.image_names import COPY, source_of
from elfw_helpers.data.images import is_coloured, read_pair
from elfw_helpers.data.labels import ATTRIBUTES, PIXEL_CLASSES, attribute_from_mask
from elfw_helpers.data.layout import MANIFEST, PERSONS_FILE, Layout, and_more, scan_folder
from elfw_helpers.data.mask_doubts import (
    GAIN_OF_FEW,
    GAIN_OF_FOLDER,
    GAIN_OF_MASK,
    RENAMINGS,
    find_lacking,
    find_misfit,
    find_misfits,
    find_oddity,
    measure_renamings,
    share_zones,
    shrink,
)
from elfw_helpers.utils.errors import DataError

# Root mean square difference of two 16 x 16 thumbnails, in gray levels, below which they show one photo:
# on real photos the nearest two differ by over 20, one saved twice (other size, other quality) by under 2.
THUMBNAIL, SAME_PHOTO = 16, 4.0

NO_BACKGROUND = "the mask has no background", "Look at it, and at how it was made: background is class 0"


@dataclass
class Look:
    """What one face looked like when it was read.

    Attributes:
        size: width and height in pixels.
        attribute: class index, or None when nothing says which.
        shares: share of the image that each of the seven classes covers, or None without a mask.
        thumbnail: float32 [256], gray levels, to find a photo stored twice.
        relabelled: labels.txt says something else than the mask.
        oddity: what no mask of a face shows, and what to do about it; None if nothing.
        misfit: how the mask must be turned or moved to fit the image; None if it fits as it is.
        zones: shares of the classes in three zones of the mask, or None without a mask.
        gains: how much likelier each of RENAMINGS makes the mask, or None without a mask.
    """

    size: tuple[int, int]
    attribute: int | None
    shares: np.ndarray | None
    thumbnail: np.ndarray
    relabelled: bool = False
    oddity: tuple[str, str] | None = None
    misfit: str | None = None
    zones: np.ndarray | None = None
    gains: np.ndarray | None = None


@dataclass
class Audit:
    """Everything `elfw check` found.

    Attributes:
        layout: the files of the folder.
        looks: what each readable face looked like, by name.
        problems: what is wrong: loading the folder would fail, or results on it would mislead.
        suspects: what may be wrong: a person should look at it.
    """

    layout: Layout
    looks: dict[str, Look]
    problems: list[DataError]
    suspects: list[DataError]


def check_folder(root: str | Path) -> Audit:
    """Audit a folder in ELFW's layout, reading every file of it.

    Raises:
        DataError: there is no such folder.
    """
    layout = scan_folder(root)
    problems = list(layout.problems)
    looks: dict[str, Look] = {}
    results = in_parallel(lambda name: look_at(layout, name), list(layout.images), "checking faces")
    for name, look in zip(layout.images, results, strict=True):
        if isinstance(look, DataError):
            problems.append(look)
        else:
            looks[name] = look
    problems.extend(find_shared_persons(layout))
    problems.extend(find_repeated_photos(layout, looks))
    return Audit(layout, looks, problems, list(find_suspects(layout, looks)))


def look_at(layout: Layout, name: str) -> Look | DataError:
    """Read one face and note what the audit needs of it, or return what is wrong with its files."""
    try:
        image, mask = read_pair(layout.images[name], layout.masks.get(name))
        coloured = mask is not None and is_coloured(layout.masks[name])
    except DataError as error:
        return error
    return examine(image, mask, layout.listed.get(name), coloured)


def examine(image: Image.Image, mask: np.ndarray | None, listed: int | None, coloured: bool = False) -> Look:
    """Note what the audit needs of one face.

    Args:
        image: RGB.
        mask: uint8 [H, W], class ids, of the image's size; None without masks.
        listed: class index by labels.txt; None without one.
        coloured: the mask was stored in colours, not in class ids.
    """
    tiny = image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    thumbnail = np.asarray(tiny, np.float32).ravel()
    if mask is None:
        return Look(image.size, listed, None, thumbnail)
    ruled = attribute_from_mask(mask)
    shares = np.bincount(mask.ravel(), minlength=len(PIXEL_CLASSES)) / mask.size
    edges, small = shrink(image, mask)
    zones = share_zones(small)
    return Look(
        size=image.size,
        attribute=ruled if listed is None else listed,
        shares=shares,
        thumbnail=thumbnail,
        relabelled=listed is not None and listed != ruled,
        oddity=find_oddity(mask, shares),
        misfit=find_misfit(edges, small),
        zones=zones,
        gains=measure_renamings(zones, coloured),
    )


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


def find_repeated_photos(layout: Layout, looks: dict[str, Look]) -> Iterator[DataError]:
    """Yield an error for every photo that is stored twice, be it at another size or quality."""
    if not looks:
        return
    split_of = {name: split for split, names in layout.splits.items() for name in names}
    names, thumbnails = list(looks), np.stack([look.thumbnail for look in looks.values()])
    _, sources = np.unique([source_of(name) for name in names], return_inverse=True)
    for index, name in enumerate(names[1:], 1):
        distance = np.sqrt(((thumbnails[:index] - thumbnails[index]) ** 2).mean(1))
        # Augmented copies of one face look alike, and are meant to.
        distance[sources[:index] == sources[index]] = np.inf
        if distance.min() >= SAME_PHOTO:
            continue
        twin = names[distance.argmin()]
        places = [split_of.get(twin), split_of.get(name)]
        across = f" (one in {places[0]}, one in {places[1]})" if len(set(places)) > 1 else ""
        found = f"the same picture as {layout.images[twin].name}{across}"
        yield DataError(layout.images[name], found, "Remove one of the two")


def find_suspects(layout: Layout, looks: dict[str, Look]) -> Iterator[DataError]:
    """Yield what a person should look at: doubtful masks, labels that contradict theirs, stray copies."""
    yield from find_doubtful_masks(layout, looks)
    relabelled = [name for name, look in looks.items() if look.relabelled]
    if relabelled:
        found = f"{relabelled[0]} is labelled otherwise than its mask by the rule" + and_more(relabelled)
        yield DataError(layout.root / "labels.txt", found, "Look at both, unless it is on purpose")
    copies = [name for name in layout.images if COPY.fullmatch(name) and name not in layout.origins]
    if copies:
        found = f"is named like an augmented copy, and no {MANIFEST} says of which face{and_more(copies)}"
        fix = f"Copy the {MANIFEST} that `elfw augment` wrote into the folder"
        yield DataError(layout.images[copies[0]], found, fix)


def find_doubtful_masks(layout: Layout, looks: dict[str, Look]) -> Iterator[DataError]:
    """Yield a suspect for each doubt about masks, however many it is about."""
    masked = {name: look for name, look in looks.items() if look.shares is not None}
    if not masked:
        return
    doubts: dict[tuple[str, str], list[str]] = {}
    renamed = find_renamed_masks({name: look.gains for name, look in masked.items()})
    zones = {name: look.zones for name, look in masked.items()}
    lacking = find_lacking(zones)
    misfits = find_misfits({name: look.misfit for name, look in masked.items()}, list(zones.values()))
    for name, look in masked.items():
        if name in renamed:
            mistake = RENAMINGS[renamed[name]]
            doubt = f"the mask seems to have {mistake.mistake}", mistake.fix
            doubts.setdefault(doubt, []).append(name)
        elif look.oddity:
            doubts.setdefault(look.oddity, []).append(name)
        elif name in lacking:
            doubts.setdefault(NO_BACKGROUND, []).append(name)
        if name in misfits:
            moved = "moved" in misfits[name]
            cause = "ELFW version 1 had displaced masks" if moved else "EXIF may turn the photo alone"
            doubt = f"the mask would fit better {misfits[name]}", f"Look at both; {cause}"
            doubts.setdefault(doubt, []).append(name)
    for (found, fix), names in doubts.items():
        yield DataError(layout.masks[names[0]], found + and_more(names), fix)


def find_renamed_masks(gains: dict[str, np.ndarray]) -> dict[str, int]:
    """Return which of RENAMINGS the masks call for, by name: all masks of a folder, or single ones of it.

    Args:
        gains: by name, as `measure_renamings` returns them.
    """
    if not gains:
        return {}
    table = np.stack(list(gains.values()))
    best = int(table.mean(0).argmax())
    if table[:, best].mean() > GAIN_OF_FOLDER + GAIN_OF_FEW / len(table):
        return dict.fromkeys(gains, best)
    return {name: int(gain.argmax()) for name, gain in gains.items() if gain.max() > GAIN_OF_MASK}


def describe(audit: Audit, most: int = 20) -> str:
    """Return the audit as text: counts, files passed over, problems and suspects, at most `most` of each."""
    seen = count_images(len(audit.layout.images))
    lines = [f"{audit.layout.root}: {seen}, {len(audit.looks)} of them readable"]
    if audit.looks:
        lines.extend(describe_faces(audit))
    passed_over = audit.layout.passed_over
    titles = [("file passed over", "files passed over", passed_over)] if passed_over else []
    titles += [("problem", "problems", audit.problems), ("suspect", "suspects", audit.suspects)]
    for one, several, faults in titles:
        lines.append(f"{len(faults)} {one if len(faults) == 1 else several}")
        lines.extend(f"  - {fault}" for fault in faults[:most])
        if len(faults) > most:
            lines.append(f"  - and {len(faults) - most} more")
    # Names that are no Unicode, as old archives leave them, would stop the printing.
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def describe_faces(audit: Audit) -> Iterator[str]:
    """Yield what was counted in the faces that can be read: sizes, attributes, pixels, persons and splits."""
    layout, looks = audit.layout, audit.looks
    sizes = Counter(look.size for look in looks.values()).most_common()
    shown = ", ".join(f"{width} x {height} ({count})" for (width, height), count in sizes[:5])
    yield f"  sizes       {shown}" + (f" and {len(sizes) - 5} more" if len(sizes) > 5 else "")
    yield f"  attributes  {count_attributes(looks.values())}"
    yield from describe_pixels(looks)
    persons = len(set(layout.persons.values()))
    told = layout.persons_from == f"by {PERSONS_FILE}"
    remark = "" if told else f" ({PERSONS_FILE} can say who is on each)"
    yield f"  persons     {persons}, {layout.persons_from}{remark}"
    for split, names in layout.splits.items():
        shares = count_attributes(looks[name] for name in names if name in looks)
        yield f"  {split:<11} {count_images(len(names))}: {shares}"


def count_images(count: int) -> str:
    """Return a number of images in words."""
    return f"{count} image" if count == 1 else f"{count} images"


def count_attributes(looks: Iterable[Look]) -> str:
    """Return how many faces have each attribute, in words."""
    counts = Counter(look.attribute for look in looks)
    return ", ".join(f"{name} {counts[index]}" for index, name in enumerate(ATTRIBUTES))


def describe_pixels(looks: dict[str, Look]) -> Iterator[str]:
    """Yield a line a pixel class: its share of all pixels and the number of images that show it."""
    shares = np.array([look.shares for look in looks.values() if look.shares is not None])
    if not len(shares):
        yield "  pixels      no masks"
        return
    for index, name in enumerate(PIXEL_CLASSES):
        column = shares[:, index]
        lead = "pixels" if index == 0 else ""
        shown = f"{column.mean():6.1%} of the pixels, in {count_images(np.count_nonzero(column))}"
        yield f"  {lead:<11} {name:<15} {shown}"
