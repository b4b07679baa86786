"""The renderer: the same pixels everywhere, people that recur, and folders that can be trusted."""

import dataclasses
import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from elfw_helpers.data.labels import (
    ATTRIBUTES,
    BEARD,
    EYEWEAR,
    MOUTH_MASK,
    PALETTE,
    PIXEL_CLASSES,
    SKIN,
    WEARABLE,
    attribute_from_mask,
)
from elfw_helpers.data.layout import SPLIT_NAMES
from elfw_helpers.rendering import folder as folder_module
from elfw_helpers.rendering import render_face, render_folder
from elfw_helpers.rendering.face import render_parameters
from elfw_helpers.rendering.folder import render_planned
from elfw_helpers.rendering.manifest import read_manifest, read_parameters
from elfw_helpers.rendering.parameters import HEADWEAR_KINDS, MORE_HEADWEAR_KINDS
from elfw_helpers.rendering.plan import WRONG_SHARE, plan_faces
from elfw_helpers.rendering.random_parameters import sample_parameters
from elfw_helpers.utils.archive import pack_folder
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.paths import embedded_archive, embedded_faces

REFERENCE = Path(__file__).parents[1] / "fixtures" / "rendered_reference.npz"


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


def share(mask, kind):
    return (mask == kind).mean()


@pytest.mark.parametrize("kind", HEADWEAR_KINDS + MORE_HEADWEAR_KINDS)
def test_every_kind_of_headwear_is_a_cap_by_the_rule(kind):
    masks = [render_face(seed, 48, headwear={"kind": kind}, hand=None).mask for seed in range(3)]
    assert ATTRIBUTES[max(map(attribute_from_mask, masks))] == "cap"


def test_parameters_set_by_name_show_in_the_mask():
    plain = {"eyewear": None, "headwear": None, "mouth_mask": None, "hand": None, "beard": "none"}
    plain |= {"pose": {"yaw": 0.0, "pitch": 0.0, "zoom": 1.0}, "identity": {"hair_length": "cropped"}}
    bare = render_face(4, 64, **plain).mask
    assert not np.isin(bare, (BEARD, EYEWEAR, WEARABLE, MOUTH_MASK)).any()
    assert share(render_face(4, 64, **plain | {"beard": "full"}).mask, BEARD) > 0.02
    assert share(render_face(4, 64, **plain | {"mouth_mask": {}}).mask, MOUTH_MASK) > 0.03
    assert share(render_face(4, 64, **plain | {"eyewear": {"dark": True}}).mask, EYEWEAR) > 0.01
    pushed_up = render_face(4, 64, **plain | {"eyewear": {"lift": 0.8}}).mask
    assert share(pushed_up, WEARABLE) > 0.005 and not share(pushed_up, EYEWEAR)
    hand = render_face(4, 64, **plain | {"hand": {"x": 0.0, "y": -0.6, "depth": 1.0}}).mask
    hidden = (hand == 0) & (bare == SKIN)
    assert hidden.mean() > 0.03, "a hand before the face is background"


def test_a_changed_part_leaves_the_others_as_they_were():
    before, after = sample_parameters(9, 9), render_face(9, 16, pose={"yaw": 0.5}).parameters
    assert after.pose.yaw == 0.5 and after.pose.pitch == before.pose.pitch
    assert dataclasses.replace(after, pose=before.pose) == before
    face = render_face(9, 16, headwear={"kind": "beanie"}, eyewear=None)
    assert np.array_equal(render_parameters(face.parameters, 16).image, face.image)


def test_no_trait_goes_with_another():
    faces = [sample_parameters(seed, seed) for seed in range(4000)]
    traits = pd.DataFrame(map(describe_traits, faces)).astype(float)
    correlations = traits.corr().abs() - np.eye(traits.shape[1])
    # Hair turns grey with age, here as in life.
    assert 0.2 < correlations.loc["age", "hair lightness"] < 0.4
    correlations.loc["age", "hair lightness"] = correlations.loc["hair lightness", "age"] = 0
    both_known = traits.notna().astype(float)
    # 1 / sqrt(n) is the standard error of a correlation between traits that are independent.
    errors = 1 / (both_known.T @ both_known) ** 0.5
    assert (correlations / errors).max().max() < 4, correlations
    assert correlations.drop(index="dark lenses", columns="dark lenses").max().max() < 0.06


