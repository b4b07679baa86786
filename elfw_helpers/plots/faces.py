"""Faces, masks, and what is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image
from torch import Tensor

from elfw_helpers.data.labels import PALETTE, PIXEL_CLASSES, decode_colours, encode_colours
from elfw_helpers.plots.style import COLOURS, words_if_empty


@words_if_empty("no face to show")
def show_faces(images: Tensor, masks: Tensor | None, titles: Sequence[str]) -> Figure:
    """Draw faces in a row, their masks below them, and a legend of the mask's colours.

    Args:
        images: uint8 [N, H, W, 3].
        masks: uint8 [N, H, W] class ids, or None to leave that row out.
        titles: N titles.
    """
    rows, count = 1 if masks is None else 2, len(images)
    figure, axes = plt.subplots(rows, count, figsize=(1.6 * count, 1.75 * rows + 0.5), squeeze=False)
    for column in range(count):
        axes[0, column].imshow(images[column].numpy())
        axes[0, column].set_title(titles[column], fontsize=10, weight="normal")
        if masks is not None:
            axes[1, column].imshow(encode_colours(masks[column].numpy()))
    for panel in axes.flat:
        panel.set_axis_off()
    figure.tight_layout(pad=0.3)
    if masks is not None:
        present = np.unique(masks.numpy())
        handles = [
            Patch(facecolor=PALETTE[i] / 255, edgecolor="0.4", label=PIXEL_CLASSES[i]) for i in present
        ]
        figure.legend(
            handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=len(handles), fontsize=9
        )
    return figure


def draw_class_counts(counts: pd.DataFrame) -> Figure:
    """Draw how many images of each attribute (rows) each split (columns) holds, numbers written above."""
    figure, axes = plt.subplots(figsize=(7, 3.2))
    long = (
        counts.rename_axis("attribute").reset_index().melt("attribute", var_name="split", value_name="images")
    )
    sns.barplot(long, x="attribute", y="images", hue="split", ax=axes)
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
    """Draw the share of pixels, [3, 256], over the values, [256, 3], a line a channel."""
    colours = (COLOURS[3], COLOURS[2], COLOURS[0])
    for channel, name in enumerate(("red", "green", "blue")):
        style = {"label": name, "color": colours[channel], "linestyle": ("-", "--", ":")[channel]}
        axes.plot(values[:, channel], share[channel], linewidth=1.5, **style)


def draw_mask_resizing(mask: np.ndarray, size: int) -> Figure:
    """Draw what resizing does to a mask: right, wrong, and which colours the wrong way makes up.

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
    panels = {
        "nearest neighbour": nearest,
        "bilinear": bilinear,
        f"bilinear: {unknown.mean():.0%} in no class (white)": marked,
    }
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.6))
    for panel, (title, picture) in zip(axes, panels.items(), strict=True):
        panel.imshow(picture, interpolation="nearest")
        panel.set_title(title, fontsize=11)
        panel.set_axis_off()
    figure.tight_layout()
    return figure
