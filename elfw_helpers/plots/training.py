"""Figures of training: loss curves, and searches for settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from elfw_helpers.plots.style import (
    COLOURS,
    add_legend_beside,
    error_lengths,
    frame_cell,
    make_row_chart,
    message_if_empty,
    write_near,
)

STYLES = ("-", "--", "-.", ":", (0, (4, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")
# What a logarithmic axis of losses shows; what lies outside is drawn on its edge.
LOWEST_LOSS, HIGHEST_LOSS = 1e-6, 1e3


def draw_loss_curves(history: pd.DataFrame, best_epoch: int | None = None, title: str = "Loss") -> Figure:
    """Draw training and validation loss over the epochs, and accuracy beside them.

    Args:
        history: one row per epoch, as History.frame() returns it.
        best_epoch: 0-based epoch whose weights were kept; marked by a line.
    """
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.4))
    rows = (("loss", 1, "cross-entropy (nats)"), ("accuracy", 100, "accuracy (%), not from 0"))
    for axes, (kind, scale, label) in zip(panels, rows, strict=True):
        _draw_history(axes, scale * history[[f"train_{kind}", f"validation_{kind}"]])
        if best_epoch is not None:
            axes.axvline(best_epoch + 1, color="0.5", linewidth=1, linestyle=":", label="weights kept")
        axes.set(title=f"{title}: {kind}", xlabel="epoch", ylabel=label)
    panels[0].set_ylim(bottom=0)
    panels[1].legend(frameon=False, loc="lower right")
    sns.despine(figure)
    figure.tight_layout()
    return figure


def _draw_history(axes: Axes, columns: pd.DataFrame) -> None:
    """Draw the columns for training and validation over the epochs."""
    # A line through one epoch cannot be seen.
    marker = "o" if len(columns) == 1 else ""
    for name, label, colour, style in zip(columns, ("training", "validation"), COLOURS, STYLES, strict=False):
        axes.plot(columns.index, columns[name], style, color=colour, label=label, marker=marker)


@message_if_empty("nothing was trained")
def compare_losses(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw training and validation loss of several runs, one panel each, on one scale.

    Args:
        histories: one row per epoch, as History.frame() returns it, by the run's name.
    """
    count = len(histories)
    figure, panels = plt.subplots(1, count, figsize=(3.6 * count, 3.4), sharey=True, squeeze=False)
    for axes, (name, history) in zip(panels[0], histories.items(), strict=True):
        _draw_history(axes, history[["train_loss", "validation_loss"]])
        axes.set(title=name, xlabel="epoch")
    panels[0, 0].set(ylabel="cross-entropy (nats)", ylim=(0, None))
    panels[0, -1].legend(frameon=False)
    sns.despine(figure)
    figure.tight_layout()
    return figure


@message_if_empty("nothing was trained")
def draw_overfit_curves(panels: Mapping[str, Mapping[str, Sequence[float]]], target: float) -> Figure:
    """Draw the loss on a few samples, step by step, on a logarithmic axis, with the target it must cross.

    Args:
        panels: by the panel's title, one sequence of losses per label; at most five labels.
        target: the loss that proves the network can learn.
    """
    count = len(panels)
    figure, drawn = plt.subplots(1, count, figsize=(1.5 + 5 * count, 3.8), sharey=True, squeeze=False)
    for axes, (title, losses) in zip(drawn[0], panels.items(), strict=True):
        for (label, values), style, colour in zip(losses.items(), STYLES, COLOURS, strict=False):
            # A loss of exactly 0 has no logarithm, and one that explodes would press all others flat.
            shown = np.clip(values, LOWEST_LOSS, HIGHEST_LOSS)
            axes.semilogy(range(1, len(shown) + 1), shown, linestyle=style, color=colour, label=label)
        axes.axhline(target, color="0.4", linewidth=1)
        axes.set(title=title, xlabel="step")
        end = (axes.get_xlim()[1], target)
        write_near(axes, f"target {target:g}", end, (0, 4), ha="right", color="0.3", fontsize=10)
    drawn[0, 0].set_ylabel("cross-entropy (nats, log scale,\ncut at 10$^{-6}$ and 10$^{3}$)")
    add_legend_beside(drawn[0, -1])
    sns.despine(figure)
    figure.tight_layout()
    return figure


