"""`elfw check FOLDER`: everything that is off in a folder of faces, before anything trains on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from elfw_helpers.datasets import in_parallel
from elfw_helpers.errors import DataError
from elfw_helpers.images import read_pair
from elfw_helpers.labels import ATTRIBUTES, PIXEL_CLASSES, attribute_from_mask
from elfw_helpers.layout import Layout, and_more, scan_folder
from elfw_helpers.splits import persons_of

# A mask is suspect when moving it by at least this share of the width ...
DISPLACED = 0.04
# ... puts its outline on edges stronger by this factor. tests/test_check.py measures both on real photos.
STRONGER = 1.2
# Masks and images are compared on a grid of this many cells, for moves of up to a fifth of the width.
GRID, REACH = 64, 12
# Root mean square difference of two 16 x 16 thumbnails, in gray levels, below which they show one photo:
# on real photos the nearest two differ by over 20, one saved twice (other size, other quality) by under 2.
THUMBNAIL, SAME_PHOTO = 16, 4.0


@dataclass
class Look:
    """What one face looked like when it was read.

    Attributes:
        size: width and height in pixels.
        attribute: class index, or None when nothing says which.
        shares: share of the image that each of the seven classes covers, or None without a mask.
        thumbnail: float32 [256], gray levels, to find a photo stored twice.
        shift: how far (right, down) the mask fits better, in shares of the width; None if it fits as it is.
        relabelled: labels.txt says something else than the mask.
    """

    size: tuple[int, int]
    attribute: int | None
    shares: np.ndarray | None
    thumbnail: np.ndarray
    shift: tuple[float, float] | None
    relabelled: bool


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
        DataError: there is no such folder, or no image in it.
    """
    problems: list[DataError] = []
    layout = scan_folder(root, report=problems.append)
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
    except DataError as error:
        return error
    listed = layout.listed.get(name)
    small = image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    thumbnail = np.asarray(small, np.float32).ravel()
    if mask is None:
        return Look(image.size, listed, None, thumbnail, None, False)
    ruled = attribute_from_mask(mask)
    return Look(
        size=image.size,
        attribute=ruled if listed is None else listed,
        shares=np.bincount(mask.ravel(), minlength=len(PIXEL_CLASSES)) / mask.size,
        thumbnail=thumbnail,
        shift=find_shift(image, mask),
        relabelled=listed is not None and listed != ruled,
    )


def find_shift(image: Image.Image, mask: np.ndarray) -> tuple[float, float] | None:
    """Return how far (right, down) a mask must move to fit, in shares of the width; None if it fits.

    The outline of a mask that fits lies on edges of the image. The mean edge strength under the outline
    is computed for all moves at once, as a cross-correlation by Fourier transform.

    Args:
        image: RGB.
        mask: uint8 [H, W], class ids, of the image's size.
    """
    gray = np.asarray(image.convert("L").resize((GRID, GRID), Image.Resampling.BOX), np.float32)
    # The square root keeps one strong edge, such as a collar, from outweighing the whole face.
    edges = np.sqrt(np.hypot(*np.gradient(gray)))
    outline = draw_outline(np.asarray(Image.fromarray(mask).resize((GRID, GRID), Image.Resampling.NEAREST)))
    padded = (2 * GRID, 2 * GRID)
    moves = np.conj(np.fft.rfft2(outline, padded))
    under = np.fft.irfft2(np.fft.rfft2(edges, padded) * moves, padded)
    length = np.fft.irfft2(np.fft.rfft2(np.ones_like(edges), padded) * moves, padded)
    strength = np.roll(under / np.maximum(length, 1), (REACH, REACH), (0, 1))[
        : 2 * REACH + 1, : 2 * REACH + 1
    ]
    down, right = np.unravel_index(strength.argmax(), strength.shape) - np.array([REACH, REACH])
    moved_far = np.hypot(down, right) >= DISPLACED * GRID
    if moved_far and strength.max() > STRONGER * strength[REACH, REACH]:
        return float(right / GRID), float(down / GRID)
    return None


def draw_outline(mask: np.ndarray) -> np.ndarray:
    """Return float32 [H, W], one where a neighbour is of another class."""
    outline = np.zeros(mask.shape, np.float32)
    beside, below = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    for edge, first, second in (
        (beside, np.s_[:, 1:], np.s_[:, :-1]),
        (below, np.s_[1:], np.s_[:-1]),
    ):
        outline[first] += edge
        outline[second] += edge
    return np.minimum(outline, 1)


