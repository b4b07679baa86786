"""`elfw predict`: photos and folders in, files out, one bad photo never stops the rest."""

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from elfw_course.cli import main
from elfw_helpers.data.images import read_mask
from elfw_helpers.data.labels import ATTRIBUTES, PIXEL_CLASSES, attribute_from_mask
from elfw_helpers.deployment import files as photos
from elfw_helpers.deployment import predict
from elfw_helpers.deployment.faces import Frame, cut_face, whole_frame
from elfw_helpers.deployment.listing import list_photos
from elfw_helpers.deployment.predict import class_fractions, predict_mask
from elfw_helpers.models import UNet, hub, mini_network
from elfw_helpers.models.hub import ModelCard, load_model, store_model
from elfw_helpers.utils.paths import embedded_faces
from tests.faces import paint_face

SEGMENTED = ("_mask.png", "_overlay.jpg", ".json")


@pytest.fixture(autouse=True)
def shipped(tmp_path_factory, monkeypatch) -> Path:
    """Tiny models in place of those that ship, and a face that fills every photo."""
    monkeypatch.setattr(predict, "find_faces", lambda image: [whole_frame(*image.size)])
    folder = tmp_path_factory.mktemp("weights")
    monkeypatch.setattr(hub, "rendered_weights", lambda network: folder / f"{network}_rendered.safetensors")
    torch.manual_seed(0)
    network = UNet(width=2)
    network.train()(torch.randn(4, 3, 32, 32))
    card = ModelCard(
        architecture="unet",
        classes=PIXEL_CLASSES,
        size=32,
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.2, 0.2),
        trained_on="nothing at all",
        options={"width": 2},
    )
    store_model(network, card, folder / "efficient_unet_rendered.safetensors")
    card = replace(card, architecture="mini_network", classes=ATTRIBUTES, size=64, options={})
    for name in ("efficient_attributes", "mini_network"):
        store_model(mini_network(), card, folder / f"{name}_rendered.safetensors")
    return folder


