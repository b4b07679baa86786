"""One image file, one mask file: read safely, or refused with the reason.

Conversions made on purpose: EXIF rotation is applied, grayscale, CMYK and Lab become RGB, transparency
is laid over white, deeper samples are scaled to 8 bits (`depth` says how), and of several pictures in a file
the first is taken. Everything else that is off is an error.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from elfw_helpers.data.depth import declare_samples, to_rgb
from elfw_helpers.data.labels import PALETTE, PIXEL_CLASSES, decode_colours
from elfw_helpers.data.mask_faults import explain_colours, explain_ids, explain_mode
from elfw_helpers.utils.errors import DataError, PhotoWarning
from elfw_helpers.utils.files import explain_error

# Pillow identifies these too, but they are grids of data, films, drawings, or programs for Ghostscript to
# run; in IPTC and icons lies another file, of any kind and size.
NO_PHOTOS = {"BUFR", "EPS", "GRIB", "HDF5", "ICNS", "ICO", "IPTC", "MPEG", "PSD", "WMF"}
Image.init()
IMAGE_FORMATS = tuple(name for name in Image.OPEN if name not in NO_PHOTOS)
# What a phone stores as MPO is a JPEG with more pictures behind it, which the JPEG reader opens.
IMAGE_SUFFIXES = tuple(
    sorted(
        (suffix for suffix, name in Image.registered_extensions().items() if name in (*IMAGE_FORMATS, "MPO")),
        key=lambda suffix: (suffix not in (".jpg", ".png", ".tif"), suffix),
    )
)
# How files begin that are no image although their names say so.
DISGUISES = {
    b"version https://git-lfs": "a Git LFS pointer in the image's place: run `git lfs pull`",
    b"<!doctype html": "a web page: the download failed",
    b"<html": "a web page: the download failed",
    b"<?xml": "XML or SVG, which is no raster image",
    b"<svg": "SVG, which is no raster image",
    b"%pdf": "a PDF",
}
# Pictures that Pillow opens with an add-on or in newer releases only, by their bytes 4 to 10.
CODECS = {
    b"ftyphei": "HEIC, as iPhones store photos",
    b"ftyphev": "HEIC, as iPhones store photos",
    b"ftypmif": "HEIC, as iPhones store photos",
    b"ftypmsf": "HEIC, as iPhones store photos",
    b"ftypavi": "AVIF",
}
# The tag by which a TIFF says, in its lowest bit, that a picture is a small copy of another one in the file.
NEW_SUBFILE_TYPE = 254
LINK_ENDINGS = tuple(suffix.encode() for suffix in IMAGE_SUFFIXES)
SMALLEST_SIDE = 16
# Above any phone's photo, below what would fill a laptop's memory when decoded (150 MB as RGB).
MOST_PIXELS = 50_000_000


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
                check_size(path, *image.size)
                check_whole(path, image)
                yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(path, f"too many pixels to decode safely ({error})", "Scale the image down") from None
    except FileNotFoundError:
        raise DataError(path, "no such file", "Restore the file, or take its name out of the lists") from None
    except MemoryError:
        raise
    # Pillow raises nearly anything on a broken file, from struct.error to RecursionError.
    except Exception as error:
        raise explain_unreadable(path, error) from error


def is_picture(path: Path) -> bool:
    """Say whether a file begins as a picture does; one that cannot be opened is for its reader to judge."""
    try:
        with Image.open(path, formats=IMAGE_FORMATS):
            return True
    except UnidentifiedImageError:
        return False
    # Pillow raises nearly anything on a broken file.
    except Exception:
        return True


def explain_refusal(path: Path, error: OSError) -> DataError:
    """Return what the operating system refused to read, as an error that names it and what to do."""
    explained = explain_error(error, path)
    return DataError(explained.file, f"cannot be read ({explained.found})", explained.fix)


def explain_unreadable(path: Path, error: Exception) -> DataError:
    """Return the error that says why an image cannot be read: its rights, or what it is instead."""
    if isinstance(error, OSError) and error.errno:
        return explain_refusal(path, error)
    fix = "Replace the file by an intact JPEG or PNG"
    if not isinstance(error, UnidentifiedImageError):
        return DataError(path, f"cannot be read as an image ({str(error) or type(error).__name__})", fix)
    try:
        with path.open("rb") as stream:
            start = stream.read(1024)
    except OSError as refusal:
        return explain_refusal(path, refusal)
    if start[4:11] in CODECS:
        found = f"a photo in {CODECS[start[4:11]]}, which Pillow does not open here"
        return DataError(path, found, "Save it as JPEG, as phones do when they send a photo by mail")
    return DataError(path, f"cannot be read as an image ({recognise_file(start)})", fix)


def recognise_file(start: bytes) -> str:
    """Return what a file is that is no image, judged by how it begins."""
    if not start:
        return "it is empty"
    for beginning, meaning in DISGUISES.items():
        if start.lstrip().lower().startswith(beginning):
            return f"it is {meaning}"
    if start[:4] in (b"II*\0", b"MM\0*"):
        return "it is a TIFF that Pillow does not open, such as a camera's raw photo or 64-bit floats"
    # What Git and archives leave of a link where links cannot be made: its target, as text.
    if len(start) < 1024 and b"\n" not in start.strip() and start.strip().lower().endswith(LINK_ENDINGS):
        target = start.decode(errors="replace").strip()
        return f"it is a link to {target!r}, stored as text: copy that file here"
    return "it is of no kind that Pillow opens"


def check_size(path: Path, width: int, height: int) -> None:
    """Raise DataError when an image is too small to show a face or too large to decode."""
    if min(width, height) < SMALLEST_SIDE:
        found = f"{width} x {height} pixels"
        raise DataError(path, found, f"A face needs at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels")
    if width * height > MOST_PIXELS:
        found = f"{width} x {height} pixels"
        fix = f"Scale it down: at most {MOST_PIXELS // 10**6} million pixels are decoded"
        raise DataError(path, found, fix)


def check_whole(path: Path, image: Image.Image) -> None:
    """Raise DataError for a TIFF that begins with a small copy, as raw photos of cameras do."""
    if getattr(image, "tag_v2", {}).get(NEW_SUBFILE_TYPE, 0) & 1:
        found = f"opens as a preview of {image.width} x {image.height} pixels, not as the photo"
        raise DataError(path, found, "Save the photo itself as JPEG; raw photos are developed first")


def read_image(path: Path) -> Image.Image:
    """Read a photo as an upright 8-bit RGB image.

    Raises:
        DataError: the file is missing, damaged, too small or too large, or does not say what is white.

    Warns:
        PhotoWarning: it holds several pictures.
    """
    with open_image(path) as image:
        # Behind the photo in a phone's MPO lie smaller copies of it.
        if getattr(image, "is_animated", False) and image.format != "MPO":
            text = f"{path.name} holds several pictures: only the first is looked at"
            warnings.warn(text, PhotoWarning, stacklevel=2)
        samples = declare_samples(image)
        return to_rgb(path, ImageOps.exif_transpose(image), samples)


def read_mask(path: Path) -> np.ndarray:
    """Read pixel labels: ELFW's RGB colours, an indexed image in them, or one channel of class ids.

    Returns:
        class ids, uint8 [H, W].

    Raises:
        DataError: the file is missing or damaged, or holds a colour or an id that is no class.
    """
    with open_image(path) as image:
        if image.format in ("JPEG", "MPO"):
            fix = "Make the mask anew as PNG: JPEG changes colours and ids, even where they still look right"
            raise DataError(path, "a mask stored as JPEG", fix)
        if image.mode == "L":
            return check_ids(path, np.asarray(image))
        if image.mode not in ("RGB", "RGBA", "P"):
            raise DataError(path, f"a mask in mode {image.mode}", explain_mode(image.mode))
        # Transparency has no meaning in a mask; the colour beneath is what counts.
        colours = np.asarray(image.convert("RGB"))
        ids, unknown = decode_colours(colours)
        if unknown.any():
            raise DataError(path, *explain_colours(image, colours, unknown))
    return ids


def read_pair(image_path: Path, mask_path: Path | None) -> tuple[Image.Image, np.ndarray | None]:
    """Read an image and its mask, at their own size; no mask path gives no mask.

    Raises:
        DataError: a file is damaged, or mask and image differ in size.
    """
    image = read_image(image_path)
    if mask_path is None:
        return image, None
    mask = read_mask(mask_path)
    if mask.shape != (image.height, image.width):
        sizes = f"{mask.shape[1]} x {mask.shape[0]} on an image of {image.width} x {image.height}"
        fix = "Make the mask for this very image, at its own size (after EXIF rotation)"
        if mask.shape == (image.width, image.height):
            fix = "Turn the mask by 90 degrees: it seems to be made for the photo before its EXIF rotation"
        raise DataError(mask_path, f"mask of {sizes} pixels", fix)
    return image, mask


def is_coloured(path: Path) -> bool:
    """Tell whether a mask is stored in colours, not as one channel of class ids.

    Raises:
        DataError: it cannot be read.
    """
    with open_image(path) as image:
        return image.mode != "L"


def check_ids(path: Path, ids: np.ndarray) -> np.ndarray:
    """Return one-channel class ids unchanged, or raise DataError for an id that is no class."""
    if ids.max() < len(PIXEL_CLASSES):
        return ids
    raise DataError(path, *explain_ids(ids))


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
