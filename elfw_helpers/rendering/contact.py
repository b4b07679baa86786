"""A sheet of faces with their masks beneath, to look at a set at a glance."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from elfw_helpers.labels import PALETTE, PIXEL_CLASSES, encode_colours
from elfw_helpers.rendering.face import RenderedFace

MARGIN, LEGEND_HEIGHT, FONT_SIZE = 4, 40, 20


def contact_sheet(faces: Sequence[RenderedFace], columns: int = 10) -> Image.Image:
    """Return faces in rows, the mask of each below it in ELFW's colours, and a legend at the foot.

    Args:
        faces: at least one, all of one size.
        columns: faces a row.

    Raises:
        ValueError: there are no faces.
    """
    if not faces:
        raise ValueError("a contact sheet needs at least one face")
    size = len(faces[0].image)
    columns = min(columns, len(faces))
    rows = -(-len(faces) // columns)
    width, height = columns * (size + MARGIN) + MARGIN, rows * (2 * size + 3 * MARGIN)
    sheet = Image.new("RGB", (width, height + LEGEND_HEIGHT), "white")
    for place, face in enumerate(faces):
        row, column = divmod(place, columns)
        left, top = MARGIN + column * (size + MARGIN), MARGIN + row * (2 * size + 3 * MARGIN)
        sheet.paste(Image.fromarray(face.image), (left, top))
        sheet.paste(Image.fromarray(encode_colours(face.mask)), (left, top + size + 1))
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