@message_if_empty("nothing was trained")
def draw_grid_search(table: pd.DataFrame) -> Figure:
    """Draw a grid search as heat maps of the lowest validation loss, one panel per weight decay.

    Args:
        table: one row per run, with columns lr, momentum, weight_decay and best_validation_loss, NaN where
            the run failed.
    """
    losses, decays = table["best_validation_loss"], sorted(table["weight_decay"].unique())
    count = len(decays)
    figure, panels = plt.subplots(1, count, figsize=(3.3 * count, 2.9), sharey=True, squeeze=False)
    style = {"annot": True, "fmt": ".3f", "cmap": "cividis_r", "cbar": False, "linewidths": 1}
    best = losses.idxmin() if losses.notna().any() else None
    for axes, decay in zip(panels[0], decays, strict=True):
        runs = table[table["weight_decay"] == decay]
        cells = runs.pivot(index="momentum", columns="lr", values="best_validation_loss")
        sns.heatmap(cells, ax=axes, vmin=losses.min(), vmax=losses.max(), **style)
        axes.set(title=f"weight decay {decay:g}", xlabel="learning rate", ylabel="momentum")
        axes.set_xticklabels([f"{rate:g}" for rate in cells.columns])
        for row, column in np.argwhere(cells.isna().to_numpy()):
            text = {"ha": "center", "va": "center", "color": "0.4", "backgroundcolor": "w"}
            axes.text(column + 0.5, row + 0.5, "failed", **text)
        if best in runs.index:
            rate, momentum = table.loc[best, ["lr", "momentum"]]
            frame_cell(axes, cells.columns.get_loc(rate), cells.index.get_loc(momentum))
    for axes in panels[0, 1:]:
        axes.set_ylabel("")
    figure.suptitle("Best validation loss, lowest framed", weight="bold")
    figure.tight_layout()
    return figure


@message_if_empty("nothing was trained")
def draw_label_curves(table: pd.DataFrame) -> Figure:
    """Draw accuracy over the number of labelled images: the draws' mean, in a band from lowest to highest.

    Args:
        table: one row per draw, with columns weights (a line each, at most five), labels and accuracy (0..1).
    """
    figure, axes = plt.subplots(figsize=(8, 4))
    lines = zip(table.groupby("weights", sort=False), COLOURS, STYLES, MARKERS, strict=False)
    for (name, rows), colour, style, marker in lines:
        spread = 100 * rows.groupby("labels")["accuracy"].agg(["min", "mean", "max"])
        axes.plot(spread.index, spread["mean"], color=colour, linestyle=style, marker=marker, label=name)
        axes.fill_between(spread.index, spread["min"], spread["max"], color=colour, alpha=0.2, linewidth=0)
    counts = sorted(table["labels"].unique())
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.set(
        title="Frozen networks",
        xlabel="labelled faces (log scale)",
        ylabel="accuracy on validation (%, clipped)",
    )
    add_legend_beside(axes)
    sns.despine(figure)
    return figure


@message_if_empty("nothing was trained")
def draw_seed_spread(table: pd.DataFrame) -> Figure:
    """Draw what each setting reached with each seed, one point per seed and a line at their mean.

    Args:
        table: one row per run, with columns setting (its label; the first is drawn on top) and
            best_validation_loss.
    """
    places, settings = pd.factorize(table["setting"])
    losses = table["best_validation_loss"]
    means = losses.groupby(places).mean()
    figure, axes = make_row_chart(settings)
    axes.plot(losses, places, "o", color=COLOURS[0], alpha=0.6, label="one seed")
    axes.vlines(means, means.index - 0.3, means.index + 0.3, COLOURS[3], linewidth=2.5, label="mean")
    axes.set(title="The same settings with other seeds", xlabel="lowest validation loss (nats)")
    add_legend_beside(axes)
    sns.despine(figure, left=True)
    return figure


