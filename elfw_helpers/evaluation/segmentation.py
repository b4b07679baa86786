"""How good masks are, all from one accumulated confusion matrix, and how sure one may be of it."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from elfw_helpers.data.labels import PIXEL_CLASSES
from elfw_helpers.evaluation.classification import RESAMPLES, confusion_matrix, hold_value, iou_by_class

Masks = Tensor | np.ndarray
Interval = tuple[float, float]


class MissingClassWarning(UserWarning):
    """A class has no pixel at all."""


@dataclass(frozen=True)
class SegmentationScores:
    """How well masks are predicted on one set of images; intervals are (low, high) at 95 %.

    A class absent from truth and prediction is NaN, and has no part in any mean.

    Attributes:
        images: how many.
        pixel_accuracy: pixels answered rightly / all pixels.
        mean_accuracy: mean over the classes of the share of their pixels that is found.
        mean_iou, mean_f1: means over the classes.
        frequency_weighted_iou: mean of the IoU, each class weighted by its true pixels.
        class_iou, class_iou_intervals: a value and an interval a class.

    Source: Long et al. (2015), https://arxiv.org/abs/1411.4038, section 5, for all but F1.
    """

    images: int
    pixel_accuracy: float
    mean_accuracy: float
    mean_iou: float
    mean_iou_interval: Interval
    frequency_weighted_iou: float
    mean_f1: float
    class_iou: tuple[float, ...]
    class_iou_intervals: tuple[Interval, ...]

    def as_metrics(self) -> dict[str, int | float | Interval]:
        """Return the scores under the names that `show_metrics` uses."""
        names = [f"iou_{name.replace('-', '_')}" for name in PIXEL_CLASSES]
        return {
            "images": self.images,
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
            "mean_iou": self.mean_iou,
            "mean_iou_interval": self.mean_iou_interval,
            "frequency_weighted_iou": self.frequency_weighted_iou,
            "mean_f1": self.mean_f1,
            **dict(zip(names, self.class_iou, strict=True)),
            **{
                f"{name}_interval": interval
                for name, interval in zip(names, self.class_iou_intervals, strict=True)
            },
        }


def score_masks(
    targets: Masks, predictions: Masks, *, ignore: Collection[int] = (), seed: int = 0
) -> SegmentationScores:
    """Score predicted masks against the true ones: `score_matrices` of their `confusion_matrices`."""
    return score_matrices(confusion_matrices(targets, predictions), ignore=ignore, seed=seed)


def confusion_matrices(targets: Masks, predictions: Masks) -> np.ndarray:
    """Count, image by image, how often each class was taken for each.

    More images than fit in memory can be counted in portions, and the results concatenated.

    Args:
        targets, predictions: class ids, integers [N, H, W].

    Returns:
        int64 [N, 7, 7], rows truth, columns prediction.

    Raises:
        ValueError: no images, shapes that differ, or an id that is no class; names the image.
    """
    targets, predictions = np.asarray(targets), np.asarray(predictions)
    if targets.shape != predictions.shape or targets.ndim != 3 or len(targets) == 0:
        found = f"{targets.shape} and {predictions.shape}"
        raise ValueError(f"expected targets and predictions [N, H, W], at least one image, got {found}")
    matrices = []
    for number, pair in enumerate(zip(targets, predictions, strict=True)):
        try:
            matrices.append(confusion_matrix(*pair, len(PIXEL_CLASSES)))
        except ValueError as error:
            raise ValueError(f"image {number} of {len(targets)}: {error}") from error
    return np.stack(matrices)


def score_matrices(
    matrices: np.ndarray, *, ignore: Collection[int] = (), seed: int = 0
) -> SegmentationScores:
    """Score from one confusion matrix an image; the intervals are of drawing the images anew.

    Args:
        matrices: int64 [N, 7, 7], as `confusion_matrices` returns them.
        ignore: classes left out, `(MOUTH_MASK,)` for the ELFW paper's six: their pixels are not scored, and
            they have no part in the means. Where another class is taken for one of them, that is a mistake.
        seed: of the bootstrap.

    Raises:
        ValueError: every pixel is of an ignored class.
    """
    matrices = leave_out(matrices, ignore)
    matrix = matrices.sum(0)
    if matrix.sum() == 0:
        raise ValueError("no pixel to score: all are of ignored classes")
    class_iou = iou_without(matrix, ignore)
    support, hits = matrix.sum(1), matrix.diagonal()
    shown = support > 0
    mean_iou = float(np.nanmean(class_iou))
    class_intervals, mean_interval = bootstrap_iou(matrices, ignore, seed)
    return SegmentationScores(
        images=len(matrices),
        pixel_accuracy=float(hits.sum() / support.sum()),
        mean_accuracy=float((hits[shown] / support[shown]).mean()),
        mean_iou=mean_iou,
        mean_iou_interval=hold_value(mean_iou, mean_interval),
        frequency_weighted_iou=float(np.average(class_iou[shown], weights=support[shown])),
        # F1 counts the hits twice: 2 TP / (2 TP + FP + FN).
        mean_f1=float(np.nanmean(2 * class_iou / (1 + class_iou))),
        class_iou=tuple(class_iou.tolist()),
        class_iou_intervals=tuple(map(hold_value, class_iou.tolist(), class_intervals)),
    )


def leave_out(matrices: np.ndarray, ignore: Collection[int]) -> np.ndarray:
    """Return confusion matrices [N, C, C] without the pixels that truly are of the ignored classes."""
    matrices = matrices.copy()
    matrices[:, list(ignore)] = 0
    return matrices


def iou_without(matrices: np.ndarray, ignore: Collection[int]) -> np.ndarray:
    """Return the IoU of every class, float64 [..., C], of confusion matrices [..., C, C]; NaN if ignored."""
    class_iou = iou_by_class(matrices)
    class_iou[..., list(ignore)] = np.nan
    return class_iou


def bootstrap_iou(
    matrices: np.ndarray, ignore: Collection[int], seed: int
) -> tuple[tuple[Interval, ...], Interval]:
    """Return the intervals of each class's IoU and of their mean, over images drawn with replacement.

    Whole images are drawn, not pixels: those of one image are right or wrong together. A class that few
    images show is missing from some of the draws, which then say nothing about it.

    Args:
        matrices, ignore, seed: as in `score_matrices`.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    count = len(matrices)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    # As floats, which hold whole numbers up to 2^53 exactly, the product is BLAS's.
    sums = drawn.astype(np.float64) @ matrices.reshape(count, -1).astype(np.float64)
    class_iou = iou_without(sums.reshape(-1, *matrices.shape[1:]), ignore)
    return tuple(map(percentile_interval, class_iou.T)), percentile_interval(mean_known(class_iou))


