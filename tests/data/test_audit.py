import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elfw_course.cli import main
from elfw_helpers.data.audit import check_folder, describe_audit
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.layout import PassedOverWarning
from elfw_helpers.deployment.listing import list_photos
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.paths import data_folder
from tests.faces import write_face


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
    (folder / "faces" / f"{names[1]}.png").write_text("no picture", encoding="utf-8")
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
        (folder / f"{split}.txt").write_text("\n".join(chosen), encoding="utf-8")
    (folder / "faces" / f"{names[1]}.png").write_bytes((folder / "faces" / f"{names[0]}.png").read_bytes())
    found = problems_of(folder)
    assert f"the same picture as {names[0]}.png (one in validation, one in test)" in found
    assert "Some_Person00 is in validation (Some_Person00_0001) and in test (Some_Person00_0002)" in found


def test_labels_that_contradict_their_masks_are_suspects_not_problems(folder):
    names = FaceFolder(folder).names
    (folder / "labels.txt").write_text("".join(f"{name} hair\n" for name in names), encoding="utf-8")
    audit = check_folder(folder)
    assert not audit.problems
    assert any("another label than the rule gives its mask" in str(suspect) for suspect in audit.suspects)
    assert "(and 23 more" in describe_audit(audit)


def test_missing_folder_is_told_without_a_traceback(tmp_path, capsys):
    assert main(["check", str(tmp_path / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("chosen", [False, True])
def test_elfw_data_is_blamed_for_a_missing_folder_only_if_it_names_it(tmp_path, monkeypatch, capsys, chosen):
    monkeypatch.setenv("ELFW_DATA", str(tmp_path / ("nowhere" if chosen else "other")))
    main(["check", str(tmp_path / "nowhere")])
    assert ("$ELFW_DATA" in capsys.readouterr().err) == chosen


def test_a_folder_that_no_notebook_can_split_says_how_much_is_missing(tmp_path, capsys):
    for number in range(12):
        write_face(tmp_path, f"face{number:02d}", number % 2, number)
    by_person = {
        "".join(f"face{number:02d} P{number % 4}\n" for number in range(12)): (
            "4 people are too few to cut the images into 10 parts", "Add photos of 6 more",
        ),
        "".join(f"face{number:02d} P{number}\n" for number in range(12)): (
            "6 images of hair", "Add 4 more, or write train.txt",
        ),
    }  # fmt: skip
    for persons, words in by_person.items():
        (tmp_path / "persons.txt").write_text(persons, encoding="utf-8")
        assert main(["check", str(tmp_path)]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  split ")]
        assert line.startswith("  split       the notebooks will stop: ") and all(
            word in line for word in words
        )


def test_attributes_of_few_people_may_be_missing_from_the_test(folder, capsys):
    assert main(["check", str(folder)]) == 0
    assert "  split       few people have spectacles (6), cap (6), and the test" in capsys.readouterr().out
    (folder / "elfw_set_00.txt").write_text(f"{FaceFolder(folder).names[0]}\n", encoding="utf-8")
    assert main(["check", str(folder)]) == 0
    assert "  split " not in capsys.readouterr().out


def test_files_passed_over_are_named_with_the_reason_and_bounded_in_number(folder, capsys):
    faces = folder / "faces"
    (faces / "PHOTO.heic").write_bytes(b"phone")
    (faces / ".DS_Store").touch()
    (faces / "more").mkdir()
    for number in range(25):
        (folder / "labels" / f"note{number:02d}.docx").touch()
    assert main(["check", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "28 files passed over" in printed and "and 8 more" in printed
    for name, reason in (
        ("PHOTO.heic", "Pillow, as it is installed here, does not open it"),
        (".DS_Store", "a hidden file"),
    ):
        assert any(name in line and reason in line for line in printed.splitlines())
    assert any("more: a folder" in line for line in printed.splitlines())


def test_loading_warns_of_what_is_passed_over_but_not_of_hidden_files(folder, recwarn):
    (folder / "faces" / ".DS_Store").touch()
    FaceFolder(folder)
    assert not recwarn.list
    (folder / "faces" / "IMG_7.heic").touch()
    with pytest.warns(PassedOverWarning, match=r"60 images are used \(passed over: IMG_7.heic: Pillow, as"):
        FaceFolder(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_names_that_are_no_unicode_can_be_printed(folder):
    (folder / "faces" / os.fsdecode(b"Jos\xe9.txt")).touch()
    assert r"Jos\udce9.txt" in describe_audit(check_folder(folder)).encode().decode()


def test_loading_names_what_was_passed_over_where_nothing_is_left(tmp_path):
    for number in range(5):
        (tmp_path / f"IMG_{number}.heic").touch()
    with pytest.raises(DataError, match=r"holds no images \(passed over: IMG_0.heic: .*; and 2 more\)"):
        FaceFolder(tmp_path)


def test_problems_found_before_the_one_that_ends_the_check_are_told(folder, tmp_path, capsys):
    outside = (folder / "faces").rename(tmp_path / "store")
    (folder / "faces").mkdir()
    for path in outside.iterdir():
        (folder / "faces" / path.name).symlink_to(path)
    (folder / "faces" / "gone.jpg").symlink_to("nowhere.jpg")
    assert main(["check", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert "62 problems" in printed and "holds no images" not in printed.split("and 42 more")[0]
    audit = check_folder(folder)
    found = [problem.found for problem in audit.problems]
    assert found.count("is a link that leads out of the folder") == 60 and "is a link to nothing" in found
    assert found[-1].startswith("holds no images")


def test_lists_that_cannot_be_read_do_not_end_the_check(folder):
    (folder / "labels.txt").write_bytes(b"\xe9 hair")
    (folder / "persons.txt").mkdir()
    write_face(folder, "Zoe_New_0001", 0, 999)
    (folder / "labels" / "Zoe_New_0001.png").unlink()
    found = problems_of(folder)
    for fault in (
        "labels.txt: cannot be read as text",
        "persons.txt: Is a directory",
        "image without a mask",
    ):
        assert fault in found


@pytest.mark.parametrize("refused", ["faces", "labels"])
def test_a_folder_that_the_system_refuses_is_one_line_with_path_and_remedy(
    folder, refused, monkeypatch, capsys
):
    listed = os.scandir

    def refuse(path):
        if Path(path).name == refused:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert main(["check", str(folder)]) == 1
    said = capsys.readouterr().out
    assert f"{folder / refused}: Permission denied" in said and "rights (`ls -ld`" in said
    with pytest.raises(DataError, match="Permission denied"):
        FaceFolder(folder)


def test_how_persons_are_known_is_said(folder, capsys):
    main(["check", str(folder)])
    assert "persons     30, by names like First_Last_0001" in capsys.readouterr().out


@pytest.mark.real_faces
def test_real_photos_have_no_problems_and_no_suspects(real_faces):
    audit = check_folder(real_faces)
    assert audit.problems == audit.suspects == []


def test_of_the_embedded_faces_only_the_wrong_labels_are_suspected(monkeypatch):
    monkeypatch.delenv("ELFW_DATA", raising=False)
    audit = check_folder(data_folder())
    assert audit.problems == []
    (suspect,) = audit.suspects
    assert suspect.file.name == "labels.txt" and "(and 67 more" in suspect.found


def test_images_beside_the_folder_of_faces_are_named(folder):
    write_face(folder, "stray", 0, 7)
    (folder / "labels" / "stray.png").unlink()
    (folder / "faces" / "stray.png").rename(folder / "stray.png")
    (found,) = check_folder(folder).layout.passed_over
    assert str(found).startswith(f"{folder / 'stray.png'}: an image beside faces/. Move it into faces/")
    with pytest.warns(PassedOverWarning, match=r"60 images are used \(passed over: stray.png: an"):
        FaceFolder(folder)


def test_a_folder_of_masks_without_an_image_says_what_it_holds(folder):
    for path in (folder / "labels").iterdir():
        np.save(path.with_suffix(".npy"), np.zeros((8, 8), np.uint8))
        path.unlink()
    first = check_folder(folder).problems[0]
    assert first.file == folder / "labels" and "Save each mask as PNG" in first.fix
    assert first.found.startswith("holds no masks (passed over: Some_Person00_0001.npy: ")


def test_an_image_under_another_kind_s_name_is_used_as_for_predict(folder):
    for kind, name in (("faces", "Ann_Lee_0001.heic"), ("labels", "Ann_Lee_0001")):
        write_face(folder, "Ann_Lee_0001", 0, 7)
        (folder / kind / "Ann_Lee_0001.png").rename(folder / kind / name)
    (folder / "faces" / "Ann_Lee_0001.png").unlink()
    faces = FaceFolder(folder)
    assert faces.layout.images["Ann_Lee_0001"].suffix == ".heic" and "Ann_Lee_0001" in faces.layout.masks
    assert list_photos([folder]).photos[0].suffix == ".heic"
