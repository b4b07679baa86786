"""Objects alone: rendered reproducibly, with a transparency that can be blended and labelled."""

import numpy as np
import pytest

from elfw_helpers.augmentation import OBJECT_SEEDS, OBJECTS, is_held_out, render_object
from elfw_helpers.augmentation.compositing import THRESHOLD
from elfw_helpers.rendering.cutouts import draw_wearer


@pytest.mark.parametrize("kind", OBJECTS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_object(kind):
    first = render_object(kind, 3)
    render_object.cache_clear()
    again = render_object(kind, 3)
    assert first is not again
    assert np.array_equal(first.rgba, again.rgba) and first.face == again.face
    assert np.array_equal(first.skin.mean, again.skin.mean)
    other = render_object(kind, 4)
    assert other.rgba.shape != first.rgba.shape or not np.array_equal(other.rgba, first.rgba)


@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_is_cropped_to_what_is_seen_and_its_edge_is_soft(kind):
    alpha = render_object(kind, 0).rgba[..., 3]
    assert alpha.dtype == np.uint8
    assert all(line.any() for line in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]))
    assert alpha.max() == 255 and ((alpha > 0) & (alpha < 255)).any()


def test_dark_lenses_hide_the_eyes_and_clear_ones_still_lie_above_the_threshold():
    dark, clear = (
        next(seed for seed in range(50) if draw_wearer("eyewear", seed).eyewear.dark is wanted)
        for wanted in (True, False)
    )
    for seed, least, most in ((dark, 0.45, 1.0), (clear, THRESHOLD, 0.45)):
        eyewear = render_object("eyewear", seed)
        x, y = (round(place) for place in (eyewear.face.x + eyewear.face.eye_distance / 2, eyewear.face.y))
        assert least < eyewear.rgba[y, x, 3] / 255 < most


def test_every_lens_is_labelled_whole():
    for seed in range(8):
        eyewear = render_object("eyewear", seed)
        half = eyewear.face.eye_distance / 2
        columns = [round(eyewear.face.x + side * half) for side in (-1, 1)]
        rows = slice(round(eyewear.face.y) - 3, round(eyewear.face.y) + 4)
        assert (eyewear.rgba[rows, columns, 3] >= 255 * THRESHOLD).all()


def test_a_mouth_mask_lies_below_the_eyes_and_a_hand_has_an_arm_below_it():
    mask = render_object("mouth-mask", 0)
    top, bottom = ((place - mask.face.y) / mask.face.eye_distance for place in (0, len(mask.rgba) - 1))
    assert 0.1 < top < 0.7 and 1.5 < bottom < 2.1
    hand = render_object("hand", 0)
    assert (len(hand.rgba) - hand.face.y) / hand.face.eye_distance > 2


def test_a_fifth_of_the_objects_is_held_out():
    assert sum(map(is_held_out, range(OBJECT_SEEDS))) == OBJECT_SEEDS // 5
    assert not is_held_out(0) and is_held_out(4)


@pytest.mark.parametrize(("kind", "seed"), [("monocle", 0), ("eyewear", -1), ("hand", 1.5)])
def test_what_cannot_be_rendered_is_refused(kind, seed):
    with pytest.raises(ValueError, match="eyewear, mouth-mask, hand|whole number"):
        render_object(kind, seed)
