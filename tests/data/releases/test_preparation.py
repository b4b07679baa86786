"""`elfw prepare` of published sets: their formats become ELFW's layout, or it says why not."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unicodedata

import numpy as np
import pytest
from PIL import Image

from elfw_course.cli import main
from elfw_helpers.data.audit import check_folder
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.images import read_mask
from elfw_helpers.data.labels import BACKGROUND, PALETTE
from elfw_helpers.data.layout import scan_folder
from elfw_helpers.data.releases import lfw_parts, preparation
from elfw_helpers.data.releases.terms import TERMS
from elfw_helpers.utils.errors import ElfwError
from tests.data.releases.miniatures import (
    CELEBS,
    GLASSES,
    LFW,
    PARTS,
    expected_mask,
    write_celebamask_hq,
    write_elfw,
    write_lfw_parts,
    write_pair,
    write_part,
    write_photo,
)
from tests.faces import SIDE, paint_face

WRITERS = {"celebamask-hq": write_celebamask_hq, "elfw": write_elfw, "lfw-parts": write_lfw_parts}
MASKS, PHOTOS = "CelebAMask-HQ-mask-anno", "CelebA-HQ-img"
MAPPING, ATTRIBUTES = "CelebA-HQ-to-CelebA-mapping.txt", "CelebAMask-HQ-attribute-anno.txt"


@pytest.fixture
def celebs(tmp_path):
    return write_celebamask_hq(tmp_path / "release")


@pytest.fixture
def lfw(tmp_path):
    return write_lfw_parts(tmp_path / "release")


@pytest.fixture
def elfw(tmp_path):
    return write_elfw(tmp_path / "release")


def prepare(kind, tmp_path, source="release", **more):
    return preparation.prepare_release(kind, tmp_path / source, tmp_path / "out", **more)


def fails(kind, tmp_path, *found, source="release"):
    """Check that preparing fails with these words, and that nothing stands in the place of the result."""
    with pytest.raises(ElfwError) as caught:
        prepare(kind, tmp_path, source)
    for words in found:
        assert words in str(caught.value)
    assert not (tmp_path / "out").exists()
    return str(caught.value)


def list_files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def read_names(file):
    return file.read_text(encoding="utf-8").split("\n")[:-1]


def edit(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_celebamask_hq(celebs, tmp_path, capsys):
    assert main(["prepare", "celebamask-hq", str(celebs), str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "non-commercial research and education only" in printed and "5 faces with masks" in printed
    assert "5 of the 30,000 photos that are published" in printed
    out = tmp_path / "out"
    for number, _, _, more in CELEBS:
        assert (out / "faces" / f"{number}.jpg").read_bytes() == (
            celebs / PHOTOS / f"{number}.jpg"
        ).read_bytes()
        mask = expected_mask(more).repeat(2, 0).repeat(2, 1)
        assert np.array_equal(read_mask(out / "labels" / f"{number}.png"), mask)
    # CelebA's split by its numbers: those of the first and of the last photo of validation are among them.
    assert read_names(out / "train.txt") == ["0", "1"] and read_names(out / "validation.txt") == ["2", "3"]
    assert read_names(out / "test.txt") == ["2000"]
    assert read_names(out / "persons.txt") == ["0 7", "1 8", "2 9", "3 9", "2000 10"]
    faces = FaceFolder(out)
    assert dict(zip(faces.names, faces.attributes.tolist(), strict=True)) == {
        "0": 0, "1": 1, "2": 0, "2000": 2, "3": 2
    }  # fmt: skip
    assert not check_folder(out).problems and not out.with_name("out.unfinished").exists()
    assert {path.split("/")[0] for path in list_files(out)} == {
        "faces", "labels", "persons.txt", "test.txt", "train.txt", "validation.txt"
    }  # fmt: skip


def test_lfw_parts(lfw, tmp_path):
    # As macOS unpacks it: é is e and an accent in the names of files, and not in the list.
    for path in sorted(lfw.rglob("Cé*"), reverse=True):
        path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))
    done = prepare("lfw-parts", tmp_path)
    out = tmp_path / "out"
    assert done.remarks == ["3 of the 2,927 photos that are published"]
    layout = scan_folder(out)
    assert not layout.problems and {split: len(found) for split, found in layout.splits.items()} == {
        "train": 1, "validation": 1, "test": 1
    }  # fmt: skip
    assert read_names(out / "validation.txt") == ["Bo_Li_0012"]
    assert layout.persons["Ann_Lee_0001"] == "Ann_Lee"
    assert np.array_equal(read_mask(out / "labels" / "Bo_Li_0012.png"), paint_face(0, 1)[1])
    assert len(layout.images) == len(LFW)


def test_elfw(elfw, tmp_path):
    done = prepare("elfw", tmp_path)
    out = tmp_path / "out"
    assert len(done.attributes) == 6 + 6 and not done.remarks
    faces = FaceFolder(out)
    assert len(faces) == 6 and faces.layout.splits["test"] == ["First_Last0_0001", "First_Last0_0002"]
    assert read_names(out / "elfw_set_02.txt") == ["First_Last1_0001"]
    assert np.array_equal(read_mask(out / "labels" / "First_Last1_0002.png"), paint_face(1, 12)[1])
    for folder in ("elfw_AugmentedGlasses", "elfw_AugmentedHands", "elfw_AugmentedMasks"):
        copies = FaceFolder(out / folder)
        assert set(copies.persons) == {f"First_Last{person}" for person in (1, 2)}
        assert not check_folder(out / folder).problems


def test_published_sizes(tmp_path):
    write_celebamask_hq(tmp_path / "release", 16, CELEBS[1:2])
    prepare("celebamask-hq", tmp_path)
    with Image.open(tmp_path / "out" / "faces" / "1.jpg") as photo:
        assert photo.size == (1024, 1024)
    mask = read_mask(tmp_path / "out" / "labels" / "1.png")
    assert np.array_equal(mask, expected_mask(GLASSES).repeat(32, 0).repeat(32, 1))


@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_part_masks_in_other_modes_mean_the_same(mode, celebs, tmp_path):
    write_part(celebs / MASKS / "0" / "00000_skin.png", PARTS["skin"], mode=mode)
    prepare("celebamask-hq", tmp_path)
    mask = read_mask(tmp_path / "out" / "labels" / "0.png")
    assert np.array_equal(mask, expected_mask({}).repeat(2, 0).repeat(2, 1))


def save_grey(file):
    Image.new("L", (SIDE, SIDE), 128).save(file)


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("file", "damage", "found"),
    [
        (f"{MASKS}/0/00000_nose.png", save_grey, "other colours than black and white"),
        (
            f"{MASKS}/0/00000_nose.png",
            lambda f: Image.new("RGBA", (SIDE, SIDE)).save(f),
            "a mask in mode RGBA",
        ),
        (f"{MASKS}/0/00000_nose.png", lambda f: write_part(f, PARTS["nose"], 2), "64 x 64 pixels, and other"),
        (f"{MASKS}/0/00000_nose.png", cut, "cannot be read"),
        (f"{MASKS}/0/00000_nose.png", lambda f: f.write_bytes(b"<html>"), "a web page: the download failed"),
        (f"{PHOTOS}/0.jpg", cut, "cannot be read"),
        (f"{PHOTOS}/0.jpg", lambda f: f.write_bytes(b""), "it is empty"),
        (
            f"{PHOTOS}/0.jpg",
            lambda f: write_photo(f, 0, 72),
            "a mask of 32 x 32 pixels, for a photo of 72 x 72",
        ),
    ],
)
def test_a_damaged_file_is_named_and_its_face_can_be_left_out(file, damage, found, celebs, tmp_path):
    damage(celebs / file)
    said = fails("celebamask-hq", tmp_path, found, "1 problem,", "--leave-out")
    assert re.search(r"0\.jpg|00000_", said)
    done = prepare("celebamask-hq", tmp_path, leave_out=True)
    assert len(done.attributes) == 4 and len(done.left_out) == 1
    assert read_names(tmp_path / "out" / "train.txt") == ["1"]
    assert "0" not in scan_folder(tmp_path / "out").images


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda r: (r / PHOTOS / "0.jpg").unlink(),
         ["masks without a photo: 1 (0)", "names are missing: 1 (0)"]),
        (lambda r: shutil.rmtree(r / MASKS / "1"), ["photos without a mask: 1 (2000)"]),
        (lambda r: write_photo(r / PHOTOS / "9.jpg", 9), ["without a mask: 1 (9)", "does not name: 1 (9)"]),
        (lambda r: write_photo(r / PHOTOS / "007.jpg", 9), ["no photo of the release (N.jpg): 1 (007.jpg)"]),
        (lambda r: write_part(r / MASKS / "0" / "00000_beard.png", PARTS["nose"]),
         ["unknown parts: 1 (0/00000_b"]),
        (lambda r: write_part(r / MASKS / "0" / "02000_skin.png", PARTS["nose"]),
         ["no mask of the release: 1 (0/"]),
        (lambda r: (r / MASKS / "0" / "notes.txt").write_text("x"),
         ["no mask of the release: 1 (0/notes.txt)"]),
        (lambda r: (r / MAPPING).unlink(), ["mapping.txt: missing", "which photos are for the test"]),
        (lambda r: (r / ATTRIBUTES).unlink(), ["attribute-anno.txt: missing"]),
        (lambda r: edit(r / MAPPING, "119613", "9" * 5000), ["should be numbers"]),
        (lambda r: edit(r / MAPPING, "119613", "many"), ["line 2: '0' and 'many' should be numbers"]),
        (lambda r: edit(r / MAPPING, "0          119613       119614.jpg", "0"),
         ["line 2: '0' has not 3 columns"]),
        (lambda r: edit(r / ATTRIBUTES, "5\n", "6\n"), ["lists 5 photos, and says 6"]),
        (lambda r: edit(r / ATTRIBUTES, "Wearing_Hat", "Hat"), ["does not begin with the number of photos"]),
        (lambda r: edit(r / ATTRIBUTES, "1.jpg  -1 1", "1.jpg  1"), ["line 4: 3 values, and 4 names"]),
        (lambda r: edit(r / "identity_CelebA.txt", "099095", "000000"), ["does not name: 1 (099095.jpg)"]),
    ],
)  # fmt: skip
def test_what_is_missing_or_surplus_in_celebamask_hq_is_listed(change, found, celebs, tmp_path):
    change(celebs)
    fails("celebamask-hq", tmp_path, *found)
    # It is known before the first face is made.
    assert not (tmp_path / "out.unfinished").exists()


def test_many_missing_files_are_counted_and_the_first_are_named(celebs, tmp_path):
    for number in range(100, 130):
        write_photo(celebs / PHOTOS / f"{number}.jpg", number)
    fails("celebamask-hq", tmp_path, "photos without a mask: 30 (100, 101, 102, 103, 104 ...)")
    write_part(celebs / MASKS / "0" / "00100_skin.png", PARTS["skin"])
    edit(celebs / "identity_CelebA.txt", "099095.jpg", "000000.jpg")
    done = prepare("celebamask-hq", tmp_path, leave_out=True)
    assert len(done.attributes) == 5 and any("30 (100" in line for line in done.left_out)
    # One whom the list of persons leaves out is somebody else.
    assert "1 1" in read_names(tmp_path / "out" / "persons.txt")


def test_without_the_list_of_persons_it_is_said_that_nobody_is_known(celebs, tmp_path):
    (celebs / "identity_CelebA.txt").unlink()
    done = prepare("celebamask-hq", tmp_path)
    assert "each photo counts as another person's" in done.remarks[0]
    assert not (tmp_path / "out" / "persons.txt").exists()


def test_people_on_both_sides_of_a_split_and_other_attributes_are_remarked(celebs, tmp_path):
    edit(celebs / "identity_CelebA.txt", "182639.jpg 10", "182639.jpg 7")
    edit(celebs / ATTRIBUTES, "3.jpg  -1 -1 1", "3.jpg  -1 -1 -1")
    text = "\n".join(prepare("celebamask-hq", tmp_path).remarks)
    assert "more than one side of the release's own split: 1 (7)" in text
    assert "on 1 (3): on 3 'hair' instead of 'cap'" in text


def test_a_split_with_an_empty_side_is_not_written(tmp_path):
    write_celebamask_hq(tmp_path / "release", celebs=CELEBS[:3])
    assert "no photo on one side" in "\n".join(prepare("celebamask-hq", tmp_path).remarks)
    assert not (tmp_path / "out" / "train.txt").exists()


def save_colour(file):
    image = Image.open(file)
    image.putpixel((5, 3), (0, 0, 0))
    image.save(file)


BO = "parts_lfw_funneled_gt_images/Bo_Li_0012.ppm"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda r: save_colour(r / BO), ["the colour (0, 0, 0) in row 3, column 5"]),
        (lambda r: Image.open(r / BO).resize((40, 40), 0).save(r / BO),
         ["40 x 40 pixels, for a photo of 32 x 32"]),
        (lambda r: Image.open(r / BO).save(r / BO, "PNG"), ["in format PNG"]),
        (lambda r: Image.open(r / BO).convert("L").save(r / BO), ["mode L"]),
        (lambda r: cut(r / BO), ["cannot be read"]),
        (lambda r: (r / BO).unlink(),
         ["parts_validation.txt: masks that it names are missing: 1 (Bo_Li_0012)"]),
        (lambda r: shutil.rmtree(r / "lfw_funneled" / "Bo_Li"),
         ["photos to masks are missing: 1 (Bo_Li_0012)"]),
        (lambda r: shutil.copy(r / BO, r / "parts_lfw_funneled_gt_images/X_Y_0001.ppm"),
         ["none of the three lists names: 1 (X_Y_0001)"]),
        (lambda r: (r / "parts_lfw_funneled_gt_images/a.dat").write_text("x"), ["(.ppm): 1 (a.dat)"]),
        (lambda r: (r / "parts_test.txt").unlink(), ["parts_test.txt: missing"]),
        (lambda r: (r / "parts_test.txt").write_text("../../secret 1\n"), ["(../../secret_0001)"]),
        (lambda r: (r / "parts_test.txt").write_text("ann_lee 1\n"),
         ["ann_lee_0001; 'Ann_Lee_0001' is there"]),
        (lambda r: (r / "parts_test.txt").write_text("Ann_Lee\n"), ["line 1: 'Ann_Lee' is not `NAME n"]),
        (lambda r: (r / "parts_test.txt").write_text("Ann_Lee one\n"), ["line 1: 'Ann_Lee one' is not"]),
        (lambda r: (r / "parts_test.txt").write_text("Ann_Lee 1\n"), ["is listed already, for train"]),
        (lambda r: (r / "lfw-funneled.tgz").write_bytes(b"half"), ["its MD5 is", "Download it again"]),
    ],
)  # fmt: skip
def test_what_is_wrong_in_lfw_parts_is_named(change, found, lfw, tmp_path):
    change(lfw)
    fails("lfw-parts", tmp_path, *found)


def test_an_archive_with_the_published_checksum_is_no_problem(lfw, tmp_path, monkeypatch):
    (lfw / "lfw-funneled.tgz").write_bytes(b"")
    monkeypatch.setitem(lfw_parts.ARCHIVES, "lfw-funneled.tgz", "d41d8cd98f00b204e9800998ecf8427e")
    assert len(prepare("lfw-parts", tmp_path).attributes) == 3


def save_label(folder, name, colours):
    Image.fromarray(colours).save(folder / "labels" / f"{name}.png")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda b: (b / "labels/First_Last1_0001.png").unlink(),
         ["photos without a mask: 1 (First_Last1_0001)"]),
        (lambda b: (b / "faces/First_Last1_0001.jpg").unlink(),
         ["masks without a photo: 1 (First_Last1_0001)", "'First_Last1_0001.jpg' is not among the images"]),
        (lambda b: (b / "faces/notes.doc").write_text("x"), ["notes.doc"]),
        (lambda b: shutil.rmtree(b / "labels"), ["labels: missing"]),
        (lambda b: (b / "elfw_set_00.txt").write_text("../../etc/passwd\n"),
         ["a path leading out of the folder"]),
        (lambda b: [path.unlink() for path in b.glob("*.txt")], ["elfw_set_00.txt: missing"]),
        (lambda b: save_label(b, "First_Last1_0001", np.full((SIDE, SIDE, 3), 9, np.uint8)),
         ["First_Last1_0001.png"]),
        (lambda b: save_label(b, "First_Last1_0001", PALETTE[np.zeros((40, 40), int)]),
         ["40 x 40 pixels, for"]),
        (lambda b: write_pair(b.with_name("elfw_AugmentedHands"), "Some_One_0001_elfw-hand-1", 0, 1),
         ["copies of no face that is there: 1 (Some_One_0001_elfw-hand-1)"]),
        (lambda b: write_pair(b, "first_last1_0001", 0, 1), ["has the same name as"]),
    ],
)  # fmt: skip
def test_what_is_wrong_in_elfw_is_named(change, found, elfw, tmp_path):
    change(elfw / "elfw_01_basic")
    fails("elfw", tmp_path, *found)


@pytest.mark.parametrize(
    ("kind", "inner"),
    [("celebamask-hq", PHOTOS), ("elfw", "elfw_01_basic"), ("lfw-parts", "lfw_funneled")],
)
def test_the_release_is_found_one_level_above_or_below(kind, inner, tmp_path):
    WRITERS[kind](tmp_path / "downloads" / "release")
    for source in (tmp_path / "downloads", tmp_path / "downloads" / "release" / inner):
        done = prepare(kind, tmp_path, source)
        assert f"found in {tmp_path / 'downloads' / 'release'}" in "\n".join(done.remarks)
        shutil.rmtree(tmp_path / "out")
    fails(kind, tmp_path, "holds no", "How to get", TERMS[kind].access[0], source=tmp_path)
    (tmp_path / "downloads" / "release" / "notes").mkdir()
    fails(kind, tmp_path, "holds no", source=tmp_path / "downloads" / "release" / "notes")
    WRITERS[kind](tmp_path / "downloads" / "second")
    fails(kind, tmp_path, "more than once, in release and second", source=tmp_path / "downloads")


@pytest.mark.parametrize("kind", WRITERS)
def test_an_archive_or_nothing_in_place_of_the_release(kind, tmp_path):
    (tmp_path / "release.zip").write_bytes(b"PK")
    fails(kind, tmp_path, "is a file, not the folder", "Unpack it", source="release.zip")
    fails(kind, tmp_path, "no such folder", "How to get", "https://" if kind != "lfw-parts" else "http://")
    (tmp_path / "release" / TERMS[kind].holds[-1]).mkdir(parents=True)
    fails(kind, tmp_path, "elfw_set_00" if kind == "elfw" else f"holds {TERMS[kind].holds[-1]}, and no")


def test_the_case_of_names_does_not_matter(celebs, tmp_path):
    (celebs / PHOTOS).rename(celebs / PHOTOS.lower())
    (celebs / PHOTOS.lower() / "0.jpg").rename(celebs / PHOTOS.lower() / "0.JPG")
    (celebs / MASKS / "0" / "00000_skin.png").rename(celebs / MASKS / "0" / "00000_Skin.PNG")
    assert len(prepare("celebamask-hq", tmp_path).attributes) == 5


def test_nothing_is_overwritten_and_classes_are_for_annotations(celebs, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(ElfwError, match="holds files already"):
        prepare("celebamask-hq", tmp_path)
    call = ["prepare", "celebamask-hq", str(celebs), str(tmp_path / "new"), "--classes", "x.txt"]
    assert main(call) == 1 and "--classes is for annotations" in capsys.readouterr().err


def stop_after(monkeypatch, count, error):
    """Let the making of faces end with an error after so many."""
    make, made = preparation.make_face, []

    def make_some(*arguments):
        if len(made) == count:
            raise error
        made.append(arguments[-1].name)
        return make(*arguments)

    monkeypatch.setattr(preparation, "make_face", make_some)
    return made


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left"), 1, "The disk is full"),
    ],
)
def test_an_interrupted_run_is_gone_on_with(error, code, said, celebs, tmp_path, monkeypatch, capsys):
    call = ["prepare", "celebamask-hq", str(celebs), str(tmp_path / "out")]
    with monkeypatch.context() as patched:
        first = stop_after(patched, 2, error)
        assert main(call) == code and said in capsys.readouterr().err
    assert len(first) == 2 and not (tmp_path / "out").exists()
    # A process that is killed may leave half a line, and a file under a name of its own.
    with (tmp_path / "out.unfinished" / "done.txt").open("a") as journal:
        journal.write('["20')
    (tmp_path / "out.unfinished" / "faces" / ".2000.jpg.77").write_bytes(b"half")
    with monkeypatch.context() as patched:
        second = stop_after(patched, 2, error)
        assert main(call) == code
    third = stop_after(monkeypatch, 5, None)
    assert main(call) == 0 and sorted(first + second + third) == ["0", "1", "2", "2000", "3"]
    assert "5 faces with masks" in capsys.readouterr().out
    assert len(list_files(tmp_path / "out")) == 2 * 5 + 4


def test_a_face_whose_files_have_changed_is_made_again_and_nothing_stale_stays(celebs, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_after(patched, 4, OSError(errno.EIO, "Input/output error"))
        fails("celebamask-hq", tmp_path)
    (celebs / MASKS / "0" / "00000_hair.png").unlink()
    write_part(celebs / MASKS / "0" / "00002_skin.png", PARTS["nose"])
    (celebs / "identity_CelebA.txt").unlink()
    (celebs / PHOTOS / "1.jpg").unlink()
    (tmp_path / "out.unfinished" / "persons.txt").write_text("0 9\n")
    made = stop_after(monkeypatch, 9, None)
    prepare("celebamask-hq", tmp_path, leave_out=True)
    assert made == ["0", "2", "2000"]
    assert (read_mask(tmp_path / "out" / "labels" / "0.png")[8:10] == BACKGROUND).all()
    assert (read_mask(tmp_path / "out" / "labels" / "2.png")[20:22, 32:34] == BACKGROUND).all()
    assert not {"faces/1.jpg", "labels/1.png", "persons.txt"} & set(list_files(tmp_path / "out"))


def test_many_faces_are_made_by_processes_and_their_errors_arrive(elfw, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "FEW", 1)
    blocked = tmp_path / "out.unfinished" / "labels" / "First_Last2_0001.png"
    fails_in_a_worker = pytest.raises(ElfwError, match=r"First_Last2_0001\.png.*A folder stands where a file")
    preparation.begin(tmp_path / "out")
    (blocked / "x").mkdir(parents=True)
    with fails_in_a_worker:
        prepare("elfw", tmp_path)
    shutil.rmtree(blocked)
    assert len(prepare("elfw", tmp_path).attributes) == 12
    assert not check_folder(tmp_path / "out").problems


def test_a_killed_run_leaves_only_whole_files_and_is_gone_on_with(tmp_path):
    celebs = [(number, 100_000 + number, number, {}) for number in range(40)]
    celebs += [(40, 170_000, 40, {}), (41, 190_000, 41, {})]
    release = write_celebamask_hq(tmp_path / "release", 4, celebs)
    call = [sys.executable, "-m", "elfw_course.cli", "prepare", "celebamask-hq"]
    work, out = tmp_path / "out.unfinished", tmp_path / "out"
    process = subprocess.Popen([*call, str(release), str(out)], stdout=subprocess.DEVNULL)
    journal, deadline = work / "done.txt", time.monotonic() + 60
    while not (journal.exists() and journal.read_text().count("\n") > 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not out.exists()
    done = journal.read_text().count("\n")
    assert 3 < done < len(celebs)
    for face in (work / "faces").glob("*.jpg"):
        assert face.read_bytes() == (release / PHOTOS / face.name).read_bytes()
    for label in (work / "labels").glob("*.png"):
        assert read_mask(label).shape == (256, 256)
    dates = {path: path.stat().st_mtime_ns for path in (work / "labels").glob("*.png")}
    assert len(prepare("celebamask-hq", tmp_path).attributes) == len(celebs)
    kept = [path for path, date in dates.items() if (out / "labels" / path.name).stat().st_mtime_ns == date]
    assert len(kept) >= done and not check_folder(out).problems
