"""Sample depth: what a file declares decides; a file that may mean two things is refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from elfw_helpers.data.datasets import decode_face
from elfw_helpers.data.images import ORIENTATION, SIDEWAYS, read_image, read_scaled
from elfw_helpers.utils.errors import DataError, PhotoWarning

HEIGHT, WIDTH = 20, 24
# Brightness, 0..1, of what all the files below show.
SHOWN = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 256) / 255


def write_tiff(values, bits, kind=1, photometric=1, channels=1, **tags) -> bytes:
    """Return a TIFF of raw samples; `tags` are numbers of tags, as t281, with their values."""
    content = values if isinstance(values, bytes) else values.tobytes()
    numbers = {256: WIDTH, 257: HEIGHT, 258: bits, 259: 1, 262: photometric, 273: 0, 277: channels}
    numbers |= {278: HEIGHT, 279: len(content), 339: kind}
    numbers |= {int(name[1:]): value for name, value in tags.items()}
    numbers[273] = 8 + 2 + 12 * len(numbers) + 4
    entries = b""
    for number, value in sorted(numbers.items()):
        of_floats = isinstance(value, float)
        entries += struct.pack("<HHI" + "If"[of_floats], number, 11 if of_floats else 4, 1, value)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(numbers)) + entries + bytes(4) + content


def write_png(values: np.ndarray, colour_type: int) -> bytes:
    """Return a PNG of 16-bit samples [H, W, C], which Pillow cannot write in colour."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, colour_type, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def scaled(white: float, dtype: str) -> np.ndarray:
    """Return the picture's samples, with `white` for white."""
    values = SHOWN * white
    return (values.round() if "f" not in dtype else values).astype(dtype)


def pack_12_bits() -> bytes:
    """Return the picture's samples of 12 bits, two in three bytes."""
    first, second = scaled(4095, "u2").reshape(-1, 2).T
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype("u1").tobytes()


def in_colour(white: float) -> np.ndarray:
    """Return the picture's samples three times over, uint16 [H, W, 3]."""
    return scaled(white, "<u2")[..., None].repeat(3, 2)


