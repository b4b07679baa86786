"""Distances: in parts or at once, alone or among others, one ellipsoid or many, they are the same bits."""

import numpy as np
import pytest

from elfw_helpers.rendering import scene as scene_module
from elfw_helpers.rendering.overrides import change_parameters
from elfw_helpers.rendering.random_parameters import sample_parameters
from elfw_helpers.rendering.scene import HAIR, HAND, HEADWEAR, MOUTH_MASK, SKIN, Scene
from elfw_helpers.rendering.shapes import ellipsoid, ellipsoids, positive, smooth_union, turn_around


def make_points(count=500, reach=1.5):
    return np.random.default_rng(0).uniform(-reach, reach, (3, count)).astype(np.float32)


@pytest.fixture(params=["cap", "headscarf", "visor"])
def dressed(request):
    """A scene with every thing there is."""
    worn = {"headwear": {"kind": request.param}, "mouth_mask": {}, "hand": {}}
    face = sample_parameters(1, 1)
    return Scene(change_parameters(face, worn | {"identity": {"hair_length": "long"}}))


def test_a_thing_alone_is_as_far_as_among_the_others(dressed):
    points = make_points()
    alone = {thing: dressed.nearest(points, alone=thing) for thing in dressed.things}
    assert len(alone) == 6
    assert np.array_equal(dressed.nearest(points), np.minimum.reduce(list(alone.values())))
    nearest = np.array(list(alone))[np.argmin(np.stack(list(alone.values())), axis=0)]
    assert np.array_equal(dressed.objects(points), nearest)
    assert len(np.unique(nearest)) >= 5, "only hair beneath a scarf is nearest to no point"
    only = Scene(dressed.face, only=MOUTH_MASK)
    assert np.array_equal(only.nearest(points), alone[MOUTH_MASK])
    assert set(only.objects(points)) == {MOUTH_MASK}


def test_points_in_parts_and_at_once(dressed, monkeypatch):
    points = make_points()
    at_once, objects = dressed.nearest(points), dressed.objects(points)
    monkeypatch.setattr(scene_module, "CHUNK", 7)
    assert np.array_equal(dressed.nearest(points), at_once)
    assert np.array_equal(dressed.objects(points), objects)
    nothing = points[:, :0]
    assert dressed.nearest(nothing).shape == (0,) and dressed.objects(nothing).shape == (0,)


def test_a_scene_has_only_what_the_face_wears():
    bare = {"headwear": None, "mouth_mask": None, "hand": None}
    face = change_parameters(sample_parameters(1, 1), bare | {"identity": {"hair_length": "bald"}})
    assert not {HAIR, HEADWEAR, MOUTH_MASK, HAND} & set(Scene(face).things)
    assert SKIN in Scene(face).things


def test_headwear_presses_the_hair_down():
    face = change_parameters(sample_parameters(1, 1), {"headwear": {"kind": "hood"}})
    points, free = make_points(), change_parameters(face, {"headwear": None})
    pressed, lifted = (Scene(each).nearest(points, alone=HAIR) for each in (face, free))
    assert (pressed >= lifted).all() and (pressed > lifted).any()


def test_ellipsoids_one_by_one_and_at_once():
    points, radii = make_points(), ((0.3, 0.5, 0.7), (1.0, 1.0, 1.0))
    before = points.copy()
    found = ellipsoids(np.stack([points, points], axis=1), radii)
    for each, triple in zip(found, radii, strict=True):
        assert np.array_equal(each, ellipsoid(*points, *triple))
    assert np.array_equal(points, before), "the points of one ellipsoid are left as they are"
    np.testing.assert_allclose(found[1], np.sqrt((points**2).sum(0)) - 1, atol=1e-4)
    assert found.dtype == np.float32


def test_faster_ways_give_the_same_bits():
    first, second, z = make_points()
    overlap = np.maximum(np.float32(0.3) - np.abs(first - second), 0)
    plain = np.minimum(first, second) - overlap * overlap * np.float32(0.25 / 0.3)
    assert np.array_equal(smooth_union(first, second, 0.3), plain)
    assert np.array_equal(positive(first), np.maximum(first, 0))
    side = first / (np.abs(first) + np.abs(z) + np.float32(1e-4))
    behind = np.where(first >= 0, 2 - side, -2 - side)
    assert np.array_equal(turn_around(first, z), 0.5 * np.where(z >= 0, side, behind))
