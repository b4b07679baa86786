"""Masks that a network finds, and how good they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch
from torch import Tensor

from elfw_helpers.data.labels import PALETTE, PIXEL_CLASSES
from elfw_helpers.evaluation.segmentation import SegmentationScores
from elfw_helpers.plots.style import COLOURS, draw_words, error_lengths, words_if_empty

OPACITY = 0.55
# In reading order; the last two marks are told apart by shape as well.
MARKERS = ("o", "s", "^", "D", "v")


def draw_unet(size: int, width: int, classes: int) -> Figure:
    """Draw the course's U-Net, each block with its channels and the side of its maps.

    Args:
        size: side of the input, pixels; a multiple of 16.
        width: channels at full size.
        classes: outputs a pixel.

    Source: Ronneberger et al. (2015), https://arxiv.org/abs/1505.04597, figure 1.
    """
    figure, axes = plt.subplots(figsize=(10.5, 5.2), layout="constrained")
    depth = 5
    places = [(step, -step) for step in range(depth)]
    places += [(2 * depth - 2 - step, -step) for step in range(depth - 2, -1, -1)]
    for number, (x, y) in enumerate(places):
        level, colour = -y, COLOURS[0] if number < depth else COLOURS[2]
        _draw_block(axes, x, y, f"{width << level} × {size >> level}²", colour)
    for before, after in zip(places, places[1:], strict=False):
        down = after[1] < before[1]
        label = "halve\n(maximum)" if before == places[0] else "double" if before == places[-2] else ""
        _draw_arrow(axes, before, after, COLOURS[3] if down else COLOURS[1], label)
    for level in range(depth - 1):
        ends = (2 * depth - 2 - level - 0.42, -level), (level + 0.42, -level)
        axes.annotate("", *ends, arrowprops={"arrowstyle": "-|>", "color": "0.55", "linestyle": "--"})
    axes.text(depth - 1, 0.12, "copied across: where exactly things are", ha="center", color="0.35")
    axes.text(depth - 1, 1 - depth - 0.5, "what things are, seen from far", ha="center", color="0.35")
    for x, text in ((-1, f"image\n3 × {size}²"), (2 * depth - 1, f"logits\n{classes} × {size}²")):
        axes.text(x, 0, text, ha="center", va="center", fontsize=12)
    for left in (-0.66, 2 * depth - 2 + 0.42):
        axes.annotate("", (left + 0.24, 0), (left, 0), arrowprops={"arrowstyle": "-|>", "color": "0.2"})
    axes.set(xlim=(-1.5, 2 * depth - 0.5), ylim=(0.4 - depth - 0.3, 0.5))
    axes.set_axis_off()
    return figure


def _draw_block(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Draw a block of convolutions, its channels and side written in."""
    rounded = "round,pad=0,rounding_size=0.08"
    box = FancyBboxPatch(
        (x - 0.42, y - 0.24), 0.84, 0.48, boxstyle=rounded, facecolor=f"{colour}33", edgecolor=colour
    )
    axes.add_patch(box)
    axes.text(x, y, text, ha="center", va="center", fontsize=11)


def _draw_arrow(axes: Axes, start: tuple, end: tuple, colour: str, label: str) -> None:
    """Draw the step between two levels, its name beside it."""
    sign = np.sign(end[1] - start[1])
    tail, tip = (start[0] + 0.3, start[1] + 0.25 * sign), (end[0] - 0.3, end[1] - 0.25 * sign)
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", tip, tail, arrowprops=style)
    middle = ((tail[0] + tip[0]) / 2, (tail[1] + tip[1]) / 2)
    side = -1 if sign < 0 else 1
    align = "right" if sign < 0 else "left"
    axes.text(middle[0] + 0.12 * side, middle[1] - 0.05, label, ha=align, va="center", color="0.25")


@words_if_empty("nothing was measured")
def draw_class_iou(scores: Mapping[str, SegmentationScores], title: str) -> Figure:
    """Draw the IoU of each class with its 95 % interval, for one network or several side by side.

    A class that is neither in the masks nor found is left out.

    Args:
        scores: by name of the network.
        title: names the data.
    """
    table = np.array([score.class_iou for score in scores.values()])
    shown = np.flatnonzero(~np.isnan(table).all(0))
    if not len(shown):
        return draw_words("no class to score")
    figure, axes = plt.subplots(figsize=(9, 3.8), layout="constrained")
    step = 0.8 / len(scores)
    for number, (name, score) in enumerate(scores.items()):
        values = np.array([score.class_iou[c] for c in shown])
        ends = np.array([score.class_iou_intervals[c] for c in shown])
        places = np.arange(len(shown)) + (number - (len(scores) - 1) / 2) * step
        look = number % len(MARKERS)
        style = {"fmt": MARKERS[look], "color": COLOURS[look], "capsize": 3}
        axes.errorbar(places, values, error_lengths(values, *ends.T), label=name, **style)
    axes.set_xticks(range(len(shown)), [PIXEL_CLASSES[c] for c in shown])
    axes.set(title=title, ylabel="IoU, 95 % interval", ylim=(-0.02, 1.02), xlim=(-0.5, len(shown) - 0.5))
    axes.grid(False, axis="x")
    if len(scores) > 1:
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, -0.33), ncols=len(scores))
    sns.despine(figure)
    return figure


@words_if_empty("no face to show")
def draw_overlays(
    images: Tensor, masks: Mapping[str, Tensor], titles: Sequence[str] = (), legend: bool = True
) -> Figure:
    """Draw faces in a row, and below them the same faces under masks, a row for each source of masks.

    Args:
        images: uint8 [N, H, W, 3].
        masks: uint8 [N, H, W], class ids, by the name of their row, such as "truth" and "U-Net".
        titles: N titles, or none.
        legend: say which colour is which class.
    """
    rows, count = 1 + len(masks), len(images)
    figure, axes = plt.subplots(rows, count, figsize=(1.45 * count + 0.4, 1.5 * rows + 0.5), squeeze=False)
    for column in range(count):
        axes[0, column].imshow(images[column].numpy())
        if titles:
            axes[0, column].set_title(titles[column], fontsize=9.5, weight="normal")
        for row, mask in enumerate(masks.values(), 1):
            axes[row, column].imshow(blend_mask(images[column].numpy(), mask[column].numpy()))
    for row, name in enumerate(("image", *masks)):
        axes[row, 0].set_ylabel(name, fontsize=10)
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[])
        for spine in panel.spines.values():
            spine.set_visible(False)
    figure.tight_layout(pad=0.3)
    if legend:
        present = {label for mask in masks.values() for label in mask.unique().tolist()}
        _add_legend(figure, sorted(present - {0}))
    return figure


def blend_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the image, uint8 [H, W, 3], tinted in ELFW's colours but for the background."""
    tinted = (1 - OPACITY) * image + OPACITY * PALETTE[mask]
    return np.where((mask > 0)[..., None], tinted, image).astype(np.uint8)


def _add_legend(figure: Figure, labels: Sequence[int]) -> None:
    """Name the colours of some classes below a figure."""
    handles = [Patch(facecolor=PALETTE[i] / 255, edgecolor="0.4", label=PIXEL_CLASSES[i]) for i in labels]
    figure.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=max(len(handles), 1), fontsize=9
    )
