"""One test for each way a folder can be wrong: the error names the file, what was found and what to do."""

import errno
import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.images import IMAGE_SUFFIXES, read_image, read_mask
from elfw_helpers.data.labels import PALETTE, encode_colours
from elfw_helpers.utils.errors import DataError
from tests.faces import SIDE, paint_face, write_face

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
    (folder / "labels.txt").write_text(
        "\n".join([f"{name} hair" for name in names] + list(lines)) + "\n", encoding="utf-8"
    )
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
    (folder / "faces" / f"{FIRST}.png").write_text("not a picture", encoding="utf-8")
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
    text = (folder / "labels.txt").read_text(encoding="utf-8").replace(f"{FIRST} hair", f"{FIRST} hat")
    (folder / "labels.txt").write_text(text, encoding="utf-8")
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
    (folder / "train.txt").write_text(f"{FIRST}\n", encoding="utf-8")
    fails(folder, "validation.txt", "missing beside the other split lists")


def test_name_in_two_splits(folder):
    for split in ("train", "validation", "test"):
        (folder / f"{split}.txt").write_text(f"{FIRST}\n", encoding="utf-8")
    fails(folder, "validation.txt", "listed already in train.txt", line=1)


def test_name_in_no_split(folder):
    for number, split in enumerate(("train", "validation", "test")):
        (folder / f"{split}.txt").write_text(f"Some_Person{number:02d}_0001\n", encoding="utf-8")
    fails(folder, "Some_Person00_0002.png", "in none of train.txt, validation.txt, test.txt")


def test_empty_split_list(folder):
    (folder / "elfw_set_00.txt").write_text("\n", encoding="utf-8")
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


# The message of an unreadable mask names the probable cause.


def voc_palette() -> bytes:
    """Return the first eight colours of PASCAL VOC's palette."""
    return np.array(
        [
            (0, 0, 0),
            (128, 0, 0),
            (0, 128, 0),
            (128, 128, 0),
            (0, 0, 128),
            (128, 0, 128),
            (0, 128, 128),
            (128,) * 3,
        ],
        np.uint8,
    ).tobytes()


def with_palette(mask, palette):
    picture = Image.fromarray(mask).convert("P")
    picture.putpalette(palette)
    return picture


def over_white(mask):
    """A mask that an editor stored with a transparent background, white beneath."""
    picture = Image.fromarray(encode_colours(mask)).convert("RGBA")
    pixels = np.array(picture)
    pixels[mask == 0] = (255, 255, 255, 0)
    return Image.fromarray(pixels)


def after_jpeg(mask):
    stream = io.BytesIO()
    Image.fromarray(encode_colours(mask)).resize((96, 96), Image.Resampling.NEAREST).save(
        stream, "JPEG", quality=85
    )
    return Image.open(stream).convert("RGB")


def smoothed(mask):
    large = Image.fromarray(encode_colours(mask)).resize((96, 96), Image.Resampling.NEAREST)
    return large.resize((100, 100), Image.Resampling.BILINEAR)


def as_ids(change):
    return lambda mask: Image.fromarray(np.asarray(change(mask.astype(int))).astype(np.uint8))


WRONG_MASKS = {
    "VOC palette": (
        lambda mask: with_palette(mask, voc_palette()),
        "indexed with another palette of PASCAL VOC",
        "keep them alone",
    ),
    "VOC palette, VOC ids": (
        lambda mask: with_palette(np.where(mask == 1, 15, mask).astype(np.uint8), voc_palette() * 4),
        "indexed with another palette of PASCAL VOC",
        "Map its indices",
    ),
    "own palette": (
        lambda mask: with_palette(mask, bytes(range(10, 40))),
        "indexed with another palette: colour",
        "keep them alone",
    ),
    "VOC colours": (
        lambda mask: with_palette(mask, voc_palette()).convert("RGB"),
        "another palette of PASCAL VOC",
        "Replace each",
    ),
    "transparent": (over_white, "under a transparent part of the alpha channel", "without an alpha channel"),
    "JPEG before": (after_jpeg, "as lossy compression leaves them", "as PNG"),
    "smoothed": (smoothed, "as smoothing makes them", "nearest neighbour"),
    "gray in three": (
        lambda mask: Image.fromarray(mask * 40).convert("RGB"),
        "gray levels in three channels",
        "one 8-bit channel",
    ),
    "black and white": (as_ids(lambda mask: 255 * (mask > 0)), "black and white", "Give every class"),
    "stretched": (as_ids(lambda mask: 36 * mask), "every level is a multiple of 36", "Divide by 36"),
    "spread": (
        as_ids(lambda mask: np.array([0, 42, 255, 0, 170])[mask]),
        "ids spread over 0 to 255",
        "Multiply by 6 / 255",
    ),
    "void": (
        as_ids(lambda mask: np.where(mask == 4, 255, mask)),
        "255 marks pixels to ignore",
        "background, 0",
    ),
    "from 1": (as_ids(lambda mask: np.where(mask == 4, 6, mask) + 1), "the ids begin at 1", "Subtract 1"),
    "other classes": (
        as_ids(lambda mask: np.where(mask == 2, 17, mask)),
        "another set of classes",
        "Map them",
    ),
    "turned gray": (
        lambda mask: Image.fromarray(encode_colours(mask)).convert("L"),
        "a coloured mask turned gray",
        "Keep it in RGB",
    ),
    "smoothed, gray": (lambda mask: smoothed(mask).convert("L"), "gray levels, as from", "nearest neighbour"),
    "gray photo": (
        lambda mask: (
            Image.fromarray(paint_face(1, 0)[0]).convert("L").resize((99, 99), Image.Resampling.BILINEAR)
        ),
        "gray levels, as from",
        "no gray photo",
    ),
    "photo": (
        lambda mask: Image.fromarray(paint_face(1, 0)[0]).resize((99, 99)),
        "a photo or an overlay",
        "the mask itself",
    ),
    "two levels": (lambda mask: Image.fromarray(mask > 0), "mode 1", "two levels only"),
    "16 bits": (lambda mask: Image.fromarray(mask.astype(np.uint16)), "mode I;16", "of 16 or 32 bits"),
    "alpha": (lambda mask: Image.fromarray(mask).convert("LA"), "mode LA", "an alpha channel"),
}