@message_if_empty("nothing was trained")
def draw_learning_speed(curves: pd.DataFrame) -> Figure:
    """Draw the validation loss of settings over the epochs, and over the distance: epochs times pace.

    Args:
        curves: columns lr, momentum, epoch (from 1) and validation_loss, one row per setting and epoch. The
            pace is lr / (1 - momentum), how far a steady gradient moves a weight per step.
    """
    figure, panels = plt.subplots(1, 2, figsize=(11.5, 3.8), sharey=True)
    settings = curves.groupby(["lr", "momentum"])
    colours = sns.color_palette("viridis_r", len(settings))
    for ((lr, momentum), runs), colour, marker in zip(
        settings, colours, "osD^vP" * len(settings), strict=False
    ):
        pace = lr / (1 - momentum)
        style = {"color": colour, "marker": marker, "label": f"lr {lr:g}, momentum {momentum:g}: {pace:.3g}"}
        panels[0].plot(runs["epoch"], runs["validation_loss"], **style)
        panels[1].plot(pace * runs["epoch"], runs["validation_loss"], **style)
    panels[0].set(title="Over the epochs", xlabel="epoch", ylabel="validation loss (nats,\naxis not from 0)")
    panels[1].set(title="Over the distance", xlabel="epochs × pace (log scale)", xscale="log")
    add_legend_beside(panels[1])
    panels[1].get_legend().set_title("setting: pace")
    sns.despine(figure)
    figure.tight_layout()
    return figure


@message_if_empty("nothing was trained")
def draw_treatments(changes: Mapping[str, pd.DataFrame], rows: pd.DataFrame) -> Figure:
    """Draw by how much treatments change a loss and an accuracy: a dot per seed, and means with intervals.

    Args:
        changes: by "loss" and "accuracy", one row per seed and one column per treatment; NaN is not drawn.
        rows: index the treatment (the first is drawn on top); for each kind K of change the columns
            "change of K", "K from" and "K to", the mean and its 95 % interval.
    """
    shape = {"figsize": (10, 0.5 * len(rows) + 1.4), "sharey": True, "layout": "constrained"}
    figure, panels = plt.subplots(1, len(changes), squeeze=False, **shape)
    places = np.arange(len(rows))
    for axes, (kind, change) in zip(panels[0], changes.items(), strict=True):
        for place, name in enumerate(rows.index):
            above = np.full(len(change), place - 0.22)
            axes.plot(change[name], above, "o", color=COLOURS[0], alpha=0.5, markersize=5, label="one seed")
        mean, low, high = (rows[name] for name in (f"change of {kind}", f"{kind} from", f"{kind} to"))
        style = {"fmt": "D", "color": COLOURS[3], "capsize": 4, "label": "mean, 95 % interval"}
        axes.errorbar(mean, places, xerr=error_lengths(mean, low, high), **style)
        axes.axvline(0, color="0.2", linewidth=1, zorder=1)
        better = "lower" if kind == "loss" else "higher"
        axes.set(title=f"Change of {kind}", xlabel=f"to the untreated ({better} is better)")
        axes.grid(False, axis="y")
    panels[0, 0].set_yticks(places, rows.index)
    panels[0, 0].set_ylim(len(rows) - 0.5, -0.6)
    handles, labels = panels[0, -1].get_legend_handles_labels()
    shown = [labels.index("one seed"), len(labels) - 1]
    panels[0, -1].legend(
        [handles[i] for i in shown], [labels[i] for i in shown],
        frameon=False, loc="upper left", bbox_to_anchor=(1, 1),
    )  # fmt: skip
    sns.despine(figure, left=True)
    return figure
