"""Colours in l-alpha-beta: hands take those of the face, other objects its light."""

import numpy as np

from elfw_helpers.augmentation.colour_transfer import (
    SkinColours,
    from_lab,
    match_light,
    match_skin,
    measure_skin,
    to_lab,
)


def test_colours_survive_the_way_to_l_alpha_beta_and_back():
    colours = np.random.default_rng(0).integers(20, 256, (100, 3), dtype=np.uint8)
    assert np.abs(from_lab(to_lab(colours)) - colours).max() < 0.5
    # Grey has no colour: alpha and beta of all greys agree.
    greys = to_lab(np.array([[50] * 3, [200] * 3], np.uint8))
    assert greys[1, 0] > greys[0, 0] and np.allclose(greys[0, 1:], greys[1, 1:], atol=1e-3)


def test_a_hand_takes_mean_and_deviation_of_the_face():
    generator = np.random.default_rng(0)
    hand = (generator.normal((180, 140, 120), 12, (4000, 3))).clip(0, 255).astype(np.uint8)
    face = (generator.normal((90, 60, 50), 5, (4000, 3))).clip(0, 255).astype(np.uint8)
    source, target = measure_skin(hand), measure_skin(face)
    found = measure_skin(match_skin(hand, source, target))
    assert np.allclose(found.mean, target.mean, atol=0.01)
    assert np.allclose(found.deviation, target.deviation, rtol=0.1)


def test_a_thing_keeps_its_contrast_and_takes_the_light_within_limits():
    skin = SkinColours(np.array([-0.3, 0.05, 0.02]), np.array([0.1, 0.02, 0.01]))
    darker = SkinColours(skin.mean - (0.1, 0, 0), 5 * skin.deviation)
    black = SkinColours(skin.mean - (3, 0, 0), skin.deviation)
    cloth = np.random.default_rng(0).integers(60, 200, (500, 3), dtype=np.uint8)
    dimmed, dimmest = (to_lab(match_light(cloth, skin, target)) for target in (darker, black))
    assert np.allclose(to_lab(cloth) - dimmed, (0.1, 0, 0), atol=1e-6)
    assert np.allclose(to_lab(cloth) - dimmest, (0.35, 0, 0), atol=1e-6)
    assert np.allclose(match_light(cloth, skin, skin), cloth, atol=0.5)
