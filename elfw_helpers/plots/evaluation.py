"""Figures of how good a network's answers are: scores with their intervals, mistakes, comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from elfw_helpers.data.labels import ATTRIBUTES, PIXEL_CLASSES
from elfw_helpers.evaluation.classification import confusion_matrix
from elfw_helpers.evaluation.segmentation import SegmentationScores
from elfw_helpers.plots.style import (
    COLOURS,
    add_legend_beside,
    draw_counts,
    draw_message,
    error_lengths,
    frame_cell,
    make_row_chart,
    message_if_empty,
    show_pictures,
    write_near,
)

# In the order of COLOURS: networks are told apart by shape as well.
MARKERS = ("o", "s", "^", "D", "v")
MOST_MISTAKES = 8
PANELS_PER_ROW = 3
BESIDE = 0.03  # ratio from one seed's dots to the next one's


def draw_mistakes(images: Tensor, targets: Tensor, probabilities: Tensor) -> Figure:
    """Draw the wrong answers that the network was surest of, at most eight, surest first.

    Args:
        images: uint8 [N, H, W, 3].
        targets: int64 [N].
        probabilities: float [N, 3].
    """
    sure, predicted = probabilities.max(1)
    wrong = (predicted != targets).nonzero().flatten()
    wrong = wrong[sure[wrong].argsort(descending=True, stable=True)][:MOST_MISTAKES]
    if not len(wrong):
        return draw_message("no mistakes")
    titles = [
        f"said {ATTRIBUTES[predicted[i]]}\n{sure[i]:.0%} sure\nis {ATTRIBUTES[targets[i]]}" for i in wrong
    ]
    figure, panels = plt.subplots(1, len(wrong), figsize=(1.7 * len(wrong), 2.5), squeeze=False)
    show_pictures(panels, images[wrong].numpy(), titles, size=9)
    figure.tight_layout(pad=0.4)
    return figure


@message_if_empty("nothing was measured")
def draw_intervals(rows: pd.DataFrame, title: str = "Accuracy with its 95 % interval") -> Figure:
    """Draw accuracies as points with their intervals, one per line, the first on top.

    Args:
        rows: index the label; columns accuracy, low, high (0..1) and optionally baseline, drawn as a tick.
    """
    figure, axes = make_row_chart(rows.index)
    places, percent = np.arange(len(rows)), 100 * rows
    spread = error_lengths(percent["accuracy"], percent["low"], percent["high"])
    style = {"fmt": "o", "color": COLOURS[0], "capsize": 4, "label": "accuracy, 95 % interval"}
    axes.errorbar(percent["accuracy"], places, xerr=spread, **style)
    if "baseline" in rows:
        style = {"color": COLOURS[3], "markersize": 16, "mew": 2, "label": "majority"}
        axes.plot(percent["baseline"], places, "|", **style)
    axes.set(title=title, xlabel="accuracy (%), not drawn from 0", ylim=(len(rows) - 0.4, -0.6))
    add_legend_beside(axes)
    sns.despine(figure, left=True)
    for place, value in enumerate(percent["accuracy"]):
        write_near(axes, f"{value:.1f}", (value, place), (0, 6), ha="center", fontsize=9)
    return figure


@message_if_empty("nothing was measured")
def draw_calibration(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw accuracy against confidence, one panel per model, above the number of images in each bin.

    Args:
        curves: by title, each as `calibration_curve` returns it.
    """
    shape = {"figsize": (3.4 * len(curves) + 0.4, 4.4), "height_ratios": (3, 1), "squeeze": False}
    figure, panels = plt.subplots(2, len(curves), sharex=True, sharey="row", **shape)
    lowest = min(curve.index.left.min() for curve in curves.values())
    for (above, below), (title, curve) in zip(panels.T, curves.items(), strict=True):
        above.plot((0, 1), (0, 1), color="0.4", linestyle="--", linewidth=1, label="as sure as right")
        spread = error_lengths(curve["accuracy"], curve["low"], curve["high"])
        style = {"fmt": "o", "color": COLOURS[0], "capsize": 3, "label": "accuracy, 95 % interval"}
        above.errorbar(curve["confidence"], curve["accuracy"], spread, **style)
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


@message_if_empty("no image to show")
def draw_grad_cam(images: Tensor, maps: Tensor, titles: Sequence[str]) -> Figure:
    """Draw faces in a row, and below them the same faces with the map of the evidence over them.

    Args:
        images: uint8 [N, H, W, 3].
        maps: float [N, H, W] in 0..1, as `grad_cam` returns them.
    """
    shape = {"figsize": (1.6 * len(images) + 1, 3.9), "layout": "constrained", "squeeze": False}
    figure, panels = plt.subplots(2, len(images), **shape)
    show_pictures(panels, [*images.numpy(), *images.numpy()], titles)
    for axes, evidence in zip(panels[1], maps.numpy(), strict=True):
        # Where there is no evidence the face stays as it is.
        axes.imshow(evidence, cmap="inferno", vmin=0, vmax=1, alpha=0.7 * evidence)
    scale = figure.colorbar(ScalarMappable(cmap="inferno"), ax=panels, aspect=30, pad=0.02)
    scale.set_label("evidence for the answer (0 to 1)", fontsize=10)
    return figure


