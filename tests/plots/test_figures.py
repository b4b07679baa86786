"""Figures are drawn without warnings from data as the notebooks have it, empty corners included."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

matplotlib.use("Agg")

from elfw_helpers import notebook, plots
from elfw_helpers.augmentation import FaceGeometry
from elfw_helpers.data.images import draw_overlay
from elfw_helpers.data.labels import DISPLAY_COLOURS, PALETTE, PIXEL_CLASSES
from elfw_helpers.evaluation.classification import calibration_curve
from elfw_helpers.evaluation.segmentation import score_masks
from elfw_helpers.plots.faces import OPACITY

IMAGES = torch.randint(0, 256, (12, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
MASKS = torch.randint(0, 7, (12, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_saved_figures_land_in_the_build_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path / "build"))
    notebook.save_figure(plots.show_faces(IMAGES[:2], None, ["a", "b"]), "09_faces", alt="Two faces")
    assert (tmp_path / "build" / "figures" / "09_faces.png").stat().st_size > 1000


def test_a_face_beside_its_photo_under_the_mask():
    photo, mask = Image.fromarray(IMAGES[0].numpy()), np.pad(np.full((8, 8), 1, np.uint8), 4)
    figure = plots.draw_face_in_photo(photo, mask, photo.crop((4, 4, 12, 12)))
    assert [axes.get_title() for axes in figure.axes] == ["cut out", "mask, laid back"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["skin"]


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
    figure = plots.draw_grid_search(table)
    framed = [axes for axes in figure.axes if axes.patches]
    assert [axes.get_title() for axes in framed] == ["weight decay 0.0001"]


def test_grid_says_which_run_failed():
    table = pd.DataFrame({"lr": [1e-3, 1e-2], "momentum": 0.9, "weight_decay": 1e-4})
    table["best_validation_loss"] = [0.4, np.nan]
    (axes,) = plots.draw_grid_search(table).axes
    assert sorted(text.get_text() for text in axes.texts) == ["0.400", "failed"]
    (frame,) = axes.patches
    assert frame.get_xy() == (0, 0)


def test_other_figures_draw():
    history = pd.DataFrame(
        {f"{part}_{kind}": [0.9, 0.5] for part in ("train", "validation") for kind in ("loss", "accuracy")},
        index=[1, 2],
    )
    plots.draw_loss_curves(history, best_epoch=1)
    plots.compare_losses({"a": history, "b": history})
    plots.draw_overfit_curves({"one": {"a": [1.0, 0.0], "b": [1.0, 1.0]}}, target=0.001)
    counts = pd.DataFrame({"training": [3, 2, 1], "test": [1, 0, 1]}, index=["hair", "spectacles", "cap"])
    plots.draw_class_counts(counts)
    rows = pd.DataFrame({"accuracy": [0.8], "low": [0.6], "high": [0.9], "baseline": [0.7]}, index=["report"])
    plots.draw_intervals(rows)


def test_histograms_have_a_panel_for_each_normalisation_on_common_axes():
    shifted = {"none": ((0, 0, 0), (1, 1, 1)), "halves": (torch.full((3,), 0.5), torch.full((3,), 0.5))}
    before, none, halves = plots.draw_channel_histograms(IMAGES, shifted).axes
    assert [axes.get_title() for axes in (none, halves)] == ["With none", "With halves"]
    for line, same, moved in zip(before.lines, none.lines, halves.lines, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), same.get_xydata())
        np.testing.assert_allclose(moved.get_xdata(), 2 * line.get_xdata() - 1)
        assert line.get_ydata().sum() == pytest.approx(100)
    assert none.get_xlim() == halves.get_xlim() and before.get_ylim() == halves.get_ylim()


def test_palettes_name_each_class_below_its_colours_in_files_and_on_pages():
    files, shown = plots.draw_palettes().axes
    assert [text.get_text() for text in shown.get_xticklabels()] == list(PIXEL_CLASSES)
    np.testing.assert_array_equal(files.images[0].get_array()[0], PALETTE)
    np.testing.assert_array_equal(shown.images[0].get_array()[0], DISPLAY_COLOURS)


def test_bilinear_resizing_of_a_mask_shows_the_share_of_made_up_colours():
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 2
    nearest, bilinear, marked = plots.draw_mask_resizing(mask, 4).axes
    assert nearest.get_title() == "nearest neighbour"
    # Bilinear resizing mixes across the border in two of the four columns.
    assert marked.get_title() == "bilinear: 50% in no class (white)"
    white = (marked.images[0].get_array() == 255).all(-1)
    assert white.tolist() == [[False, True, True, False]] * 4
    assert set(np.unique(nearest.images[0].get_array())) == {0, 255}


def test_calibration_has_a_column_for_each_model_with_its_images():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.9, 0], [0, 0, 1]])
    curves = {
        name: calibration_curve(targets, probabilities)
        for name, targets in (("a", [0, 1, 2]), ("b", [2, 1, 0]))
    }
    figure = plots.draw_calibration(curves)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "", ""]
    assert [text.get_text() for text in figure.axes[3].texts] == ["1", "1", "1"]
    assert figure.axes[0].get_xlim()[0] == pytest.approx(0.4)


def test_grad_cam_hides_the_face_only_where_there_is_evidence():
    maps = torch.zeros(2, 16, 16)
    maps[0, 3, 4] = 1
    figure = plots.draw_grad_cam(IMAGES[:2], maps, ["said hair", "said cap"])
    above, below = figure.axes[0], figure.axes[2]
    assert above.get_title() == "said hair" and len(above.images) == 1
    np.testing.assert_array_equal(below.images[0].get_array(), IMAGES[0])
    opacity = below.images[1].get_alpha()
    assert opacity[3, 4] > 0.5 and np.count_nonzero(opacity) == 1


def test_paired_answers_are_counted_and_those_that_differ_framed():
    first = np.array([True] * 6 + [False] * 4)
    second = np.array([True] * 3 + [False] * 3 + [True] + [False] * 3)
    axes = plots.draw_paired_answers({"mini": first, "ResNet": second}).axes[0]
    assert [text.get_text() for text in axes.texts] == ["3", "3", "1", "3"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("mini", "ResNet")
    assert [tuple(int(corner) for corner in frame.get_xy()) for frame in axes.patches] == [(1, 0), (0, 1)]


def test_label_curves_run_through_the_means_within_their_draws():
    rows = [("random", 30, 0.5), ("random", 30, 0.7), ("random", 100, 0.8), ("learned", 30, 0.9)]
    figure = plots.draw_label_curves(pd.DataFrame(rows, columns=["weights", "labels", "accuracy"]))
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["random", "learned"]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [(30, 60), (100, 80)])
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[band[:, 0] == 30, 1].max()) == (50, 70)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["30", "100"]


def test_seed_spread_has_a_line_at_the_mean_of_each_setting_first_on_top():
    table = pd.DataFrame(
        {"setting": ["b", "a", "b", "a"], "best_validation_loss": [0.4, 0.1, 0.6, 0.3]}, index=[7, 3, 1, 0]
    )
    axes = plots.draw_seed_spread(table).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    assert axes.yaxis_inverted()
    means = [segment[0] for segment in axes.collections[0].get_segments()]
    np.testing.assert_allclose(means, [(0.5, -0.3), (0.2, 0.7)])


def test_learning_speed_lays_settings_of_equal_pace_on_each_other():
    rows = [(lr, m, epoch) for lr, m in ((1e-3, 0.9), (5e-4, 0.95), (1e-3, 0.95)) for epoch in (1, 2)]
    curves = pd.DataFrame(rows, columns=["lr", "momentum", "epoch"]).assign(validation_loss=0.5)
    epochs, distance = plots.draw_learning_speed(curves).axes
    assert [line.get_xdata().tolist() for line in epochs.lines] == [[1, 2]] * 3
    found = {line.get_label(): line.get_xdata() for line in distance.lines}
    np.testing.assert_allclose(found["lr 0.0005, momentum 0.95: 0.01"], found["lr 0.001, momentum 0.9: 0.01"])
    np.testing.assert_allclose(found["lr 0.001, momentum 0.95: 0.02"], [0.02, 0.04])


def test_losses_that_explode_or_vanish_are_drawn_on_the_edge_of_the_axis():
    axes = plots.draw_overfit_curves({"one": {"a": [1.0, 1e9, 0.0]}}, target=0.001).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [1.0, 1e3, 1e-6]
    assert "cut at" in axes.get_ylabel()


def test_residual_block_sums_what_the_steps_and_the_shortcut_bring():
    texts = [text.get_text() for text in plots.draw_residual_block().axes[0].texts]
    assert texts.count("ReLU") == 2 and texts.count("3 × 3\nconvolution") == 2
    assert "+" in texts and "shortcut: $x$" in texts


def test_unet_writes_channels_and_sides_of_every_block():
    texts = [text.get_text() for text in plots.draw_unet(size=64, width=8, classes=7).axes[0].texts]
    assert texts.count("8 × 64²") == 2 and texts.count("128 × 4²") == 1
    assert "logits\n7 × 64²" in texts


def test_class_iou_leaves_out_a_class_that_is_nowhere_and_keeps_intervals_beside_their_values():
    masks = MASKS.clamp(max=3)
    scores = {"right": score_masks(masks, masks), "mirrored": score_masks(masks, masks.flip(2))}
    axes = plots.draw_class_iou(scores, "noise").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == list(PIXEL_CLASSES[:4])
    heights = [container.lines[0].get_ydata() for container in axes.containers]
    np.testing.assert_allclose(heights[0], 1)
    np.testing.assert_allclose(heights[1], scores["mirrored"].class_iou[:4])


def test_overlays_tint_all_but_the_background():
    image, mask = IMAGES[0].numpy(), MASKS[0].numpy()
    blended = np.asarray(draw_overlay(Image.fromarray(image), mask, OPACITY))
    assert (blended[mask == 0] == image[mask == 0]).all()
    expected = image[mask == 1] + OPACITY / 255 * (np.array([240, 228, 66]) - image[mask == 1])
    assert np.abs(blended[mask == 1] - expected).max() <= 1
    figure = plots.draw_overlays(IMAGES[:3], {"truth": MASKS[:3], "U-Net": MASKS[3:6]})
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["image", "truth", "U-Net"]
    assert "background" not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_geometry_marks_the_eyes_an_eye_distance_apart():
    face = FaceGeometry(8.0, 6.0, 4.0, 0.3)
    axes = plots.draw_face_geometry([(Image.fromarray(IMAGES[0].numpy()), MASKS[0].numpy())], [face]).axes[0]
    (left, right) = axes.collections[0].get_offsets()
    assert np.hypot(*(right - left)) == pytest.approx(4)
    np.testing.assert_allclose((left + right) / 2, (8, 6))


def test_gains_are_grey_where_no_change_is_inside_the_interval():
    gains = {"sure": (0.1, 0.05, 0.15), "unsure": (0.02, -0.03, 0.07), "lost": (-0.04, -0.06, -0.02)}
    axes = plots.draw_iou_changes(gains, "noise").axes[0]
    blue = plots.style.COLOURS[0]
    assert [line.get_color() for line in axes.lines[:3]] == [blue, "0.6", blue]
    assert [text.get_text() for text in axes.texts] == ["+0.100", "+0.020", "\N{MINUS SIGN}0.040"]


def test_ratio_study_runs_its_line_through_the_means():
    table = pd.DataFrame({"ratio": [0, 0, 1, 1], "seed": [0, 1, 0, 1], "hair": [0.1, 0.3, 0.5, 0.7]})
    axes = plots.draw_ratio_study(table, ["hair"], "noise").axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.2, 0.6])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1"]


def treatments_of(changes: list[float], mean: float, low: float, high: float) -> tuple:
    """Return what `draw_treatments` draws of one treatment."""
    values = {}
    for kind in ("loss", "accuracy"):
        values |= {f"change of {kind}": mean, f"{kind} from": low, f"{kind} to": high}
    frame = pd.DataFrame({"dropout": changes})
    return {"loss": frame, "accuracy": frame}, pd.DataFrame(values, ["dropout"])


def test_treatments_have_a_dot_for_each_seed_and_their_mean_with_its_interval():
    figure = plots.draw_treatments(*treatments_of([-0.3, -0.1], -0.2, -0.5, 0.1))
    assert [axes.get_title() for axes in figure.axes] == ["Change of loss", "Change of accuracy"]
    dots, mean, *_ = figure.axes[0].lines
    np.testing.assert_allclose(dots.get_xdata(), [-0.3, -0.1])
    np.testing.assert_allclose(mean.get_xdata().astype(float), [-0.2])
    (bar,) = figure.axes[0].containers[0].lines[2]
    np.testing.assert_allclose(bar.get_segments()[0][:, 0].astype(float), [-0.5, 0.1])


def frame_of(value: float, epochs: int = 2) -> pd.DataFrame:
    """Return a history of so many epochs, all alike."""
    names = [f"{part}_{kind}" for part in ("train", "validation") for kind in ("loss", "accuracy")]
    return pd.DataFrame({name: [value] * epochs for name in names}, index=range(1, epochs + 1))


def grid_of(losses: list[float]) -> pd.DataFrame:
    """Return the table of a grid search over two learning rates."""
    table = pd.DataFrame({"lr": [1e-4, 1e-3], "momentum": 0.9, "weight_decay": 1e-4})
    return table.assign(best_validation_loss=losses)


def all_alike(targets: list[int]) -> pd.DataFrame:
    """Return the calibration curve of a model that is certain of class 0."""
    return calibration_curve(targets, np.tile([1.0, 0.0, 0.0], (len(targets), 1)))


NAN = float("nan")
BLANK = torch.zeros_like(MASKS)
DEGENERATE = {
    "one epoch": lambda: plots.draw_loss_curves(frame_of(0.5, 1), 0),
    "no validation": lambda: plots.draw_loss_curves(frame_of(NAN), None),
    "one epoch beside others": lambda: plots.compare_losses({"a": frame_of(0.5, 1), "b": frame_of(NAN)}),
    "a loss of 0, on a log axis": lambda: plots.draw_overfit_curves({"one": {"a": [0.0, 0.0]}}, 0.001),
    "a loss that is lost": lambda: plots.draw_overfit_curves(
        {"one": {"a": [NAN, NAN], "b": [1, np.inf]}}, 0.1
    ),
    "all runs failed": lambda: plots.draw_grid_search(grid_of([NAN, NAN])),
    "all runs alike": lambda: plots.draw_grid_search(grid_of([0.5, 0.5])),
    "seeds failed": lambda: plots.draw_seed_spread(
        pd.DataFrame({"setting": ["a"], "best_validation_loss": [NAN]})
    ),
    "no image of a split": lambda: plots.draw_class_counts(
        pd.DataFrame({"test": [0, 0, 0]}, index=list("abc"))
    ),
    "certain and right": lambda: plots.draw_calibration({"a": all_alike([0] * 228)}),
    "certain and wrong": lambda: plots.draw_calibration({"a": all_alike([1] * 30)}),
    "an accuracy of 1": lambda: plots.draw_intervals(
        pd.DataFrame(
            {"accuracy": [1.0], "low": [np.nextafter(1, 2)], "high": [1.0], "baseline": [None]}, ["a"]
        )
    ),
    "background alone": lambda: plots.draw_class_iou({"a": score_masks(BLANK, BLANK)}, "nothing"),
    "six networks": lambda: plots.draw_class_iou(
        {str(i): score_masks(MASKS, MASKS) for i in range(6)}, "many"
    ),
    "masks without a class": lambda: plots.draw_overlays(IMAGES, {"truth": BLANK}),
    "no gain": lambda: plots.draw_iou_changes({"a": (0.0, 0.0, 0.0), "b": (NAN, NAN, NAN)}, "none"),
    "a class that is nowhere": lambda: plots.draw_ratio_study(
        pd.DataFrame({"ratio": [0, 1], "seed": 0, "cap": NAN}), ["cap"], "none"
    ),
    "a treatment that changes nothing": lambda: plots.draw_treatments(*treatments_of([0.0], 0.0, NAN, NAN)),
    "one image for two models": lambda: plots.draw_paired_answers(
        {"a": np.array([True]), "b": np.array([True])}
    ),
}


# An older matplotlib calls a newer pyparsing by its former names.
@pytest.mark.filterwarnings("error", "ignore::DeprecationWarning:(matplotlib|pyparsing)")
@pytest.mark.parametrize("draw", DEGENERATE.values(), ids=DEGENERATE)
def test_degenerate_data_is_drawn_without_error_or_warning(draw, tmp_path):
    draw().savefig(tmp_path / "figure.png", dpi=20, bbox_inches="tight")


EMPTY = {
    "show_faces": lambda: plots.show_faces(IMAGES[:0], None, []),
    "draw_overlays": lambda: plots.draw_overlays(IMAGES[:0], {"truth": MASKS[:0]}),
    "draw_grad_cam": lambda: plots.draw_grad_cam(IMAGES[:0], torch.zeros(0, 16, 16), []),
    "draw_face_geometry": lambda: plots.draw_face_geometry([], []),
    "draw_iou_changes": lambda: plots.draw_iou_changes({}, "none"),
    "draw_intervals": lambda: plots.draw_intervals(pd.DataFrame(columns=["accuracy", "low", "high"])),
    "draw_calibration": lambda: plots.draw_calibration({}),
    "compare_losses": lambda: plots.compare_losses({}),
    "draw_treatments": lambda: plots.draw_treatments({}, pd.DataFrame()),
    "draw_grid_search": lambda: plots.draw_grid_search(grid_of([0.5, 0.5])[:0]),
    "draw_learning_speed": lambda: plots.draw_learning_speed(
        pd.DataFrame(columns=["lr", "momentum", "epoch", "validation_loss"])
    ),
}


@pytest.mark.parametrize("draw", EMPTY.values(), ids=EMPTY)
def test_a_figure_without_data_is_words(draw):
    (text,) = draw().axes[0].texts
    assert text.get_text().startswith(("no ", "nothing "))


def test_an_empty_figure_is_words_also_where_its_arguments_are_named():
    figure = plots.draw_latency(steps={}, title="Answers")
    assert figure.axes[0].texts[0].get_text() == "no step was timed"
    with pytest.raises(TypeError, match="missing a required argument: 'steps'"):
        plots.draw_latency()


def test_latency_is_a_bar_to_the_median_and_a_whisker_to_the_95th_percentile():
    figure = plots.draw_latency({"decode": np.arange(101.0), "network": np.full(101, 5.0)}, "Answers")
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [50, 5]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["decode", "network"]
    (whiskers,) = axes.collections
    assert [segment[:, 0].tolist() for segment in whiskers.get_segments()] == [[50, 95], [5, 5]]
