"""CelebAMask-HQ: 30,000 photos of 1024 x 1024 pixels, and one mask of 512 x 512 for each part of a face.

    CelebA-HQ-img/N.jpg                          N from 0
    CelebAMask-HQ-mask-anno/F/NNNNN_PART.png     F is N // 2000; white inside the part, black outside
    CelebA-HQ-to-CelebA-mapping.txt              idx orig_idx orig_file
    CelebAMask-HQ-attribute-anno.txt             the number of photos, 40 names, `N.jpg` with 40 times 1 or -1
    identity_CelebA.txt                          of CelebA, given out on request: orig_file person

Lee, Liu, Wu and Luo, "MaskGAN: Towards Diverse and Interactive Facial Image Manipulation", CVPR 2020. The
formats are those that its own scripts read, `g_mask.py` and `g_partition.py` of
https://github.com/switchablenorms/CelebAMask-HQ. The inside of a part is what is not black for the first of
them, and what is white in https://github.com/zllrunning/face-parsing.PyTorch: no mask has grey.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from elfw_helpers.data.image_names import Names, read_lines
from elfw_helpers.data.images import open_image
from elfw_helpers.data.labels import BACKGROUND, CAP, EYEWEAR, HAIR, HAIR_ONLY, SKIN, SPECTACLES, WEARABLE
from elfw_helpers.data.layout import PERSONS_FILE, SPLIT_NAMES
from elfw_helpers.data.releases.listing import AGAIN, NUMBER, Face, ReleaseListing, check_mask_size
from elfw_helpers.data.releases.root import find_entry, list_entries
from elfw_helpers.utils.errors import DataError

PHOTOS, MASKS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
MAPPING, ATTRIBUTES = "CelebA-HQ-to-CelebA-mapping.txt", "CelebAMask-HQ-attribute-anno.txt"
IDENTITIES = "identity_CelebA.txt"
GLASSES, HAT = "Eyeglasses", "Wearing_Hat"

# In the order in which g_mask.py paints them, a later part over an earlier one, with one exception: it paints
# eyes over glasses, and in ELFW glasses are whole, lenses included. A neck is skin, as on the rendered faces.
PARTS = {
    **dict.fromkeys(("skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"), SKIN),
    **dict.fromkeys(("mouth", "u_lip", "l_lip"), SKIN),
    "eye_g": EYEWEAR,
    "hair": HAIR,
    "hat": WEARABLE,
    # An earring, a necklace and clothes are none of ELFW's classes.
    "ear_r": BACKGROUND,
    "neck_l": BACKGROUND,
    "neck": SKIN,
    "cloth": BACKGROUND,
}
ORDER = {part: place for place, part in enumerate(PARTS)}
PER_FOLDER = 2000
PHOTO, MASK = re.compile(r"(0|[1-9][0-9]{0,4})\.jpg", re.I), re.compile(r"([0-9]{5})_(\w+)\.png", re.I)
# CelebA's photos of its training, validation and test split, by their number from 0 (g_partition.py).
FIRST_VALIDATION, FIRST_TEST = 162_771, 182_638


def list_celebamask_hq(root: Path) -> ReleaseListing:
    """Return what the release holds, without decoding an image."""
    listing = ReleaseListing(root)
    photos, masks = find_photos(listing), find_masks(listing)
    numbers = read_mapping(listing, photos)
    whole = sorted(photos.keys() & masks.keys() & (set(numbers.values()) or photos.keys()))
    listing.faces = [Face(str(number), photos[number], masks[number]) for number in whole]
    folders = root / PHOTOS, root / MASKS
    without_mask, without_photo = photos.keys() - masks.keys(), masks.keys() - photos.keys()
    listing.report_all(folders[0], "photos without a mask", to_texts(without_mask), AGAIN)
    listing.report_all(folders[1], "masks without a photo", to_texts(without_photo), AGAIN)
    read_told(listing, photos)
    read_persons(listing, numbers)
    return listing


def to_texts(numbers: set[int]) -> list[str]:
    """Return numbers in ascending order, as texts."""
    return list(map(str, sorted(numbers)))


def find_photos(listing: ReleaseListing) -> dict[int, str]:
    """Return the photos by number; report files that are none."""
    photos, others = {}, []
    folder = find_entry(listing.root, PHOTOS)
    for path in list_entries(folder):
        if match := PHOTO.fullmatch(path.name):
            photos[int(match[1])] = f"{folder.name}/{path.name}"
        else:
            others.append(path.name)
    listing.report_all(folder, "files that are no photo of the release (N.jpg)", others, "Take them out")
    return photos


def find_masks(listing: ReleaseListing) -> dict[int, tuple[str, ...]]:
    """Return the masks of parts by number, in the order of painting; report files that are none."""
    masks: dict[int, list[tuple[int, str]]] = {}
    others, unknown = [], []
    folder = find_entry(listing.root, MASKS)
    folders = tqdm(list(list_entries(folder)), "looking for masks", delay=2, unit="folder", leave=False)
    for path in (path for inner in folders for path in list_entries(inner)):
        match, place = MASK.fullmatch(path.name), f"{path.parent.name}/{path.name}"
        if match is None or path.parent.name != str(int(match[1]) // PER_FOLDER):
            others.append(place)
        elif match[2].lower() not in PARTS:
            unknown.append(place)
        else:
            part = ORDER[match[2].lower()], f"{folder.name}/{place}"
            masks.setdefault(int(match[1]), []).append(part)
    fix = "Take them out, or unpack the release again: NNNNN_PART.png lies in the folder NNNNN // 2000"
    listing.report_all(folder, "files that are no mask of the release", others, fix)
    fix = f"Take them out: the parts are {', '.join(PARTS)}"
    listing.report_all(folder, "masks of unknown parts", unknown, fix)
    return {number: tuple(file for _, file in sorted(parts)) for number, parts in masks.items()}


def read_rows(listing: ReleaseListing, file: Path, count: int) -> Iterator[tuple[int, list[str]]]:
    """Yield number and columns of each line of a file, and report lines with fewer columns than `count`."""
    for line, text in read_lines(file, Names(())):
        columns = text.split()
        if columns[0] == "idx":
            continue
        if len(columns) < count:
            listing.report(file, f"{text!r} has not {count} columns", AGAIN, line)
        else:
            yield line, columns


def read_mapping(listing: ReleaseListing, photos: dict[int, str]) -> dict[str, int]:
    """Freeze CelebA's own split, and return the number of each photo by CelebA's name of it."""
    file = find_entry(listing.root, MAPPING)
    if file is None:
        fix = f"{AGAIN}: without it, nobody knows which photos are for the test"
        listing.report(listing.root / MAPPING, "missing", fix)
        return {}
    numbers = {}
    for line, (number, original, name, *_) in read_rows(listing, file, 3):
        if not (NUMBER.fullmatch(number) and NUMBER.fullmatch(original)):
            listing.report(file, f"{number!r} and {original!r} should be numbers", AGAIN, line)
            continue
        numbers[name] = int(number)
        side = (int(original) >= FIRST_VALIDATION) + (int(original) >= FIRST_TEST)
        listing.assign(str(int(number)), SPLIT_NAMES[side], file, line)
    known = set(numbers.values())
    listing.report_all(file, "photos that it names are missing", to_texts(known - photos.keys()), AGAIN)
    listing.report_all(file, "photos that it does not name", to_texts(photos.keys() - known), "Take them out")
    return numbers


def read_told(listing: ReleaseListing, photos: dict[int, str]) -> None:
    """Read what CelebA says of glasses and hats, and compare the number of photos that the file gives."""
    file = find_entry(listing.root, ATTRIBUTES)
    if file is None:
        listing.report(listing.root / ATTRIBUTES, "missing", AGAIN)
        return
    lines = read_lines(file, Names(()))
    if len(lines) < 2 or not NUMBER.fullmatch(lines[0][1]) or not {GLASSES, HAT} <= set(lines[1][1].split()):
        found = "does not begin with the number of photos and the names of the attributes"
        listing.report(file, found, AGAIN, 1)
        return
    (_, count), (_, header), *rows = lines
    names = header.split()
    if int(count) != len(rows):
        listing.report(file, f"lists {len(rows):,} photos, and says {int(count):,}", AGAIN)
    for line, text in rows:
        name, *values = text.split()
        if len(values) != len(names):
            listing.report(file, f"{len(values)} values, and {len(names)} names", AGAIN, line)
            continue
        told = dict(zip(names, values, strict=True))
        attribute = SPECTACLES if told[GLASSES] == "1" else HAIR_ONLY
        listing.told[Path(name).stem] = CAP if told[HAT] == "1" else attribute
    unlisted = {number for number in photos if str(number) not in listing.told}
    listing.report_all(file, "photos that it does not name", to_texts(unlisted), AGAIN)


def read_persons(listing: ReleaseListing, numbers: dict[str, int]) -> None:
    """Read who is on each photo, where CelebA's list of it is there."""
    file = find_entry(listing.root, IDENTITIES)
    if file is None:
        found = "not there, so each photo counts as another person's"
        fix = "CelebA's own split, which is used, keeps people apart. To know them, ask CelebA for the file"
        listing.remark(listing.root / IDENTITIES, found, fix)
        return
    persons = {}
    for _, (name, person, *_) in read_rows(listing, file, 2):
        if name in numbers:
            persons[str(numbers[name])] = person
    listing.columns[PERSONS_FILE] = persons
    unknown = [name for name in numbers if str(numbers[name]) not in persons]
    listing.report_all(file, "photos that it does not name", unknown, "Download it again")


