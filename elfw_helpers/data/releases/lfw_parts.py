"""LFW Part Labels: 2,927 photos of 250 x 250 pixels from Labeled Faces in the Wild, and their masks.

    lfw_funneled/NAME/NAME_0001.jpg                  all 13,233 photos of LFW, aligned by funnelling
    parts_lfw_funneled_gt_images/NAME_0001.ppm       red hair, green skin, blue background
    parts_train.txt, parts_validation.txt, parts_test.txt    `NAME 1` a line: 1,500, 500 and 927 photos

http://vis-www.cs.umass.edu/lfw/part_labels/; Kae, Sohn, Lee and Learned-Miller, "Augmenting CRFs with
Boltzmann Machine Shape Priors for Image Labeling", CVPR 2013. Public loaders pad the number to four digits
and read the colours as here, so does lfw-dataset_comparisons.py of https://github.com/multimedia-eurecat/ELFW.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from elfw_helpers.data.image_names import Names, compose_unicode, read_lines
from elfw_helpers.data.images import open_image
from elfw_helpers.data.labels import BACKGROUND, EYEWEAR, HAIR, SKIN, decode_colours
from elfw_helpers.data.layout import SPLIT_NAMES
from elfw_helpers.data.releases.listing import AGAIN, NUMBER, Face, ReleaseListing, check_mask_size
from elfw_helpers.data.releases.root import find_entry, list_entries
from elfw_helpers.utils.errors import DataError

PHOTOS, MASKS = "lfw_funneled", "parts_lfw_funneled_gt_images"
# MD5 of the archives, which are looked at where they still lie beside what was unpacked. The first is that of
# torchvision's LFWPeople, the second that of several public loaders: LFW's own page could not be asked.
ARCHIVES = {
    "lfw-funneled.tgz": "1b42dfed7d15c9b2dd63d5e5840c86ad",
    "parts_lfw_funneled_gt_images.tgz": "3e7e26e801c3081d651c8c2ef3c45cfc",
}


def list_lfw_parts(root: Path) -> ReleaseListing:
    """Return what the release holds, without decoding an image."""
    listing = ReleaseListing(root)
    check_archives(listing)
    masks = find_masks(listing)
    for split in SPLIT_NAMES:
        read_split(listing, split, Names(masks))
    find_photos(listing, {name: mask for name, mask in masks.items() if name in listing.sides})
    unlisted = sorted(masks.keys() - listing.sides.keys())
    fix = "Take them out, or add them to one of the lists"
    listing.report_all(root / MASKS, "masks that none of the three lists names", unlisted, fix)
    return listing


def check_archives(listing: ReleaseListing) -> None:
    """Compare the archives that still lie in the folder with the published checksums."""
    for name, published in ARCHIVES.items():
        file = find_entry(listing.root, name)
        if file is None:
            continue
        digest = hashlib.md5(usedforsecurity=False)
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        if (found := digest.hexdigest()) != published:
            fix = "Download it again, and unpack it again"
            listing.report(file, f"its MD5 is {found}, and that of the published archive {published}", fix)


def find_masks(listing: ReleaseListing) -> dict[str, str]:
    """Return the masks by name; report files that are none."""
    folder = find_entry(listing.root, MASKS)
    files = list(list_entries(folder))
    others = [path.name for path in files if path.suffix.lower() != ".ppm"]
    listing.report_all(folder, "files that are no mask of the release (.ppm)", others, "Take them out")
    return {path.stem: f"{folder.name}/{path.name}" for path in files if path.suffix.lower() == ".ppm"}


def find_photos(listing: ReleaseListing, masks: Mapping[str, str]) -> None:
    """Pair the masks with their photos; LFW has many more photos than masks."""
    folder = find_entry(listing.root, PHOTOS)
    people = {compose_unicode(path.name): path for path in list_entries(folder)}
    missing = []
    for name, mask in masks.items():
        person, _, number = compose_unicode(name).rpartition("_")
        photo = people[person] / f"{people[person].name}_{number}.jpg" if person in people else None
        if photo is not None and photo.is_file():
            path = f"{folder.name}/{photo.parent.name}/{photo.name}"
            listing.faces.append(Face(name, path, (mask,)))
        else:
            missing.append(name)
    listing.report_all(folder, "photos to masks are missing", missing, AGAIN)


def read_split(listing: ReleaseListing, split: str, names: Names) -> None:
    """Read one of the three lists of faces, and report lines that name none."""
    file = find_entry(listing.root, f"parts_{split}.txt")
    if file is None:
        fix = "Download it from http://vis-www.cs.umass.edu/lfw/part_labels/, into this folder"
        listing.report(listing.root / f"parts_{split}.txt", "missing", fix)
        return
    missing = []
    for line, text in read_lines(file, Names(())):
        person, number = text.rsplit(maxsplit=1) if len(text.split()) > 1 else (text, "")
        if not NUMBER.fullmatch(number):
            listing.report(file, f"{text!r} is not `NAME number`", AGAIN, line)
            continue
        name = f"{person}_{int(number):04}"
        if known := names.find(name):
            listing.assign(known, split, file, line)
        else:
            missing.append(f"{name}{names.describe_nearest(name)}")
    listing.report_all(file, "masks that it names are missing", missing, AGAIN)


def paint_lfw_parts(root: Path, face: Face, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of a face, uint8 [H, W].

    Args:
        size: width and height of the photo.

    Raises:
        DataError: the mask cannot be read, or has another size or other colours.
    """
    file = root / face.masks[0]
    with open_image(file) as image:
        if image.format != "PPM" or image.mode != "RGB":
            raise DataError(file, f"a mask in format {image.format}, mode {image.mode}", AGAIN)
        colours = np.asarray(image)
    ids, unknown = decode_colours(colours)
    # LFW's blue background has the colour of ELFW's sunglasses; ELFW's black one is none of its colours.
    unknown |= ~np.isin(ids, (SKIN, HAIR, EYEWEAR))
    if unknown.any():
        row, column = np.argwhere(unknown)[0]
        found = f"the colour {tuple(colours[row, column].tolist())} in row {row}, column {column}"
        raise DataError(file, f"{found}, where red, green and blue are published", AGAIN)
    check_mask_size(file, ids, size)
    ids[ids == EYEWEAR] = BACKGROUND
    return ids
