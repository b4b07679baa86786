"""Figures of an audit show every group, and mark the ones that differ."""

import matplotlib
import pandas as pd
import pytest
import torch

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from elfw_helpers import plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def make_table(adjusted):
    values = {"accuracy": 0.7, "low": 0.6, "high": 0.8, "adjusted": adjusted}
    return pd.DataFrame(values, index=["dark", "light"])


def test_only_groups_that_differ_after_correction_stand_out():
    axes = plots.draw_slices(make_table([0.01, 0.5]), 0.7).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["dark", "light"]
    labels = axes.get_legend_handles_labels()[1]
    assert "p, corrected, below .05" in labels and "not shown to differ" in labels


def test_groups_alike_leave_no_mark():
    axes = plots.draw_slices(make_table([0.3, 0.5]), 0.7).axes[0]
    assert "p, corrected, below .05" not in axes.get_legend_handles_labels()[1]


def test_no_group_is_said():
    axes = plots.draw_slices(pd.DataFrame(), 0.7).axes[0]
    assert axes.texts[0].get_text() == "no group to measure"


def test_each_version_has_its_row_and_name():
    images = torch.zeros(3, 8, 8, 3, dtype=torch.uint8)
    figure = plots.draw_versions({"as drawn": images, "half the light": images})
    assert len(figure.axes) == 6
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["as drawn", "half the light"]