def compare_matrices(
    first: np.ndarray, second: np.ndarray, *, ignore: Collection[int] = (), seed: int = 0
) -> pd.DataFrame:
    """Compare the IoU of two networks, or ways of training them, on the same images.

    The images are drawn anew for both at once (a paired bootstrap), so that what makes an image hard for both
    cancels out.

    Args:
        first, second: confusion matrices, int64 [N, 7, 7], of the same images in the same order; those of
            several seeds added up.
        ignore: classes left out, as in `score_matrices`; they get NaN.
        seed: of the bootstrap.

    Returns:
        a row a class, then `mean`, with columns difference (second minus first), low and high (its 95 %
        interval). A class that neither truth nor answers show is NaN. Where no image has a class and only
        one of the two answers it, its IoU of 0 is compared with 1: the other is right about every pixel.
        `mean` is the difference of the mean IoUs that `score_matrices` gives the two.

    Raises:
        ValueError: not of the same images.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 16.
    """
    if first.shape != second.shape or not (first.sum(2) * second.sum() == second.sum(2) * first.sum()).all():
        raise ValueError("the two do not score the same images: their true pixels differ")
    first, second = leave_out(first, ignore), leave_out(second, ignore)
    count = len(first)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    drawn = np.concatenate([np.ones((1, count)), drawn])
    sums = (drawn @ matrices.reshape(count, -1).astype(np.float64) for matrices in (first, second))
    before, after = (iou_without(total.reshape(-1, *first.shape[1:]), ignore) for total in sums)
    means = mean_known(after) - mean_known(before)
    # Only where the truth lacks a class altogether, not in a draw that happens to lack it.
    invented = (np.isnan(before) != np.isnan(after)) & (first.sum((0, 2)) == 0)
    before[invented & np.isnan(before)] = after[invented & np.isnan(after)] = 1
    differences = after - before
    rows = {
        name: (values[0], *hold_value(values[0], percentile_interval(values[1:])))
        for name, values in zip((*PIXEL_CLASSES, "mean"), (*differences.T, means), strict=True)
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["difference", "low", "high"])


def mean_known(class_iou: np.ndarray) -> np.ndarray:
    """Return the mean over the classes that are not NaN, float64 [N], of values [N, C]; NaN if all are."""
    known = (~np.isnan(class_iou)).sum(1)
    return np.divide(np.nansum(class_iou, 1), known, out=np.full(len(known), np.nan), where=known > 0)


def percentile_interval(values: np.ndarray) -> Interval:
    """Return what the middle 95 % of some values lie between, NaN left out; (NaN, NaN) if there is none."""
    known = values[~np.isnan(values)]
    if not known.size:
        return np.nan, np.nan
    low, high = np.quantile(known, (0.025, 0.975)).tolist()
    return low, high


def median_frequency_weights(masks: Masks, classes: int = len(PIXEL_CLASSES)) -> Tensor:
    """Return the weight of each class in a loss that is to hear rare classes: median frequency / frequency.

    A frequency is the class's pixels over all pixels of the images that show it. A class that no image shows
    gets weight 0: training cannot tell, and in validation a class that was never learned should not decide
    which epoch is the best.

    Args:
        masks: class ids, integers [N, H, W]; of the training split.
        classes: number of classes.

    Returns:
        float32 [classes].

    Raises:
        ValueError: no pixels, or an id that is no class.

    Warns:
        MissingClassWarning: a class has no pixel; names it.

    Source: Eigen & Fergus (2015), https://arxiv.org/abs/1411.4734, section 6.
    """
    masks = np.asarray(masks)
    if masks.ndim != 3 or masks.size == 0 or masks.min() < 0 or masks.max() >= classes:
        raise ValueError(f"expected class ids 0..{classes - 1} [N, H, W], at least one, got {masks.shape}")
    counts = np.stack([np.bincount(mask.ravel(), minlength=classes) for mask in masks])
    seen = counts.any(0)
    frequencies = counts.sum(0)[seen] / ((counts > 0).sum(0)[seen] * masks[0].size)
    if not seen.all():
        missing = ", ".join(PIXEL_CLASSES[label] for label in np.flatnonzero(~seen))
        text = f"no image shows {missing}: nothing to learn it from. Its weight in the loss is 0"
        warnings.warn(text, MissingClassWarning, stacklevel=2)
    weights = np.zeros(classes, np.float32)
    weights[seen] = np.median(frequencies) / frequencies
    return torch.from_numpy(weights)
