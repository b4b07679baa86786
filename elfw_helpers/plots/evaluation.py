"""What a network answers, and how sure one may be of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from torch import Tensor

from elfw_helpers.data.labels import ATTRIBUTES
from elfw_helpers.evaluation.classification import confusion_matrix
from elfw_helpers.plots.style import COLOURS, draw_words, error_lengths, words_if_empty


@words_if_empty("nothing was measured")
def draw_confusion(matrices: Mapping[str, np.ndarray]) -> Figure:
    """Draw confusion matrices side by side, coloured by the share of the true class.

    Args:
        matrices: int64 [3, 3] by title, rows truth, columns prediction.
    """
    figure, panels = plt.subplots(1, len(matrices), figsize=(4.2 * len(matrices), 3.6), squeeze=False)
    for axes, (title, matrix) in zip(panels[0], matrices.items(), strict=True):
        support = matrix.sum(1, keepdims=True)
        share = np.divide(matrix, support, out=np.zeros(matrix.shape), where=support > 0)
        sns.heatmap(
            share, vmin=0, vmax=1, annot=matrix, fmt="d", cmap="Blues", cbar=False, square=True, linewidths=1,
            xticklabels=ATTRIBUTES, yticklabels=ATTRIBUTES, ax=axes, annot_kws={"fontsize": 13},
        )  # fmt: skip
        axes.set(title=title, xlabel="predicted", ylabel="true")
    figure.tight_layout()
    return figure


def draw_mistakes(images: Tensor, targets: Tensor, probabilities: Tensor, most: int = 8) -> Figure:
    """Draw the wrong answers that the network was surest of, surest first.

    Args:
        images: uint8 [N, H, W, 3].
        targets: int64 [N].
        probabilities: float [N, 3].
        most: how many at most.
    """
    sure, predicted = probabilities.max(1)
    wrong = (predicted != targets).nonzero().flatten()
    wrong = wrong[sure[wrong].argsort(descending=True, stable=True)][:most]
    if not len(wrong):
        return draw_words("no mistakes")
    figure, panels = plt.subplots(1, len(wrong), figsize=(1.7 * len(wrong), 2.5), squeeze=False)
    for axes, index in zip(panels[0], wrong.tolist(), strict=True):
        axes.imshow(images[index].numpy())
        said, truth = ATTRIBUTES[predicted[index]], ATTRIBUTES[targets[index]]
        axes.set_title(f"said {said}\n{sure[index]:.0%} sure\nis {truth}", fontsize=9, weight="normal")
        axes.set_axis_off()
    figure.tight_layout(pad=0.4)
    return figure


@words_if_empty("nothing was measured")
def draw_intervals(rows: pd.DataFrame, title: str = "Accuracy with its 95 % interval") -> Figure:
    """Draw accuracies as points with their intervals, one a line, first on top.

    Args:
        rows: index the label; columns accuracy, low, high (0..1) and optionally baseline, drawn as a tick.
        title: of the figure.
    """
    figure, axes = plt.subplots(figsize=(8, 0.55 * len(rows) + 1.3))
    places = np.arange(len(rows))[::-1]
    accuracy = 100 * rows["accuracy"]
    spread = error_lengths(accuracy, 100 * rows["low"], 100 * rows["high"])
    axes.errorbar(
        accuracy, places, xerr=spread, fmt="o", color=COLOURS[0], capsize=4, label="accuracy, 95 % interval"
    )
    if "baseline" in rows:
        axes.plot(
            100 * rows["baseline"], places, "|", color=COLOURS[3], markersize=16, mew=2, label="majority"
        )
    axes.set_yticks(places, rows.index)
    axes.set(title=title, xlabel="accuracy (%)", ylim=(-0.6, len(rows) - 0.4))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    sns.despine(figure, left=True)
    _label_numbers(axes, accuracy, places)
    return figure


def _label_numbers(axes: Axes, values: pd.Series, places: np.ndarray) -> None:
    """Write each value above its point."""
    for value, place in zip(values, places, strict=True):
        axes.annotate(
            f"{value:.1f}", (value, place), (0, 6), textcoords="offset points", ha="center", fontsize=9
        )


@words_if_empty("nothing was measured")
def draw_calibration(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw accuracy against confidence, a panel a model, above the number of images in each bin.

    Args:
        curves: by title, each as `calibration_curve` returns it.
    """
    figure, panels = plt.subplots(
        2, len(curves), figsize=(3.4 * len(curves) + 0.4, 4.4), sharex=True, sharey="row", squeeze=False,
        height_ratios=(3, 1),
    )  # fmt: skip
    lowest = min(curve.index.left.min() for curve in curves.values())
    for (above, below), (title, curve) in zip(panels.T, curves.items(), strict=True):
        above.plot((0, 1), (0, 1), color="0.4", linestyle="--", linewidth=1, label="as sure as right")
        spread = error_lengths(curve["accuracy"], curve["low"], curve["high"])
        above.errorbar(
            curve["confidence"], curve["accuracy"], spread, fmt="o", color=COLOURS[0], capsize=3,
            label="accuracy, 95 % interval",
        )  # fmt: skip
        above.set(ylim=(-0.05, 1.05), xlim=(lowest, 1.02))
        above.set_title(title, fontsize=11)
        bars = below.bar(curve.index.left, curve["images"], curve.index.length, align="edge", color="0.7")
        below.bar_label(bars, fontsize=9)
        below.set(xlabel="confidence")
        below.grid(False)
    panels[0, 0].set_ylabel("accuracy")
    panels[1, 0].set_ylabel("images")
    # Room for the number above the highest bar.
    panels[1, 0].margins(y=0.3)
    sns.despine(figure)
    figure.tight_layout()
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=2)
    return figure


