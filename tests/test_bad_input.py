"""One test for each way a folder can be wrong: the error names the file, what was found and what to do."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from conftest import SIDE, paint_face, write_face
from PIL import Image

from elfw_helpers.datasets import FaceFolder
from elfw_helpers.errors import DataError
from elfw_helpers.images import read_image, read_mask
from elfw_helpers.labels import PALETTE, encode_colours

FIRST = "Some_Person00_0001"


def load(folder):
    """Read everything the folder has, as a notebook does."""
    return FaceFolder(folder).preload(16)


def fails(folder, file, found, line=None):
    """Check that loading raises a DataError that names the file, the line and what was found."""
    with pytest.raises(DataError, match=re.escape(found)) as caught:
        load(folder)
    error = caught.value
    assert error.file.name == file
    assert error.line == line
    assert error.fix and error.fix in str(error)
    assert str(error.file) in str(error)
    return error


def write_labels(folder, *lines):
    """Write labels.txt for every face of the folder, then the given lines."""
    names = sorted(path.stem for path in (folder / "faces").iterdir())
    (folder / "labels.txt").write_text("\n".join([f"{name} hair" for name in names] + list(lines)) + "\n")
    return len(names)


def test_missing_folder(tmp_path):
    fails(tmp_path / "nowhere", "nowhere", "no such folder")


def test_a_file_instead_of_a_folder(tmp_path):
    (tmp_path / "faces.zip").touch()
    fails(tmp_path / "faces.zip", "faces.zip", "is a file")


def test_empty_folder(tmp_path):
    fails(tmp_path, tmp_path.name, "holds no images")


def test_no_labels_of_any_kind(folder):
    for path in (folder / "labels").iterdir():
        path.unlink()
    (folder / "labels").rmdir()
    fails(folder, "set", "neither labels.txt nor a folder labels/")


def test_truncated_jpeg(folder):
    path = folder / "faces" / f"{FIRST}.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    (folder / "faces" / f"{FIRST}.png").unlink()
    fails(folder, path.name, "cannot be read as an image")


def test_text_named_jpg(folder):
    (folder / "faces" / f"{FIRST}.png").write_text("not a picture")
    fails(folder, f"{FIRST}.png", "cannot be read as an image")


def test_image_without_mask(folder):
    (folder / "labels" / f"{FIRST}.png").unlink()
    fails(folder, f"{FIRST}.png", "image without a mask")


def test_mask_without_image(folder):
    (folder / "faces" / f"{FIRST}.png").unlink()
    fails(folder, f"{FIRST}.png", "mask without an image")


def test_image_without_line_in_labels(folder):
    write_labels(folder)
    write_face(folder, "Zoe_New_0001", 0, 0)
    fails(folder, "Zoe_New_0001.png", "image without a label in labels.txt")


def test_unknown_colour_in_mask(folder):
    path = folder / "labels" / f"{FIRST}.png"
    colours = np.array(Image.open(path))
    colours[5, 7] = (12, 34, 56)
    Image.fromarray(colours).save(path)
    error = fails(folder, path.name, "colour (12, 34, 56) at row 5, column 7, is no class")
    assert "nearest neighbour" in error.fix and "wearable (255, 0, 255)" in error.fix


def test_unknown_id_in_mask(folder):
    path = folder / "labels" / f"{FIRST}.png"
    ids = np.zeros((SIDE, SIDE), np.uint8)
    ids[3, 4] = 7
    Image.fromarray(ids).save(path)
    fails(folder, path.name, "class id 7 at row 3, column 4")


def test_mask_of_another_size(folder):
    path = folder / "labels" / f"{FIRST}.png"
    Image.open(path).resize((20, 24), Image.Resampling.NEAREST).save(path)
    fails(folder, path.name, "mask of 20 x 24 on an image of 32 x 32")


def test_unknown_attribute(folder):
    lines = write_labels(folder)
    text = (folder / "labels.txt").read_text().replace(f"{FIRST} hair", f"{FIRST} hat")
    (folder / "labels.txt").write_text(text)
    assert lines == 60
    error = fails(folder, "labels.txt", "unknown attribute 'hat'", line=1)
    assert "1 hair, 2 spectacles, 3 cap" in error.fix


def test_bad_line(folder):
    fails(folder, "labels.txt", "is not `NAME attribute`", line=write_labels(folder, "lonely") + 1)


def test_name_listed_twice(folder):
    fails(folder, "labels.txt", "listed a second time", line=write_labels(folder, f"{FIRST}.png cap") + 1)


def test_listed_file_that_is_not_there(folder):
    fails(
        folder, "labels.txt", "'Nobody_0001' is not among", line=write_labels(folder, "Nobody_0001 cap") + 1
    )


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..\\secret", "a/../../b", ".."])
def test_path_leading_out_of_the_folder(folder, name):
    fails(folder, "labels.txt", "leading out of the folder", line=write_labels(folder, f"{name} hair") + 1)


def test_link_leading_out_of_the_folder(folder, tmp_path):
    Image.fromarray(paint_face(0, 0)[0]).save(tmp_path / "outside.png")
    path = folder / "faces" / f"{FIRST}.png"
    path.unlink()
    path.symlink_to(tmp_path / "outside.png")
    fails(folder, path.name, "link that leads out")


def test_labels_that_are_not_text(folder):
    (folder / "labels.txt").write_bytes(b"\xff\xfe\x00binary")
    fails(folder, "labels.txt", "cannot be read as text")


def test_two_files_of_one_name(folder):
    image = Image.open(folder / "faces" / f"{FIRST}.png")
    image.save(folder / "faces" / f"{FIRST}.jpg")
    fails(folder, f"{FIRST}.png", "same name as")


def test_one_split_list_missing(folder):
    (folder / "train.txt").write_text(f"{FIRST}\n")
    fails(folder, "validation.txt", "missing beside the other split lists")


def test_name_in_two_splits(folder):
    for split in ("train", "validation", "test"):
        (folder / f"{split}.txt").write_text(f"{FIRST}\n")
    fails(folder, "validation.txt", "listed already in train.txt", line=1)


def test_name_in_no_split(folder):
    for number, split in enumerate(("train", "validation", "test")):
        (folder / f"{split}.txt").write_text(f"Some_Person{number:02d}_0001\n")
    fails(folder, "Some_Person00_0002.png", "in none of train.txt, validation.txt, test.txt")


def test_empty_split_list(folder):
    (folder / "elfw_set_00.txt").write_text("\n")
    fails(folder, "elfw_set_00.txt", "lists no image")


def test_one_pixel_image(folder):
    Image.new("RGB", (1, 1)).save(folder / "faces" / f"{FIRST}.png")
    fails(folder, f"{FIRST}.png", "1 x 1 pixels")


def write_bomb(path, side):
    """Write a PNG header that promises side x side pixels, and next to nothing behind it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize("side", [8_000, 20_000])
