"""Which pixels lie inside what annotation tools draw."""

import tracemalloc

import numpy as np
import pytest

from elfw_helpers.data.annotations import areas
from elfw_helpers.data.annotations.areas import (
    Bitmap,
    Ellipse,
    Parts,
    Polygon,
    decode_runs,
    make_box,
)

SQUARE = np.array([(2, 1), (6, 1), (6, 4), (2, 4)], float)


def fill(points, height=8, width=10):
    return Polygon(np.array(points, float)).fill(height, width)


def is_inside(points, height, width):
    """Return the pixels inside one by one: a ray to their left meets the outline an odd number of times."""
    inside = np.zeros((height, width), bool)
    for row, column in np.ndindex(height, width):
        x, y = column + 0.5, row + 0.5
        for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
            if (ay <= y) != (by <= y) and ax + (y - ay) / (by - ay) * (bx - ax) <= x:
                inside[row, column] ^= True
    return inside


def test_a_rectangle_on_the_grid_covers_its_pixels_and_no_other():
    expected = np.zeros((8, 10), bool)
    expected[1:4, 2:6] = True
    for points in (SQUARE, SQUARE[::-1], np.roll(SQUARE, 1, axis=0)):
        assert np.array_equal(fill(points).inside, expected)
        assert fill(points).crossed is None
    assert np.array_equal(make_box(6, 4, 2, 1).fill(8, 10).inside, expected)


def test_any_outline_gives_the_pixels_that_the_even_odd_rule_gives():
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = rng.uniform(-4, 20, (rng.integers(3, 9), 2)).round(1)
        assert np.array_equal(fill(points, 12, 16).inside, is_inside(points, 12, 16))


def test_neighbours_share_no_pixel_and_leave_none_out():
    middle = [(0, 5.5), (3.5, 2.5), (6.5, 6.5), (10, 2.5)]
    above, below = [(0, 0), *middle, (10, 0)], [(0, 8), *middle, (10, 8)]
    assert (fill(above).inside ^ fill(below).inside).all()


def test_what_lies_outside_the_photo_is_cut_off():
    assert fill([(-50, -50), (50, -50), (50, 50), (-50, 50)]).inside.all()
    assert not fill([(20, 1), (30, 1), (30, 5)]).inside.any()
    assert not fill([(-20, -9), (-30, -1), (-3, -5)]).inside.any()


def test_a_bow_tie_and_a_loop_are_told_and_a_keyhole_is_not():
    assert fill([(0, 0), (8, 8), (8, 0), (0, 8)], 8, 8).crossed
    twice = fill([(0, 0), (8, 0), (8, 6), (2, 6), (2, 2), (6, 2), (6, 8), (0, 8)], 8, 8)
    assert twice.crossed == (2, 2)
    assert not twice.inside[2:6, 2:6].any()
    keyhole = [(0, 0), (8, 0), (8, 8), (0, 8), (0, 0), (2, 2), (2, 6), (6, 6), (6, 2), (2, 2)]
    filled = fill(keyhole, 8, 8)
    assert filled.crossed is None
    assert not filled.inside[2:6, 2:6].any() and filled.inside.sum() == 48


def test_a_circle_covers_about_its_area_and_a_turned_ellipse_is_turned_clockwise():
    assert Ellipse((50, 50), (40, 40)).fill(100, 100).inside.sum() == pytest.approx(np.pi * 1600, rel=0.005)
    turned = Ellipse((50, 50), (40, 8), 45).fill(100, 100).inside
    assert turned[75, 75] and turned[25, 25] and not turned[25, 75]
    box = make_box(10, 42, 90, 58, 45).fill(100, 100).inside
    assert box[75, 75] and box[25, 25] and not box[25, 75]
    assert box.sum() == pytest.approx(80 * 16, rel=0.02)


def test_pieces_are_joined_and_a_piece_within_another_is_refused():
    apart = [Polygon(SQUARE / 2), Polygon(SQUARE / 2 + 4)]
    assert Parts(apart).fill(8, 10).inside.sum() == sum(part.fill(8, 10).inside.sum() for part in apart)
    with pytest.raises(ValueError, match="joins pieces instead of cutting holes"):
        Parts([Polygon(SQUARE / 2 + (5, 3)), Polygon(SQUARE * 2)]).fill(20, 20)


def test_run_lengths_run_along_rows_or_down_columns():
    counts = [1, 2, 3]
    assert decode_runs(counts, 2, 3).tolist() == [[False, True, True], [False, False, False]]
    assert decode_runs(counts, 2, 3, by_columns=True).tolist() == [[False, True, False], [True, False, False]]


@pytest.mark.parametrize("counts", [[1, 2], [1, 2, 4], [7, -1], [10**30], [1.0, 5], [True, 5], []])
def test_run_lengths_that_do_not_add_up_are_refused(counts):
    with pytest.raises(ValueError, match="do not add up to 3 x 2"):
        decode_runs(counts, 2, 3)


def test_run_lengths_for_a_giant_take_no_memory():
    with pytest.raises(ValueError, match="run lengths for"):
        decode_runs([10**12], 10**6, 10**6)


def test_a_bitmap_that_leaves_the_photo_is_cut_off():
    pixels = np.ones((4, 4), bool)
    assert Bitmap(pixels, -2, 6).fill(8, 10).inside.sum() == 4
    assert not Bitmap(pixels, 20, 0).fill(8, 10).inside.any()
    assert not Bitmap(pixels, -9, 0).fill(8, 10).inside.any()


@pytest.mark.parametrize(
    ("points", "found"),
    [
        ([(1, 1)], "an outline of 1 points"),
        ([(0, 0), (1, 1)], "an outline of 2 points"),
        ([(0, 0), (1, np.nan), (2, 2)], "the number nan"),
        ([(0, 0), (1, -np.inf), (2, 2)], "the number -inf"),
        ([(0, 0), (1, 1e30), (2, 2)], "no place on a photo"),
        (np.zeros((100_001, 2)), "an outline of 100001 points"),
    ],
)
def test_an_outline_that_is_none_is_refused(points, found):
    with pytest.raises(ValueError, match=found):
        Polygon(np.array(points, float))


@pytest.mark.parametrize("radii", [(0, 3), (3, -1), (np.nan, 3)])
def test_an_ellipse_that_is_none_is_refused(radii):
    with pytest.raises(ValueError, match="radii|no place"):
        Ellipse((1, 1), radii)


def test_a_wild_outline_is_filled_part_by_part_in_bounded_memory(monkeypatch):
    points = np.random.default_rng(0).uniform(0, 1000, (1000, 2)) % (7, 1000)
    whole = Polygon(points).fill(1000, 8).inside
    monkeypatch.setattr(areas, "AT_ONCE", 1 << 12)
    tracemalloc.start()
    assert np.array_equal(Polygon(points).fill(1000, 8).inside, whole)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # In one piece, the 330,000 places where it crosses rows take 18 MB.
    assert peak < 2e6