KNOWN = {
    "16 bits": write_tiff(scaled(65535, "<u2"), 16),
    "16 bits, white is 0": write_tiff(65535 - scaled(65535, "<u2"), 16, photometric=0),
    "15 bits and a sign": write_tiff(scaled(32767, "<i2"), 16, kind=2),
    "12 bits": write_tiff(pack_12_bits(), 12),
    "12 bits in 16, and says so": write_tiff(scaled(4095, "<u2"), 16, t281=4095),
    "32 bits": write_tiff(scaled(2**32 - 1, "<u4"), 32),
    "31 bits and a sign": write_tiff(scaled(2**31 - 1, "<i4"), 32, kind=2),
    "8 bits in 32, and says so": write_tiff(scaled(255, "<i4"), 32, kind=2, t281=255),
    "floats": write_tiff(scaled(1, "<f4"), 32, kind=3),
    "floats, white is 0": write_tiff(1 - scaled(1, "<f4"), 32, kind=3, photometric=0),
    "floats to 255, and says so": write_tiff(scaled(255, "<f4"), 32, kind=3, t340=0.0, t341=255.0),
    "floats from -1, and says so": write_tiff(2 * scaled(1, "<f4") - 1, 32, kind=3, t340=-1.0, t341=1.0),
    "colours of 16 bits": write_tiff(in_colour(65535), 16, photometric=2, channels=3),
    "PNG": write_png(scaled(65535, "u2"), 0),
    "PNG in colour": write_png(in_colour(65535), 2),
    "PGM of 12 bits": b"P5 %d %d 4095\n" % (WIDTH, HEIGHT) + scaled(4095, ">u2").tobytes(),
    "PPM of 12 bits": b"P6 %d %d 4095\n" % (WIDTH, HEIGHT) + in_colour(4095).astype(">u2").tobytes(),
}
WITH_A_GAP = scaled(1, "<f4")
WITH_A_GAP[3, 4] = np.nan
UNKNOWN = {
    "a range of nothing": write_tiff(scaled(4095, "<u2"), 16, t281=0),
    "14 bits in 16": write_tiff(scaled(16383, "<u2"), 16),
    "12 bits in 16": write_tiff(scaled(4095, "<u2"), 16),
    "8 bits in 16": write_tiff(scaled(255, "<u2"), 16),
    "8 bits in 32": write_tiff(scaled(255, "<i4"), 32, kind=2),
    "floats to 255": write_tiff(scaled(255, "<f4"), 32, kind=3),
    "floats to 0.1": write_tiff(scaled(0.1, "<f4"), 32, kind=3),
    "floats from -1": write_tiff(2 * scaled(1, "<f4") - 1, 32, kind=3),
    "floats with gaps": write_tiff(WITH_A_GAP, 32, kind=3),
    "12 bits in colours of 16": write_tiff(in_colour(4095), 16, photometric=2, channels=3),
    "PNG of 12 bits in 16": write_png(scaled(4095, "u2"), 0),
    "PNG in colour, of 12 bits in 16": write_png(in_colour(4095), 2),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_what_the_file_declares_is_what_is_read(tmp_path, kind):
    (tmp_path / "photo").write_bytes(KNOWN[kind])
    read = np.asarray(read_image(tmp_path / "photo")).astype(float)
    assert read.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(read - 255 * SHOWN[..., None]).max() <= 1


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_may_mean_two_things_is_refused_and_says_how_to_convert(tmp_path, kind):
    (tmp_path / "photo").write_bytes(UNKNOWN[kind])
    with pytest.raises(DataError, match="so that white is 255, and save it as an 8-bit PNG") as caught:
        read_image(tmp_path / "photo")
    assert caught.value.file == tmp_path / "photo"


def test_a_dark_photo_of_8_bits_stays_dark(tmp_path):
    Image.fromarray(np.full((20, 20), 9, np.uint8)).save(tmp_path / "night.png")
    assert (np.asarray(read_image(tmp_path / "night.png")) == 9).all()


def test_floats_may_overshoot_a_little(tmp_path):
    (tmp_path / "sharp.tif").write_bytes(write_tiff(scaled(1.05, "<f4") - np.float32(0.02), 32, kind=3))
    read = np.asarray(read_image(tmp_path / "sharp.tif"))
    assert (read.min(), read.max()) == (0, 255)


def test_lab_becomes_rgb(tmp_path):
    profiles = (ImageCms.createProfile(space) for space in ("sRGB", "LAB"))
    colours = Image.fromarray(np.random.default_rng(0).integers(40, 200, (20, 20, 3), np.uint8))
    lab = ImageCms.applyTransform(colours, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    lab.save(tmp_path / "lab.tif")
    difference = np.asarray(read_image(tmp_path / "lab.tif")).astype(int) - np.asarray(colours)
    assert np.abs(difference).mean() < 3


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_of_several_pictures_the_first_is_read_and_that_is_said(tmp_path, kind):
    first, second = Image.new("RGB", (20, 20), "white"), Image.new("RGB", (20, 20), "black")
    first.save(tmp_path / "many", kind, save_all=True, append_images=[second])
    with pytest.warns(PhotoWarning, match="many holds several pictures: only the first"):
        assert np.asarray(read_image(tmp_path / "many")).min() > 250


@pytest.mark.filterwarnings("error")
def test_the_photo_of_a_phone_is_one_picture(tmp_path):
    first, second = Image.new("RGB", (20, 20), "white"), Image.new("RGB", (20, 20), "black")
    first.save(tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[second])
    assert np.asarray(read_image(tmp_path / "phone.jpg")).min() > 250


def write_photo(path, width: int, height: int, **options) -> None:
    """Write a smooth, coloured JPEG that is bright at its left and its top."""
    rows, columns = np.mgrid[0 : height : height * 1j, 0 : width : width * 1j]
    red, green = 255 * (1 - columns / width), 255 * (1 - rows / height)
    pixels = np.stack([red, green, 128 + 60 * np.sin(rows / 40)], -1).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=92, **options)


def shrink_whole(path, size: int) -> np.ndarray:
    """Return a photo that is decoded whole, then resized, int64 [size, size, 3]."""
    return np.asarray(read_image(path).resize((size, size), Image.Resampling.BILINEAR)).astype(int)


def test_a_large_photo_is_decoded_at_a_fraction_and_looks_the_same(tmp_path):
    write_photo(tmp_path / "large.jpg", 1600, 1200)
    image, size = read_scaled(tmp_path / "large.jpg", 32)
    assert size == (1600, 1200) and image.size == (200, 150)
    assert (
        np.abs(
            decode_face(tmp_path / "large.jpg", None, 32)[0] - shrink_whole(tmp_path / "large.jpg", 32)
        ).max()
        <= 1
    )


@pytest.mark.parametrize("size", [32, 64, 96])
def test_a_photo_of_elfw_s_size_keeps_every_bit(tmp_path, size):
    write_photo(tmp_path / "face.jpg", 250, 250)
    assert (
        decode_face(tmp_path / "face.jpg", None, size)[0] == shrink_whole(tmp_path / "face.jpg", size)
    ).all()


@pytest.mark.parametrize("orientation", [0, 1, 3, 6, 8, 9, 100])
def test_a_large_photo_that_is_turned_fits_its_mask(tmp_path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    write_photo(tmp_path / "turned.jpg", 1600, 1200, exif=exif)
    shape = (1600, 1200) if orientation in SIDEWAYS else (1200, 1600)
    Image.fromarray(np.ones(shape, np.uint8)).save(tmp_path / "right.png")
    pixels, mask, _ = decode_face(tmp_path / "turned.jpg", tmp_path / "right.png", 32)
    assert np.abs(pixels - shrink_whole(tmp_path / "turned.jpg", 32)).max() <= 1 and (mask == 1).all()
    Image.fromarray(np.ones(shape[::-1], np.uint8)).save(tmp_path / "wrong.png")
    with pytest.raises(DataError, match=f"on an image of {shape[1]} x {shape[0]} pixels"):
        decode_face(tmp_path / "turned.jpg", tmp_path / "wrong.png", 32)


def test_a_large_photo_that_is_cut_off_is_refused(tmp_path):
    write_photo(tmp_path / "large.jpg", 1600, 1200)
    content = (tmp_path / "large.jpg").read_bytes()
    (tmp_path / "large.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="truncated"):
        decode_face(tmp_path / "large.jpg", None, 32)
