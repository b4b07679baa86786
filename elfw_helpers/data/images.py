"""One image file or one mask file: read safely, or refused with the reason; and how a mask is written.

Conversions made on purpose: EXIF rotation is applied, grayscale, CMYK and Lab become RGB, transparency
is filled with white, deeper samples are scaled to 8 bits, and of several pictures in a file the first is
taken. Everything else is an error.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from elfw_helpers.data.labels import BACKGROUND, DISPLAY_COLOURS, PALETTE, PIXEL_CLASSES, decode_colours
from elfw_helpers.data.mask_errors import explain_colours, explain_ids, explain_mode
from elfw_helpers.utils.errors import DataError, PhotoWarning
from elfw_helpers.utils.files import explain_error

# Pillow identifies these too, but they are grids of data, films, drawings, or programs for Ghostscript to
# run; IPTC and icons hold another file, of any kind and size.
NO_PHOTOS = {"BUFR", "EPS", "GRIB", "HDF5", "ICNS", "ICO", "IPTC", "MPEG", "PSD", "WMF"}
Image.init()
IMAGE_FORMATS = tuple(name for name in Image.OPEN if name not in NO_PHOTOS)
# What a phone stores as MPO is a JPEG with more pictures behind it, which the JPEG reader opens.
IMAGE_SUFFIXES = tuple(
    suffix for suffix, name in Image.registered_extensions().items() if name in (*IMAGE_FORMATS, "MPO")
)
# Suffixes of photos that Pillow seldom or never opens.
OTHER_PHOTO_SUFFIXES = (".heic", ".heif", ".hif", ".avif", ".jxl", ".svg", ".psd", ".eps")
OTHER_PHOTO_SUFFIXES += (".cr2", ".cr3", ".nef", ".arw", ".raf", ".dng", ".orf", ".rw2", ".pef", ".srw")
# How files begin that Pillow does not open, as patterns that ignore case, and what such files are.
NOT_IMAGES = {
    rb"$": "empty",
    rb"version https://git-lfs": "a Git LFS pointer in the image's place: run `git lfs pull`",
    rb"<!doctype html|<html": "a web page: the download failed",
    rb"<\?xml": "XML or SVG, which is no raster image",
    rb"<svg": "SVG, which is no raster image",
    rb"%pdf": "a PDF",
    rb"....ftyp(he[iv]|m[is]f)": "a photo in HEIC, as iPhones store photos, which Pillow does not open here",
    rb"....ftypavi": "a photo in AVIF, which Pillow does not open here",
    rb"ii\*\0|mm\0\*": "a TIFF that Pillow does not open, such as a camera's raw photo or 64-bit floats",
}
SMALLEST_SIDE = 16
# Above any phone's photo, below what would fill a laptop's memory when decoded (150 MB as RGB).
MOST_PIXELS = 50_000_000

# A photo that is to be shrunk is decoded at least this many times as large as asked for. One that is less
# than eight times as large is decoded whole, so ELFW's photos keep every bit.
SPARE = 4

# EXIF's tag of rotation, and its values that exchange width and height. Files hold others too, of no meaning.
ORIENTATION, SIDEWAYS = 274, (5, 6, 7, 8)
# TIFF's tags, by number: https://www.loc.gov/preservation/digital/formats/content/tiff_tags.shtml
IS_COPY, BITS, PHOTOMETRIC, LOWEST, HIGHEST = 254, 258, 262, 280, 281
SAMPLE_FORMAT, LOWEST_FLOAT, HIGHEST_FLOAT = 339, 340, 341
WHITE_IS_ZERO, SIGNED = 0, 2
# These scale to 16 bits whatever depth their header names.
SCALED_FORMATS = ("PPM", "JPEG2000")
# A photo without a sample above this share of white probably means another white: the 14 bits of a camera
# reach a quarter of 16 bits.
DARKEST = 0.25
# A photo in floats may leave 0..1 by this much: sharpening and cubic resampling overshoot.
OVERSHOOT = 0.1
FIX_SAMPLES = "Scale it so that white is 255, and save it as an 8-bit PNG"


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image without decoding it; refuse what is no image, too small or too large to decode.

    Raises:
        DataError: the file is missing, unreadable, truncated, or its size is out of bounds. Errors
            while the caller decodes the image are turned into DataError too.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of decompression bombs before it refuses them; MOST_PIXELS is stricter.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                check_image(path, image)
                yield image
    except (DataError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise DataError(path, f"too many pixels to decode safely ({error})", "Scale the image down") from None
    # Pillow raises nearly anything on a broken file, from struct.error to RecursionError.
    except Exception as error:
        raise explain_unreadable(path, error) from error


def is_picture(path: Path) -> bool:
    """Tell whether Pillow takes a file for an image; true also where it fails, for its reader to explain."""
    try:
        with Image.open(path, formats=IMAGE_FORMATS):
            return True
    except UnidentifiedImageError:
        return False
    # Pillow raises nearly anything on a broken file.
    except Exception:
        return True


def explain_unreadable(path: Path, error: Exception) -> DataError:
    """Return the error that says why an image cannot be read: no permission, or what the file is instead."""
    if isinstance(error, OSError) and error.errno:
        return explain_error(error, path)
    found = str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        try:
            with path.open("rb") as stream:
                found = f"it is {recognise_file(stream.read(1024))}"
        except OSError as refusal:
            return explain_error(refusal, path)
    is_photo = found.startswith("it is a photo")
    fix = "Save it as JPEG or PNG" if is_photo else "Replace the file by an intact JPEG or PNG"
    return DataError(path, f"cannot be read as an image ({found})", fix)


def recognise_file(start: bytes) -> str:
    """Return what a file is that is no image, judged by its first 1,024 bytes."""
    text = start.strip()
    for pattern, meaning in NOT_IMAGES.items():
        if re.match(pattern, text, re.IGNORECASE | re.DOTALL):
            return meaning
    # What Git and archives leave of a link where links cannot be made: its target, as text.
    endings = tuple(suffix.encode() for suffix in IMAGE_SUFFIXES)
    if len(start) < 1024 and b"\n" not in text and text.lower().endswith(endings):
        return f"a link to {text.decode(errors='replace')!r}, stored as text: copy that file here"
    return "of no kind that Pillow opens"


def check_image(path: Path, image: Image.Image) -> None:
    """Raise DataError for an image too small to show a face, too large to decode, or a preview of another."""
    found = f"{image.width} x {image.height} pixels"
    if min(image.size) < SMALLEST_SIDE:
        raise DataError(path, found, f"A face needs at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels")
    if image.width * image.height > MOST_PIXELS:
        fix = f"Scale it down: at most {MOST_PIXELS // 10**6} million pixels are decoded"
        raise DataError(path, found, fix)
    # Raw photos of cameras are TIFFs that begin with a small copy of the photo.
    if (read_tag(image, IS_COPY) or 0) & 1:
        fix = "Save the photo itself as JPEG; raw photos are developed first"
        raise DataError(path, f"opens as a preview of {found}, not as the photo", fix)


def read_image(path: Path) -> Image.Image:
    """Read a photo as an upright 8-bit RGB image.

    Raises:
        DataError: the file is missing, damaged, too small or too large, or does not say what is white.

    Warns:
        PhotoWarning: it holds several pictures.
    """
    return read_scaled(path)[0]


def read_scaled(path: Path, side: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """Read a photo as `read_image` does; return it, and its width and height as stored, upright.

    Args:
        side: where the photo is to be shrunk to this many pixels, a large JPEG is decoded at a half, a
            quarter or an eighth of its size, in a fraction of the time. Both sides are then still SPARE
            times as long or longer. None decodes it whole.
    """
    with open_image(path) as image:
        size = image.size
        if side:
            image.draft(None, (SPARE * side, SPARE * side))
        # In a phone's MPO, smaller copies of the photo follow it.
        if getattr(image, "is_animated", False) and image.format != "MPO":
            text = f"{path.name} holds several pictures: only the first is looked at"
            warnings.warn(text, PhotoWarning, stacklevel=2)
        samples = describe_samples(image)
        upright = to_rgb(path, ImageOps.exif_transpose(image), samples)
        return upright, size[::-1] if is_sideways(image) else size


def is_sideways(image: Image.Image) -> bool:
    """Return whether an image as stored lies on its side, by its EXIF rotation."""
    return image.getexif().get(ORIENTATION) in SIDEWAYS


def read_size(path: Path) -> tuple[tuple[int, int], bool]:
    """Return width and height of an upright photo without decoding it, and whether it is stored on its side.

    Raises:
        DataError: as `open_image`.
    """
    with open_image(path) as image:
        sideways = is_sideways(image)
        return image.size[::-1] if sideways else image.size, sideways


def read_mask(path: Path) -> np.ndarray:
    """Read pixel labels: ELFW's RGB colours, an indexed image in them, or one channel of class ids.

    Returns:
        class ids, uint8 [H, W].

    Raises:
        DataError: the file is missing or damaged, or holds a colour or an id that is no class.
    """
    with open_image(path) as image:
        if image.format in ("JPEG", "MPO"):
            fix = "Make the mask again as PNG: JPEG changes colours and ids, even where they still look right"
            raise DataError(path, "a mask stored as JPEG", fix)
        if image.mode == "L":
            ids = np.asarray(image)
            if ids.max() >= len(PIXEL_CLASSES):
                raise DataError(path, *explain_ids(ids))
            return ids
        if image.mode not in ("RGB", "RGBA", "P"):
            raise DataError(path, f"a mask in mode {image.mode}", explain_mode(image.mode))
        # Transparency has no meaning in a mask; the colour beneath is what counts.
        colours = np.asarray(image.convert("RGB"))
        ids, unknown = decode_colours(colours)
        if unknown.any():
            raise DataError(path, *explain_colours(image, colours, unknown))
    return ids


def read_pair(
    image_path: Path, mask_path: Path | None, side: int | None = None
) -> tuple[Image.Image, np.ndarray | None]:
    """Read an image (scaled for `side` as in `read_scaled`) and its mask at full size, None without a path.

    Raises:
        DataError: one of them cannot be read, or they differ in size.
    """
    image, (width, height) = read_scaled(image_path, side)
    if mask_path is None:
        return image, None
    mask = read_mask(mask_path)
    if mask.shape != (height, width):
        sizes = f"{mask.shape[1]} x {mask.shape[0]} on an image of {width} x {height}"
        fix = "Make the mask for this very image, at its own size (after EXIF rotation)"
        if mask.shape == (width, height):
            fix = "Turn the mask by 90 degrees: it seems to be made for the photo before its EXIF rotation"
        raise DataError(mask_path, f"mask of {sizes} pixels", fix)
    return image, mask


def is_coloured(path: Path) -> bool:
    """Tell whether a mask is stored in colours, not as one channel of class ids; DataError if unreadable."""
    with open_image(path) as image:
        return image.mode != "L"


def mask_picture(mask: np.ndarray) -> Image.Image:
    """Return a mask, uint8 [H, W], as an indexed picture in ELFW's colours."""
    picture = Image.fromarray(mask)
    picture.putpalette(PALETTE.tobytes())
    return picture