def save_face(path: Path, size: tuple[int, int] = (48, 40), mode: str = "RGB", **options) -> Path:
    """Save a crude face, of a size and a mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(paint_face(1, 0)[0]).resize(size).convert(mode).save(path, **options)
    return path


def run(*arguments) -> int:
    """Run `elfw predict` and return its exit code."""
    return main(["predict", *map(str, arguments)])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_segmenting_writes_mask_overlay_and_json(tmp_path, capsys):
    photo, out = save_face(tmp_path / "in" / "ann.png"), tmp_path / "new" / "out"
    assert run(photo, "--out", out) == 0
    assert capsys.readouterr() == (f"1 photo predicted into {out}\n", "")
    assert names(out) == sorted(f"ann{suffix}" for suffix in SEGMENTED)
    mask = read_mask(out / "ann_mask.png")
    assert (mask == predict_mask(load_model("efficient_unet"), Image.open(photo).convert("RGB"))).all()
    with Image.open(out / "ann_overlay.jpg") as overlay:
        assert overlay.size == (48, 40)
    answer = json.loads((out / "ann.json").read_text(encoding="utf-8"))
    (face,) = answer.pop("faces")
    assert face.pop("class_fractions") == pytest.approx(class_fractions(mask), abs=1e-6)
    assert face == {
        "frame": {"x": 24, "y": 20, "side": 48, "tilt": 0},
        "attribute": ATTRIBUTES[attribute_from_mask(mask)],
    }
    assert answer == {
        "photo": "ann.png",
        "width": 48,
        "height": 40,
        "model": "efficient_unet",
        "task": "segment",
        "remarks": [],
    }


def test_without_cropping_the_answer_is_of_the_whole_photo(tmp_path, monkeypatch):
    photo, out = save_face(tmp_path / "in" / "ann.png"), tmp_path / "out"
    monkeypatch.setattr(predict, "find_faces", lambda image: [Frame(20, 20, 10)])
    for task, shares in (("segment", "class_fractions"), ("attribute", "probabilities")):
        assert run(photo, "--out", out, "--no-crop", "--task", task, "--replace") == 0
        answer = json.loads((out / "ann.json").read_text(encoding="utf-8"))
        assert answer["attribute"] in ATTRIBUTES and len(answer[shares]) in (3, 7)
        assert "faces" not in answer and answer["remarks"] == []
    whole = predict_mask(load_model("efficient_unet"), Image.open(photo).convert("RGB"))
    assert (read_mask(out / "ann_mask.png") == whole).all()


def test_several_faces_are_answered_in_order_and_laid_back(tmp_path, monkeypatch):
    photo, out = save_face(tmp_path / "in" / "ann.png", (200, 100)), tmp_path / "out"
    frames = [Frame(50, 50, 80, 10), Frame(150, 50, 60)]
    monkeypatch.setattr(predict, "find_faces", lambda image: frames)
    assert run(photo, "--out", out) == 0
    answer = json.loads((out / "ann.json").read_text(encoding="utf-8"))
    assert [face["frame"]["side"] for face in answer["faces"]] == [80, 60]
    mask = read_mask(out / "ann_mask.png")
    assert mask.shape == (100, 200) and (mask[:, 185:] == 0).all()
    upright = predict_mask(
        load_model("efficient_unet"), cut_face(Image.open(photo).convert("RGB"), frames[1], 32)
    )
    assert len(np.unique(upright)) > 1
    laid = mask[20:80, 120:180][::2, ::2][:30, :30]
    near = np.asarray(Image.fromarray(upright).resize((60, 60), Image.Resampling.NEAREST))[::2, ::2]
    assert (laid == near).mean() > 0.9


def test_attributes_come_with_their_probabilities(tmp_path):
    photo, out = save_face(tmp_path / "in" / "ann.png"), tmp_path / "out"
    assert run(photo, "--task", "attribute", "--out", out) == 0
    assert names(out) == ["ann.json"]
    answer = json.loads((out / "ann.json").read_text(encoding="utf-8"))
    assert (answer["model"], answer["task"]) == ("efficient_attributes", "attribute")
    (face,) = answer["faces"]
    assert list(face["probabilities"]) == list(ATTRIBUTES)
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert face["attribute"] == max(face["probabilities"], key=face["probabilities"].get)


def test_photos_of_every_kind(tmp_path, capsys):
    folder = tmp_path / "in"
    exif = Image.Exif()
    exif[0x0112] = 6
    save_face(folder / "cmyk.jpg", mode="CMYK")
    save_face(folder / "clear.png", mode="RGBA")
    save_face(folder / "indexed.png", mode="P")
    save_face(folder / "grey.tif", mode="L")
    save_face(folder / "web.webp")
    save_face(folder / "turned.jpg", exif=exif)
    deep = np.asarray(Image.open(folder / "grey.tif")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.png")
    more = {"save_all": True, "append_images": [Image.new("L", (48, 40))]}
    save_face(folder / "phone.jpg", format="MPO", **more)
    save_face(folder / "scan.jp2")
    save_face(folder / "plain.ppm")
    for suffix in ("jfif", "jpe"):
        save_face(folder / f"{suffix}.{suffix}", format="JPEG")
    save_face(folder / "no suffix", format="PNG")
    (folder / "no suffix").rename(folder / "bare")
    moving = save_face(tmp_path / "moving.gif", **more)
    out = tmp_path / "out"
    assert run(folder, moving, "--out", out) == 0
    remark = "holds several pictures: only the first is looked at"
    assert capsys.readouterr().err == f"elfw: {moving}: {remark}\n"
    answers = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in out.glob("*.json")}
    assert len(answers) == 14
    assert {name: answer["remarks"] for name, answer in answers.items() if answer["remarks"]} == {
        "moving": [remark]
    }
    for name, answer in answers.items():
        size = (40, 48) if name == "turned" else (48, 40)
        assert (answer["width"], answer["height"]) == size, name
        assert read_mask(out / f"{name}_mask.png").shape == size[::-1], name


def test_one_bad_photo_never_stops_the_rest(tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.png", "z.png"):
        save_face(folder / name)
    (folder / "broken.jpg").write_text("no picture", encoding="utf-8")
    Image.new("RGB", (1, 5000)).save(folder / "thin.png")
    assert run(folder, tmp_path / "nowhere.jpg", "--out", out) == 1
    output, errors = capsys.readouterr()
    assert output == f"2 photos predicted into {out}\n"
    lines = errors.splitlines()
    assert len(lines) == 4 and lines[-1] == "elfw: 3 photos failed"
    assert "nowhere.jpg: No such file" in lines[0]
    assert "broken.jpg: cannot be read as an image" in lines[1]
    assert "thin.png: 1 x 5000 pixels. A face needs at least 16 x 16" in lines[2]
    assert {path.stem for path in out.glob("*.json")} == {"a", "z"}


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("Failed to decode image")])
def test_whatever_a_photo_makes_a_library_raise_the_rest_goes_on(tmp_path, monkeypatch, capsys, error):
    first, second, out = save_face(tmp_path / "a.png"), save_face(tmp_path / "b.png"), tmp_path / "out"

    def read(path):
        if path == first:
            raise error
        return Image.open(path).convert("RGB")

    monkeypatch.setattr(photos, "read_image", read)
    assert run(first, second, "--out", out) == 1
    failed, total = capsys.readouterr().err.splitlines()
    assert failed.startswith(f"elfw: {first}: cannot be predicted (") and total == "elfw: 1 photo failed"
    assert read_mask(out / "b_mask.png").shape == (40, 48) and len(names(out)) == 3


def test_tiny_and_huge_photos_get_a_line_each(tmp_path, capsys):
    tiny, huge = save_face(tmp_path / "tiny.png", (17, 17)), save_face(tmp_path / "huge.jpg", (4000, 3000))
    out = tmp_path / "out"
    assert run(tiny, huge, "--out", out, "--task", "attribute") == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"elfw: {tiny}: enlarged 3.8 times (17 x 17 pixels")
    assert lines[1].startswith(f"elfw: {huge}: shrunk 62 times (4000 x 3000 pixels")
    assert names(out) == ["huge.json", "tiny.json"]


def test_a_second_photo_of_the_same_name_is_refused(tmp_path, capsys):
    first, second = save_face(tmp_path / "x" / "ann.png"), save_face(tmp_path / "y" / "ANN.jpg")
    out = tmp_path / "out"
    assert run(first, second, "--out", out) == 1
    errors = capsys.readouterr().err
    assert f"{second}: has the same name as {first}" in errors and "elfw: 1 photo failed" in errors
    assert json.loads((out / "ann.json").read_text(encoding="utf-8"))["photo"] == "ann.png"
    assert len(names(out)) == 3


def test_two_files_of_one_name_in_a_folder(tmp_path, capsys):
    save_face(tmp_path / "in" / "ann.jpg")
    save_face(tmp_path / "in" / "ann.png")
    assert run(tmp_path / "in", "--out", tmp_path / "out") == 1
    first, second = (tmp_path / "in" / name for name in ("ann.jpg", "ann.png"))
    assert f"{second}: has the same name as {first}" in capsys.readouterr().err


def test_outputs_are_kept_unless_replaced(tmp_path, capsys):
    photo, other, out = save_face(tmp_path / "ann.png"), save_face(tmp_path / "bob.png"), tmp_path / "out"
    run(photo, "--out", out)
    for suffix in SEGMENTED:
        (out / f"ann{suffix}").write_text("mine", encoding="utf-8")
    assert run(photo, other, "--out", out) == 0
    output, errors = capsys.readouterr()
    assert f"1 photo with outputs in {out} already: kept as they are; --replace makes them again" in errors
    assert output.endswith(f"1 photo predicted into {out}\n")
    assert {(out / f"ann{suffix}").read_text(encoding="utf-8") for suffix in SEGMENTED} == {"mine"}
    assert run(photo, "--out", out, "--replace") == 0
    assert json.loads((out / "ann.json").read_text(encoding="utf-8"))["photo"] == "ann.png"
    read_mask(out / "ann_mask.png")


def test_part_of_the_outputs_is_not_overwritten_either(tmp_path, capsys):
    photo, out = save_face(tmp_path / "ann.png"), tmp_path / "out"
    run(photo, "--out", out, "--task", "attribute")
    before = (out / "ann.json").read_text(encoding="utf-8")
    assert run(photo, "--out", out) == 1
    assert f"{out / 'ann.json'}: is there already, but not all that belongs" in capsys.readouterr().err
    assert names(out) == ["ann.json"] and (out / "ann.json").read_text(encoding="utf-8") == before


def test_photos_are_not_written_among(tmp_path, capsys):
    photo = save_face(tmp_path / "ann.png")
    link = tmp_path / "elsewhere" / "bob.png"
    link.parent.mkdir()
    link.symlink_to(photo)
    for named in (photo, link):
        assert run(named, "--out", tmp_path) == 2
        assert f"holds {named.name}, one of the photos" in capsys.readouterr().err
    assert run(link, "--out", link.parent) == 2
    assert names(tmp_path) == ["ann.png", "elsewhere"] and names(link.parent) == ["bob.png"]


@pytest.mark.skipif(os.name == "nt", reason="names are shorter there")
def test_a_name_too_long_for_its_outputs_fails_alone(tmp_path, capsys):
    long, short = save_face(tmp_path / f"{'n' * 245}.png"), save_face(tmp_path / "ann.png")
    out = tmp_path / "out"
    assert run(long, short, "--out", out) == 1
    assert "its outputs cannot be written" in capsys.readouterr().err
    assert names(out) == sorted(f"ann{suffix}" for suffix in SEGMENTED)


def test_a_photo_too_long_for_jpeg_leaves_nothing_half_done(tmp_path, capsys):
    photo, out = tmp_path / "long.png", tmp_path / "out"
    Image.new("RGB", (70_000, 16)).save(photo)
    assert run(photo, "--out", out) == 1
    assert f"{photo}: its outputs cannot be written" in capsys.readouterr().err
    assert names(out) == []


@pytest.mark.parametrize(("raised", "code"), [(OSError("disk full"), 1), (KeyboardInterrupt(), 130)])
def test_outputs_are_written_all_or_none(tmp_path, monkeypatch, capsys, raised, code):
    photo, out = save_face(tmp_path / "ann.png"), tmp_path / "out"
    write = photos.write_atomically

    def write_no_json(path, content):
        if path.suffix == ".json":
            assert names(out) == ["ann_mask.png", "ann_overlay.jpg"]
            raise raised
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(photos, "write_atomically", write_no_json)
        assert run(photo, "--out", out) == code
    assert ("disk full" if code == 1 else "0 of 1 photo done") in capsys.readouterr().err
    assert names(out) == []
    assert run(photo, "--out", out) == 0


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["empty"], "empty: holds no images. Photos are files such as JPEG"),
        (["ann.png", "--model", "unett"], "unett: no such file. Models by name: efficient_unet, efficient_"),
        (["ann.png", "--model", "mini_network"], "mini_network is for the task attribute, not segment"),
        (
            ["ann.png", "--task", "attribute", "--model", "efficient_unet"],
            "efficient_unet is for the task segment, not attribute",
        ),
        (["ann.png", "--model", "ann.png"], "ann.png is no safetensors file"),
        (["ann.png", "--out", "notes.txt"], "notes.txt: cannot be written into (File exists). A file stands"),
    ],
)
def test_what_cannot_be_begun_is_refused(tmp_path, monkeypatch, capsys, arguments, found):
    monkeypatch.chdir(tmp_path)
    save_face(Path("ann.png"))
    Path("empty").mkdir()
    Path("notes.txt").write_text("mine", encoding="utf-8")
    assert run("--out", "out", *arguments) == 2
    assert capsys.readouterr().err.startswith("elfw predict: ")
    assert run("--out", "out", *arguments) == 2
    assert found in capsys.readouterr().err
    assert not Path("out").exists() and Path("notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    "arguments", [["--out", "out"], ["ann.png"], ["ann.png", "--out", "o", "--task", "x"]]
)
def test_wrong_usage_is_code_two(arguments):
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2


def test_the_help_says_that_faces_are_found(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "The faces in each photo are found" in said and "--no-crop" in said


def test_a_model_of_ones_own(tmp_path, shipped):
    file = tmp_path / "mine.safetensors"
    file.write_bytes((shipped / "efficient_unet_rendered.safetensors").read_bytes())
    assert run(save_face(tmp_path / "ann.png"), "--out", tmp_path / "out", "--model", file) == 0
    assert (
        json.loads((tmp_path / "out" / "ann.json").read_text(encoding="utf-8"))["model"] == "mine.safetensors"
    )


def test_an_interruption_says_how_many_are_done_and_the_same_command_goes_on(tmp_path, monkeypatch, capsys):
    for name in "abc":
        save_face(tmp_path / "in" / f"{name}.png")
    out = tmp_path / "out"

    def interrupted(path):
        if path.stem == "b":
            raise KeyboardInterrupt
        return Image.open(path).convert("RGB")

    with monkeypatch.context() as patch:
        patch.setattr(photos, "read_image", interrupted)
        assert run(tmp_path / "in", "--out", out) == 130
    assert "elfw: interrupted: 1 of 3 photos done" in capsys.readouterr().err
    assert len(names(out)) == 3
    assert run(tmp_path / "in", "--out", out) == 0
    assert "2 photos predicted" in capsys.readouterr().out
    assert len(names(out)) == 9


def test_folders_in_elfws_layout_and_photos_named_twice(folder):
    first = folder / "labels" / ".." / "faces" / "Some_Person01_0001.png"
    listing = list_photos([first, folder, str(folder / "faces")])
    assert listing.errors == [] and listing.passed_over == {}
    assert len(listing.photos) == 60
    assert listing.photos[:2] == [first, folder / "faces" / "Some_Person00_0001.png"]


@pytest.mark.skipif(os.name == "nt", reason="pipes and links of POSIX")
def test_all_in_a_folder_is_answered_or_named(tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("b.jpg", "a.PNG", ".hidden.png"):
        save_face(folder / name, format="PNG")
    (folder / "notes.txt").write_text("not a photo", encoding="utf-8")
    (folder / "table").write_bytes(bytes(range(256)))
    (folder / "more").mkdir()
    os.mkfifo(folder / "pipe")
    # A phone's two files of one photo: the one that can be read is answered.
    (folder / "b.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(300))
    save_face(folder / "raw.dng", format="TIFF", tiffinfo={254: 1})
    (folder / "again.jpg").symlink_to("b.jpg")
    (folder / "drawing.svg").write_text("<svg/>", encoding="utf-8")
    for name, target in (("led_out.jpg", save_face(tmp_path / "other.jpg")), ("broken.jpg", tmp_path / "no")):
        (folder / name).symlink_to(target)
    assert run(folder, "--out", out) == 1
    output, errors = capsys.readouterr()
    assert output == f"2 photos predicted into {out}, 6 others passed over\n"
    assert {path.stem for path in out.glob("*.json")} == {"a", "b"}
    lines = [line.removeprefix(f"elfw: {folder}") for line in errors.splitlines()]
    for expected in (
        ": 1 passed over, hidden: .hidden.png",
        ": 1 passed over, subfolders, to be named themselves: more",
        ": 2 passed over, of no kind that is opened here: notes.txt, table",
        ": 1 passed over, neither files nor folders: pipe",
        ": 1 passed over, links to photos that are predicted: again.jpg",
        "/led_out.jpg: is a link that leads out of the folder. Copy the file into the folder",
        "/broken.jpg: is a link to nothing. Copy the file into the folder",
        "elfw: 5 photos failed",
    ):
        assert expected in lines
        lines.remove(expected)
    heic, svg, raw = sorted(lines)
    assert (
        heic.startswith("/b.HEIC: cannot be read as an image (it is a photo in HEIC, as iPhones store photos")
        and "JPEG" in heic
    )
    assert raw.startswith("/raw.dng: opens as a preview of 48 x 40 pixels")
    assert svg.startswith("/drawing.svg: cannot be read as an image (it is SVG")


def test_a_folder_without_a_photo_says_all_that_is_in_it(tmp_path, capsys):
    for number in range(25):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number:02d}.txt").write_text("not a photo", encoding="utf-8")
    assert run(tmp_path / "in", tmp_path / "nowhere", "--out", tmp_path / "out") == 2
    passed_over, first, second = capsys.readouterr().err.splitlines()
    assert "25 passed over, of no kind that is opened here: 00.txt, 01.txt" in passed_over
    assert "holds no images" in first and "nowhere: No such file" in second
    assert run(tmp_path / "in", "--out", tmp_path / "out") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("18.txt, 19.txt and 5 more") and "holds no images" in second


def test_the_disk_that_fills_ends_the_run_with_one_line(tmp_path, monkeypatch, capsys):
    for name in "abc":
        save_face(tmp_path / "in" / f"{name}.png")
    out, write = tmp_path / "out", photos.write_atomically

    def write_one(path, content):
        if path.stem.startswith("b"):
            raise OSError(28, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(photos, "write_atomically", write_one)
    assert run(tmp_path / "in", "--out", out) == 1
    said, complaint = capsys.readouterr().err.splitlines()
    assert said.startswith(f"elfw: {out / 'b_mask.png'}: No space left on device. The disk is full")
    assert said.endswith("1 of 3 photos done; the same command goes on from there")
    assert complaint == "elfw: 1 photo failed"
    assert names(out) == sorted(f"a{suffix}" for suffix in SEGMENTED)


@pytest.mark.parametrize("task", ["segment", "attribute"])
def test_a_photo_without_a_face_is_answered_with_a_remark(tmp_path, monkeypatch, capsys, task):
    monkeypatch.setattr(predict, "find_faces", lambda image: [Frame(64, 64, 128)] * (image.width == 128))
    face = embedded_faces() / "faces" / "person_0049_0001.jpg"
    sky = np.linspace((60, 120, 220), (200, 220, 250), 90).astype(np.uint8)[:, None].repeat(120, 1)
    Image.fromarray(sky).save(tmp_path / "sky.png")
    out = tmp_path / "out"
    assert run(face, tmp_path / "sky.png", "--out", out, "--task", task) == 0
    assert capsys.readouterr().err == f"elfw: {tmp_path / 'sky.png'}: {predict.NO_FACE}\n"
    answers = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in out.glob("*.json")}
    assert answers["sky"]["remarks"] == [predict.NO_FACE] and answers["sky"]["faces"] == []
    assert answers["person_0049_0001"]["remarks"] == [] and len(answers["person_0049_0001"]["faces"]) == 1
    if task == "segment":
        assert (read_mask(out / "sky_mask.png") == 0).all()
    assert run(tmp_path / "sky.png", "--out", tmp_path / "whole", "--task", task, "--no-crop") == 0
    answer = json.loads((tmp_path / "whole" / "sky.json").read_text(encoding="utf-8"))
    assert answer["remarks"] == [predict.UNCERTAIN] and answer["attribute"] in ATTRIBUTES


def test_an_empty_folder_beside_others_is_an_error_of_its_own(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    photo, out = save_face(tmp_path / "ann.png"), tmp_path / "out"
    assert run(tmp_path / "empty", photo, "--out", out, "--task", "attribute") == 1
    empty, total = capsys.readouterr().err.splitlines()
    assert empty.startswith(f"elfw: {tmp_path / 'empty'}: holds no images") and "1 photo failed" in total
    assert len(json.loads((out / "ann.json").read_text(encoding="utf-8"))["faces"]) == 1


@pytest.mark.parametrize(("task", "passes"), [("segment", 1), ("attribute", 0)])
def test_the_unet_looks_at_a_photo_and_its_mirror_image_at_once(tmp_path, monkeypatch, task, passes):
    counted, forward = [], UNet.forward
    # While a model is built, it is run on torch's "meta" device.
    monkeypatch.setattr(UNet, "forward", lambda self, x: counted.append(x.device.type) or forward(self, x))
    photo = save_face(tmp_path / "ann.png")
    assert run(photo, "--out", tmp_path / "out", "--task", task) == 0
    assert counted.count("cpu") == passes


def test_a_name_that_is_too_long_is_an_error_of_its_own(tmp_path):
    listing = list_photos([tmp_path / ("n" * 300 + ".jpg"), save_face(tmp_path / "ann.png")])
    assert listing.photos[-1].name == "ann.png"
    assert len(listing.photos) + len(listing.errors) == 2


def test_overlays_keep_their_colours_at_full_resolution(tmp_path):
    # Stripes a pixel wide: half the resolution would make one colour of two.
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 1] = 255, 255
    content = photos.encode_picture(Image.fromarray(stripes), "JPEG", **photos.OVERLAY_OPTIONS)
    with Image.open(io.BytesIO(content)) as picture:
        assert np.abs(np.asarray(picture).astype(int) - stripes).mean() < 20


def test_photos_beside_the_folder_of_faces_are_named(tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    for place in (folder / "a.jpg", folder / "faces" / "c.jpg"):
        save_face(place)
    (folder / "labels.txt").write_text("c hair\n", encoding="utf-8")
    assert run(folder, "--out", out, "--task", "attribute") == 0
    output, errors = capsys.readouterr()
    assert output == f"1 photo predicted into {out}, 1 other passed over\n"
    assert errors == f"elfw: {folder}: 1 passed over, beside faces/: a.jpg\n"


@pytest.mark.parametrize("name", ["pic.jxl", "raw.pef", "raw.srw"])
def test_photos_of_a_kind_that_is_not_opened_are_errors(tmp_path, name):
    save_face(tmp_path / "in" / "ann.png")
    (tmp_path / "in" / name).write_bytes(b"\xff\x0a" + bytes(100))
    listing = list_photos([tmp_path / "in"])
    assert [error.file.name for error in listing.errors] == [name] and not listing.passed_over
