"""A sheet of faces with their masks beneath, to look at a set at a glance."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.labels import PALETTE, PIXEL_CLASSES, encode_colours
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import require_writable_file, write_atomically

MARGIN, LEGEND_HEIGHT, FONT_SIZE = 4, 40, 20
# Of a sheet drawn from a folder: number of faces, faces a row, pixels a side.
SHOWN, COLUMNS, SIZE = 30, 10, 128
# What a sheet can be saved as, by the end of the file's name.
SHEETS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def sheet_of_folder(faces: FaceFolder) -> Image.Image:
    """Return thirty faces of a folder, evenly chosen by name, with their masks where there are any."""
    count = min(SHOWN, len(faces))
    chosen = [faces.load(place * len(faces) // count, SIZE) for place in range(count)]
    images = np.stack([image for image, _, _ in chosen])
    masks = np.stack([mask for _, mask, _ in chosen]) if faces.layout.masks else None
    return contact_sheet(images, masks, COLUMNS)


def require_sheet(file: Path) -> None:
    """Prove that a sheet can be written to a file, before any face is read.

    Raises:
        DataError: it is no .png or .jpg, or cannot be written.
    """
    if file.suffix.lower() not in SHEETS:
        raise DataError(file, "a sheet is neither .png nor .jpg", "Name a .png or .jpg file")
    require_writable_file(file)


def write_sheet(sheet: Image.Image, file: Path) -> None:
    """Write a sheet to a .png or .jpg file, whole or not at all."""
    content = io.BytesIO()
    sheet.save(content, SHEETS[file.suffix.lower()])
    write_atomically(file, content.getvalue())


def contact_sheet(images: np.ndarray, masks: np.ndarray | None, columns: int) -> Image.Image:
    """Return faces in rows, the mask of each below it in ELFW's colours, and a legend at the foot.

    Args:
        images: uint8 [N, S, S, 3], at least one.
        masks: uint8 [N, S, S], class ids, or None for faces alone.
        columns: faces a row, if there are so many.

    Raises:
        ValueError: there are no faces.
    """
    if len(images) == 0:
        raise ValueError("a contact sheet needs at least one face")
    size, columns = images.shape[1], min(columns, len(images))
    step, rows = (size if masks is None else 2 * size) + 3 * MARGIN, -(-len(images) // columns)
    width, height = columns * (size + MARGIN) + MARGIN, rows * step
    sheet = Image.new("RGB", (width, height + (0 if masks is None else LEGEND_HEIGHT)), "white")
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        left, top = MARGIN + column * (size + MARGIN), MARGIN + row * step
        sheet.paste(Image.fromarray(image), (left, top))
        if masks is not None:
            sheet.paste(Image.fromarray(encode_colours(masks[place])), (left, top + size + 1))
    if masks is not None:
        draw_legend(ImageDraw.Draw(sheet), width, height)
    return sheet


def draw_legend(draw: ImageDraw.ImageDraw, width: int, top: int) -> None:
    """Draw a coloured square and a name for every pixel class."""
    font = ImageFont.load_default(FONT_SIZE)
    classes = list(zip(PALETTE.tolist(), PIXEL_CLASSES, strict=True))
    for place, (colour, name) in enumerate(classes):
        left = MARGIN + place * width // len(classes)
        box = (left, top + 10, left + FONT_SIZE, top + 10 + FONT_SIZE)
        draw.rectangle(box, fill=tuple(colour), outline="grey")
        draw.text((left + FONT_SIZE + 6, top + 8), name, fill="black", font=font)
