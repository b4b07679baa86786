"""Masks that are valid in form and wrong in content are suspected, right ones are not.

benchmarks/check.py measures the same on whole sets and on folders of five sizes.
"""

import numpy as np
import pytest
from PIL import Image

from elfw_helpers.data.audit import check_folder
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.labels import encode_colours
from elfw_helpers.data.suspicious_masks import find_suspicious_masks, measure_mask
from elfw_helpers.utils.paths import embedded_faces


@pytest.fixture(scope="module")
def embedded():
    return FaceFolder(embedded_faces())


def write_folder(root, faces, places, change=lambda mask: mask, save=encode_colours):
    """Write some faces in ELFW's layout, each mask changed."""
    for kind in ("faces", "labels"):
        (root / kind).mkdir(parents=True)
    for place in places:
        image, mask = faces.read(place)
        name = faces.names[place]
        image.save(root / "faces" / f"{name}.jpg", quality=95)
        Image.fromarray(save(change(mask))).save(root / "labels" / f"{name}.png")
    return root


def in_bgr(mask):
    return encode_colours(mask)[..., ::-1]


def smooth(mask, side):
    return np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.BILINEAR))


CHANGES = {
    "as they are": (lambda mask: mask, None),
    "ids from 1": (lambda mask: mask + 1, "class ids that begin at 1"),
    "blue background": (lambda mask: np.where(mask == 0, 4, mask), "a background stored as sunglasses"),
    "inverted": (
        lambda mask: np.array([1, 0, 2, 3, 4, 5, 6], np.uint8)[mask],
        "background and skin exchanged",
    ),
    "background as skin": (lambda mask: np.where(mask == 0, 1, mask), "the mask has no background"),
    "background as hair": (lambda mask: np.where(mask == 0, 2, mask), "the mask has no background"),
    "background as beard": (lambda mask: np.where(mask == 0, 3, mask), "the mask has no background"),
    "background as wearable": (lambda mask: np.where(mask == 0, 5, mask), "the mask has no background"),
    "background as mouth-mask": (lambda mask: np.where(mask == 0, 6, mask), "the mask has no background"),
    "one class": (np.zeros_like, "no face: all of it is background"),
    "ids smoothed": (lambda mask: smooth(smooth(mask, 112), 128), "the mask seems smoothed"),
    "turned left": (np.rot90, "turned by 90 degrees clockwise"),
    "turned right": (lambda mask: np.rot90(mask, -1), "turned by 90 degrees counter-clockwise"),
    "upside down": (lambda mask: np.rot90(mask, 2), "turned by 180 degrees"),
    "mirrored": (np.fliplr, "mirrored left to right"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_three_faces_are_enough_to_suspect_their_masks_of(kind, embedded, tmp_path):
    change, said = CHANGES[kind]
    # Not one of them wears a mouth-mask, class 6, which ids from 1 would make an error.
    places = [0, 700, 2100]
    root = write_folder(
        tmp_path / "set", embedded, places, change, lambda mask: np.ascontiguousarray(mask, np.uint8)
    )
    audit = check_folder(root)
    assert audit.problems == []
    found = [suspect.found for suspect in audit.suspects]
    if said is None:
        assert found == []
    else:
        assert any(said in suspect and "(and 2 more" in suspect for suspect in found)


@pytest.mark.parametrize("instead", [1, 3, 6])
def test_a_single_mask_without_background_is_told_as_such(instead, embedded):
    for place in range(0, 2280, 120):
        image, mask = embedded.read(place)
        faults = faults_of([(image, np.where(mask == 0, instead, mask).astype(np.uint8))])
        assert not any("begin at 1" in fault or "exchanged" in fault for fault in faults), place


def faults_of(pairs):
    """Return what is suspected of images and their masks, as one folder."""
    masks = {str(place): measure_mask(image, mask) for place, (image, mask) in enumerate(pairs)}
    return [found for found, _ in find_suspicious_masks(masks)]


def test_a_photo_without_edges_says_nothing_against_its_mask():
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 1
    assert measure_mask(Image.new("RGB", (64, 64), "gray"), mask).misfit is None


@pytest.mark.parametrize("edge", [1 / 8, 3 / 16, -1 / 4, -1 / 2])
def test_right_masks_cropped_or_with_a_margin_are_not_suspected(edge, embedded):
    box = [round(share * 128) for share in (edge, edge, 1 - edge, 1 - edge)]
    pairs = [embedded.read(place) for place in range(0, 2280, 57)]
    cropped = [(image.crop(box), np.asarray(Image.fromarray(mask).crop(box))) for image, mask in pairs]
    for first in range(0, 40, 10):
        assert faults_of(cropped[first : first + 10]) == []


def test_masks_in_colours_are_not_suspected_of_ids_from_1(embedded, tmp_path):
    root = write_folder(tmp_path / "set", embedded, [0, 700, 2100], lambda mask: mask + 1)
    assert not any("begin at 1" in suspect.found for suspect in check_folder(root).suspects)


def test_colours_stored_in_the_order_of_opencv_are_suspected(embedded, tmp_path):
    audit = check_folder(write_folder(tmp_path / "set", embedded, range(0, 2280, 500), save=in_bgr))
    assert [suspect.file.parent.name for suspect in audit.suspects] == ["labels"]
    assert "the order BGR" in audit.suspects[0].found and "cvtColor" in audit.suspects[0].fix


def test_one_wrong_mask_among_right_ones_is_suspected_alone(embedded, tmp_path):
    root = write_folder(tmp_path / "set", embedded, range(0, 2280, 200))
    victim = sorted((root / "labels").iterdir())[4]
    turned = Image.open(victim).transpose(Image.Transpose.ROTATE_90)
    turned.save(victim)
    (suspect,) = check_folder(root).suspects
    assert suspect.file == victim and "turned by 90 degrees clockwise" in suspect.found


def share_suspected(faces, displaced: float, most: int = 200) -> float:
    """Return the share of faces whose mask is suspected when it is moved by a share of the width."""
    generator = np.random.default_rng(0)
    chosen = generator.permutation(len(faces))[:most]
    count = 0
    for index in chosen:
        image, mask = faces.read(int(index))
        angle = generator.uniform(0, 2 * np.pi)
        move = np.round(displaced * image.width * np.array([np.sin(angle), np.cos(angle)])).astype(int)
        misfit = measure_mask(image, np.roll(mask, move, (0, 1))).misfit
        count += bool(misfit and "better moved" in misfit[0])
    return count / len(chosen)


def test_displaced_masks_of_embedded_faces_are_suspected(embedded):
    assert share_suspected(embedded, 0.1) >= 0.8


@pytest.mark.real_faces
def test_displaced_masks_of_real_photos_are_suspected(real_faces):
    assert share_suspected(FaceFolder(real_faces), 0.08) >= 0.9
