"""How good predictions are, and how sure one may be of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
import scipy.stats
import sklearn.metrics
from torch import Tensor

from elfw_helpers.data.labels import ATTRIBUTES

# What the report calls the attributes in its tables.
REPORT_NAMES = ("hair", "spects", "cap")
RESAMPLES = 2_000

ClassIndices = Tensor | np.ndarray | Sequence[int]


@dataclass(frozen=True)
class Scores:
    """What one model reached on one set of images; intervals are (low, high) at 95 %.

    Attributes:
        correct, total: images answered rightly, and all images.
        accuracy: correct / total, with Wilson's interval.
        balanced_accuracy: mean recall of the classes that have images.
        majority_baseline: accuracy of always answering the majority class.
        macro_f1: mean of class_f1 over the classes that are not NaN, with a bootstrap interval.
        class_f1: a value a class, NaN for a class absent from truth and prediction.
    """

    correct: int
    total: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    majority_baseline: float
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    class_f1: tuple[float, ...]

    def as_metrics(self) -> dict[str, int | float | tuple[float, float]]:
        """Return the scores under the names that `show_metrics` and the closing table use."""
        return {
            "images": self.total,
            "accuracy": self.accuracy,
            "accuracy_interval": self.accuracy_interval,
            "balanced_accuracy": self.balanced_accuracy,
            "majority_baseline": self.majority_baseline,
            "macro_f1": self.macro_f1,
            "macro_f1_interval": self.macro_f1_interval,
            **{f"f1_{name}": value for name, value in zip(ATTRIBUTES, self.class_f1, strict=True)},
        }


@dataclass(frozen=True)
class PairedTest:
    """How two models differ on the same images.

    Attributes:
        only_first, only_second: images that only the first, only the second model answers rightly.
        p_value: probability of counts at least as uneven if both models were equally good.
    """

    only_first: int
    only_second: int
    p_value: float


def score(
    targets: ClassIndices, predictions: ClassIndices, *, majority: int | None = None, seed: int = 0
) -> Scores:
    """Score predicted attributes against the true ones.

    Args:
        targets, predictions: N class indices each, 0 hair, 1 spectacles, 2 cap.
        majority: the class that the baseline always answers, by rights the most frequent one in the
            training split; None takes the most frequent of the targets.
        seed: of the bootstrap.

    Raises:
        ValueError: nothing to score, as many targets as predictions are not there, or no class indices.
    """
    matrix = confusion_matrix(targets, predictions, len(ATTRIBUTES))
    support = matrix.sum(1)
    correct, total = int(matrix.trace()), int(matrix.sum())
    class_f1 = f1_by_class(matrix)
    macro_f1 = float(np.nanmean(class_f1))
    return Scores(
        correct=correct,
        total=total,
        accuracy=correct / total,
        accuracy_interval=wilson_interval(correct, total),
        balanced_accuracy=float((matrix.diagonal()[support > 0] / support[support > 0]).mean()),
        majority_baseline=float(support[support.argmax() if majority is None else majority] / total),
        macro_f1=macro_f1,
        macro_f1_interval=hold_value(macro_f1, bootstrap_macro_f1(matrix, seed)),
        class_f1=tuple(class_f1.tolist()),
    )


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval that holds the true share, at the given confidence.

    Unlike share +- 1.96 standard errors it stays inside 0..1 and keeps its promise for small totals.

    Args:
        correct, total: how many of how many.
        confidence: between 0 and 1.

    Raises:
        ValueError: total is not positive, or correct is not within 0..total.

    Source: Wilson (1927), https://doi.org/10.1080/01621459.1927.10502953
    """
    if not (total > 0 and 0 <= correct <= total):
        raise ValueError(f"expected 0 <= correct <= total and total > 0, got {correct} of {total}")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = correct / total
    centre = share + z**2 / (2 * total)
    margin = z * (share * (1 - share) / total + z**2 / (4 * total**2)) ** 0.5
    low, high = ((centre + side * margin) / (1 + z**2 / total) for side in (-1, 1))
    # At 0 and at all the formula gives exactly 0 and 1, up to rounding.
    return hold_value(share, (max(0.0, low), min(1.0, high)))


