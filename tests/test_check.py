import numpy as np
import pytest
from conftest import write_face
from PIL import Image

from elfw_helpers.check import check_folder, describe, find_shift
from elfw_helpers.cli import main
from elfw_helpers.datasets import FaceFolder
from elfw_helpers.paths import data_folder


def problems_of(folder):
    return "\n".join(str(problem) for problem in check_folder(folder).problems)


def test_a_sound_folder_has_no_problems(folder, capsys):
    assert main(["check", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "60 images, 60 of them readable" in printed
    assert "hair 36, spectacles 12, cap 12" in printed
    assert "32 x 32 (60)" in printed
    assert "0 problems" in printed
    assert "in 12 images" in next(line for line in printed.splitlines() if "wearable" in line)


def test_all_problems_are_told_at_once(folder, capsys):
    names = FaceFolder(folder).names
    (folder / "labels" / f"{names[0]}.png").unlink()
    (folder / "faces" / f"{names[1]}.png").write_text("no picture")
    colours = np.array(Image.open(folder / "labels" / f"{names[2]}.png"))
    colours[0, 0] = (1, 2, 3)
    Image.fromarray(colours).save(folder / "labels" / f"{names[2]}.png")
    write_face(folder, "Zoe_New_0001", 0, 999)
    (folder / "faces" / "Zoe_New_0001.png").unlink()
    assert main(["check", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert "4 problems" in printed
    for found in ("image without a mask", "cannot be read", "colour (1, 2, 3)", "mask without an image"):
        assert found in printed


def test_the_same_photo_in_two_splits_and_one_person_in_two_splits(folder):
    names = FaceFolder(folder).names
    for split, chosen in (("train", names[2:]), ("validation", names[:1]), ("test", names[1:2])):
        (folder / f"{split}.txt").write_text("\n".join(chosen))
    (folder / "faces" / f"{names[1]}.png").write_bytes((folder / "faces" / f"{names[0]}.png").read_bytes())
    found = problems_of(folder)
    assert f"the same picture as {names[0]}.png (one in validation, one in test)" in found
    assert "Some_Person00 is in validation (Some_Person00_0001) and in test (Some_Person00_0002)" in found


def test_labels_that_contradict_their_masks_are_suspects_not_problems(folder):
    names = FaceFolder(folder).names
    (folder / "labels.txt").write_text("".join(f"{name} hair\n" for name in names))
    audit = check_folder(folder)
    assert not audit.problems
    assert any("labelled otherwise than its mask" in str(suspect) for suspect in audit.suspects)
    assert "(and 23 more" in describe(audit)


def test_missing_folder_is_told_without_a_traceback(tmp_path, capsys):
    assert main(["check", str(tmp_path / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err


def flagged(folder, displaced: float, most: int = 200) -> float:
    """Return the share of faces whose mask is suspected when it is moved by a share of the width."""
    faces = FaceFolder(folder)
    generator = np.random.default_rng(0)
    chosen = generator.permutation(len(faces))[:most]
    count = 0
    for index in chosen:
        image, mask = faces.read(int(index))
        angle = generator.uniform(0, 2 * np.pi)
        move = np.round(displaced * image.width * np.array([np.sin(angle), np.cos(angle)])).astype(int)
        count += find_shift(image, np.roll(mask, move, (0, 1))) is not None
    return count / len(chosen)


def test_displaced_masks_of_embedded_faces_are_suspected_and_others_are_not(monkeypatch):
    monkeypatch.delenv("ELFW_DATA", raising=False)
    assert flagged(data_folder(), 0.0) <= 0.02
    assert flagged(data_folder(), 0.1) >= 0.8


@pytest.mark.real_faces
def test_displaced_masks_of_real_photos_are_suspected_and_others_are_not(real_faces):
    assert flagged(real_faces, 0.0) <= 0.01
    assert flagged(real_faces, 0.08) >= 0.9


@pytest.mark.real_faces
def test_real_photos_have_no_problems(real_faces):
    assert not check_folder(real_faces).problems


def test_embedded_faces_have_no_problems(monkeypatch):
    monkeypatch.delenv("ELFW_DATA", raising=False)
    assert not check_folder(data_folder()).problems
