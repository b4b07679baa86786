"""Every figure of the course, each one function that returns a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from elfw_helpers.labels import ATTRIBUTES, PALETTE, PIXEL_CLASSES, encode_colours
from elfw_helpers.paths import figure_folder

# Okabe and Ito's colours, told apart with any common colour blindness: blue, orange, green, vermilion.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00")
# ELFW's palette is for masks only: its pure colours shout, and two of them look alike to a protanope.
sns.set_theme(style="whitegrid", palette=COLOURS, rc={"figure.dpi": 100, "axes.titleweight": "bold"})


def save_figure(figure: Figure, name: str) -> Figure:
    """Save a figure as `<build>/figures/NAME.png`, wide enough for a slide, and return it.

    Args:
        figure: any figure of this module.
        name: begins with its notebook's number, such as `05_confusion_matrix`.
    """
    figure.savefig(figure_folder() / f"{name}.png", dpi=160, bbox_inches="tight")
    return figure


def show_faces(images: Tensor, masks: Tensor | None, titles: Sequence[str]) -> Figure:
    """Draw faces in a row, their masks below them, and a legend of the mask's colours.

    Args:
        images: uint8 [N, H, W, 3].
        masks: uint8 [N, H, W] class ids, or None to leave that row out.
        titles: N titles.
    """
    rows = 1 if masks is None else 2
    count = len(images)
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


def draw_channel_histograms(images: Tensor, mean: Tensor, std: Tensor) -> Figure:
    """Draw the distribution of each channel before and after normalisation.

    Args:
        images: uint8 [N, H, W, 3].
        mean, std: float [3], of values in 0..1.
    """
    figure, (before, after) = plt.subplots(1, 2, figsize=(9, 3), sharey=False)
    values = np.arange(256) / 255
    for channel, (name, colour) in enumerate(
        zip(("red", "green", "blue"), (COLOURS[3], COLOURS[2], COLOURS[0]), strict=True)
    ):
        counts = np.bincount(images[..., channel].numpy().ravel(), minlength=256)
        style = {"label": name, "color": colour, "linestyle": ("-", "--", ":")[channel], "linewidth": 1.5}
        before.plot(values, 100 * counts / counts.sum(), **style)
        after.plot(
            (values - float(mean[channel])) / float(std[channel]), 100 * counts / counts.sum(), **style
        )
    before.set(title="Before normalisation", xlabel="pixel value (0 to 1)", ylabel="pixels (%)")
    after.set(title="After normalisation", xlabel="pixel value (standard deviations from the mean)")
    before.legend(frameon=False)
    sns.despine(figure)
    figure.tight_layout()
    return figure


def draw_loss_curves(history: pd.DataFrame, best_epoch: int | None = None, title: str = "Loss") -> Figure:
    """Draw training and validation loss over the epochs, and accuracy beside them.

    Args:
        history: a row an epoch, as History.frame() returns it.
        best_epoch: 0-based epoch whose weights were kept; marked by a line.
        title: of the figure.
    """
    figure, (loss, accuracy) = plt.subplots(1, 2, figsize=(10, 3.4))
    for axes, kind, label in ((loss, "loss", "cross-entropy (nats)"), (accuracy, "accuracy", "accuracy (%)")):
        scale = 100 if kind == "accuracy" else 1
        axes.plot(history.index, scale * history[f"train_{kind}"], color=COLOURS[0], label="training")
        validation = scale * history[f"validation_{kind}"]
        axes.plot(history.index, validation, color=COLOURS[1], linestyle="--", label="validation")
        if best_epoch is not None:
            axes.axvline(best_epoch + 1, color="0.5", linewidth=1, linestyle=":", label="weights kept")
        axes.set(xlabel="epoch", ylabel=label)
    loss.set_title(f"{title}: loss")
    accuracy.set_title(f"{title}: accuracy")
    loss.legend(frameon=False)
    loss.set_ylim(bottom=0)
    sns.despine(figure)
    figure.tight_layout()
    return figure


def draw_overfit_curve(losses: Mapping[str, Sequence[float]], target: float) -> Figure:
    """Draw the loss on one sample, step by step, on a logarithmic axis, with the target it must cross.

    Args:
        losses: one sequence of losses a label.
        target: the loss that proves the network can learn.
    """
    figure, axes = plt.subplots(figsize=(7, 3.4))
    for (label, values), style in zip(losses.items(), ("-", "--", "-.", ":"), strict=False):
        axes.semilogy(range(1, len(values) + 1), values, style, label=label)
    axes.axhline(target, color="0.4", linewidth=1)
    axes.annotate(
        f"target {target:g}", (1, target), (0, 4), textcoords="offset points", color="0.3", fontsize=9
    )
    axes.set(title="Overfitting one sample", xlabel="step", ylabel="cross-entropy (nats, log scale)")
    axes.legend(frameon=False)
    sns.despine(figure)
    return figure


def draw_grid(table: pd.DataFrame, value: str = "best_validation_loss") -> Figure:
    """Draw a grid search as a heat map: learning rate by momentum, one panel a weight decay.

    Args:
        table: a row a run with columns lr, momentum, weight_decay and `value`.
        value: the column to colour by; the lowest is framed.
    """
    decays = sorted(table["weight_decay"].unique())
    figure, panels = plt.subplots(
        1, len(decays), figsize=(3.3 * len(decays), 2.9), sharey=True, squeeze=False
    )
    limits = {"vmin": table[value].min(), "vmax": table[value].max()}
    best = table[value].idxmin()
    for axes, decay in zip(panels[0], decays, strict=True):
        runs = table[table["weight_decay"] == decay]
        cells = runs.pivot(index="momentum", columns="lr", values=value)
        sns.heatmap(
            cells, annot=True, fmt=".3f", cmap="cividis_r", cbar=False, linewidths=1, ax=axes, **limits
        )
        axes.set(title=f"weight decay {decay:g}", xlabel="learning rate", ylabel="momentum")
        axes.set_xticklabels([f"{rate:g}" for rate in cells.columns])
        if best in runs.index:
            column, row = (
                cells.columns.get_loc(table["lr"][best]),
                cells.index.get_loc(table["momentum"][best]),
            )
            axes.add_patch(plt.Rectangle((column, row), 1, 1, fill=False, edgecolor=COLOURS[3], linewidth=3))
    for axes in panels[0, 1:]:
        axes.set_ylabel("")
    figure.suptitle(f"{value.replace('_', ' ').capitalize()}, lowest framed", weight="bold")
    figure.tight_layout()
    return figure


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
    figure, panels = plt.subplots(
        1, max(len(wrong), 1), figsize=(1.7 * max(len(wrong), 1), 2.5), squeeze=False
    )
    for axes, index in zip(panels[0], wrong.tolist(), strict=False):
        axes.imshow(images[index].numpy())
        said, truth = ATTRIBUTES[predicted[index]], ATTRIBUTES[targets[index]]
        axes.set_title(f"said {said}\n{sure[index]:.0%} sure\nis {truth}", fontsize=9, weight="normal")
    if not len(wrong):
        panels[0, 0].text(0.5, 0.5, "no mistakes", ha="center", va="center")
    for axes in panels[0]:
        axes.set_axis_off()
    figure.tight_layout(pad=0.4)
    return figure


def draw_intervals(rows: pd.DataFrame, title: str = "Accuracy with its 95 % interval") -> Figure:
    """Draw accuracies as points with their intervals, one a line, first on top.

    Args:
        rows: index the label; columns accuracy, low, high (0..1) and optionally baseline, drawn as a tick.
        title: of the figure.
    """
    figure, axes = plt.subplots(figsize=(8, 0.55 * len(rows) + 1.3))
    places = np.arange(len(rows))[::-1]
    accuracy = 100 * rows["accuracy"]
    spread = [accuracy - 100 * rows["low"], 100 * rows["high"] - accuracy]
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
