"""How a network is built."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from elfw_helpers.plots.style import COLOURS

# What an input meets on its way through the block, left to right: text, width, colour.
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
ARROW = {"arrowstyle": "-|>", "color": "0.2", "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0}


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
        axes.annotate("", (end, 0), (start, 0), arrowprops=ARROW)
    _draw_bracket(axes, spans[1][0], spans[5][1], "$F(x)$: what the block adds to $x$")
    _draw_shortcut(axes, spans[0][1] + 0.15, sum(spans[6]) / 2)
    axes.set(xlim=(-0.1, left - ARROW_LENGTH + 0.1), ylim=(-1.25, 1.5), aspect="equal")
    axes.set_axis_off()
    return figure


def _draw_step(axes: Axes, left: float, width: float, text: str, colour: str | None) -> None:
    """Draw a box (a circle for the sum) with its text; input and output, which have no colour, are bare."""
    centre = left + width / 2
    style = {"facecolor": f"{colour}33", "edgecolor": colour, "linewidth": 1.5}
    if text == "+":
        axes.add_patch(Circle((centre, 0), width / 2, **style))
    elif colour is not None:
        rounded = "round,pad=0,rounding_size=0.12"
        axes.add_patch(FancyBboxPatch((left, -0.45), width, 0.9, boxstyle=rounded, **style))
    size = 18 if text in ("$x$", "+", "$y$") else 13
    axes.text(centre, 0, text, ha="center", va="center_baseline", fontsize=size)


def _draw_bracket(axes: Axes, left: float, right: float, text: str) -> None:
    """Draw a bracket under the steps from left to right, its text below."""
    axes.plot((left, left, right, right), (-0.6, -0.72, -0.72, -0.6), color="0.4", linewidth=1.5)
    axes.text((left + right) / 2, -0.82, text, ha="center", va="top", fontsize=14)


def _draw_shortcut(axes: Axes, start: float, end: float) -> None:
    """Draw the way around the steps: up, across, and down onto the sum."""
    top = 0.95
    axes.plot((start, start, end), (0, top, top), color=COLOURS[3], linewidth=2)
    axes.annotate("", (end, 0.25), (end, top), arrowprops={**ARROW, "color": COLOURS[3], "linewidth": 2})
    axes.text((start + end) / 2, top + 0.08, "shortcut: $x$", ha="center", va="bottom", fontsize=14)
