import numpy as np
import pytest

from elfw_helpers.data.labels import (
    ATTRIBUTES,
    CAP,
    EYEWEAR,
    HAIR_ONLY,
    PALETTE,
    PIXEL_CLASSES,
    SPECTACLES,
    WEARABLE,
    attribute_from_mask,
    decode_colours,
    encode_colours,
    parse_attribute,
)


def mask_with(**pixels: int) -> np.ndarray:
    """Return a mask of 100 x 100 pixels with so many of each named class."""
    mask = np.zeros(10_000, np.uint8)
    ids = {"eyewear": EYEWEAR, "wearable": WEARABLE}
    start = 0
    for name, count in pixels.items():
        mask[start : start + count] = ids[name]
        start += count
    return mask.reshape(100, 100)


@pytest.mark.parametrize(
    ("pixels", "attribute"),
    [
        ({}, HAIR_ONLY),
        ({"eyewear": 40}, HAIR_ONLY),
        ({"eyewear": 41}, SPECTACLES),
        ({"wearable": 50}, HAIR_ONLY),
        ({"wearable": 51}, CAP),
        ({"wearable": 51, "eyewear": 3000}, CAP),
        ({"wearable": 50, "eyewear": 41}, SPECTACLES),
    ],
)
def test_rule_at_its_thresholds_and_by_its_precedence(pixels, attribute):
    assert attribute_from_mask(mask_with(**pixels)) == attribute


def test_rule_refuses_what_is_no_mask():
    for wrong in (np.zeros((0, 0), np.uint8), np.zeros((4, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="H, W"):
            attribute_from_mask(wrong)


def test_colours_go_there_and_back():
    ids = np.random.default_rng(0).integers(0, len(PIXEL_CLASSES), (20, 30), dtype=np.uint8)
    decoded, unknown = decode_colours(encode_colours(ids))
    assert (decoded == ids).all()
    assert not unknown.any()


def test_every_other_colour_is_unknown():
    corners = np.array([(r, g, b) for r in (0, 255) for g in (0, 255) for b in (0, 255)], np.uint8)
    _, unknown = decode_colours(corners[None])
    assert corners[unknown[0]].tolist() == [[255, 255, 255]]
    for value in (1, 127, 128, 254):
        nearly = np.where(PALETTE == 255, value, PALETTE)[1:]
        assert decode_colours(nearly[None])[1].all()


def test_attributes_by_id_and_by_name():
    assert [parse_attribute(text) for text in ("1", "2", "3")] == [0, 1, 2]
    assert [parse_attribute(name) for name in ATTRIBUTES] == [0, 1, 2]
    assert parse_attribute(" Cap\n") == CAP
    for wrong in ("0", "4", "hat", ""):
        with pytest.raises(ValueError, match="unknown attribute"):
            parse_attribute(wrong)
