"""Augmented folders: complete, reproducible, and no way from a test face into training."""

import json
import re
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from elfw_course.cli import main
from elfw_helpers.augmentation import (
    OBJECTS,
    augment_faces,
    augment_folder,
    is_held_out,
    render_object,
    select_for_training,
)
from elfw_helpers.augmentation import copies as copies_module
from elfw_helpers.data.audit import check_folder
from elfw_helpers.data.datasets import FaceFolder, FaceTensors
from elfw_helpers.data.image_names import find_source
from elfw_helpers.data.labels import EYEWEAR, attribute_from_mask
from elfw_helpers.data.layout import Origin, read_origins
from elfw_helpers.deployment import faces as finder
from elfw_helpers.rendering import render_folder
from elfw_helpers.utils.errors import DataError, MissingPackage
from tests.faces import write_face

FEW = 10


@pytest.fixture(autouse=True)
def few_objects(monkeypatch):
    """Ten objects of each kind, two of them held out: enough here, and soon rendered."""
    monkeypatch.setattr(copies_module, "OBJECT_SEEDS", FEW)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Forty rendered faces with a frozen split."""
    out = tmp_path_factory.mktemp("rendered") / "set"
    return render_folder(out, count=40, seed=5, size=48, workers=1, progress=False)


@pytest.fixture
def augmented(source, tmp_path):
    return augment_folder(source, tmp_path / "augmented", ("eyewear", "hand"), count=60).folder


def snapshot(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def training_names(source):
    faces = FaceFolder(source)
    return {faces.names[index] for index in faces.split().train.tolist()}


def test_the_folder_is_sound_and_the_manifest_names_source_and_object(source, augmented):
    audit, origins = check_folder(augmented), read_origins(augmented)
    assert audit.problems == [] and len(audit.faces) == len(origins) == 60
    faces, sources = FaceFolder(augmented), FaceFolder(source).names
    assert set(faces.names) == set(origins)
    for index, name in enumerate(faces.names):
        origin = origins[name]
        assert origin.source in sources and origin.object in ("eyewear", "hand")
        assert 0 <= origin.object_seed < FEW
        assert faces.layout.listed[name] == attribute_from_mask(faces.read(index)[1])
    manifest = json.loads((augmented / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["version"], manifest["source"]) == (1, source.name)


def test_objects_and_faces_are_used_alike(augmented):
    origins = read_origins(augmented).values()
    kinds = Counter(origin.object for origin in origins)
    # Who wears eyewear already can only be given a hand, and so may the last of them.
    assert kinds.total() == 60 and abs(kinds["eyewear"] - kinds["hand"]) <= 2
    uses = Counter(origin.source for origin in origins)
    assert len(uses) == 40 and max(uses.values()) == 2


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(source, tmp_path):
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        augment_folder(source, tmp_path / name, ("hand",), count=8, seed=seed)
    assert snapshot(tmp_path / "first") == snapshot(tmp_path / "again")
    assert set(read_origins(tmp_path / "first")) != set(read_origins(tmp_path / "other"))


def test_a_folder_without_a_frozen_split_serves_too(folder, tmp_path):
    written = augment_folder(folder, tmp_path / "out", ("eyewear",), count=30)
    assert written.made == {"eyewear": 30} and 0 < written.left_out <= 12
    assert len(FaceFolder(written.folder)) == 30
    # Faces that wear spectacles already were passed over.
    faces = FaceFolder(folder)
    spectacled = {
        name for name, kind in zip(faces.names, faces.attributes.tolist(), strict=True) if kind == 1
    }
    assert not spectacled & {origin.source for origin in read_origins(written.folder).values()}


def elfw_selection(names, held_out):
    """Filter augmented faces as ELFW's own code does: by the name pattern that one of its scripts writes."""
    return [name for name in names if re.sub(r"-eyewear-\d+$", "", name) not in held_out]