def hold_value(value: float, interval: tuple[float, float]) -> tuple[float, float]:
    """Return the interval, widened where it does not hold the value itself.

    Rounding puts an end beside the value that it equals; and what draws of few images give may lie to one
    side of the value: a draw without the only image of a class has one class fewer in its mean.

    Args:
        value: measured; NaN leaves the interval as it is.
        interval: (low, high).
    """
    low, high = interval
    return (value if value < low else low), (value if value > high else high)


def confusion_matrix(targets: ClassIndices, predictions: ClassIndices, classes: int) -> np.ndarray:
    """Count how often each class was taken for each.

    Args:
        targets, predictions: equally many class indices, 0..classes - 1.
        classes: number of classes.

    Returns:
        int64 [classes, classes], rows truth, columns prediction.

    Raises:
        ValueError: empty, of different lengths, or not class indices.
    """
    targets, predictions = np.asarray(targets), np.asarray(predictions)
    if targets.shape != predictions.shape or targets.size == 0:
        found = f"{targets.size} targets and {predictions.size} predictions"
        raise ValueError(f"need as many of each, at least one: {found}")
    for name, values in (("targets", targets), ("predictions", predictions)):
        if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= classes:
            raise ValueError(f"{name} must be class indices 0..{classes - 1} (logits need argmax(1) first)")
    cells = targets.astype(np.int64) * classes + predictions
    return np.bincount(cells.ravel(), minlength=classes**2).reshape(classes, classes)


def classification_report(targets: ClassIndices, predictions: ClassIndices) -> str:
    """Return scikit-learn's table of precision, recall, F1 and support under the report's class names.

    It always has three rows, and writes 0 where a class is absent, as the report's does; `score` keeps
    such a class out of its macro F1 instead.

    Raises:
        ValueError: as `confusion_matrix`.
    """
    confusion_matrix(targets, predictions, len(REPORT_NAMES))
    return sklearn.metrics.classification_report(
        np.asarray(targets),
        np.asarray(predictions),
        labels=range(len(REPORT_NAMES)),
        target_names=REPORT_NAMES,
        zero_division=0,
    )


def f1_by_class(matrices: np.ndarray) -> np.ndarray:
    """Return F1 = 2 TP / (2 TP + FP + FN) of every class, NaN where truth and prediction have none.

    Args:
        matrices: confusion matrices, [..., classes, classes].

    Returns:
        float64 [..., classes].
    """
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    marked = matrices.sum(-1) + matrices.sum(-2)
    return np.divide(2 * hits, marked, out=np.full(hits.shape, np.nan), where=marked > 0)


def iou_by_class(matrices: np.ndarray) -> np.ndarray:
    """Return IoU = TP / (TP + FP + FN) of every class, NaN where truth and prediction have none.

    Args:
        matrices: confusion matrices, [..., classes, classes].

    Returns:
        float64 [..., classes].
    """
    f1 = f1_by_class(matrices)
    return f1 / (2 - f1)


