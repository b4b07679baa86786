import numpy as np
import pytest
from PIL import Image

from elfw_course.cli import main
from elfw_helpers.data.labels import HAIR, PALETTE
from elfw_helpers.plots.contact_sheet import contact_sheet


def test_every_face_is_shown_above_its_mask():
    images = np.full((3, 16, 16, 3), 77, np.uint8)
    sheet = np.asarray(contact_sheet(images, np.full((3, 16, 16), HAIR, np.uint8), columns=2))
    # The legend at the foot adds a small square of the colour.
    assert (sheet == 77).all(-1).sum() >= 3 * 16 * 16
    assert (sheet == PALETTE[HAIR]).all(-1).sum() >= 3 * 16 * 16


def test_without_masks_the_faces_stand_alone():
    sheet = contact_sheet(np.zeros((2, 16, 16, 3), np.uint8), None, columns=2)
    assert sheet.height < 2 * 16


def test_no_faces_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet(np.zeros((0, 16, 16, 3), np.uint8), None, columns=2)


def test_check_draws_a_sheet_of_a_folder(folder, tmp_path):
    assert main(["check", str(folder), "--sheet", str(tmp_path / "new" / "sheet.png")]) == 0
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        assert sheet.width > 10 * 128 and sheet.height > 6 * 128


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sheet.thesis", "sheet.thesis: a sheet is neither .png nor .jpg"),
        ("set.png", "set.png: Is a directory. A folder stands"),
        ("notes.txt/sheet.png", "notes.txt: cannot be written into"),
    ],
)
def test_a_sheet_that_cannot_be_written_is_told_without_a_traceback(folder, tmp_path, capsys, name, said):
    (tmp_path / "set.png").mkdir()
    (tmp_path / "notes.txt").touch()
    assert main(["check", str(folder), "--sheet", str(tmp_path / name)]) == 1
    assert said in capsys.readouterr().err