@words_if_empty("no image to show")
def draw_grad_cam(images: Tensor, maps: Tensor, titles: Sequence[str]) -> Figure:
    """Draw faces in a row, and below them the same faces with the map of the evidence over them.

    Args:
        images: uint8 [N, H, W, 3].
        maps: float [N, H, W] in 0..1, as `grad_cam` returns them.
        titles: N titles.
    """
    figure, panels = plt.subplots(
        2, len(images), figsize=(1.6 * len(images) + 1, 3.9), squeeze=False, layout="constrained"
    )
    for (above, below), image, evidence, title in zip(panels.T, images, maps, titles, strict=True):
        above.imshow(image.numpy())
        above.set_title(title, fontsize=10, weight="normal")
        below.imshow(image.numpy())
        # Where there is no evidence the face stays as it is.
        below.imshow(evidence.numpy(), cmap="inferno", vmin=0, vmax=1, alpha=0.7 * evidence.numpy())
    for axes in panels.flat:
        axes.set_axis_off()
    scale = figure.colorbar(ScalarMappable(cmap="inferno"), ax=panels, aspect=30, pad=0.02)
    scale.set_label("evidence for the answer (0 to 1)", fontsize=10)
    return figure


def draw_paired_answers(right: Mapping[str, np.ndarray]) -> Figure:
    """Draw how often two models are right about the same images; what tells them apart is framed.

    Args:
        right: by the name of each of the two models, bool [N]: which images it answers rightly.
    """
    (first, first_right), (second, second_right) = right.items()
    # Wrong is False, so negated it comes second, below and on the right.
    counts = confusion_matrix(~first_right + 0, ~second_right + 0, 2)
    figure, axes = plt.subplots(figsize=(4.6, 3.8))
    answers = ("right", "wrong")
    sns.heatmap(
        counts, vmin=0, annot=True, fmt="d", cmap="Blues", cbar=False, square=True, linewidths=1,
        xticklabels=answers, yticklabels=answers, ax=axes, annot_kws={"fontsize": 15},
    )  # fmt: skip
    for corner in ((1.03, 0.03), (0.03, 1.03)):
        axes.add_patch(plt.Rectangle(corner, 0.94, 0.94, fill=False, edgecolor=COLOURS[3], linewidth=3))
    axes.set(title=f"The same {counts.sum()} images", xlabel=second, ylabel=first)
    figure.tight_layout()
    return figure