def test_elfw_own_filter_leaks_on_this_folder_and_ours_does_not(source, augmented):
    faces, split = FaceFolder(source), FaceFolder(source).split()
    held_out = {faces.names[index] for part in (split.validation, split.test) for index in part.tolist()}
    origins, names = read_origins(augmented), FaceFolder(augmented).names
    leaked = [name for name in elfw_selection(names, held_out) if origins[name].source in held_out]
    assert leaked and {origins[name].object for name in leaked} == {"hand"}

    selected = select_for_training(origins, names, training_names(source))
    assert selected and not any(origins[name].source in held_out for name in selected)
    assert not any(is_held_out(origins[name].object_seed) for name in selected)
    # Nothing that may be trained on is lost either.
    lost = set(names) - set(selected)
    assert all(origins[name].source in held_out or is_held_out(origins[name].object_seed) for name in lost)


def shared_sources(faces, split):
    """Return the source faces with copies on both sides of a drawn split, and the persons on both sides."""
    parts = [split.train.tolist() + split.validation.tolist(), split.test.tolist()]
    sources = [{find_source(faces.names[index]) for index in part} for part in parts]
    persons = [{faces.persons[index] for index in part} for part in parts]
    return sources[0] & sources[1], persons[0] & persons[1]


def test_copies_of_one_person_stay_on_one_side_of_a_drawn_split(source, tmp_path):
    copies = augment_folder(source, tmp_path / "augmented", ("hand",), count=120).folder
    faces = FaceFolder(copies)
    assert (
        not (copies / "persons.txt").exists()
        and "by their sources in manifest.json" in faces.layout.persons_from
    )
    known = dict(zip(FaceFolder(source).names, FaceFolder(source).persons, strict=True))
    origins = read_origins(copies)
    assert faces.persons == [known[origins[name].source] for name in faces.names]
    for seed in range(3):
        assert shared_sources(faces, faces.split(seed)) == (set(), set())
    assert len(faces) > len(set(faces.persons)) > 10
    assert check_folder(copies).problems == check_folder(copies).suspects == []


def test_copies_of_photos_with_unknown_persons_stay_with_their_photo(folder, tmp_path):
    for kind in ("faces", "labels"):
        for number, path in enumerate(sorted((folder / kind).iterdir())):
            path.rename(path.with_name(f"IMG_{number:04d}.png"))
    faces = FaceFolder(augment_folder(folder, tmp_path / "out", ("hand",), count=90).folder)
    assert faces.persons == [find_source(name) for name in faces.names]
    assert shared_sources(faces, faces.split())[0] == set()


def test_persons_that_a_list_names_go_with_the_copies(folder, tmp_path):
    names = FaceFolder(folder).names
    (folder / "persons.txt").write_text(
        "".join(f"{name} twin {i // 4}\n" for i, name in enumerate(names)), encoding="utf-8"
    )
    faces = FaceFolder(augment_folder(folder, tmp_path / "out", ("hand",), count=30).folder)
    place = {name: f"twin {i // 4}" for i, name in enumerate(names)}
    assert faces.persons == [place[find_source(name)] for name in faces.names]


@pytest.mark.parametrize("copy_in", ["train", "test"])
def test_a_copy_and_its_source_s_person_in_two_frozen_splits_is_a_problem(
    source, augmented, tmp_path, copy_in
):
    """As when a folder is put together from faces, copies, the manifest and lists written by hand."""
    merged = tmp_path / "merged"
    copies, faces = FaceFolder(augmented), FaceFolder(source)
    copy = copies.names[0]
    person = copies.persons[0]
    others = [name for name, who in zip(faces.names, faces.persons, strict=True) if who != person]
    same = [name for name, who in zip(faces.names, faces.persons, strict=True) if who == person]
    for folder, names in ((augmented, [copy]), (source, others + same)):
        for kind, ending in (("faces", "jpg"), ("labels", "png")):
            (merged / kind).mkdir(parents=True, exist_ok=True)
            for name in names:
                (merged / kind / f"{name}.{ending}").write_bytes(
                    (folder / kind / f"{name}.{ending}").read_bytes()
                )
    lists = {"train": others[2:], "validation": others[:1], "test": others[1:2]}
    lists[copy_in] = [*lists[copy_in], copy]
    other = "test" if copy_in == "train" else "train"
    lists[other] = [*lists[other], *same]
    for split, names in lists.items():
        (merged / f"{split}.txt").write_text("\n".join(names), encoding="utf-8")
    (merged / "manifest.json").write_bytes((augmented / "manifest.json").read_bytes())
    leaks = [str(problem) for problem in check_folder(merged).problems if "test" in problem.found]
    assert any(person in leak and copy in leak for leak in leaks)