def encode_mask(mask: np.ndarray, header: PngInfo | None = None) -> bytes:
    """Return a mask, uint8 [H, W], as an indexed PNG file in ELFW's colours; `header` may hold texts."""
    file = io.BytesIO()
    mask_picture(mask).save(file, "PNG", optimize=True, pnginfo=header)
    return file.getvalue()


def draw_overlay(image: Image.Image, mask: np.ndarray, opacity: int = 128) -> Image.Image:
    """Return an RGB image under its mask, uint8 [H, W], in colours to look at with this opacity, 0..255.

    The background stays as it is.
    """
    overlay = image.copy()
    for index, colour in enumerate(DISPLAY_COLOURS.tolist()):
        if index != BACKGROUND:
            # Class by class: a second picture in full colour would take as much memory as the photo.
            overlay.paste(tuple(colour), mask=Image.fromarray((mask == index) * np.uint8(opacity)))
    return overlay


class Samples(NamedTuple):
    """The values that stand for black and white in a photo.

    Pillow returns 16- and 32-bit integers and floats as they are stored. The format and its tags tell which
    value is white; the largest value of a photo does not. Where a file may mean two things, such as the 12
    bits of a camera in a 16-bit file, it is refused: a wrong guess would give a black photo.

    Attributes:
        kind: of samples, in words.
        black, white: their values.
        certain: the file itself says so; otherwise they are usual for its kind.
    """

    kind: str
    black: float
    white: float
    certain: bool


