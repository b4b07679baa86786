"""Figures on work that is spread over several workers: who did what when, and how much faster it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

from elfw_helpers.plots.style import (
    COLOURS,
    add_legend_beside,
    error_lengths,
    make_row_chart,
    message_if_empty,
)

# What a worker does, as distributed's task stream names it, in words and in a colour.
ACTIONS = {
    "compute": ("computing", COLOURS[0]),
    "transfer": ("fetching data", COLOURS[3]),
    "deserialize": ("unpacking", COLOURS[1]),
}
IDLE_COLOUR = "0.85"


@message_if_empty("no task was recorded")
def draw_task_stream(streams: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw what each worker did when: a panel per run, a row per worker, a bar per step of a task.

    Args:
        streams: by the run's name, one row per step, with columns worker, action (a key of ACTIONS), start
            and stop (seconds from any moment).
    """
    count = len(streams)
    style = {"sharex": True, "squeeze": False, "layout": "constrained"}
    figure, panels = plt.subplots(count, 1, figsize=(9, 0.7 + 1.4 * count), **style)
    for axes, (title, stream) in zip(panels[:, 0], streams.items(), strict=True):
        _draw_stream(axes, stream)
        axes.set_title(title)
    panels[-1, 0].set_xlabel("seconds since the first task began")
    # A run that moved no data lacks that colour: the legend shows those of all runs.
    pairs = [pair for axes in panels[:, 0] for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in pairs}
    panels[0, 0].legend(handles.values(), handles, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    sns.despine(figure, left=True)
    return figure


def _draw_stream(axes: Axes, stream: pd.DataFrame) -> None:
    """Draw the steps of one run."""
    workers = sorted(stream["worker"].unique())
    rows = stream["worker"].map(workers.index)
    begins = stream["start"] - stream["start"].min()
    for action, (words, colour) in ACTIONS.items():
        steps = stream["action"] == action
        lengths = (stream["stop"] - stream["start"])[steps]
        style = {"height": 0.6, "color": colour, "edgecolor": "w", "label": words if steps.any() else None}
        axes.barh(rows[steps], lengths, left=begins[steps], **style)
    axes.set_yticks(range(len(workers)), [f"worker {place}" for place, _ in enumerate(workers, 1)])
    axes.set_ylim(len(workers) - 0.5, -0.5)
    axes.grid(False, axis="y")


@message_if_empty("nothing was measured")
def draw_worker_seconds(spent: pd.DataFrame, title: str) -> Figure:
    """Draw what the workers' seconds were spent on: a bar per row, a piece of it per column.

    Args:
        spent: seconds of all workers together; index the row's label (the first is drawn on top), columns
            what they were spent on, the last one what was lost by waiting.
        title: of the figure.
    """
    figure, axes = make_row_chart(list(spent.index))
    left, places = np.zeros(len(spent)), np.arange(len(spent))
    for name, colour in zip(spent, [*COLOURS[: spent.shape[1] - 1], IDLE_COLOUR], strict=True):
        axes.barh(places, spent[name], left=left, height=0.6, color=colour, edgecolor="w", label=name)
        left += spent[name].to_numpy()
    axes.set(title=title, xlabel="seconds of all workers together")
    axes.grid(False, axis="y")
    add_legend_beside(axes)
    sns.despine(figure, left=True)
    return figure


@message_if_empty("nothing was measured")
def draw_speed_up(measured: pd.DataFrame, serial: Sequence[float], largest: int, title: str) -> Figure:
    """Draw the speed-up over the number of workers: measured, ideal, and by Amdahl's law in a band.

    Args:
        measured: index the number of workers, columns speed-up, low and high.
        serial: the serial share, 0..1, and the two ends of its interval.
        largest: number of workers up to which the law is drawn.
        title: of the figure.

    Source of the law: Amdahl (1967), https://doi.org/10.1145/1465482.1465560.
    """
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    workers = np.geomspace(1, largest, 100)
    curves = [1 / (share + (1 - share) / workers) for share in serial]
    axes.plot(workers, workers, color="0.5", linestyle=":", label="ideal: n workers, n times as fast")
    axes.plot(workers, curves[0], color=COLOURS[0], label=f"Amdahl's law, {serial[0]:.1%} serial")
    axes.fill_between(
        workers, curves[1], curves[2], color=COLOURS[0], alpha=0.2, linewidth=0, label="its 95 % interval"
    )
    lengths = error_lengths(measured["speed-up"], measured["low"], measured["high"])
    style = {"fmt": "o", "color": COLOURS[3], "capsize": 4, "label": "measured, 95 % interval"}
    axes.errorbar(measured.index, measured["speed-up"], yerr=lengths, **style)
    _show_powers_of_two(axes, largest)
    axes.set(title=title, xlabel="workers (log scale)", ylabel="times as fast as one (log scale)")
    add_legend_beside(axes)
    sns.despine(figure)
    return figure


def _show_powers_of_two(axes: Axes, largest: int) -> None:
    """Give both axes a scale of powers of two, labelled as whole numbers."""
    axes.set(xscale="log", yscale="log", ylim=(0.9, 1.1 * largest))
    for axis in (axes.xaxis, axes.yaxis):
        _label_only(axis, 2 ** np.arange(int(np.log2(largest)) + 1))


def _label_only(axis: Axis, values: Sequence[float]) -> None:
    """Give an axis ticks at these values alone."""
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


@message_if_empty("nothing was estimated")
def draw_estimate(estimate: pd.DataFrame, title: str) -> Figure:
    """Draw hours and price over the number of workers, in two panels.

    Args:
        estimate: index the number of workers, columns hours and price (in any currency).
        title: of the figure.
    """
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    labels = {"hours": "hours (log scale)", "price": "price, as assumed"}
    for axes, (name, label), colour in zip(panels, labels.items(), (COLOURS[0], COLOURS[3]), strict=True):
        axes.plot(estimate.index, estimate[name], "o-", color=colour)
        axes.set(xscale="log", xlabel="workers (log scale)", ylabel=label)
        _label_only(axes.xaxis, estimate.index)
    panels[0].set_yscale("log")
    panels[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[0].yaxis.set_minor_locator(NullLocator())
    panels[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panels[1].set_ylim(bottom=0)
    figure.suptitle(title, weight="bold")
    sns.despine(figure)
    return figure