def test_a_copied_folder_without_its_manifest_still_splits_by_source_and_is_a_suspect(augmented):
    (augmented / "manifest.json").unlink()
    faces = FaceFolder(augmented)
    assert shared_sources(faces, faces.split()) == (set(), set())
    (suspect,) = check_folder(augmented).suspects
    assert "named like an augmented copy" in suspect.found and "(and 59 more" in suspect.found
    (augmented / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="manifest.json: no manifest of augmented faces"):
        FaceFolder(augmented)


def test_the_copies_of_the_official_release_keep_to_their_source(tmp_path):
    hands = tmp_path / "elfw_AugmentedHands"
    for person in range(12):
        for asset in (3, 14):
            write_face(hands, f"First_Last{person}_0001_elfw-hand-{asset}", person % 3, 100 * person + asset)
    faces = FaceFolder(hands)
    assert set(faces.persons) == {f"First_Last{person}" for person in range(12)}
    assert check_folder(hands).suspects == []


def test_names_of_copies_follow_the_kinds_of_objects():
    assert all(find_source(Origin("Ann_Lee_0001", kind, 7).name) == "Ann_Lee_0001" for kind in OBJECTS)
    assert find_source(Origin(Origin("a", "hand", 1).name, "eyewear", 2).name) == "a"
    assert find_source("anna-smith-001") == "anna-smith-001"


def test_a_face_that_the_manifest_does_not_know_is_an_error(source, augmented):
    for kind, ending in (("faces", "jpg"), ("labels", "png")):
        file = next((augmented / kind).glob(f"*-hand-*.{ending}"))
        (augmented / kind / f"smuggled.{ending}").write_bytes(file.read_bytes())
    with (augmented / "labels.txt").open("a", encoding="utf-8") as labels:
        labels.write("smuggled hair\n")
    with pytest.raises(DataError, match="smuggled"):
        select_for_training(read_origins(augmented), FaceFolder(augmented).names, training_names(source))


@pytest.mark.parametrize(
    "damage",
    [
        lambda manifest: "{",
        lambda manifest: json.dumps({**manifest, "version": 2}),
        lambda manifest: json.dumps({"version": 1, "source": "set"}),
        lambda manifest: json.dumps({**manifest, "faces": {"a": {"source": "b"}}}),
        # An entry that says something else than the name.
        lambda manifest: json.dumps(
            {**manifest, "faces": {name: Origin("x", "hand", 0)._asdict() for name in manifest["faces"]}}
        ),
    ],
    ids=["no JSON", "version", "no faces", "half an entry", "other source"],
)
def test_a_damaged_manifest_is_an_error_that_names_it(augmented, damage):
    file = augmented / "manifest.json"
    file.write_text(damage(json.loads(file.read_text(encoding="utf-8"))), encoding="utf-8")
    with pytest.raises(DataError, match="manifest.json"):
        read_origins(augmented)


def test_without_a_training_face_nothing_is_selected_and_without_a_manifest_nothing_can_be(augmented):
    assert select_for_training(read_origins(augmented), FaceFolder(augmented).names, {"nobody"}) == []
    (augmented / "manifest.json").unlink()
    with pytest.raises(DataError, match="no manifest"):
        read_origins(augmented)


def test_nothing_is_overwritten_unasked(source, augmented, tmp_path):
    before = snapshot(augmented)
    with pytest.raises(DataError, match="--replace"):
        augment_folder(source, augmented, ("hand",), count=3)
    assert snapshot(augmented) == before
    augment_folder(source, augmented, ("hand",), count=3, replace=True)
    assert len(read_origins(augmented)) == 3
    # What this command did not write is never replaced.
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "manifest.json").write_text("mine", encoding="utf-8")
    for out in (tmp_path / "thesis", source):
        kept = snapshot(out)
        with pytest.raises(DataError):
            augment_folder(source, out, ("hand",), count=3, replace=True)
        assert snapshot(out) == kept
    with pytest.raises(DataError, match="beside"):
        augment_folder(source, source / "augmented", ("hand",), count=3)


def test_a_run_that_fails_leaves_nothing_behind(folder, tmp_path):
    victim = sorted((folder / "faces").iterdir())[7]
    victim.write_bytes(b"not a picture")
    before = snapshot(folder)
    with pytest.raises(DataError, match=victim.stem):
        augment_folder(folder, tmp_path / "out", ("hand",), count=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name] and snapshot(folder) == before