def find_shared_persons(layout: Layout) -> Iterator[DataError]:
    """Yield an error for every person with photos in two frozen splits."""
    person_of = dict(zip(layout.images, persons_of(list(layout.images)), strict=True))
    home: dict[str, tuple[str, str]] = {}
    for split, names in layout.splits.items():
        for name in names:
            first_split, first_name = home.setdefault(person_of[name], (split, name))
            if first_split != split:
                found = f"{person_of[name]} is in {first_split} ({first_name}) and in {split} ({name})"
                fix = "Keep all photos of a person in one split: a network knows faces again"
                yield DataError(layout.root / f"{split}.txt", found, fix)


def find_repeated_photos(layout: Layout, looks: dict[str, Look]) -> Iterator[DataError]:
    """Yield an error for every photo that is stored twice, be it at another size or quality."""
    if not looks:
        return
    split_of = {name: split for split, names in layout.splits.items() for name in names}
    names, thumbnails = list(looks), np.stack([look.thumbnail for look in looks.values()])
    for index, name in enumerate(names[1:], 1):
        distance = np.sqrt(((thumbnails[:index] - thumbnails[index]) ** 2).mean(1))
        if distance.min() >= SAME_PHOTO:
            continue
        twin = names[distance.argmin()]
        places = [split_of.get(twin), split_of.get(name)]
        across = f" (one in {places[0]}, one in {places[1]})" if len(set(places)) > 1 else ""
        found = f"the same picture as {layout.images[twin].name}{across}"
        yield DataError(layout.images[name], found, "Remove one of the two")


def find_suspects(layout: Layout, looks: dict[str, Look]) -> Iterator[DataError]:
    """Yield what a person should look at: displaced masks, labels that contradict their mask."""
    for name, look in looks.items():
        if look.shift:
            right, down = look.shift
            found = f"the mask would fit better moved {right:+.0%} of the width right, {down:+.0%} down"
            yield DataError(layout.masks[name], found, "Look at both; ELFW version 1 had displaced masks")
    relabelled = [name for name, look in looks.items() if look.relabelled]
    if relabelled:
        found = f"{relabelled[0]} is labelled otherwise than its mask by the rule" + and_more(relabelled)
        yield DataError(layout.root / "labels.txt", found, "Look at both, unless it is on purpose")


def describe(audit: Audit, most: int = 20) -> str:
    """Return the audit as text: counts, sizes, splits, then problems and suspects, at most `most` of each."""
    lines = [f"{audit.layout.root}: {len(audit.layout.images)} images, {len(audit.looks)} of them readable"]
    sizes = Counter(look.size for look in audit.looks.values()).most_common()
    shown = ", ".join(f"{width} x {height} ({count})" for (width, height), count in sizes[:5])
    lines.append(f"  sizes       {shown}" + (f" and {len(sizes) - 5} more" if len(sizes) > 5 else ""))
    attributes = Counter(look.attribute for look in audit.looks.values())
    lines.append("  attributes  " + ", ".join(f"{name} {attributes[i]}" for i, name in enumerate(ATTRIBUTES)))
    lines.extend(describe_pixels(audit.looks))
    for split, names in audit.layout.splits.items():
        counts = Counter(audit.looks[name].attribute for name in names if name in audit.looks)
        shares = ", ".join(f"{name} {counts[i]}" for i, name in enumerate(ATTRIBUTES))
        lines.append(f"  {split:<11} {len(names)} images: {shares}")
    for title, faults in (("problem", audit.problems), ("suspect", audit.suspects)):
        lines.append(f"{len(faults)} {title}{'' if len(faults) == 1 else 's'}")
        lines.extend(f"  - {fault}" for fault in faults[:most])
        if len(faults) > most:
            lines.append(f"  - and {len(faults) - most} more")
    return "\n".join(lines)


def describe_pixels(looks: dict[str, Look]) -> Iterator[str]:
    """Yield a line a pixel class: its share of all pixels and the number of images that show it."""
    shares = np.array([look.shares for look in looks.values() if look.shares is not None])
    if not len(shares):
        yield "  pixels      no masks"
        return
    for index, name in enumerate(PIXEL_CLASSES):
        column = shares[:, index]
        lead = "pixels" if index == 0 else ""
        shown = f"{column.mean():6.1%} of the pixels, in {np.count_nonzero(column)} images"
        yield f"  {lead:<11} {name:<15} {shown}"