def describe_traits(face):
    person = face.identity
    return {
        "eyewear": face.eyewear is not None and not face.eyewear.lift,
        "dark lenses": face.eyewear.dark if face.eyewear else np.nan,
        "headwear": face.headwear is not None,
        "mouth-mask": face.mouth_mask is not None,
        "hand": face.hand is not None,
        "beard": face.beard not in ("none", "stubble"),
        "make-up": face.expression.lipstick_strength > 0.2,
        "skin tone": person.skin_tone,
        "age": person.age,
        "hair lightness": sum(person.hair_colour),
        "long hair": person.hair_length == "long",
        "curls": person.curl,
        "smile": face.expression.smile,
        "yaw": face.pose.yaw,
        "light from the left": face.light.direction[0],
        "bright background": face.background.brightness,
    }


def test_skin_tones_are_spread_evenly_and_every_age_is_there():
    people = [sample_parameters(seed, seed).identity for seed in range(2000)]
    tones = np.histogram([person.skin_tone for person in people], bins=5, range=(0, 1))[0]
    assert tones.min() > 0.8 * 400, "a fifth of the people on each fifth of the scale"
    ages = np.histogram([person.age for person in people], bins=3, range=(0, 1))[0]
    assert ages.min() > 0.2 * 2000


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_an_attribute_can_be_asked_for(attribute):
    faces = [sample_parameters(seed, seed, attribute) for seed in range(80)]
    pushed_up = [face.eyewear is not None and face.eyewear.lift > 0 for face in faces]
    on_the_head = [face.headwear is not None or lifted for face, lifted in zip(faces, pushed_up, strict=True)]
    assert all(worn == (attribute == "cap") for worn in on_the_head)
    if attribute != "cap":
        assert all((face.eyewear is not None) == (attribute == "spectacles") for face in faces)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed is a whole number"),
        ({"seed": 1.5}, "seed is a whole number"),
        ({"seed": 0, "size": 100}, "multiple of 8"),
        ({"seed": 0, "size": 0}, "multiple of 8"),
        ({"seed": 0, "identity_seed": -3}, "identity_seed is a whole number"),
        ({"seed": 0, "attribute": "hat"}, "attribute is one of"),
        ({"seed": 0, "hat": None}, "no parameter 'hat'.*Known are identity, pose"),
        ({"seed": 0, "pose": {"jaw": 1}}, "no parameter 'jaw' of pose.*yaw"),
        ({"seed": 0, "pose": None}, "pose cannot be None"),
        ({"seed": 0, "pose": 0.3}, "pose is a mapping"),
        ({"seed": 0, "headwear": {"kind": "crown"}}, "headwear kind is one of cap.*'crown'"),
        ({"seed": 0, "beard": "braided"}, "beard is one of none"),
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
    lines = [line.split() for line in (small_set / "labels.txt").read_text(encoding="utf-8").splitlines()]
    manifest = json.loads((small_set / "manifest.json").read_text(encoding="utf-8"))
    assert len(lines) == 20 and set(manifest["faces"]) == {name for name, _ in lines}
    for name, attribute in lines:
        with Image.open(small_set / "labels" / f"{name}.png") as picture:
            mask = np.asarray(picture)
            assert picture.mode == "P" and picture.getpalette()[:21] == PALETTE.ravel().tolist()
        with Image.open(small_set / "faces" / f"{name}.jpg") as picture:
            assert picture.size == (32, 32) and picture.mode == "RGB"
        entry, wrong = manifest["faces"][name], manifest["wrong_labels"]
        assert ATTRIBUTES[attribute_from_mask(mask)] == entry["attribute"]
        assert attribute == (wrong[name]["label"] if name in wrong else entry["attribute"])
        jpeg = (small_set / "faces" / f"{name}.jpg").read_bytes()
        assert entry["jpeg_sha256"] == hashlib.sha256(jpeg).hexdigest()
        assert manifest["faces"][name]["mask_sha256"] == checksum(mask)