def test_more_copies_than_there_can_be_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(copies_module, "OBJECT_SEEDS", 1)
    with pytest.raises(DataError, match="only 60 copies"):
        augment_folder(folder, tmp_path / "out", ("hand",), count=61)
    assert not (tmp_path / "out").exists()


def test_faces_without_masks_are_refused(source, tmp_path):
    (tmp_path / "bare" / "faces").mkdir(parents=True)
    for file in list((source / "faces").iterdir())[:2]:
        (tmp_path / "bare" / "faces" / file.name).write_bytes(file.read_bytes())
    names = [path.stem for path in (tmp_path / "bare" / "faces").iterdir()]
    (tmp_path / "bare" / "labels.txt").write_text(
        "".join(f"{name} hair\n" for name in names), encoding="utf-8"
    )
    with pytest.raises(DataError, match="no masks"):
        augment_folder(tmp_path / "bare", tmp_path / "out", count=2)
    faces = FaceFolder(tmp_path / "bare").preload(32)
    with pytest.raises(ValueError, match="masks"):
        augment_faces(faces, [0])


@pytest.fixture(scope="module")
def faces(source):
    return FaceFolder(source).preload(64)


def test_faces_in_memory_are_augmented_in_the_order_chosen(faces):
    before = faces.images.clone()
    chosen = torch.tensor([30, 2, 17, 5, 9, 11])
    found, origins = augment_faces(faces, chosen, ("mouth-mask", "hand"), seed=3)
    assert [origin.source for origin in origins] == [faces.names[index] for index in chosen.tolist()]
    assert found.names == [origin.name for origin in origins] and isinstance(found, FaceTensors)
    assert found.images.dtype == found.masks.dtype == torch.uint8
    assert found.images.shape == (6, 64, 64, 3) and found.attributes.dtype == torch.int64
    assert Counter(origin.object for origin in origins) == {"mouth-mask": 3, "hand": 3}
    assert (found.images != faces.images[chosen]).any(3).any(2).any(1).all()
    assert torch.equal(faces.images, before)
    again, _ = augment_faces(faces, chosen, ("mouth-mask", "hand"), seed=3)
    assert again.names == found.names and torch.equal(again.images, found.images)


def test_training_draws_no_held_out_object_and_a_test_on_unseen_ones_no_other(faces):
    for held_out in (False, True):
        _, origins = augment_faces(faces, range(30), ("eyewear",), held_out=held_out)
        assert {is_held_out(origin.object_seed) for origin in origins} == {held_out}


def test_faces_that_wear_eyewear_are_left_out_in_memory(faces):
    wearing = (faces.masks == EYEWEAR).flatten(1).float().mean(1) > 0.01
    assert wearing.any()
    found, origins = augment_faces(faces, range(len(faces)), ("eyewear",))
    named = {name for name, worn in zip(faces.names, wearing.tolist(), strict=True) if worn}
    assert 0 < len(found) < len(faces) and not named & {origin.source for origin in origins}
    with pytest.raises(ValueError, match="can wear"):
        augment_faces(faces, wearing.nonzero()[:, 0], ("eyewear",))


def test_unknown_kinds_and_numbers_are_refused_before_anything_is_written(source, tmp_path, capsys):
    out = tmp_path / "out"
    for wrong, said in (
        (["--objects", "eyewear,monocle"], "eyewear, mouth-mask, hand, not 'monocle'"),
        (["--count", "0"], "count"),
        (["--seed", "-1"], "seed"),
    ):
        assert main(["augment", str(source), str(out), "--count", "4", *wrong]) == 2
        assert said in capsys.readouterr().err and not out.exists()
    with pytest.raises(ValueError, match="at least one"):
        augment_faces(FaceFolder(source).preload(32), [0], ())


def test_the_command_says_what_it_wrote(source, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["augment", str(source), str(out), "--objects", "eyewear,hand", "--count", "30"]) == 0
    said = capsys.readouterr().out
    assert "30 augmented faces (15 eyewear, 15 hand)" in said
    assert main(["augment", str(source), str(out), "--count", "30"]) == 1
    assert "--replace" in capsys.readouterr().err
    assert set(OBJECTS) == {"eyewear", "mouth-mask", "hand"} and render_object("hand", 0).kind == "hand"