def draw_paired_answers(right: Mapping[str, np.ndarray]) -> Figure:
    """Draw how often two models are right about the same images; what tells them apart is framed.

    Args:
        right: by the name of each of the two models, bool [N]: which images it predicts correctly.
    """
    (first, first_right), (second, second_right) = right.items()
    # Wrong is False, so negated it comes second, below and on the right.
    counts = confusion_matrix(~first_right + 0, ~second_right + 0, 2)
    figure, axes = plt.subplots(figsize=(4.6, 3.8))
    draw_counts(axes, counts, ("right", "wrong"), 15)
    for column, row in ((1.03, 0.03), (0.03, 1.03)):
        frame_cell(axes, column, row, side=0.94)
    axes.set(title=f"The same {counts.sum()} images", xlabel=second, ylabel=first)
    figure.tight_layout()
    return figure


@message_if_empty("nothing was measured")
def draw_class_iou(scores: Mapping[str, SegmentationScores], title: str) -> Figure:
    """Draw the IoU of each class with its 95 % interval, for one network or several side by side.

    A class that is neither in the masks nor found is left out.

    Args:
        scores: by name of the network.
    """
    table = np.array([score.class_iou for score in scores.values()])
    shown = np.flatnonzero(~np.isnan(table).all(0))
    if not len(shown):
        return draw_message("no class to score")
    figure, axes = plt.subplots(figsize=(9, 3.8), layout="constrained")
    step = 0.8 / len(scores)
    for number, (name, score) in enumerate(scores.items()):
        values, ends = table[number, shown], np.array(score.class_iou_intervals)[shown]
        places = np.arange(len(shown)) + (number - (len(scores) - 1) / 2) * step
        look = number % len(COLOURS)
        style = {"fmt": MARKERS[look], "color": COLOURS[look], "capsize": 3, "label": name}
        axes.errorbar(places, values, error_lengths(values, *ends.T), **style)
    axes.set_xticks(range(len(shown)), [PIXEL_CLASSES[c] for c in shown])
    axes.set(title=title, ylabel="IoU, 95 % interval", ylim=(-0.02, 1.02), xlim=(-0.5, len(shown) - 0.5))
    axes.grid(False, axis="x")
    if len(scores) > 1:
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, -0.33), ncols=len(scores))
    sns.despine(figure)
    return figure


@message_if_empty("no step was timed")
def draw_latency(steps: Mapping[str, ArrayLike], title: str) -> Figure:
    """Draw how long the steps of an answer take: a bar to the median, a whisker to the 95th percentile.

    Args:
        steps: by name, in their order, the milliseconds of each repetition.
    """
    figure, axes = make_row_chart(list(steps))
    median, high = np.percentile(np.stack(list(steps.values())), (50, 95), axis=1)
    lengths = error_lengths(median, median, high)
    axes.barh(range(len(steps)), median, height=0.6, xerr=lengths, capsize=4, color=COLOURS[0])
    axes.set(xlabel="milliseconds: bar p50, whisker p95", title=title)
    axes.grid(False, axis="y")
    sns.despine(figure)
    return figure


@message_if_empty("no class to compare")
def draw_iou_changes(gains: Mapping[str, tuple[float, float, float]], title: str) -> Figure:
    """Draw by how much each class's IoU changed, with its interval; the line is no change.

    Args:
        gains: difference and the ends of its interval, by class.
    """
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(gains) + 1.2), layout="constrained")
    for place, (gain, low, high) in enumerate(gains.values()):
        colour = COLOURS[0] if low > 0 or high < 0 else "0.6"
        axes.plot((low, high), (place, place), color=colour, linewidth=2)
        axes.scatter(gain, place, color=colour, s=45, zorder=3)
        # Outside its bar, on the side away from 0, where the line of no change cannot cross it.
        end, step, side = (high, 6, "left") if gain >= 0 else (low, -6, "right")
        text = f"{gain:+.3f}".replace("-", "\N{MINUS SIGN}")
        write_near(axes, text, (end, place), (step, 0), ha=side, va="center")
    axes.axvline(0, color="0.2", linewidth=1, zorder=1)
    axes.set_yticks(range(len(gains)), list(gains))
    axes.invert_yaxis()
    axes.set(title=title, xlabel="change of IoU, 95 % interval (grey: 0 is inside)")
    axes.margins(x=0.15, y=0.12)
    axes.grid(False, axis="y")
    sns.despine(figure)
    return figure


@message_if_empty("nothing was measured")
def draw_ratio_study(table: pd.DataFrame, classes: Sequence[str], title: str) -> Figure:
    """Draw the IoU of some classes by the ratio of augmented faces: a dot per seed, a line through the means.

    All panels have one scale; the dots of the seeds stand side by side, so that equal ones do not hide.

    Args:
        table: one row per run, with columns ratio, seed (0, 1, ...), and one per class.
        classes: columns to draw, one panel each.
    """
    rows = -(-len(classes) // PANELS_PER_ROW)
    shape = {"figsize": (9.5, 2.8 * rows), "layout": "constrained"}
    figure, panels = plt.subplots(rows, PANELS_PER_ROW, sharex=True, sharey=True, squeeze=False, **shape)
    means = table.groupby("ratio").mean()
    places = table["ratio"] + BESIDE * (table["seed"] - table["seed"].mean())
    for axes in panels.flat[len(classes) :]:
        axes.set_axis_off()
    for axes, name in zip(panels.flat, classes, strict=False):
        axes.plot(means.index, means[name], color=COLOURS[0], linewidth=2)
        axes.scatter(places, table[name], color=COLOURS[0], s=28, zorder=3)
        axes.set_xticks(means.index, [f"{ratio:g}" for ratio in means.index])
        axes.set_title(name)
    for axes in panels[-1]:
        axes.set_xlabel("copies per face")
    for axes in panels[:, 0]:
        axes.set_ylabel("IoU, test split")
    figure.suptitle(title, fontweight="bold")
    sns.despine(figure)
    return figure