def paint_celebamask_hq(root: Path, face: Face, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of a face, uint8 [H, W], at the size of its photo.

    Args:
        size: width and height of the photo, a whole multiple of those of its masks.

    Raises:
        DataError: a mask cannot be read, or has another size than the others.
    """
    mask = None
    for file in face.masks:
        inside = read_part(root / file)
        if mask is None:
            mask = np.full(inside.shape, BACKGROUND, np.uint8)
        if mask.shape != inside.shape:
            found = f"{inside.shape[1]} x {inside.shape[0]} pixels, and other parts of the face have "
            raise DataError(root / file, f"{found}{mask.shape[1]} x {mask.shape[0]}", AGAIN)
        mask[inside] = PARTS[Path(file).stem.partition("_")[2].lower()]
    factor = size[0] // mask.shape[1]
    if size == (factor * mask.shape[1], factor * mask.shape[0]):
        mask = mask.repeat(factor, 0).repeat(factor, 1)
    check_mask_size(root / file, mask, size)
    return mask


def read_part(file: Path) -> np.ndarray:
    """Return which pixels lie inside a part, boolean [H, W]: the white ones of a black and white picture.

    Raises:
        DataError: it cannot be read, or holds other colours.
    """
    with open_image(file) as image:
        if image.mode not in ("1", "L", "P", "RGB"):
            raise DataError(file, f"a mask in mode {image.mode}, where L or RGB is published", AGAIN)
        grey = np.asarray(image.convert("L"))
    inside = grey == 255
    if not (inside | (grey == 0)).all():
        raise DataError(file, "a mask with other colours than black and white", AGAIN)
    return inside