def test_copies_beside_the_manifest_of_rendered_faces_go_by_their_names(augmented):
    text = json.dumps({"renderer": 1, "count": 1, "seed": 0, "size": 64, "faces": {}})
    (augmented / "manifest.json").write_text(text, encoding="utf-8")
    faces = FaceFolder(augmented)
    assert faces.layout.origins == {}
    assert shared_sources(faces, faces.split()) == (set(), set())


def test_copies_of_photos_by_nobody_are_not_said_to_name_persons(folder, tmp_path):
    for kind in ("faces", "labels"):
        for number, path in enumerate(sorted((folder / kind).iterdir())):
            path.rename(path.with_name(f"IMG_{number:04d}.png"))
    copies = augment_folder(folder, tmp_path / "out", ("hand",), count=6).folder
    (copies / "manifest.json").unlink()
    assert FaceFolder(copies).layout.persons_from == "one per image, by its name"


def test_objects_are_put_on_the_face_in_a_wide_photo(source, tmp_path):
    faces, box = FaceFolder(source), (100, 30, 148, 78)
    for kind in ("faces", "labels"):
        (tmp_path / "wide" / kind).mkdir(parents=True)
    for index in range(6):
        image, mask = faces.read(index)
        photo, labels = Image.new("RGB", (240, 120), "teal"), Image.new("L", (240, 120))
        photo.paste(image, box[:2])
        labels.paste(Image.fromarray(mask), box[:2])
        photo.save(tmp_path / "wide" / "faces" / f"{faces.names[index]}.png")
        labels.save(tmp_path / "wide" / "labels" / f"{faces.names[index]}.png")
    options = {"kinds": ("hand",), "count": 4, "find_box": lambda image: box}
    copies = FaceFolder(augment_folder(tmp_path / "wide", tmp_path / "out", **options).folder)
    origins = read_origins(tmp_path / "out")
    wide = FaceFolder(tmp_path / "wide")
    for index, name in enumerate(copies.names):
        image, mask = copies.read(index)
        before, labels = wide.read(wide.names.index(origins[name].source))
        assert image.size == before.size and mask.shape == (120, 240)
        changed = np.argwhere(mask != labels)
        assert len(changed) and (changed >= (box[1], box[0])).all() and (changed < (box[3], box[2])).all()
        apart = np.abs(np.asarray(image).astype(int) - np.asarray(before))
        # Beyond what JPEG moves near the face.
        assert apart[:, :80].max() < 10 and apart[30:78, 100:148].max() > 40


def test_the_command_goes_on_without_the_finder_and_says_so(source, tmp_path, monkeypatch, capsys):
    def refuse():
        raise MissingPackage("pip install something")

    monkeypatch.setattr(finder, "load_detector", refuse)
    assert main(["augment", str(source), str(tmp_path / "out"), "--count", "2"]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines()[0].endswith("each photo is taken for one (pip install something)")
    assert main(["augment", str(source), str(tmp_path / "whole"), "--count", "2", "--no-crop"]) == 0
    assert "looked for" not in capsys.readouterr().err
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


def test_photos_without_a_face_are_taken_whole_and_named(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(finder, "load_detector", lambda: None)
    monkeypatch.setattr(finder, "find_faces", lambda image: [])
    arguments = ["augment", str(source), "--count", "3"]
    assert main([*arguments, str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    used = {origin.source for origin in read_origins(tmp_path / "out").values()}
    assert said.startswith("no face was found in ") and said.endswith(": taken whole, as one face each")
    assert all(name in said for name in used)
    assert main([*arguments, str(tmp_path / "whole"), "--no-crop"]) == 0
    assert "no face" not in capsys.readouterr().out
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


def test_a_photo_too_large_for_the_memory_is_named_and_nothing_is_left_behind(source, tmp_path):
    def need_too_much(image):
        raise MemoryError

    with pytest.raises(DataError, match=r"\.(jpg|png): needs more memory than there is. Scale it"):
        augment_folder(source, tmp_path / "out", ("hand",), 2, find_box=need_too_much)
    assert list(tmp_path.iterdir()) == []