def bootstrap_macro_f1(matrix: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the 95 % percentile interval of macro F1 over images drawn with replacement.

    Drawing N images again only decides how many fall in each cell of the confusion matrix, and those
    counts are multinomial: no image has to be drawn one by one.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    total = int(matrix.sum())
    drawn = np.random.default_rng(seed).multinomial(total, matrix.ravel() / total, size=RESAMPLES)
    values = np.nanmean(f1_by_class(drawn.reshape(-1, *matrix.shape)), axis=1)
    low, high = np.quantile(values, (0.025, 0.975)).tolist()
    return low, high


def mcnemar_test(targets: ClassIndices, first: ClassIndices, second: ClassIndices) -> PairedTest:
    """Test whether one of two models is better, by the images that only one of them answers rightly.

    If the models are equally good, each such image is the toss of a fair coin. What both answer rightly,
    or both wrongly, says nothing about the difference; without any other image the p-value is 1.

    Args:
        targets, first, second: N class indices each: the truth, and what either model predicts.

    Raises:
        ValueError: empty, or of different lengths.

    Source: McNemar (1947), https://doi.org/10.1007/BF02295996; here with exact binomial probabilities
    in place of his chi-squared, which needs many images.
    """
    targets, first, second = np.asarray(targets), np.asarray(first), np.asarray(second)
    if not (targets.shape == first.shape == second.shape) or targets.size == 0:
        found = f"{targets.shape}, {first.shape} and {second.shape}"
        raise ValueError(f"need as many targets as predictions of both models, at least one: got {found}")
    only_first = int(((first == targets) & (second != targets)).sum())
    only_second = int(((second == targets) & (first != targets)).sum())
    told_apart = only_first + only_second
    p_value = float(scipy.stats.binomtest(only_first, told_apart).pvalue) if told_apart else 1.0
    return PairedTest(only_first, only_second, p_value)


def calibration_curve(
    targets: ClassIndices, probabilities: Tensor | np.ndarray, bins: int = 10
) -> pd.DataFrame:
    """Compare how sure a model is with how often it is right.

    Args:
        targets: N class indices.
        probabilities: float [N, C], what the model gives each class; its greatest is the confidence.
        bins: number of equal parts that the confidences 0..1 are cut into.

    Returns:
        a row for each bin that has images, index the bin's interval (open on the left); columns
        confidence (their mean), accuracy, low, high (its 95 % Wilson interval) and images.

    Raises:
        ValueError: shapes that do not fit, no class indices, or rows that are no probabilities.

    Source: Guo et al. (2017), https://arxiv.org/abs/1706.04599
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    check_probabilities(probabilities)
    predictions = probabilities.argmax(1)
    confusion_matrix(targets, predictions, probabilities.shape[1])
    answers = pd.DataFrame({"confidence": probabilities.max(1), "right": predictions == np.asarray(targets)})
    groups = answers.groupby(pd.cut(answers["confidence"], np.linspace(0, 1, bins + 1)), observed=True)
    curve = groups.agg(confidence=("confidence", "mean"))
    counts = groups["right"].agg(["sum", "size"])
    curve["accuracy"] = counts["sum"] / counts["size"]
    intervals = [wilson_interval(correct, total) for correct, total in counts.to_numpy().tolist()]
    curve["low"], curve["high"] = zip(*intervals, strict=True)
    curve["images"] = counts["size"]
    return curve.set_index(pd.IntervalIndex(curve.index, name="bin"))


def check_probabilities(probabilities: np.ndarray) -> None:
    """Raise ValueError unless an array is [N, C] with rows of numbers in 0..1 that sum to 1."""
    if probabilities.ndim != 2 or probabilities.size == 0:
        raise ValueError(f"expected probabilities [N, C], at least one row, got {probabilities.shape}")
    inside = (probabilities >= 0) & (probabilities <= 1)
    if not (inside.all() and (np.abs(probabilities.sum(1) - 1) <= 1e-3).all()):
        raise ValueError("every row must be probabilities that sum to 1 (logits need softmax(1) first)")


def expected_calibration_error(
    targets: ClassIndices, probabilities: Tensor | np.ndarray, bins: int = 10
) -> float:
    """Return the mean distance between confidence and accuracy of the bins, weighted by their images.

    Args:
        targets, probabilities, bins: as in `calibration_curve`.

    Raises:
        ValueError: as `calibration_curve`.

    Source: Guo et al. (2017), https://arxiv.org/abs/1706.04599, equation 3.
    """
    curve = calibration_curve(targets, probabilities, bins)
    distances = (curve["accuracy"] - curve["confidence"]).abs()
    return float(np.average(distances, weights=curve["images"]))
