"""Figures of the primer: pixels, filters, slopes, and what an overlap is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike
from torch import Tensor

from elfw_helpers.plots.style import COLOURS, frame_cell, show_pictures, write_near

# Pixels along a side of the patch whose numbers are written out.
PATCH = 6


def draw_pixels(image: Tensor, row: int, column: int) -> Figure:
    """Draw an image, and beside it the numbers of a small patch of it, one panel per channel.

    Args:
        image: uint8 [H, W, 3].
        row, column: the patch's upper left pixel.
    """
    figure, panels = plt.subplots(1, 4, figsize=(12, 3.5))
    patch = image[row : row + PATCH, column : column + PATCH].numpy()
    tinted = [patch * (np.arange(3) == channel) for channel in range(3)]
    titles = ["a face, and a patch of it", "red", "green", "blue"]
    show_pictures(panels, [image.numpy(), *tinted], titles, size=12)
    frame_cell(panels[0], column - 0.5, row - 0.5, PATCH)
    for channel, axes in enumerate(panels[1:]):
        for (y, x), value in np.ndenumerate(patch[..., channel]):
            # Of the three, only green gets too bright for white figures.
            colour = "black" if channel == 1 and value > 150 else "white"
            axes.text(x, y, value, ha="center", va="center", fontsize=9, color=colour)
    figure.tight_layout()
    return figure


def draw_filter(image: Tensor, kernel: Tensor, result: Tensor) -> Figure:
    """Draw an image, a filter with its numbers, and what the filter makes of the image.

    Args:
        image: one channel, float [H, W] in 0..1.
        kernel: float [K, K].
        result: float [H', W']; 0 is drawn white.
    """
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.9), width_ratios=(1, 0.55, 1.2))
    titles = ("the face in grey", "the filter", "the result")
    for axes, title in zip(panels, titles, strict=True):
        axes.set(xticks=[], yticks=[], frame_on=False)
        axes.set_title(title, fontsize=12, weight="normal")
    panels[0].imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
    panels[1].imshow(kernel.numpy(), cmap="RdBu_r", vmin=-3, vmax=3)
    for (y, x), value in np.ndenumerate(kernel.numpy()):
        panels[1].text(x, y, f"{value:+.0f}" if value else "0", ha="center", va="center", fontsize=14)
    most = result.abs().max().item()
    drawn = panels[2].imshow(result.numpy(), cmap="RdBu_r", vmin=-most, vmax=most)
    bar = figure.colorbar(drawn, ax=panels[2], ticks=[-most, 0, most], shrink=0.9)
    bar.ax.set_yticklabels(
        [f"{-most:.1f}: darker on the right", "0: no edge", f"{most:.1f}: brighter on the right"]
    )
    bar.outline.set_visible(False)
    figure.tight_layout()
    return figure


def draw_first_layer(filters: Tensor, maps: Tensor) -> Figure:
    """Draw the filters of a first layer as small colour pictures, each above what it makes of an image.

    Args:
        filters: float [N, 3, K, K], N a multiple of 8; each is scaled to its own range.
        maps: float [N, H, W], after ReLU; each is scaled from 0 to its own largest value.
    """
    heights = (0.4, 1) * (len(filters) // 8)
    figure, panels = plt.subplots(len(heights), 8, figsize=(12, 1.35 * len(heights)), height_ratios=heights)
    low, high = filters.amin((1, 2, 3), keepdim=True), filters.amax((1, 2, 3), keepdim=True)
    pictures = ((filters - low) / (high - low)).permute(0, 2, 3, 1).numpy()
    for first in range(0, len(filters), 8):
        titles = [f"filter {number + 1}" for number in range(first, first + 8)]
        show_pictures(panels[first // 4], pictures[first : first + 8], titles, size=10)
        show_pictures(panels[first // 4 + 1], ())
        for axes, one in zip(panels[first // 4 + 1], maps[first : first + 8], strict=True):
            axes.imshow(one.numpy(), cmap="gray", vmin=0)
    figure.tight_layout(pad=0.4)
    return figure


def draw_surprise(points: Mapping[str, float]) -> Figure:
    """Draw cross-entropy over the probability of the true class, with some probabilities named.

    Args:
        points: probabilities, above 0 and at most 1, by what is said of them.
    """
    figure, axes = plt.subplots(figsize=(8, 3.8))
    probabilities = np.linspace(0.02, 1, 300)
    axes.plot(probabilities, -np.log(probabilities), color=COLOURS[0], linewidth=2)
    for text, probability in points.items():
        point = probability, -np.log(probability)
        axes.plot(*point, "o", color=COLOURS[3], markersize=8)
        place = {"offset": (4, 30), "ha": "right"} if probability > 0.9 else {"offset": (10, 10)}
        write_near(axes, f"{text}: {point[1]:.2f}", point, fontsize=11, **place)
    title = "Cross-entropy is the surprise at the right answer"
    axes.set(
        title=title, xlabel="probability given to the true class", ylabel="loss (nats)", ylim=(-0.15, 4.2)
    )
    sns.despine(figure)
    figure.tight_layout()
    return figure


def draw_descents(loss: Callable[[np.ndarray], ArrayLike], paths: Mapping[float, Sequence[float]]) -> Figure:
    """Draw the steps of gradient descent in a valley, one panel per learning rate.

    Args:
        loss: of many weights at once.
        paths: the weights that were visited, in order, by learning rate.
    """
    figure, panels = plt.subplots(1, len(paths), figsize=(12, 3.6), sharey=True)
    visited = np.concatenate([np.asarray(path) for path in paths.values()])
    weights = np.linspace(visited.min() - 1.5, visited.max() + 0.5, 200)
    for axes, (rate, path) in zip(panels, paths.items(), strict=True):
        axes.plot(weights, loss(weights), color="0.7", linewidth=2)
        axes.plot(path, loss(np.asarray(path)), "o-", color=COLOURS[0], markersize=5, linewidth=1)
        ends = {"start": (path[0], COLOURS[1]), f"after {len(path) - 1} steps": (path[-1], COLOURS[3])}
        for label, (weight, colour) in ends.items():
            axes.plot(weight, loss(np.asarray(weight)), "o", color=colour, markersize=10, label=label)
        axes.set(title=f"learning rate {rate:g}", xlabel="weight $w$")
    panels[0].set_ylabel("loss (nats), not from 0")
    panels[0].legend(frameon=False)
    sns.despine(figure)
    figure.tight_layout()
    return figure


def draw_step_losses(steps: Sequence[float], validation: Sequence[float]) -> Figure:
    """Draw the loss of every batch, its mean per epoch, and the validation loss after each epoch.

    Args:
        steps: of all epochs, in order; as many per epoch.
        validation: one per epoch.
    """
    epochs = len(validation)
    figure, axes = plt.subplots(figsize=(9, 4))
    axes.plot(
        np.linspace(0, epochs, len(steps) + 1)[1:], steps, color=COLOURS[0], alpha=0.3, label="each batch"
    )
    means = np.reshape(steps, (epochs, -1)).mean(1)
    axes.plot(
        np.arange(epochs) + 0.5, means, color=COLOURS[0], linewidth=2.5, label="training: mean of an epoch"
    )
    axes.plot(np.arange(1, epochs + 1), validation, "--", color=COLOURS[1], linewidth=2.5, label="validation")
    axes.axhline(np.log(3), color="0.4", linewidth=1)
    write_near(axes, "ln 3: knows nothing", (epochs, np.log(3)), (0, 4), ha="right", color="0.3")
    axes.set(title="Loss, batch by batch", xlabel="epoch", ylabel="cross-entropy (nats)", ylim=(0, None))
    axes.legend(frameon=False, loc="lower left")
    sns.despine(figure)
    figure.tight_layout()
    return figure


def draw_momentum(
    loss: Callable[[np.ndarray, np.ndarray], np.ndarray], paths: Mapping[str, Sequence[Sequence[float]]]
) -> Figure:
    """Draw walks down a narrow valley, seen from above, one panel per walk; a cross marks the bottom, (0, 0).

    Args:
        loss: of two weights.
        paths: by their titles, the pairs of weights that were visited, in order.
    """
    figure, panels = plt.subplots(1, len(paths), figsize=(12, 3.4), sharex=True, sharey=True)
    steps = np.concatenate(list(map(np.asarray, paths.values())))
    (left, low), (right, high) = steps.min(0) - 0.8, steps.max(0) + 0.8
    grid = np.meshgrid(np.linspace(left, right, 200), np.linspace(low, high, 120))
    for axes, (title, path) in zip(panels, paths.items(), strict=True):
        axes.contourf(*grid, np.sqrt(loss(*grid)), levels=14, cmap="Greys", alpha=0.7)
        axes.plot(*np.transpose(path), "o-", color=COLOURS[0], markersize=4, linewidth=1.2)
        axes.plot(*path[0], "o", color=COLOURS[1], markersize=10, label="start")
        axes.plot(*path[-1], "o", color=COLOURS[3], markersize=10, label=f"after {len(path) - 1} steps")
        axes.plot(0, 0, "x", color="black", markersize=9, markeredgewidth=2, label="bottom")
        axes.set(title=title, xlabel="weight 1 (the valley is flat along it)")
        axes.grid(False)
    panels[0].set_ylabel("weight 2 (steep)")
    panels[-1].legend(loc="upper right", fontsize=9)
    figure.tight_layout()
    return figure


def draw_overlap(truth: Tensor, prediction: Tensor) -> Figure:
    """Draw two masks pixel by pixel: where both are, where only one is.

    Args:
        truth, prediction: bool [H, W].
    """
    parts = {
        "truth alone: missed": (truth & ~prediction, COLOURS[0]),
        "both: intersection": (truth & prediction, COLOURS[2]),
        "prediction alone: false alarm": (prediction & ~truth, COLOURS[1]),
    }
    picture = np.ones((*truth.shape, 3))
    for part, colour in parts.values():
        picture[part.numpy()] = to_rgb(colour)
    figure, axes = plt.subplots(figsize=(9, 3.6))
    axes.imshow(picture)
    _draw_pixel_grid(axes, *truth.shape)
    labels = [f"{name}, {int(part.sum())} pixels" for name, (part, _) in parts.items()]
    colours = [colour for _, colour in parts.values()]
    handles = [Patch(facecolor=c, label=label) for c, label in zip(colours, labels, strict=True)]
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=11)
    axes.set_title("Two rectangles, pixel by pixel", fontsize=12)
    figure.tight_layout()
    return figure


def _draw_pixel_grid(axes: Axes, height: int, width: int) -> None:
    """Draw thin lines between the pixels of an image."""
    axes.set(xticks=np.arange(width + 1) - 0.5, yticks=np.arange(height + 1) - 0.5)
    axes.grid(color="0.8", linewidth=1)
    axes.tick_params(length=0, labelbottom=False, labelleft=False)
