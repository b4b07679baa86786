"""Drawings of how a network is built."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from elfw_helpers.plots.style import COLOURS

# What an input passes on its way through the block, left to right: text, width, colour.
BLOCK_STEPS = (
    ("$x$", 0.4, None),
    ("3 × 3\nconvolution", 1.4, COLOURS[0]),
    ("batch\nnorm", 0.9, COLOURS[1]),
    ("ReLU", 0.9, COLOURS[2]),
    ("3 × 3\nconvolution", 1.4, COLOURS[0]),
    ("batch\nnorm", 0.9, COLOURS[1]),
    ("+", 0.5, COLOURS[3]),
    ("ReLU", 0.9, COLOURS[2]),
    ("$y$", 0.4, None),
)
ARROW_LENGTH = 0.45
# An arrow ends exactly at its points.
EXACT = {"shrinkA": 0, "shrinkB": 0}
# Levels of the U-Net, from full size to a sixteenth of it.
LEVELS = 5


def draw_residual_block() -> Figure:
    """Draw the basic block of ResNet-18: y = ReLU(F(x) + x).

    Source: He et al. (2015), https://arxiv.org/abs/1512.03385, figure 2.
    """
    figure, axes = plt.subplots(figsize=(11, 2.8), layout="constrained")
    spans, left = [], 0.0
    for text, width, colour in BLOCK_STEPS:
        _draw_step(axes, left, width, text, colour)
        spans.append((left, left + width))
        left += width + ARROW_LENGTH
    for (_, start), (end, _) in zip(spans, spans[1:], strict=False):
        _draw_arrow(axes, (start, 0), (end, 0), "0.2", linewidth=1.5, **EXACT)
    # A bracket under what the block adds.
    start, end = spans[1][0], spans[5][1]
    axes.plot((start, start, end, end), (-0.6, -0.72, -0.72, -0.6), color="0.4", linewidth=1.5)
    label = "$F(x)$: what the block adds to $x$"
    axes.text((start + end) / 2, -0.82, label, ha="center", va="top", fontsize=14)
    # The way around the steps: up, across, and down onto the sum.
    start, end, top = spans[0][1] + 0.15, sum(spans[6]) / 2, 0.95
    axes.plot((start, start, end), (0, top, top), color=COLOURS[3], linewidth=2)
    _draw_arrow(axes, (end, top), (end, 0.25), COLOURS[3], linewidth=2, **EXACT)
    axes.text((start + end) / 2, top + 0.08, "shortcut: $x$", ha="center", va="bottom", fontsize=14)
    axes.set(xlim=(-0.1, left - ARROW_LENGTH + 0.1), ylim=(-1.25, 1.5), aspect="equal")
    axes.set_axis_off()
    return figure


def draw_unet(size: int, width: int, classes: int) -> Figure:
    """Draw the course's U-Net, each block with its channels and the side of its maps.

    Args:
        size: side of the input in pixels, a multiple of 16.
        width: channels at full size.
        classes: outputs per pixel.

    Source: Ronneberger et al. (2015), https://arxiv.org/abs/1505.04597, figure 1.
    """
    figure, axes = plt.subplots(figsize=(10.5, 5.2), layout="constrained")
    last = 2 * LEVELS - 2
    places = [(step, -min(step, last - step)) for step in range(last + 1)]
    for step, (x, y) in enumerate(places):
        colour = COLOURS[0] if step < LEVELS else COLOURS[2]
        _draw_box(axes, (x - 0.42, y - 0.24), (0.84, 0.48), colour, 0.08)
        text = f"{width << -y} × {size >> -y}²"
        axes.text(x, y, text, ha="center", va="center", fontsize=11)
    for step, (before, after) in enumerate(zip(places, places[1:], strict=False)):
        label = {0: "halve\n(maximum)", last - 1: "double"}.get(step, "")
        _draw_change_of_level(axes, before, after, label)
    for level in range(LEVELS - 1):
        start, end = (level + 0.42, -level), (last - level - 0.42, -level)
        _draw_arrow(axes, start, end, "0.55", linestyle="--")
    axes.text(LEVELS - 1, 0.12, "copied across: where exactly things are", ha="center", color="0.35")
    axes.text(LEVELS - 1, 0.5 - LEVELS, "what things are, seen from far", ha="center", color="0.35")
    for x, text in ((-1, f"image\n3 × {size}²"), (last + 1, f"logits\n{classes} × {size}²")):
        axes.text(x, 0, text, ha="center", va="center", fontsize=12)
    for left in (-0.66, last + 0.42):
        _draw_arrow(axes, (left, 0), (left + 0.24, 0), "0.2")
    axes.set(xlim=(-1.5, last + 1.5), ylim=(0.1 - LEVELS, 0.5))
    axes.set_axis_off()
    return figure


def _draw_step(axes: Axes, left: float, width: float, text: str, colour: str | None) -> None:
    """Draw a box (a circle for the sum) with its text; input and output, which have no colour, are bare."""
    centre = left + width / 2
    if text == "+":
        circle = Circle((centre, 0), width / 2, facecolor=f"{colour}33", edgecolor=colour, linewidth=1.5)
        axes.add_patch(circle)
    elif colour is not None:
        _draw_box(axes, (left, -0.45), (width, 0.9), colour, 0.12, linewidth=1.5)
    size = 18 if text in ("$x$", "+", "$y$") else 13
    axes.text(centre, 0, text, ha="center", va="center_baseline", fontsize=size)


def _draw_change_of_level(axes: Axes, start: tuple, end: tuple, label: str) -> None:
    """Draw the step between two levels of the U-Net, its name beside it."""
    side = 1 if end[1] > start[1] else -1
    tail, tip = (start[0] + 0.3, start[1] + 0.25 * side), (end[0] - 0.3, end[1] - 0.25 * side)
    _draw_arrow(axes, tail, tip, COLOURS[1] if side > 0 else COLOURS[3], linewidth=2, **EXACT)
    x, y = np.add(tail, tip) / 2
    align = "left" if side > 0 else "right"
    axes.text(x + 0.12 * side, y - 0.05, label, ha=align, va="center", color="0.25")


def _draw_box(axes: Axes, corner: tuple, size: tuple, colour: str, rounding: float, **style: Any) -> None:
    """Draw a box with round corners, given its lower left corner, and its width and height."""
    rounded = f"round,pad=0,rounding_size={rounding}"
    box = FancyBboxPatch(corner, *size, boxstyle=rounded, facecolor=f"{colour}33", edgecolor=colour, **style)
    axes.add_patch(box)


def _draw_arrow(axes: Axes, start: tuple, end: tuple, colour: str, **style: Any) -> None:
    """Draw an arrow from start to end."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, **style})
