"""Objects on faces: what is blended is labelled, and nothing else changes."""

import numpy as np
import pytest

from elfw_helpers.augmentation import OBJECTS, PlacingError, locate_face, put_object, render_object
from elfw_helpers.augmentation.compositing import THRESHOLD, warp_object
from elfw_helpers.augmentation.objects import LABELS
from elfw_helpers.data.labels import BACKGROUND, BEARD, EYEWEAR, HAIR, MOUTH_MASK, SKIN, WEARABLE
from elfw_helpers.rendering import render_face

BARE = {"hand": None, "mouth_mask": None, "eyewear": None, "beard": "none"}


@pytest.fixture(scope="module")
def face():
    return render_face(11, 96, attribute="hair", pose={"yaw": 0.0, "roll": 0.0}, **BARE)


@pytest.mark.parametrize("kind", OBJECTS)
def test_exactly_what_lies_above_the_threshold_is_blended_and_labelled(face, kind):
    # On noise, hardly a pixel keeps its colour when it is blended; on two of them, none.
    noise = np.random.default_rng(0).integers(0, 256, (2, *face.image.shape), dtype=np.uint8)
    for seed in (0, 1):
        put_on = render_object(kind, seed)
        # Where there was background, a hand's own label, it could not be told from what was there.
        mask = np.where(face.mask == BACKGROUND, np.uint8(HAIR), face.mask) if kind == "hand" else face.mask
        (first, labels), (second, _) = (put_object(image, mask, put_on) for image in noise)
        blended, labelled = (np.stack([first, second]) != noise).any((0, 3)), labels != mask
        assert blended.any() and np.array_equal(blended, labelled)
        assert (labels[labelled] == LABELS[kind]).all()
        alpha = warp_object(put_on, locate_face(mask), mask.shape)[..., 3] / 255
        assert (alpha[blended] >= THRESHOLD).all()
        if kind == "hand":
            assert np.array_equal(blended, alpha >= THRESHOLD)
        else:
            on_skin = mask == SKIN
            assert np.array_equal(blended & on_skin, (alpha >= THRESHOLD) & on_skin)


def test_eyewear_sits_on_the_eyes_and_a_mouth_mask_between_nose_and_chin(face):
    _, eyewear = put_object(face.image, face.mask, render_object("eyewear", 0))
    _, masked = put_object(face.image, face.mask, render_object("mouth-mask", 0))
    geometry = locate_face(face.mask)
    rows, columns = np.nonzero(eyewear == EYEWEAR)
    assert abs(columns.mean() - geometry.x) < 0.15 * geometry.eye_distance
    assert abs(rows.mean() - geometry.y) < 0.3 * geometry.eye_distance
    assert 1.7 < np.ptp(columns) / geometry.eye_distance < 2.7
    rows, _ = np.nonzero(masked == MOUTH_MASK)
    assert rows.min() > geometry.y and rows.max() < geometry.y + 2.2 * geometry.eye_distance
    assert np.isin(face.mask[masked == MOUTH_MASK], (SKIN, BEARD)).all()


def test_hair_and_caps_stay_before_eyewear_and_a_hand_hides_everything():
    capped = render_face(11, 96, attribute="cap", **BARE)
    for kind in ("eyewear", "mouth-mask"):
        _, labels = put_object(capped.image, capped.mask, render_object(kind, 1))
        for front in (HAIR, WEARABLE):
            assert np.array_equal(labels == front, capped.mask == front)
    hidden = set()
    for seed in range(6):
        _, labels = put_object(capped.image, capped.mask, render_object("hand", seed))
        hidden |= set(capped.mask[labels != capped.mask].tolist())
    assert SKIN in hidden and hidden & {HAIR, WEARABLE}


def test_inputs_are_not_written_to_and_the_result_is_the_same_again(face):
    image, mask = face.image.copy(), face.mask.copy()
    first, again = (put_object(image, mask, render_object("eyewear", 2)) for _ in range(2))
    assert np.array_equal(image, face.image) and np.array_equal(mask, face.mask)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert first[0].dtype == first[1].dtype == np.uint8


def test_a_hand_has_the_faces_colour():
    hand = render_object("hand", 1)
    for tone in (0.0, 1.0):
        face = render_face(
            3, 96, attribute="hair", identity={"skin_tone": tone, "hair_length": "bald"}, **BARE
        )
        image, labels = put_object(face.image, face.mask, hand)
        on_face = (labels == BACKGROUND) & (face.mask == SKIN)
        off = image[on_face].mean(0) - face.image[face.mask == SKIN].mean(0)
        assert np.abs(off).max() < 40


def test_a_face_that_wears_one_already_is_refused(face):
    for kind in ("eyewear", "mouth-mask"):
        _, labels = put_object(face.image, face.mask, render_object(kind, 0))
        with pytest.raises(PlacingError, match="already"):
            put_object(face.image, labels, render_object(kind, 1))
        put_object(face.image, labels, render_object("hand", 0))


def test_a_face_all_behind_hair_or_absent_is_refused(face):
    with pytest.raises(PlacingError, match="no face"):
        put_object(face.image, np.zeros_like(face.mask), render_object("eyewear", 0))
    with pytest.raises(ValueError, match="go together"):
        put_object(face.image[:-1], face.mask, render_object("eyewear", 0))
    # Only a strip of skin is left, far from where the mouth would be.
    strip = np.where(np.arange(96)[:, None] < 45, face.mask, HAIR)
    with pytest.raises(PlacingError):
        put_object(face.image, np.where(strip == SKIN, EYEWEAR, strip), render_object("mouth-mask", 0))


@pytest.mark.parametrize("size", [16, 24])
def test_tiny_faces_can_wear_objects_too(size):
    face = render_face(11, size, attribute="hair", pose={"yaw": 0.0}, **BARE)
    for kind in OBJECTS:
        image, labels = put_object(face.image, face.mask, render_object(kind, 0))
        assert image.shape == (size, size, 3) and (labels != face.mask).any()
