import math
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sklearn.metrics
import torch

from elfw_helpers.evaluation.classification import (
    PairedTest,
    bootstrap_macro_f1,
    calibration_curve,
    classification_report,
    confusion_matrix,
    f1_by_class,
    mcnemar_test,
    percentile_interval,
    score,
    wilson_interval,
)


def draw(count: int, seed: int = 0, classes: int = 3):
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, classes, count)
    return targets, np.where(generator.random(count) < 0.7, targets, generator.integers(0, classes, count))


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# What statistics textbooks and programs give, to the digits the report's numbers are quoted with.
@pytest.mark.parametrize(
    ("correct", "total", "low", "high"), [(18, 22, 0.615, 0.927), (193, 228, 0.794, 0.888), (0, 10, 0, 0.278)]
)
def test_wilson_interval_has_known_values(correct, total, low, high):
    assert wilson_interval(correct, total) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize(("correct", "total"), [(18, 22), (193, 228), (0, 10), (10, 10), (1, 1), (7, 4000)])
def test_wilson_interval_agrees_with_scipy(correct, total):
    expected = scipy.stats.binomtest(correct, total).proportion_ci(method="wilson")
    assert wilson_interval(correct, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_widens_with_confidence_and_stays_inside():
    assert wilson_interval(5, 10, 0.99)[0] < wilson_interval(5, 10, 0.95)[0]
    assert all(0 <= end <= 1 for total in range(1, 300) for end in wilson_interval(total, total))


def test_wilson_interval_contains_its_value():
    counts = [(correct, total) for total in range(1, 120) for correct in range(total + 1)]
    for correct, total in [*counts, *((total, total) for total in range(120, 3000))]:
        low, high = wilson_interval(correct, total)
        assert 0 <= low <= correct / total <= high <= 1, (correct, total)


def test_an_interval_is_widened_only_to_contain_its_value():
    resampled = [0.4] * 50 + [0.6] * 50
    for value, interval in ((0.5, (0.4, 0.6)), (0.3, (0.3, 0.6)), (0.7, (0.4, 0.7)), (math.nan, (0.4, 0.6))):
        assert percentile_interval(np.array([value, *resampled]))[1:] == interval
    assert all(math.isnan(end) for end in percentile_interval(np.array([0.5, math.nan, math.nan]))[1:])


@pytest.mark.parametrize(
    ("targets", "predictions"),
    [
        ([0], [0]),
        ([0], [1]),
        ([0, 1, 2], [0, 1, 2]),
        ([0] * 9, [0] * 9),
        ([0] * 9, [1] * 9),
        # Half of the draws lack the one cap, and their mean of F1 the 0 of its class.
        ([0] * 30 + [2], [0] * 31),
    ],
)
def test_intervals_of_scores_contain_their_values(targets, predictions):
    scores = score(targets, predictions)
    for value, (low, high) in (
        (scores.accuracy, scores.accuracy_interval),
        (scores.macro_f1, scores.macro_f1_interval),
    ):
        assert 0 <= low <= value <= high <= 1


def test_calibration_intervals_contain_the_accuracy_of_bins_of_any_size():
    for total in range(1, 60):
        for correct in (0, total // 3, total - 1, total):
            targets = [0] * correct + [1] * (total - correct)
            curve = calibration_curve(targets, np.tile([1.0, 0.0, 0.0], (total, 1)))
            assert (curve["low"] <= curve["accuracy"]).all() and (curve["accuracy"] <= curve["high"]).all()


@pytest.mark.parametrize(("correct", "total"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_interval_refuses_impossible_counts(correct, total):
    with pytest.raises(ValueError, match=f"{correct} of {total}"):
        wilson_interval(correct, total)


@pytest.mark.parametrize("seed", range(3))
def test_scores_agree_with_scikit_learn(seed):
    targets, predictions = draw(150, seed)
    scores = score(targets, predictions)
    assert scores.accuracy == sklearn.metrics.accuracy_score(targets, predictions)
    assert scores.balanced_accuracy == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(targets, predictions)
    )
    assert scores.class_f1 == pytest.approx(sklearn.metrics.f1_score(targets, predictions, average=None))
    assert scores.macro_f1 == pytest.approx(sklearn.metrics.f1_score(targets, predictions, average="macro"))
    np.testing.assert_array_equal(
        confusion_matrix(targets, predictions, 3), sklearn.metrics.confusion_matrix(targets, predictions)
    )
    assert scores.accuracy_interval == wilson_interval(scores.correct, scores.total)


def test_tensors_arrays_and_lists_are_accepted():
    targets, predictions = draw(40)
    expected = score(targets, predictions)
    assert score(torch.from_numpy(targets), torch.from_numpy(predictions)) == expected
    assert score(targets.tolist(), predictions.tolist()) == expected


def test_absent_class_is_nan_and_not_averaged():
    scores = score([0, 0, 1, 1], [0, 1, 1, 1])
    assert math.isnan(scores.class_f1[2])
    assert scores.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores.balanced_accuracy == 0.75
    assert all(0 <= end <= 1 for end in scores.macro_f1_interval)


def test_class_only_predicted_counts_as_zero():
    scores = score([0, 0, 1], [0, 2, 1])
    assert scores.class_f1[2] == 0
    assert scores.balanced_accuracy == 0.75


def test_a_given_majority_class_replaces_that_of_the_targets():
    targets = [0] * 17 + [1] * 5
    assert score(targets, targets).majority_baseline == pytest.approx(17 / 22)
    assert score(targets, targets, majority=1).majority_baseline == pytest.approx(5 / 22)
    assert score(targets, targets, majority=2).majority_baseline == 0


def test_bootstrap_is_seeded_and_agrees_with_drawing_images_one_by_one():
    targets, predictions = draw(228)
    matrix = confusion_matrix(targets, predictions, 3)
    _, *interval = found = bootstrap_macro_f1(matrix, seed=0)
    assert found == bootstrap_macro_f1(matrix, seed=0) != bootstrap_macro_f1(matrix, seed=1)
    generator = np.random.default_rng(5)
    drawn = [
        np.nanmean(f1_by_class(confusion_matrix(targets[chosen], predictions[chosen], 3)))
        for chosen in generator.integers(0, 228, (2_000, 228))
    ]
    assert interval == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.01)


def test_report_has_three_rows_under_the_reports_names():
    text = classification_report([0] * 17 + [1] * 5, [0] * 15 + [1] * 2 + [1] * 3 + [0] * 2)
    assert [line.split() for line in text.splitlines() if line][1:4] == [
        ["hair", "0.88", "0.88", "0.88", "17"],
        ["spects", "0.60", "0.60", "0.60", "5"],
        ["cap", "0.00", "0.00", "0.00", "0"],
    ]
    assert "0.49" in text


@pytest.mark.parametrize(
    ("targets", "predictions", "message"),
    [
        ([], [], "at least one"),
        ([0, 1], [0], "as many"),
        ([0, 3], [0, 1], "targets must be class indices"),
        ([0, 1], [0, -1], "predictions must be class indices"),
        ([0, 1], [0.2, 0.8], "argmax"),
    ],
)
@pytest.mark.parametrize("function", [score, classification_report])
def test_bad_input_is_a_clear_error(function, targets, predictions, message):
    with pytest.raises(ValueError, match=message):
        function(targets, predictions)


def test_metrics_carry_the_names_of_the_closing_table():
    assert list(score([0, 1, 2], [0, 1, 1]).as_metrics()) == [
        "images", "accuracy", "accuracy_interval", "balanced_accuracy", "majority_baseline",
        "macro_f1", "macro_f1_interval", "f1_hair", "f1_spectacles", "f1_cap",
    ]  # fmt: skip


def answer(pattern: str) -> np.ndarray:
    """Return predictions for targets of 0: right (0) for R, wrong (1) for any other letter."""
    return np.array([0 if letter == "R" else 1 for letter in pattern])


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    # By hand: 2 (1/2)^5; 2 (1 + 6) / 2^6; all there is; no image.
    [(5, 0, 0.0625), (0, 5, 0.0625), (1, 5, 0.21875), (2, 2, 1.0), (0, 0, 1.0)],
)
def test_mcnemar_tosses_a_coin_for_each_image_that_tells_models_apart(only_first, only_second, p_value):
    first = answer("R" * 20 + "w" * 7 + "R" * only_first + "w" * only_second)
    second = answer("R" * 20 + "w" * 7 + "w" * only_first + "R" * only_second)
    targets = np.zeros(len(first), int)
    assert mcnemar_test(targets, first, second) == PairedTest(only_first, only_second, pytest.approx(p_value))
    tensors = [torch.from_numpy(values) for values in (targets, first, second)]
    assert mcnemar_test(*tensors) == mcnemar_test(targets.tolist(), first.tolist(), second.tolist())


def test_mcnemar_counts_different_wrong_answers_as_equally_wrong():
    assert mcnemar_test([0, 0], [1, 1], [2, 1]) == PairedTest(0, 0, 1.0)


@pytest.mark.parametrize(
    ("targets", "first", "second"), [([], [], []), ([0, 1], [0], [0, 1]), ([0, 1], [0, 1], [[0, 1], [1, 0]])]
)
def test_mcnemar_refuses_unpaired_predictions(targets, first, second):
    with pytest.raises(ValueError, match="as many targets as predictions of both models"):
        mcnemar_test(targets, first, second)


# Confidences 0.5 (on the edge of the fifth of ten bins), 0.55, 0.6, 0.6 (sixth) and 1.0 (tenth).
PROBABILITIES = np.array([[0.5, 0.5, 0], [0.55, 0.45, 0], [0.4, 0.6, 0], [0.2, 0.2, 0.6], [0, 0, 1.0]])
TARGETS = [0, 1, 1, 2, 2]


def test_calibration_curve_is_known_by_hand():
    expected = pd.DataFrame(
        {"confidence": [0.5, 1.75 / 3, 1.0], "accuracy": [1.0, 2 / 3, 1.0]},
        index=pd.IntervalIndex.from_tuples([(0.4, 0.5), (0.5, 0.6), (0.9, 1.0)], name="bin"),
    )
    intervals = [wilson_interval(1, 1), wilson_interval(2, 3), wilson_interval(1, 1)]
    expected[["low", "high"]] = intervals
    expected["images"] = [1, 3, 1]
    pd.testing.assert_frame_equal(calibration_curve(TARGETS, PROBABILITIES), expected)
    whole = calibration_curve(TARGETS, torch.from_numpy(PROBABILITIES).float(), bins=1)
    assert whole["images"].tolist() == [5] and whole["accuracy"].tolist() == [0.8]


@pytest.mark.parametrize(
    ("targets", "probabilities", "message"),
    [
        ([0], [[2.0, -1.0]], "softmax"),
        ([0], [[0.5, 0.4]], "softmax"),
        ([0], [[float("nan"), 1.0]], "softmax"),
        ([0, 1], [0.5, 0.5], r"\[N, C\]"),
        ([], np.empty((0, 3)), "at least one"),
        ([0, 1], [[0.5, 0.5]], "as many"),
        ([2], [[0.5, 0.5]], "class indices"),
    ],
)
def test_calibration_refuses_bad_probabilities_or_targets(targets, probabilities, message):
    with pytest.raises(ValueError, match=message):
        calibration_curve(targets, np.array(probabilities))
