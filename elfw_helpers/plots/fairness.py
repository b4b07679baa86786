"""Figures of an audit: accuracy by group, and the same faces in several versions."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from elfw_helpers.plots.style import (
    COLOURS,
    add_legend_beside,
    error_lengths,
    make_row_chart,
    message_if_empty,
    show_pictures,
)


@message_if_empty("no group to measure")
def draw_slices(table: pd.DataFrame, overall: float) -> Figure:
    """Draw the accuracy of each group with its interval; groups that differ from the others stand out.

    Args:
        table: index the label; columns accuracy, low, high (0..1) and adjusted, the corrected p-value.
        overall: accuracy of all images together, drawn as a line.
    """
    figure, axes = make_row_chart(table.index)
    figure.set_figheight(0.3 * len(table) + 1.2)
    places, percent = np.arange(len(table)), 100 * table[["accuracy", "low", "high"]]
    found = (table["adjusted"] < 0.05).to_numpy()
    looks = {
        "p, corrected, below .05": (found, COLOURS[3], "D"),
        "not shown to differ": (~found, COLOURS[0], "o"),
    }
    for label, (chosen, colour, marker) in looks.items():
        if chosen.any():
            part = percent[chosen]
            spread = error_lengths(part["accuracy"], part["low"], part["high"])
            style = {"fmt": marker, "color": colour, "capsize": 3, "label": label}
            axes.errorbar(part["accuracy"], places[chosen], xerr=spread, **style)
    axes.axvline(100 * overall, color="0.4", linestyle="--", linewidth=1, label="all together")
    axes.set(title="Accuracy by group, 95 % intervals", xlabel="accuracy (%)", xlim=(0, 100))
    add_legend_beside(axes)
    sns.despine(figure, left=True)
    return figure


@message_if_empty("no face to show")
def draw_versions(versions: Mapping[str, Tensor]) -> Figure:
    """Draw the same faces in several versions, one version a row.

    Args:
        versions: uint8 [N, H, W, 3] by the name of their row, as many of each.
    """
    columns = len(next(iter(versions.values())))
    shape = {"figsize": (1.4 * columns + 1, 1.45 * len(versions)), "squeeze": False}
    figure, panels = plt.subplots(len(versions), columns, **shape)
    for row, (name, images) in zip(panels, versions.items(), strict=True):
        show_pictures(row, images.numpy())
        row[0].set_ylabel(name, fontsize=10)
    figure.tight_layout(pad=0.3)
    return figure
