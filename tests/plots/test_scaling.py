"""Figures on several workers: bars where the work was, seconds that add up, and the law between its ends."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

from elfw_helpers import plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def make_stream(*steps):
    """Return a stream of (worker, action, start, stop)."""
    return pd.DataFrame(steps, columns=["worker", "action", "start", "stop"])


def test_each_step_is_a_bar_in_its_workers_row_from_the_first_moment_on():
    one = make_stream(
        ("tcp://b", "compute", 101.0, 103.0),
        ("tcp://a", "transfer", 100.0, 100.5),
        ("tcp://a", "compute", 100.5, 104.0),
    )
    figure = plots.draw_task_stream({"one": one, "two": make_stream(("tcp://a", "deserialize", 5.0, 5.1))})
    first, second = figure.axes
    bars = sorted((bar.get_x(), bar.get_width(), bar.get_y() + 0.3) for bar in first.patches)
    assert np.allclose(bars, [(0, 0.5, 0), (0.5, 3.5, 0), (1, 2, 1)])
    assert [label.get_text() for label in first.get_yticklabels()] == ["worker 1", "worker 2"]
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"] and len(second.patches) == 1
    words = [text.get_text() for text in first.get_legend().get_texts()]
    assert words == ["computing", "fetching data", "unpacking"]


def test_worker_seconds_lie_one_behind_the_other():
    spent = pd.DataFrame({"computing": [2.0, 3.0], "waiting": [0.5, 1.0]}, index=["1 worker", "2 workers"])
    (axes,) = plots.draw_worker_seconds(spent, "Spent").axes
    assert [bar.get_x() + bar.get_width() for bar in axes.patches] == [2.0, 3.0, 2.5, 4.0]
    assert axes.get_yticklabels()[1].get_text() == "2 workers"


def test_the_law_is_drawn_up_to_the_largest_number_between_its_ends():
    measured = pd.DataFrame({"speed-up": [1.0, 1.8], "low": [1.0, 1.7], "high": [1.0, 1.9]}, index=[1, 2])
    (axes,) = plots.draw_speed_up(measured, (0.1, 0.05, 0.2), 32, "Speed-up").axes
    ideal, law = (line.get_xydata() for line in axes.lines[:2])
    assert np.allclose(ideal[-1], (32, 32)) and np.allclose(law[-1], (32, 1 / (0.1 + 0.9 / 32)))
    assert [f"{tick:g}" for tick in axes.get_xticks()] == ["1", "2", "4", "8", "16", "32"]


def test_an_estimate_has_hours_and_price():
    plan = pd.DataFrame({"hours": [20.0, 10.0], "price": [1.0, 1.0]}, index=[1, 2])
    hours, price = plots.draw_estimate(plan, "Estimate").axes
    assert hours.lines[0].get_ydata().tolist() == [20, 10] and price.get_ylim()[0] == 0


def test_nothing_recorded_is_said():
    for draw, rest in ((plots.draw_task_stream, ()), (plots.draw_worker_seconds, ("Spent",))):
        assert len(draw({}, *rest).axes[0].texts) == 1