@pytest.mark.parametrize("kind", WRONG_MASKS)
def test_an_unreadable_mask_names_the_cause_and_what_to_do(tmp_path, kind):
    make, found, fix = WRONG_MASKS[kind]
    make(paint_face(1, 0)[1]).save(tmp_path / "mask.png")
    with pytest.raises(DataError) as caught:
        read_mask(tmp_path / "mask.png")
    assert found in caught.value.found and fix in caught.value.fix


def test_a_mask_stored_as_jpeg_is_refused_whatever_its_name(folder):
    _, mask = paint_face(0, 0)
    path = folder / "labels" / f"{FIRST}.png"
    Image.fromarray(mask).save(path, "JPEG", quality=100)
    assert "Make the mask again as PNG" in fails(folder, path.name, "a mask stored as JPEG").fix


def test_a_mask_made_before_the_rotation_of_its_photo_says_so(folder):
    for kind, size in (("faces", (20, 40)), ("labels", (40, 20))):
        Image.new("RGB", size).save(folder / kind / f"{FIRST}.png")
    assert "Turn the mask by 90 degrees" in fails(folder, f"{FIRST}.png", "mask of 40 x 20 on an image").fix


@pytest.mark.parametrize("suffix", ["ppm", "bmp", "tif", "pgm", "TIFF", "webp", "tga"])
def test_masks_in_whatever_lossless_format_pillow_opens(folder, suffix):
    path = folder / "labels" / f"{FIRST}.png"
    with Image.open(path) as picture:
        colours = picture.copy()
    path.unlink()
    mask = paint_face(0, 1)[1]
    picture = Image.fromarray(mask) if suffix == "pgm" else colours
    picture.save(path.with_suffix(f".{suffix}"), **({"lossless": True} if suffix == "webp" else {}))
    faces = FaceFolder(folder)
    assert (faces.read(faces.names.index(FIRST))[1] == mask).all()


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "JPG", "mpo", "ppm", "tga"])
def test_photos_in_whatever_format_pillow_opens(folder, suffix):
    kind = {"ppm": "PPM", "tga": "TGA"}.get(suffix, "JPEG")
    Image.open(folder / "faces" / f"{FIRST}.png").save(folder / "faces" / f"{FIRST}.{suffix}", kind)
    (folder / "faces" / f"{FIRST}.png").unlink()
    assert FaceFolder(folder).names[0] == FIRST
    load(folder)


def test_formats_that_run_other_programs_are_no_images(tmp_path):
    """Named .jpg, PostScript would still reach Ghostscript."""
    Image.new("RGB", (32, 32)).save(tmp_path / "face.jpg", "EPS")
    assert ".eps" not in IMAGE_SUFFIXES
    with pytest.raises(DataError, match="cannot be read as an image"):
        read_image(tmp_path / "face.jpg")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"../store/face.jpg\n", "it is a link to '../store/face.jpg', stored as text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
    ],
)
def test_a_file_that_is_no_image_despite_its_name_is_identified(folder, content, said):
    (folder / "faces" / f"{FIRST}.png").write_bytes(content)
    fails(folder, f"{FIRST}.png", said)


def test_a_photo_that_the_system_refuses(folder, monkeypatch):
    def refuse(path, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)
    assert "rights" in fails(folder, f"{FIRST}.png", "Permission denied").fix


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
