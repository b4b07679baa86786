"""The look that all figures share, and the parts that several of them are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from inspect import signature
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

# Okabe and Ito's colours, told apart with any common colour blindness: blue, orange, green, vermilion,
# reddish purple.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7")
# ELFW's palette is for masks only: its pure colours are too loud, and two of them look alike to a protanope.
sns.set_theme(style="whitegrid", palette=COLOURS, rc={"figure.dpi": 100, "axes.titleweight": "bold"})


def draw_message(text: str) -> Figure:
    """Draw a line of text in place of a figure that would be empty."""
    figure, axes = plt.subplots(figsize=(5, 1.2))
    axes.text(0.5, 0.5, text, ha="center", va="center")
    axes.set_axis_off()
    return figure


def message_if_empty(text: str) -> Callable[[Callable[..., Figure]], Callable[..., Figure]]:
    """Return a decorator that draws this text where the first argument of a figure is empty."""

    def decorate(draw: Callable[..., Figure]) -> Callable[..., Figure]:
        @wraps(draw)
        def draw_or_tell(*arguments: Any, **options: Any) -> Figure:
            shown, *_ = signature(draw).bind(*arguments, **options).arguments.values()
            return draw(*arguments, **options) if len(shown) else draw_message(text)

        return draw_or_tell

    return decorate


def show_pictures(panels: np.ndarray, pictures: Iterable, titles: Sequence[str] = (), size: float = 10):
    """Show one picture per panel, titles above in font size `size`; panels without a picture stay empty."""
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[], frame_on=False)
    for panel, picture in zip(panels.flat, pictures, strict=False):
        panel.imshow(picture)
    for panel, title in zip(panels.flat, titles, strict=False):
        panel.set_title(title, fontsize=size, weight="normal")


def make_row_chart(labels: Sequence[str]) -> tuple[Figure, Axes]:
    """Return a figure and its axes with one labelled row per entry, the first on top."""
    figure, axes = plt.subplots(figsize=(8, 0.55 * len(labels) + 1.3))
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    return figure, axes


def draw_counts(axes: Axes, counts: np.ndarray, names: Sequence[str], size: int) -> None:
    """Draw a square matrix of counts, in font size `size`, coloured by them."""
    sns.heatmap(
        counts, vmin=0, annot=counts, fmt="d", cmap="Blues", cbar=False, square=True, linewidths=1,
        xticklabels=names, yticklabels=names, ax=axes, annot_kws={"fontsize": size},
    )  # fmt: skip


def frame_cell(axes: Axes, column: float, row: float, side: float = 1) -> None:
    """Frame a cell of a heat map."""
    axes.add_patch(plt.Rectangle((column, row), side, side, fill=False, edgecolor=COLOURS[3], linewidth=3))


def write_near(axes: Axes, text: str, point: tuple, offset: tuple, **style: Any) -> None:
    """Write text at an offset, in points, from a point given in the units of the axes."""
    axes.annotate(text, point, offset, textcoords="offset points", **style)


def add_legend_beside(axes: Axes) -> None:
    """Add the legend to the right of the axes, where it covers nothing."""
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def error_lengths(values: ArrayLike, low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """Return how far intervals reach below and above their values, [2, N], for matplotlib's error bars.

    None is negative, which matplotlib refuses: an end that equals its value may lie beside it by rounding.
    """
    values, low, high = (np.asarray(numbers, dtype=float) for numbers in (values, low, high))
    return np.clip(np.stack([values - low, high - values]), 0, None)
