"""Releases of a few painted faces, in the formats of CelebAMask-HQ, ELFW and LFW's parts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from elfw_helpers.data.labels import BACKGROUND, EYEWEAR, HAIR, SKIN, WEARABLE, encode_colours
from tests.faces import SIDE, paint_face

# The parts of a face on a square of 32 pixels: rows and columns.
PARTS = {
    "skin": np.s_[8:24, 8:24],
    "nose": np.s_[15:20, 14:18],
    "l_eye": np.s_[12:14, 10:13],
    "r_eye": np.s_[12:14, 19:22],
    "l_brow": np.s_[9:11, 9:13],
    "r_brow": np.s_[9:11, 19:23],
    "l_ear": np.s_[12:16, 6:8],
    "r_ear": np.s_[12:16, 24:26],
    "mouth": np.s_[21:22, 13:19],
    "u_lip": np.s_[20:21, 13:19],
    "l_lip": np.s_[22:23, 13:19],
    "hair": np.s_[4:9, 6:26],
    "neck": np.s_[24:30, 12:20],
    "cloth": np.s_[29:32, 4:28],
    "ear_r": np.s_[15:17, 6:7],
    "neck_l": np.s_[28:29, 10:12],
}
GLASSES, HAT = {"eye_g": np.s_[11:15, 9:23]}, {"hat": np.s_[1:6, 5:27]}
# Number, CelebA's number from 0, person, further parts. 2000 is the first of the folder 1.
CELEBS = (
    (0, 119_613, 7, {}),
    (1, 99_094, 8, GLASSES),
    (2, 162_771, 9, {}),
    (3, 182_637, 9, HAT),
    (2000, 182_638, 10, GLASSES | HAT),
)
MAPPING_HEADER = "idx      orig_idx     orig_file\n"
LFW = {"train": ("Ann_Lee", 1), "validation": ("Bo_Li", 12), "test": ("Cé_Nu", 3)}


def write_part(file: Path, place: tuple[slice, slice], scale: int = 1, mode: str = "RGB") -> None:
    """Write the mask of one part, white on black."""
    inside = np.zeros((SIDE, SIDE), np.uint8)
    inside[place] = 255
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(inside.repeat(scale, 0).repeat(scale, 1)).convert(mode).save(file)


def write_photo(file: Path, seed: int, side: int = SIDE) -> None:
    """Write a painted face as JPEG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(paint_face(0, seed)[0]).resize((side, side)).save(file, "JPEG")


def write_celebamask_hq(root: Path, scale: int = 1, celebs: Sequence[tuple] = CELEBS) -> Path:
    """Write photos of 64 and masks of 32 pixels, or `scale` times as many (16 gives the published sizes)."""
    mapping, people = [MAPPING_HEADER], []
    attributes = [f"{len(celebs)}\n", "5_o_Clock_Shadow Eyeglasses Wearing_Hat Young \n"]
    masks: dict[str, Path] = {}
    for number, original, person, more in celebs:
        write_photo(root / "CelebA-HQ-img" / f"{number}.jpg", number, 2 * SIDE * scale)
        folder = root / "CelebAMask-HQ-mask-anno" / str(number // 2000)
        folder.mkdir(parents=True, exist_ok=True)
        for part, place in (PARTS | more).items():
            file = folder / f"{number:05}_{part}.png"
            if part in masks:
                shutil.copy(masks[part], file)
            else:
                write_part(masks.setdefault(part, file), place, scale)
        mapping.append(f"{number:<8}   {original:<10}   {original + 1:06}.jpg\n")
        glasses, hat = (1 if part in more else -1 for part in ("eye_g", "hat"))
        attributes.append(f"{number}.jpg  -1 {glasses} {hat} 1\n")
        people.append(f"{original + 1:06}.jpg {person}\n")
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text("".join(mapping), encoding="utf-8")
    (root / "CelebAMask-HQ-attribute-anno.txt").write_text("".join(attributes), encoding="utf-8")
    (root / "identity_CelebA.txt").write_text("".join(people), encoding="utf-8")
    return root


def expected_mask(more: dict) -> np.ndarray:
    """Return the mask that such a face is to have, uint8 [32, 32]: glasses whole, clothes on top."""
    mask = np.full((SIDE, SIDE), BACKGROUND, np.uint8)
    for part in PARTS.keys() - {"hair", "cloth", "ear_r", "neck_l"}:
        mask[PARTS[part]] = SKIN
    if "eye_g" in more:
        mask[more["eye_g"]] = EYEWEAR
    mask[PARTS["hair"]] = HAIR
    if "hat" in more:
        mask[more["hat"]] = WEARABLE
    mask[PARTS["ear_r"]], mask[PARTS["cloth"]] = BACKGROUND, BACKGROUND
    return mask


def write_lfw_parts(root: Path) -> Path:
    """Write three faces, one on each list, and a photo without a mask, as LFW has many."""
    for seed, (split, (person, number)) in enumerate(LFW.items()):
        write_photo(root / "lfw_funneled" / person / f"{person}_{number:04}.jpg", seed)
        mask = paint_face(0, seed)[1]
        colours = encode_colours(mask)
        colours[mask == BACKGROUND] = (0, 0, 255)
        file = root / "parts_lfw_funneled_gt_images" / f"{person}_{number:04}.ppm"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(colours).save(file)
        (root / f"parts_{split}.txt").write_text(f"{person} {number}\n", encoding="utf-8")
    write_photo(root / "lfw_funneled" / "Ann_Lee" / "Ann_Lee_0002.jpg", 9)
    return root


def write_pair(folder: Path, name: str, attribute: int, seed: int) -> None:
    """Write faces/NAME.jpg and labels/NAME.png."""
    write_photo(folder / "faces" / f"{name}.jpg", seed)
    (folder / "labels").mkdir(exist_ok=True)
    Image.fromarray(encode_colours(paint_face(attribute, seed)[1])).save(folder / "labels" / f"{name}.png")


def write_elfw(root: Path, people: int = 3) -> Path:
    """Write two faces of each person, the first held out, and three copies of each of the other people."""
    for person in range(people):
        for photo in (1, 2):
            seed = 10 * person + photo
            write_pair(root / "elfw_01_basic", f"First_Last{person}_{photo:04}", person % 3, seed)
    for person in range(1, people):
        for folder, ending in (
            ("Glasses", "_elfw-sunglasses-12"),
            ("Masks", "_elfw-mask-3"),
            ("Hands", "-h2f_web-7"),
        ):
            name = f"First_Last{person}_0001{ending}"
            write_pair(root / f"elfw_Augmented{folder}", name, person % 3, 10 * person + 5)
    (root / "elfw_01_basic" / "elfw_set_00.txt").write_text("First_Last0_0001\nFirst_Last0_0002\n")
    (root / "elfw_01_basic" / "elfw_set_02.txt").write_text("First_Last1_0001.jpg")
    return root