def test_decompression_bomb(folder, side):
    write_bomb(folder / "faces" / f"{FIRST}.png", side)
    with pytest.raises(DataError, match="pixels") as caught:
        load(folder)
    assert "cale" in caught.value.fix


# What is converted on purpose, rather than refused.


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16", "YCbCr"])
def test_any_colour_mode_becomes_rgb(tmp_path, mode):
    image, _ = paint_face(1, 0)
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    path = tmp_path / f"face.{suffix}"
    if mode == "I;16":
        Image.fromarray(np.asarray(Image.fromarray(image).convert("L")).astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(image).convert(mode).save(path)
    read = read_image(path)
    assert (read.mode, read.size) == ("RGB", (SIDE, SIDE))
    brightness = np.asarray(Image.fromarray(image).convert("L"), float).mean()
    assert np.asarray(read.convert("L"), float).mean() == pytest.approx(brightness, abs=12)


def test_transparency_lies_over_white(tmp_path):
    Image.new("RGBA", (SIDE, SIDE), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert np.asarray(read_image(tmp_path / "clear.png")).min() == 255


def test_exif_rotation_is_applied_before_the_sizes_are_compared(folder):
    wide = Image.fromarray(np.arange(20 * 40 * 3).reshape(20, 40, 3).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "faces" / f"{FIRST}.png").unlink()
    wide.save(folder / "faces" / f"{FIRST}.jpg", exif=exif, quality=100)
    assert read_image(folder / "faces" / f"{FIRST}.jpg").size == (20, 40)
    fails(folder, f"{FIRST}.png", "on an image of 20 x 40")
    Image.new("RGB", (20, 40)).save(folder / "labels" / f"{FIRST}.png")
    load(folder)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_masks_in_colours_indexed_or_as_ids(tmp_path, mode):
    _, mask = paint_face(2, 0)
    if mode == "L":
        picture = Image.fromarray(mask)
    elif mode == "P":
        # Indices in another order than the ids: the palette's colours count, not the numbers.
        picture = Image.fromarray(6 - mask).convert("P")
        picture.putpalette(PALETTE[::-1].tobytes())
    else:
        picture = Image.fromarray(encode_colours(mask)).convert(mode)
    picture.save(tmp_path / "mask.png")
    assert (read_mask(tmp_path / "mask.png") == mask).all()


def test_smoothed_mask_is_refused_not_taken_for_background(tmp_path):
    _, mask = paint_face(1, 0)
    smooth = Image.fromarray(encode_colours(mask)).resize((40, 40), Image.Resampling.BILINEAR)
    smooth.save(tmp_path / "smooth.png")
    with pytest.raises(DataError, match="is no class"):
        read_mask(tmp_path / "smooth.png")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind", ["BLP", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "SGI", "TGA", "TIFF", "WEBP"]
)
def test_a_damaged_file_of_any_kind_is_read_or_refused_by_name(tmp_path, kind):
    file, path = io.BytesIO(), tmp_path / "face"
    Image.fromarray(paint_face(1, 0)[0]).convert("P" if kind == "BLP" else "RGB").save(file, kind)
    chance, whole = np.random.default_rng(0), file.getvalue()
    for _ in range(40):
        damaged = np.frombuffer(whole, np.uint8).copy()
        places = chance.integers(4, min(len(whole), 200), 8)
        damaged[places] = chance.integers(0, 256, 8)
        path.write_bytes(damaged.tobytes())
        try:
            assert read_image(path).mode == "RGB"
        except DataError as error:
            assert error.file == path


def test_whatever_pillow_raises_is_an_error_that_names_the_file(folder, monkeypatch):
    monkeypatch.setattr(Image.Image, "convert", lambda *_: {}["nothing"])
    fails(folder, f"{FIRST}.png", "cannot be read as an image ('nothing')")