def read_tag(image: Image.Image, number: int) -> float | None:
    """Return a tag of a TIFF, the first of its values where there is one per channel; None without it."""
    value = getattr(image, "tag_v2", {}).get(number)
    return next(iter(value), None) if isinstance(value, tuple) else value


def describe_samples(image: Image.Image) -> Samples:
    """Return the values of black and white in an image that is not loaded yet: loading loses its tags."""
    if image.mode == "F":
        samples = Samples("floats", 0, 1, False)
        black, white = read_tag(image, LOWEST_FLOAT) or 0, read_tag(image, HIGHEST_FLOAT)
    elif image.mode.startswith("I"):
        stored = 16 if image.mode.startswith("I;16") or image.format in ("PNG", *SCALED_FORMATS) else 32
        bits = int(read_tag(image, BITS) or stored)
        signed = read_tag(image, SAMPLE_FORMAT) == SIGNED or (bits == 32 and not hasattr(image, "tag_v2"))
        certain = bits < 16 or image.format in SCALED_FORMATS
        samples = Samples(f"{bits}-bit integers", 0, 2 ** (bits - signed) - 1, certain)
        black, white = read_tag(image, LOWEST) or 0, read_tag(image, HIGHEST)
    else:
        # Pillow brings these to 8 bits itself; of 16 it keeps the upper half.
        deep = any(";16" in str(tile) for tile in image.tile)
        return Samples("16-bit colours" if deep else "8-bit samples", 0, 255, not deep)
    if white is not None and black < white:
        samples = samples._replace(black=black, white=white, certain=True)
    if read_tag(image, PHOTOMETRIC) == WHITE_IS_ZERO:
        samples = samples._replace(black=samples.white, white=samples.black)
    return samples


