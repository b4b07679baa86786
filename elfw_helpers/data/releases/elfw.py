"""ELFW: photos of 250 x 250 pixels from Labeled Faces in the Wild with masks in seven classes, and copies.

    elfw_01_basic/faces/NAME_0001.jpg      the photo
    elfw_01_basic/labels/NAME_0001.png     its mask, in ELFW's colours
    elfw_01_basic/elfw_set_NN.txt          names that are held out: 00 sunglasses, 01 hands, 02 general
    elfw_AugmentedGlasses/                 faces/ and labels/ of copies on which an object was put, such as
    (also Hands, Masks)                    NAME_0001_elfw-sunglasses-12

Redondo and Gibert, "Extended Labeled Faces in-the-Wild (ELFW)", arXiv 2006.13980. The formats are those that
its own loader reads, elfw.py of https://github.com/multimedia-eurecat/ELFW. Its script for hands names copies
NAME_0001-SET-NUMBER, so a copy is known by the name of a face in front of `_` or `-`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from elfw_helpers.data.image_names import Names, find_source, infer_persons
from elfw_helpers.data.images import read_mask
from elfw_helpers.data.layout import OFFICIAL_FOLDER, PERSONS_FILE, Layout
from elfw_helpers.data.releases.listing import AGAIN, Face, ReleaseListing, check_mask_size
from elfw_helpers.data.releases.root import find_entry, list_entries

AUGMENTED, HELD_OUT = re.compile(r"elfw_.+", re.I), re.compile(r"elfw_set_\d\d\.txt", re.I)
SEPARATOR = re.compile(r"[_-]")


def list_elfw(root: Path) -> ReleaseListing:
    """Return what the release holds, without decoding an image."""
    listing = ReleaseListing(root)
    basic = find_entry(root, OFFICIAL_FOLDER)
    faces = find_pairs(listing, basic, "")
    listing.faces += faces
    names = [face.name for face in faces]
    read_held_out(listing, basic, names)
    for folder in list_entries(root):
        if folder != basic and folder.is_dir() and AUGMENTED.fullmatch(folder.name):
            add_copies(listing, folder, names)
    return listing


def find_pairs(listing: ReleaseListing, folder: Path, inside: str) -> list[Face]:
    """Return the faces of one folder that have a photo and a mask, and report the others."""
    layout = Layout(folder)
    kinds = {}
    for kind in ("faces", "labels"):
        place = find_entry(folder, kind)
        if place is None:
            listing.report(folder / kind, "missing", AGAIN)
            return []
        kinds[kind] = layout.list_files(place)
    photos, masks = kinds["faces"], kinds["labels"]
    known = Names(masks)
    pairs = {name: masks[found] for name in photos if (found := known.find(name))}
    used = set(pairs.values())
    alone = [name for name in photos if name not in pairs]
    listing.report_all(folder / "faces", "photos without a mask", alone, AGAIN)
    alone = [name for name, path in masks.items() if path not in used]
    listing.report_all(folder / "labels", "masks without a photo", alone, AGAIN)
    surplus = [fault for fault in layout.passed_over if not fault.file.name.startswith(".")]
    listing.problems += [*layout.problems, *surplus]

    def to_text(path: Path) -> str:
        return path.relative_to(listing.root).as_posix()

    return [Face(name, to_text(photos[name]), (to_text(mask),), inside) for name, mask in pairs.items()]


def read_held_out(listing: ReleaseListing, basic: Path, names: list[str]) -> None:
    """Read the lists of names that are held out; report what they name that is not there."""
    layout = Layout(basic, {name: basic / name for name in names})
    files = [path for path in list_entries(basic) if HELD_OUT.fullmatch(path.name)]
    for file in files:
        found = [layout.find_name(file, line, text) for line, text in layout.read_lines(file)]
        # A name that stands there twice is held out once.
        listing.lists[file.name.lower()] = list(dict.fromkeys(filter(None, found)))
    if not files:
        fix = f"{AGAIN}: without it, scores cannot be compared with the paper's"
        listing.report(basic / "elfw_set_00.txt", "missing", fix)
    listing.problems += layout.problems


def add_copies(listing: ReleaseListing, folder: Path, names: list[str]) -> None:
    """Add the copies of faces, each with who is on the face that it was made of: no split parts them."""
    copies = find_pairs(listing, folder, folder.name)
    persons = dict(zip(names, infer_persons(names), strict=True))
    sources = {copy.name: find_original(copy.name, persons) for copy in copies}
    unknown = [name for name, source in sources.items() if source is None]
    fix = f"Take them out: they may show people of the test. They are named like a face of {OFFICIAL_FOLDER}"
    listing.report_all(folder, "copies of no face that is there", unknown, fix)
    known = {name: persons[source] for name, source in sources.items() if source is not None}
    listing.columns[f"{folder.name}/{PERSONS_FILE}"] = known
    listing.faces += [copy for copy in copies if copy.name in known]


def find_original(name: str, names: Collection[str]) -> str | None:
    """Return the face that a copy was made of: the longest name in front of `_` or `-`; None if none is."""
    if (source := find_source(name)) in names:
        return source
    cuts = (name[: match.start()] for match in SEPARATOR.finditer(name))
    return max((cut for cut in cuts if cut in names), key=len, default=None)


def paint_elfw(root: Path, face: Face, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of a face, uint8 [H, W].

    Args:
        size: width and height of the photo.

    Raises:
        DataError: the mask cannot be read, or has another size or other colours.
    """
    file = root / face.masks[0]
    mask = read_mask(file)
    check_mask_size(file, mask, size)
    return mask