def test_manifest_is_enough_to_render_every_face_again(small_set):
    entries = read_manifest(small_set)["faces"]
    parameters = read_parameters(small_set)
    assert len(entries) == len(parameters) == 20
    for name, entry in list(entries.items())[:5]:
        by_seed = render_face(entry["seed"], 32, entry["identity_seed"], entry["attribute"])
        assert by_seed.parameters == parameters[name]
        assert checksum(render_parameters(parameters[name], 32).mask) == entry["mask_sha256"]


def test_a_manifest_that_is_none_is_named(tmp_path):
    with pytest.raises(DataError, match="manifest.json: no manifest"):
        read_parameters(tmp_path)
    (tmp_path / "manifest.json").write_text('{"faces": {"a_1": {}}}', encoding="utf-8")
    with pytest.raises(DataError, match="another version.*elfw render"):
        read_parameters(tmp_path)


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
    # What a run leaves that is killed while it writes.
    leftovers = [tmp_path / "set" / ".labels.txt.123", tmp_path / "set" / "faces" / f".{rendered[0]}.jpg.123"]
    for path in leftovers:
        path.touch()
    render_folder(tmp_path / "set", 20, seed=3, size=32, workers=1, progress=False)
    assert len(rendered) == 20
    for path in leftovers:
        path.unlink()
    assert snapshot(tmp_path / "set") == snapshot(small_set)


def test_faces_are_rendered_by_as_many_workers_as_this_process_may_use(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    monkeypatch.setattr(folder_module, "render_set", lambda out, settings, workers, _: asked.append(workers))
    render_folder(tmp_path / "set", 4, progress=False)
    assert asked == [1]


def test_the_number_of_workers_makes_no_difference(tmp_path):
    one = render_folder(tmp_path / "one", 6, size=16, workers=1, progress=False)
    two = render_folder(tmp_path / "two", 6, size=16, workers=2, progress=False)
    assert snapshot(one) == snapshot(two)


def test_a_folder_with_other_content_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not lose", encoding="utf-8")
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
    sizes = {split: sum(face.split == split for face in faces) for split in SPLIT_NAMES}
    assert sizes == {"train": count - 2 * (count // 10), "validation": count // 10, "test": count // 10}
    assert len({(face.person, face.split) for face in faces}) == len({face.person for face in faces})
    for kind in range(len(ATTRIBUTES)):
        share = sum(face.attribute == kind for face in faces) / count
        test = sum(face.attribute == kind for face in faces if face.split == "test")
        assert abs(test - share * sizes["test"]) <= 1


def test_three_in_a_hundred_labels_are_wrong_and_none_of_them_by_chance():
    faces = plan_faces(2280, seed=0)
    wrong = [face for face in faces if face.label != face.attribute]
    assert len(wrong) == round(WRONG_SHARE * 2280) == 68
    assert {face.label for face in wrong} == {face.attribute for face in wrong} == {0, 1, 2}
    assert {face.split for face in wrong} == {"train", "validation"}, "the test split tells the truth"


def test_the_embedded_set_is_what_this_code_renders():
    root = embedded_faces()
    manifest, faces = read_manifest(root), plan_faces(2280, seed=0)
    labels = "".join(f"{face.name} {ATTRIBUTES[face.label]}\n" for face in faces)
    assert (root / "labels.txt").read_text(encoding="utf-8") == labels
    wrong = {face.name for face in faces if face.label != face.attribute}
    assert set(manifest["wrong_labels"]) == wrong
    for face in faces[7::400]:
        mask = render_planned(face, 0, 128).mask
        assert checksum(mask) == manifest["faces"][face.name]["mask_sha256"], face.name


def test_the_embedded_archive_is_what_elfw_render_packs(tmp_path):
    pack_folder(embedded_faces(), tmp_path / "again.zip")
    again, stored = (
        [
            (entry.filename, entry.CRC, entry.date_time, entry.compress_type, entry.external_attr)
            for entry in entries
        ]
        for entries in map(read_entries, (tmp_path / "again.zip", embedded_archive()))
    )
    assert again == stored, "data/README.md has the command that writes the archive"
    assert len(stored) == 2 * 2280 + 5 and embedded_archive().stat().st_size <= 14e6


def read_entries(archive):
    """Return the entries of a zip."""
    with zipfile.ZipFile(archive) as opened:
        return opened.infolist()
