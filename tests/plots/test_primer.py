"""The primer's figures show the numbers that they are given."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

matplotlib.use("Agg")

from elfw_helpers import plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_pixels_are_written_out_channel_by_channel():
    image = torch.arange(8 * 9 * 3).reshape(8, 9, 3).to(torch.uint8)
    _, *panels = plots.draw_pixels(image, row=2, column=1).axes
    for channel, axes in enumerate(panels):
        assert texts(axes) == [str(value) for value in image[2:8, 1:7, channel].flatten().tolist()]


def test_filter_is_drawn_with_its_numbers_and_both_signs_of_the_result():
    kernel = torch.tensor([[-1.0, 0.0, 1.0]] * 3)
    result = torch.tensor([[-3.0, 0.5], [1.0, 0.0]])
    figure = plots.draw_filter(torch.rand(4, 4), kernel, result)
    assert texts(figure.axes[1]) == ["-1", "0", "+1"] * 3
    assert figure.axes[2].images[0].get_clim() == (-3, 3)
    labels = [label.get_text() for label in figure.axes[3].get_yticklabels()]
    assert labels == ["-3.0: darker on the right", "0: no edge", "3.0: brighter on the right"]


def test_each_filter_stands_above_its_own_map():
    maps = torch.arange(16.0).reshape(16, 1, 1).expand(16, 5, 5)
    axes = plots.draw_first_layer(torch.rand(16, 3, 3, 3), maps).axes
    for number in range(16):
        above = 16 * (number // 8) + number % 8
        assert axes[above].get_title() == f"filter {number + 1}"
        assert (axes[above + 8].images[0].get_array() == number).all()


def test_surprise_writes_the_loss_beside_the_probability():
    (axes,) = plots.draw_surprise({"half": 0.5, "sure": 0.99}).axes
    assert texts(axes) == ["half: 0.69", "sure: 0.01"]


def test_descents_are_drawn_one_panel_per_learning_rate():
    figure = plots.draw_descents(np.square, {0.1: [1.0, 0.8, 0.6], 2.0: [1.0, -3.0, 9.0]})
    assert [axes.get_title() for axes in figure.axes] == ["learning rate 0.1", "learning rate 2"]
    assert figure.axes[1].lines[1].get_xydata().tolist() == [[1, 1], [-3, 9], [9, 81]]


def test_training_loss_is_the_mean_of_an_epochs_batches():
    (axes,) = plots.draw_step_losses([3.0, 1.0, 1.0, 0.0], [1.5, 1.0]).axes
    mean, validation = axes.lines[1], axes.lines[2]
    assert mean.get_xydata().tolist() == [[0.5, 2.0], [1.5, 0.5]]
    assert validation.get_xydata().tolist() == [[1, 1.5], [2, 1.0]]


def test_walks_begin_and_end_where_they_were_given():
    paths = {"slow": [(-2.0, 1.0), (-1.5, 0.0)], "fast": [(-2.0, 1.0), (0.0, 0.5)]}
    figure = plots.draw_momentum(lambda a, b: a**2 + b**2, paths)
    for axes, path in zip(figure.axes, paths.values(), strict=True):
        assert axes.lines[0].get_xydata().tolist() == [list(place) for place in path]


def test_overlap_counts_the_pixels_of_each_part():
    truth, prediction = torch.zeros(2, 3, 6, dtype=torch.bool)
    truth[:, :3] = True
    prediction[:2, 2:6] = True
    legend = plots.draw_overlap(truth, prediction).axes[0].get_legend()
    assert [text.get_text().split(", ")[1] for text in legend.get_texts()] == [
        "7 pixels",
        "2 pixels",
        "6 pixels",
    ]
