"""Figures of faces and their masks, of their pixels, and of how many faces a split holds."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image
from torch import Tensor

from elfw_helpers.augmentation.face_geometry import FaceGeometry
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.images import draw_overlay
from elfw_helpers.data.labels import DISPLAY_COLOURS, PALETTE, PIXEL_CLASSES, decode_colours, encode_colours
from elfw_helpers.plots.style import COLOURS, message_if_empty, show_pictures
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import require_writable_file, write_atomically

FACES_PER_ROW = 10
OPACITY = 140  # of a mask over its face, 0..255
# How far beyond the eyes the line through them is drawn, and how far down the nose, in eye distances.
REACH, NOSE = 1.0, 1.1
# Of the sheet of a folder: number of faces, their side in pixels, what it can be saved as.
SHEET_FACES, SHEET_SIDE, SHEET_FORMATS = 30, 128, (".png", ".jpg", ".jpeg")


@message_if_empty("no face to show")
def show_faces(images: Tensor, masks: Tensor | None, titles: Sequence[str] = ()) -> Figure:
    """Draw faces in rows of up to ten, their masks below them, and a legend of the masks' colours.

    Args:
        images: uint8 [N, H, W, 3].
        masks: uint8 [N, H, W], class ids, or None to leave them out.
    """
    kinds = [images.numpy()]
    if masks is not None:
        kinds.append(DISPLAY_COLOURS[masks.numpy()])
    columns = min(len(images), FACES_PER_ROW)
    rows = len(kinds) * -(-len(images) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(1.6 * columns, 1.75 * rows + 0.5), squeeze=False)
    for row, pictures in enumerate(kinds):
        show_pictures(panels[row :: len(kinds)], pictures, titles if row == 0 else ())
    figure.tight_layout(pad=0.3)
    if masks is not None:
        _add_class_legend(figure, masks.unique().tolist())
    return figure


@message_if_empty("no face to show")
def draw_overlays(images: Tensor, masks: Mapping[str, Tensor], titles: Sequence[str] = ()) -> Figure:
    """Draw faces in a row, and below them the same faces under masks, one row for each source of masks.

    Args:
        images: uint8 [N, H, W, 3].
        masks: uint8 [N, H, W], class ids, by the name of their row, such as "truth" and "U-Net".
    """
    rows, columns = 1 + len(masks), len(images)
    size = (1.45 * columns + 0.4, 1.5 * rows + 0.5)
    figure, panels = plt.subplots(rows, columns, figsize=size, squeeze=False)
    show_pictures(panels[0], images.numpy(), titles, size=9.5)
    faces = list(map(Image.fromarray, images.numpy()))
    for row, found in zip(panels[1:], masks.values(), strict=True):
        pairs = zip(faces, found.numpy(), strict=True)
        show_pictures(row, [draw_overlay(face, mask, OPACITY) for face, mask in pairs])
    for row, name in zip(panels, ("image", *masks), strict=True):
        row[0].set_ylabel(name, fontsize=10)
    figure.tight_layout(pad=0.3)
    present = torch.cat(list(masks.values())).unique().tolist()
    _add_class_legend(figure, [index for index in present if index > 0])
    return figure


def draw_face_in_photo(photo: Image.Image, mask: np.ndarray, face: Image.Image) -> Figure:
    """Draw a face that was cut out of a photo, and beside it the photo under its mask, uint8 [H, W]."""
    figure, panels = plt.subplots(1, 2, figsize=(6.4, 3.6))
    show_pictures(panels, [face, draw_overlay(photo, mask, OPACITY)], ["cut out", "mask, laid back"])
    figure.tight_layout(pad=0.3)
    _add_class_legend(figure, [index for index in np.unique(mask).tolist() if index > 0])
    return figure


@message_if_empty("no face to show")
def draw_face_geometry(
    faces: Sequence[tuple[Image.Image, np.ndarray]], found: Sequence[FaceGeometry]
) -> Figure:
    """Draw where the labels say that eyes and nose are, on the masks above and on the faces below.

    Args:
        faces: image and mask, uint8 [H, W], of each.
        found: as `locate_face` returns it for each mask.
    """
    figure, panels = plt.subplots(2, len(faces), figsize=(1.7 * len(faces), 3.6), squeeze=False)
    white = [draw_overlay(Image.new("RGB", mask.shape[::-1], "white"), mask, OPACITY) for _, mask in faces]
    show_pictures(panels, [*white, *(image for image, _ in faces)])
    for column, face in zip(panels.T, found, strict=True):
        across = face.eye_distance * np.array([np.cos(face.roll), np.sin(face.roll)])
        down = face.eye_distance * np.array([-np.sin(face.roll), np.cos(face.roll)])
        middle = np.array([face.x, face.y])
        for axes in column:
            axes.autoscale(False)
            for end in (middle + REACH * across, middle - REACH * across, middle + NOSE * down):
                axes.plot(*zip(middle, end, strict=True), color="black", linewidth=2.6)
                axes.plot(*zip(middle, end, strict=True), color="white", linewidth=1.2)
            eyes = np.stack([middle - across / 2, middle + across / 2])
            axes.scatter(*eyes.T, color="white", edgecolor="black", s=36, zorder=3)
    figure.tight_layout(pad=0.3)
    return figure


def _add_class_legend(figure: Figure, classes: Sequence[int]) -> None:
    """Name the colours of some pixel classes below a figure."""
    handles = [
        Patch(facecolor=DISPLAY_COLOURS[i] / 255, edgecolor="0.4", label=PIXEL_CLASSES[i]) for i in classes
    ]
    figure.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=max(len(handles), 1), fontsize=9
    )


def require_sheet(file: Path) -> None:
    """Prove that `write_sheet` can write to a file, before any face is read.

    Raises:
        DataError: it is no .png or .jpg, or cannot be written.
    """
    if file.suffix.lower() not in SHEET_FORMATS:
        raise DataError(file, "a sheet is neither .png nor .jpg", "Name a .png or .jpg file")
    require_writable_file(file)


def write_sheet(faces: FaceFolder, file: Path) -> None:
    """Draw thirty faces of a folder, evenly chosen by name, with their masks if any, as .png or .jpg."""
    # Without a screen, whatever backend a notebook that starts the command has set.
    matplotlib.use("Agg")
    count = min(SHEET_FACES, len(faces))
    chosen = [faces.load(place * len(faces) // count, SHEET_SIDE) for place in range(count)]
    images, masks, _ = zip(*chosen, strict=True)
    stacked = torch.from_numpy(np.stack(masks)) if faces.layout.masks else None
    figure = show_faces(torch.from_numpy(np.stack(images)), stacked)
    content = io.BytesIO()
    figure.savefig(content, format=file.suffix.lower()[1:], bbox_inches="tight")
    write_atomically(file, content.getvalue())


def draw_palettes() -> Figure:
    """Draw the colour of each pixel class in ELFW's files, and below it the one that masks are shown in."""
    figure, panels = plt.subplots(2, 1, figsize=(9, 2.4))
    rows = {"in the files": PALETTE, "as shown": DISPLAY_COLOURS}
    for axes, (name, colours) in zip(panels, rows.items(), strict=True):
        axes.imshow(colours[None], aspect="auto")
        axes.set(yticks=[0], yticklabels=[name], xticks=[])
        axes.vlines(np.arange(1, len(colours)) - 0.5, -0.5, 0.5, color="white", linewidth=2)
        axes.grid(False)
    panels[1].set_xticks(range(len(PIXEL_CLASSES)), PIXEL_CLASSES, fontsize=9)
    sns.despine(figure, left=True, bottom=True)
    figure.tight_layout()
    return figure


