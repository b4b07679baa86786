"""Scores of predicted attributes, with the intervals and tests that tell how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
Interval = tuple[float, float]


@dataclass(frozen=True)
class Scores:
    """How good one model is on one set of images; intervals are (low, high) at 95 %.

    Attributes:
        correct, total: images predicted correctly, and all images.
        accuracy: correct / total, with Wilson's interval.
        balanced_accuracy: mean recall of the classes that have images.
        majority_baseline: accuracy of always predicting the majority class.
        macro_f1: mean of class_f1 over the classes that are not NaN, with a bootstrap interval.
        class_f1: one value per class, NaN for a class absent from truth and prediction.
    """

    correct: int
    total: int
    accuracy: float
    accuracy_interval: Interval
    balanced_accuracy: float
    majority_baseline: float
    macro_f1: float
    macro_f1_interval: Interval
    class_f1: tuple[float, ...]

    def as_metrics(self) -> dict[str, int | float | Interval]:
        """Return the scores under the names that `show_metrics` and the closing table use."""
        renamed = ("correct", "total", "class_f1")
        return {
            "images": self.total,
            **{name: value for name, value in vars(self).items() if name not in renamed},
            **{f"f1_{name}": value for name, value in zip(ATTRIBUTES, self.class_f1, strict=True)},
        }


@dataclass(frozen=True)
class PairedTest:
    """How many images only the first or only the second model predicts correctly, and McNemar's p-value."""

    only_first: int
    only_second: int
    p_value: float


def score(
    targets: ClassIndices, predictions: ClassIndices, *, majority: int | None = None, seed: int = 0
) -> Scores:
    """Score predicted attributes against the true ones.

    Args:
        targets, predictions: N class indices each, 0 hair, 1 spectacles, 2 cap.
        majority: the class that the baseline always predicts, the most frequent one of the training split;
            by default the most frequent one of the targets.
        seed: of the bootstrap.

    Raises:
        ValueError: as `confusion_matrix`.
    """
    matrix = confusion_matrix(targets, predictions, len(ATTRIBUTES))
    support = matrix.sum(1)
    correct, total = int(matrix.trace()), int(matrix.sum())
    macro_f1, *macro_f1_interval = bootstrap_macro_f1(matrix, seed)
    return Scores(
        correct=correct,
        total=total,
        accuracy=correct / total,
        accuracy_interval=wilson_interval(correct, total),
        balanced_accuracy=float((matrix.diagonal()[support > 0] / support[support > 0]).mean()),
        majority_baseline=float(support[support.argmax() if majority is None else majority] / total),
        macro_f1=macro_f1,
        macro_f1_interval=tuple(macro_f1_interval),
        class_f1=tuple(f1_by_class(matrix).tolist()),
    )


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> Interval:
    """Return the confidence interval of correct / total, within 0..1, good for small totals too.

    Raises:
        ValueError: total is not positive, or correct is not within 0..total.

    Source: Wilson (1927), https://doi.org/10.1080/01621459.1927.10502953
    """
    if not (total > 0 and 0 <= correct <= total):
        raise ValueError(f"expected 0 <= correct <= total and total > 0, got {correct} of {total}")
    interval = scipy.stats.binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def percentile_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return the first value, the measured one, with the 95 % interval of the others, the bootstrap's.

    NaN is left out of the interval, which is (NaN, NaN) if there is nothing else.
    """
    value, resampled = float(values[0]), values[1:][~np.isnan(values[1:])]
    if not resampled.size:
        return value, np.nan, np.nan
    low, high = np.quantile(resampled, (0.025, 0.975)).tolist()
    # Samples of few images may all be on one side: one that lacks a class has one class fewer in its mean.
    # The order matters for NaN, which is neither below nor above.
    return value, min(low, value), max(high, value)


def confusion_matrix(targets: ClassIndices, predictions: ClassIndices, classes: int) -> np.ndarray:
    """Return how often each class was predicted as each, int64 [truth, prediction].

    Raises:
        ValueError: empty, of different lengths, or not class indices 0..classes - 1.
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

    An absent class has a row of 0 in it, as in the report; `score` leaves it out of macro F1 instead.

    Raises:
        ValueError: as `confusion_matrix`.
    """
    # Checks them: scikit-learn would pass over class indices that have no name.
    confusion_matrix(targets, predictions, len(REPORT_NAMES))
    labels = range(len(REPORT_NAMES))
    return sklearn.metrics.classification_report(
        np.asarray(targets),
        np.asarray(predictions),
        labels=labels,
        target_names=REPORT_NAMES,
        zero_division=0,
    )


def f1_by_class(matrices: np.ndarray) -> np.ndarray:
    """Return F1 = 2 TP / (2 TP + FP + FN) per class, float64 [..., C], of confusion matrices [..., C, C].

    A class absent from truth and prediction is NaN.
    """
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    counted = matrices.sum(-1) + matrices.sum(-2)
    return np.divide(2 * hits, counted, out=np.full(hits.shape, np.nan), where=counted > 0)


def bootstrap_macro_f1(matrix: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Return macro F1 and its bootstrap interval (low, high): images are drawn with replacement.

    Drawing N images changes only the counts in the cells of the confusion matrix, and these are
    multinomial: no image has to be drawn one by one.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    total = int(matrix.sum())
    drawn = np.random.default_rng(seed).multinomial(total, matrix.ravel() / total, size=RESAMPLES)
    matrices = np.concatenate([matrix[None], drawn.reshape(-1, *matrix.shape)])
    return percentile_interval(np.nanmean(f1_by_class(matrices), axis=1))


def mcnemar_test(targets: ClassIndices, first: ClassIndices, second: ClassIndices) -> PairedTest:
    """Test whether one of two models is better, by the images that only one of them predicts correctly.

    If the models are equally good, each such image is the toss of a fair coin. Without any, the p-value is 1.

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
    discordant = only_first + only_second
    p_value = float(scipy.stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return PairedTest(only_first, only_second, p_value)


def calibration_curve(
    targets: ClassIndices, probabilities: Tensor | np.ndarray, bins: int = 10
) -> pd.DataFrame:
    """Compare a model's confidence with its accuracy, bin by bin.

    Args:
        probabilities: float [N, C], one per class; the greatest is the confidence.
        bins: number of equal parts of 0..1.

    Returns:
        a row per bin that has images, index the bin's interval (open on the left); columns confidence
        (their mean), accuracy, low, high (its 95 % Wilson interval) and images.

    Raises:
        ValueError: shapes that do not fit, no class indices, or rows that are no probabilities.

    Source: Guo et al. (2017), https://arxiv.org/abs/1706.04599
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if probabilities.ndim != 2 or probabilities.size == 0:
        raise ValueError(f"expected probabilities [N, C], at least one row, got {probabilities.shape}")
    inside = (probabilities >= 0) & (probabilities <= 1)
    if not (inside.all() and (np.abs(probabilities.sum(1) - 1) <= 1e-3).all()):
        raise ValueError("every row must be probabilities that sum to 1 (logits need softmax(1) first)")
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