def to_rgb(path: Path, image: Image.Image, samples: Samples) -> Image.Image:
    """Return a loaded image of any mode as 8-bit RGB; raise DataError where its white is unknown."""
    if image.mode == "F" or image.mode.startswith("I"):
        image = Image.fromarray(to_eight_bits(path, np.asarray(image), samples))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    image = image.convert("RGB")
    if samples.kind == "16-bit colours":
        refuse_dark(path, max(high for _, high in image.getextrema()), samples)
    return image


def to_eight_bits(path: Path, values: np.ndarray, samples: Samples) -> np.ndarray:
    """Return samples, integers or floats [H, W], as uint8 [H, W]; raise DataError where white is unknown."""
    if values.dtype == np.int32 and max(samples.black, samples.white) >= 2**31:
        # Integers without a sign, which Pillow hands on as if they had one.
        values = values.view(np.uint32)
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(path, f"{samples.kind} that are not all finite", FIX_SAMPLES)
    if not samples.certain:
        if low < -OVERSHOOT or (samples.kind == "floats" and high > 1 + OVERSHOOT):
            found = f"{samples.kind} from {low:g} to {high:g}, which may mean any brightness"
            raise DataError(path, found, FIX_SAMPLES)
        refuse_dark(path, high, samples)
    scaled = (values - samples.black) / (samples.white - samples.black)
    return (255 * scaled).clip(0, 255).round().astype(np.uint8)


def refuse_dark(path: Path, highest: float, samples: Samples) -> None:
    """Raise DataError for a photo so dark that its white may not be the one that is usual for its kind."""
    white = max(samples.black, samples.white)
    if highest < DARKEST * white:
        found = f"{samples.kind} none of which is above {highest:.10g} of {white:.10g}, nearly black"
        raise DataError(path, found, FIX_SAMPLES)
