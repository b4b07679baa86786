import pytest
import torch
from PIL import Image

from elfw_course.cli import main
from elfw_helpers import plots


def test_every_face_is_shown_above_its_mask_in_rows_of_ten():
    images = torch.arange(12, dtype=torch.uint8)[:, None, None, None].expand(12, 16, 16, 3)
    masks = (images[..., 0] == 11).to(torch.uint8)
    panels = plots.show_faces(images, masks).axes
    shown = [int(panel.images[0].get_array()[0, 0, 0]) if panel.images else None for panel in panels]
    assert shown[:10] == list(range(10)) and shown[20:30] == [10, 11] + [None] * 8
    assert [panel.images[0].get_array()[0, 0].tolist() for panel in panels[30:32]] == [
        [0, 0, 0],
        [240, 228, 66],
    ]


def test_without_masks_the_faces_stand_alone():
    figure = plots.show_faces(torch.zeros(12, 16, 16, 3, dtype=torch.uint8), None)
    assert len(figure.axes) == 20 and not figure.legends


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
