"""The renderer: the same pixels everywhere, people that recur, and folders that can be trusted."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elfw_helpers.errors import DataError
from elfw_helpers.labels import ATTRIBUTES, PALETTE, PIXEL_CLASSES, attribute_from_mask
from elfw_helpers.rendering import contact_sheet, render_face, render_folder
from elfw_helpers.rendering import folder as folder_module
from elfw_helpers.rendering.drawing import sample_parameters
from elfw_helpers.rendering.plan import SPLITS, plan_faces

REFERENCE = Path(__file__).parent / "data" / "rendered_reference.npz"


def checksum(mask):
    return hashlib.sha256(mask.tobytes()).hexdigest()


def snapshot(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    out = tmp_path_factory.mktemp("rendered") / "set"
    return render_folder(out, count=20, seed=3, size=32, workers=1, progress=False)


def test_faces_are_those_of_the_reference():
    reference = np.load(REFERENCE)
    for place, seed in enumerate(reference["seeds"]):
        face = render_face(int(seed), size=64)
        assert checksum(face.mask) == str(reference["mask_sha256"][place]), f"mask of seed {seed} changed"
        difference = np.abs(face.image.astype(int) - reference["images"][place])
        assert difference.max() <= 1, f"image of seed {seed} is off by {difference.max()} levels"


def test_a_face_does_not_depend_on_what_was_rendered_before():
    first = render_face(5, size=48)
    render_face(6, size=48)
    again = render_face(5, size=48)
    assert np.array_equal(first.image, again.image) and np.array_equal(first.mask, again.mask)
    assert first.parameters == again.parameters
    assert not np.array_equal(first.image, render_face(6, size=48).image)


def test_identity_recurs_and_the_day_changes():
    photos = [sample_parameters(seed, 7) for seed in range(5)]
    assert len({photo.identity for photo in photos}) == 1
    assert len({photo.pose for photo in photos}) == 5
    assert sample_parameters(0, 8).identity != photos[0].identity


def test_all_classes_appear():
    masks = [render_face(seed, size=32).mask for seed in range(80)]
    assert np.array_equal(np.unique(masks), np.arange(len(PIXEL_CLASSES)))


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_an_attribute_can_be_asked_for(attribute):
    faces = [sample_parameters(seed, seed, attribute) for seed in range(40)]
    assert all((face.headwear is not None) == (attribute == "cap") for face in faces)
    if attribute != "cap":
        assert all((face.eyewear is not None) == (attribute == "spectacles") for face in faces)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed is a whole number"),
        ({"seed": 1.5}, "seed is a whole number"),
        ({"seed": 0, "size": 100}, "multiple of 8"),
        ({"seed": 0, "size": 0}, "multiple of 8"),
        ({"seed": 0, "identity": -3}, "identity is a whole number"),
        ({"seed": 0, "attribute": "hat"}, "attribute is one of"),
    ],
)
def test_bad_arguments_of_a_face(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_face(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"count": 0}, {"count": 4, "seed": -1}, {"count": 4, "size": 12}, {"count": 4, "workers": 0}],
)
def test_bad_arguments_of_a_folder_leave_nothing_behind(tmp_path, arguments):
    with pytest.raises(ValueError):
        render_folder(tmp_path / "set", **arguments)
    assert not (tmp_path / "set").exists()


def test_folder_holds_what_the_layout_asks_for(small_set):
    lines = [line.split() for line in (small_set / "labels.txt").read_text().splitlines()]
    manifest = json.loads((small_set / "manifest.json").read_text())
    assert len(lines) == 20 and set(manifest["faces"]) == {name for name, _ in lines}
    for name, attribute in lines:
        with Image.open(small_set / "labels" / f"{name}.png") as picture:
            mask = np.asarray(picture)
            assert picture.mode == "P" and picture.getpalette()[:21] == PALETTE.ravel().tolist()
        with Image.open(small_set / "faces" / f"{name}.jpg") as picture:
            assert picture.size == (32, 32) and picture.mode == "RGB"
        assert ATTRIBUTES[attribute_from_mask(mask)] == attribute
        assert manifest["faces"][name]["mask_sha256"] == checksum(mask)


def test_manifest_is_enough_to_render_a_face_again(small_set):
    name, entry = next(iter(json.loads((small_set / "manifest.json").read_text())["faces"].items()))
    face = render_face(entry["seed"], 32, entry["identity_seed"], entry["attribute"])
    assert checksum(face.mask) == entry["mask_sha256"]


def test_a_broken_run_goes_on_where_it_stopped(small_set, tmp_path, monkeypatch):
    rendered, real = [], folder_module.render_to_disk

    def stop_after_seven(face, **settings):
        if len(rendered) == 7:
            raise OSError(28, "No space left on device")
        rendered.append(face.name)
        return real(face, **settings)

    monkeypatch.setattr(folder_module, "render_to_disk", stop_after_seven)
    with pytest.raises(DataError, match="No space left"):
        render_folder(tmp_path / "set", 20, seed=3, size=32, workers=1, progress=False)
    assert not (tmp_path / "set" / "labels.txt").exists() and not (tmp_path / "set" / "train.txt").exists()

    monkeypatch.setattr(
        folder_module, "render_to_disk", lambda face, **s: rendered.append(face.name) or real(face, **s)
    )
    render_folder(tmp_path / "set", 20, seed=3, size=32, workers=1, progress=False)
    assert len(rendered) == len(set(rendered)) == 20
    render_folder(tmp_path / "set", 20, seed=3, size=32, workers=1, progress=False)
    assert len(rendered) == 20
    assert snapshot(tmp_path / "set") == snapshot(small_set)


def test_the_number_of_workers_makes_no_difference(tmp_path):
    one = render_folder(tmp_path / "one", 6, size=16, workers=1, progress=False)
    two = render_folder(tmp_path / "two", 6, size=16, workers=2, progress=False)
    assert snapshot(one) == snapshot(two)


def test_a_folder_with_other_content_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not lose")
    with pytest.raises(DataError, match="thesis.txt.*new or an empty folder"):
        render_folder(tmp_path, 4, progress=False)
    assert snapshot(tmp_path) == {"thesis.txt": b"do not lose"}


def test_another_set_or_a_foreign_face_is_refused(small_set):
    before = snapshot(small_set)
    with pytest.raises(DataError, match="'count': 20"):
        render_folder(small_set, 21, seed=3, size=32, progress=False)
    foreign = small_set / "faces" / "me.jpg"
    foreign.write_bytes(b"")
    with pytest.raises(DataError, match="faces/me.jpg"):
        render_folder(small_set, 20, seed=3, size=32, progress=False)
    foreign.unlink()
    assert snapshot(small_set) == before


@pytest.mark.parametrize("count", [100, 600, 2280])
def test_split_is_80_10_10_and_keeps_people_together(count):
    faces = plan_faces(count, seed=0)
    sizes = {split: sum(face.split == split for face in faces) for split in SPLITS}
    assert sizes == {"train": count - 2 * (count // 10), "validation": count // 10, "test": count // 10}
    assert len({(face.person, face.split) for face in faces}) == len({face.person for face in faces})
    for kind in range(len(ATTRIBUTES)):
        share = sum(face.attribute == kind for face in faces) / count
        test = sum(face.attribute == kind for face in faces if face.split == "test")
        assert abs(test - share * sizes["test"]) <= 1


def test_contact_sheet_shows_every_face():
    faces = [render_face(seed, size=16) for seed in range(3)]
    sheet = contact_sheet(faces, columns=2)
    assert sheet.width > 2 * 16 and sheet.height > 4 * 16
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])
