"""Figures are drawn without warnings from data as the notebooks have it, empty corners included."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

matplotlib.use("Agg")

from elfw_helpers import plots

IMAGES = torch.randint(0, 256, (12, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
MASKS = torch.randint(0, 7, (12, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plots.plt.close("all")


def test_saved_figures_land_in_the_build_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path / "build"))
    plots.save_figure(plots.show_faces(IMAGES[:2], None, ["a", "b"]), "09_faces")
    assert (tmp_path / "build" / "figures" / "09_faces.png").stat().st_size > 1000


def test_legend_names_the_classes_that_the_masks_hold():
    masks = MASKS.clamp(max=2)
    figure = plots.show_faces(IMAGES[:3], masks[:3], ["a", "b", "c"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["background", "skin", "hair"]


def test_mistakes_are_drawn_surest_first_and_none_are_said():
    targets = torch.tensor([0, 1, 2, 0])
    probabilities = torch.tensor([[0.2, 0.8, 0.0], [0.9, 0.1, 0.0], [0.0, 0.1, 0.9], [0.6, 0.2, 0.2]])
    titles = [axes.get_title() for axes in plots.draw_mistakes(IMAGES[:4], targets, probabilities).axes]
    assert [title.split("\n")[1] for title in titles] == ["90% sure", "80% sure"]
    assert titles[0].startswith("said hair") and titles[0].endswith("is spectacles")
    none = plots.draw_mistakes(IMAGES[2:4], targets[2:], probabilities[2:])
    assert none.axes[0].texts[0].get_text() == "no mistakes"


def test_grid_frames_the_lowest_value_only():
    rows = [(lr, m, wd) for lr in (1e-4, 1e-3) for m in (0.9, 0.95) for wd in (1e-5, 1e-4)]
    table = pd.DataFrame(rows, columns=["lr", "momentum", "weight_decay"])
    table["best_validation_loss"] = np.arange(8, 0, -1) / 10
    figure = plots.draw_grid(table)
    framed = [axes for axes in figure.axes if axes.patches]
    assert [axes.get_title() for axes in framed] == ["weight decay 0.0001"]


def test_confusion_of_a_class_without_images_is_drawn_as_zero():
    figure = plots.draw_confusion({"report": np.array([[15, 2, 0], [2, 3, 0], [0, 0, 0]])})
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "15",
        "2",
        "0",
        "2",
        "3",
        "0",
        "0",
        "0",
        "0",
    ]


def test_other_figures_draw():
    history = pd.DataFrame(
        {f"{part}_{kind}": [0.9, 0.5] for part in ("train", "validation") for kind in ("loss", "accuracy")},
        index=[1, 2],
    )
    plots.draw_loss_curves(history, best_epoch=1)
    plots.draw_overfit_curve({"a": [1.0, 0.1], "b": [1.0, 1.0]}, target=0.001)
    plots.draw_channel_histograms(IMAGES, torch.rand(3), torch.rand(3))
    counts = pd.DataFrame({"training": [3, 2, 1], "test": [1, 0, 1]}, index=["hair", "spectacles", "cap"])
    plots.draw_class_counts(counts)
    rows = pd.DataFrame({"accuracy": [0.8], "low": [0.6], "high": [0.9], "baseline": [0.7]}, index=["report"])
    plots.draw_intervals(rows)