def draw_class_counts(counts: pd.DataFrame) -> Figure:
    """Draw how many images of each attribute (rows) each split (columns) holds, numbers written above."""
    figure, axes = plt.subplots(figsize=(7, 3.2))
    long = counts.melt(var_name="split", value_name="images", ignore_index=False)
    sns.barplot(long, x=long.index, y="images", hue="split", ax=axes)
    for bars in axes.containers:
        axes.bar_label(bars, fontsize=9, padding=1)
    axes.set(title="Images per attribute and split", xlabel="", ylabel="images")
    axes.legend(title="", frameon=False)
    axes.margins(y=0.12)
    sns.despine(figure)
    return figure


def draw_channel_histograms(
    images: Tensor, normalisations: Mapping[str, tuple[Sequence[float], Sequence[float]]]
) -> Figure:
    """Draw the distribution of each channel before normalisation and after each of several.

    Args:
        images: uint8 [N, H, W, 3].
        normalisations: mean and standard deviation, three numbers each, of values in 0..1; by title.
    """
    count = 1 + len(normalisations)
    figure, panels = plt.subplots(1, count, figsize=(4 * count, 3), sharey=True)
    values = np.arange(256)[:, None] / 255
    pixels = np.stack([np.bincount(channel.numpy().ravel(), minlength=256) for channel in images.unbind(-1)])
    share = 100 * pixels / pixels.sum(1, keepdims=True)
    _draw_channels(panels[0], values.repeat(3, 1), share)
    panels[0].set(title="Before normalisation", xlabel="pixel value (0 to 1)", ylabel="pixels (%)")
    panels[0].legend(frameon=False)
    for axes, (title, (mean, std)) in zip(panels[1:], normalisations.items(), strict=True):
        # On one axis, so that two normalisations can be compared.
        axes.sharex(panels[1])
        _draw_channels(axes, (values - np.asarray(mean)) / np.asarray(std), share)
        axes.set(title=f"With {title}", xlabel="(value - mean) / standard deviation")
    sns.despine(figure)
    figure.tight_layout()
    return figure


def _draw_channels(axes: Axes, values: np.ndarray, share: np.ndarray) -> None:
    """Draw the share of pixels, [3, 256], over the values, [256, 3], one line per channel."""
    styles = {"red": (COLOURS[3], "-"), "green": (COLOURS[2], "--"), "blue": (COLOURS[0], ":")}
    for x, y, (name, (colour, line)) in zip(values.T, share, styles.items(), strict=True):
        axes.plot(x, y, linewidth=1.5, label=name, color=colour, linestyle=line)


def draw_mask_resizing(mask: np.ndarray, size: int) -> Figure:
    """Draw what resizing does to a mask: right, wrong, and which colours the wrong way makes up.

    It is resized in ELFW's colours, as in a file.

    Args:
        mask: uint8 [H, W], class ids.
        size: side to resize to, in pixels.
    """
    colours = Image.fromarray(encode_colours(mask))
    nearest, bilinear = (
        np.asarray(colours.resize((size, size), method))
        for method in (Image.Resampling.NEAREST, Image.Resampling.BILINEAR)
    )
    _, unknown = decode_colours(bilinear)
    # What still has a class is dimmed, so that the white stands out.
    marked = np.where(unknown[..., None], 255, bilinear // 3)
    titles = ("nearest neighbour", "bilinear", f"bilinear: {unknown.mean():.0%} in no class (white)")
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.6))
    for panel, picture, title in zip(panels, (nearest, bilinear, marked), titles, strict=True):
        panel.imshow(picture, interpolation="nearest")
        panel.set_title(title, fontsize=11)
        panel.set_axis_off()
    figure.tight_layout()
    return figure
