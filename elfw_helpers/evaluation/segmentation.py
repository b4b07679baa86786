"""Scores of predicted masks, comparisons of networks, and class weights, all from confusion matrices."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from elfw_helpers.data.batches import gather
from elfw_helpers.data.labels import PIXEL_CLASSES
from elfw_helpers.evaluation.classification import (
    RESAMPLES,
    Interval,
    confusion_matrix,
    f1_by_class,
    percentile_interval,
)

Masks = Tensor | np.ndarray


class MissingClassWarning(UserWarning):
    """A class has no pixel at all."""


@dataclass(frozen=True)
class SegmentationScores:
    """How good predicted masks are on one set of images; intervals are (low, high) at 95 %.

    A class absent from truth and prediction is NaN, and is left out of all means.

    Attributes:
        images: number of images.
        pixel_accuracy: pixels predicted correctly / all pixels.
        mean_accuracy: mean recall of the classes.
        mean_iou, mean_f1: means over the classes.
        frequency_weighted_iou: mean of the IoU, each class weighted by its true pixels.
        class_iou, class_iou_intervals: one value and one interval per class.

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

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, Any]) -> SegmentationScores:
        """Return the scores that `as_metrics` gave, such as those of a stored benchmark (from JSON, too)."""
        metrics = {name: tuple(one) if isinstance(one, list) else one for name, one in metrics.items()}
        names = [f"iou_{name.replace('-', '_')}" for name in PIXEL_CLASSES]
        values = tuple(metrics.pop(name) for name in names)
        intervals = tuple(metrics.pop(f"{name}_interval") for name in names)
        return cls(**metrics, class_iou=values, class_iou_intervals=intervals)

    def as_metrics(self) -> dict[str, int | float | Interval]:
        """Return the scores under the names that `show_metrics` uses."""
        metrics = dict(vars(self))
        values, intervals = metrics.pop("class_iou"), metrics.pop("class_iou_intervals")
        names = [f"iou_{name.replace('-', '_')}" for name in PIXEL_CLASSES]
        metrics.update(zip(names, values, strict=True))
        metrics.update(zip([f"{name}_interval" for name in names], intervals, strict=True))
        return metrics


def score_masks(
    targets: Masks, predictions: Masks, *, ignore: Collection[int] = (), seed: int = 0
) -> SegmentationScores:
    """Score predicted masks against the true ones: `score_matrices` of their `confusion_matrices`."""
    return score_matrices(confusion_matrices(targets, predictions), ignore=ignore, seed=seed)


def confusion_matrices(targets: Masks, predictions: Masks) -> np.ndarray:
    """Return how often each class was predicted as each in every image, int64 [N, truth, prediction].

    More images than fit in memory can be counted in portions, and the results concatenated.

    Args:
        targets, predictions: class ids, integers [N, H, W].

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
    """Score from one confusion matrix per image; the intervals are from resampling the images.

    Args:
        matrices: int64 [N, 7, 7], as `confusion_matrices` returns them.
        ignore: classes left out, `(MOUTH_MASK,)` for the ELFW paper's six: their pixels are not scored, and
            the means leave them out. A pixel of another class predicted as one of them is a mistake.

    Raises:
        ValueError: every pixel is of an ignored class.
    """
    matrix, resampled_iou = bootstrap_iou(matrices, ignore, seed)
    class_iou, support, hits = resampled_iou[0], matrix.sum(1), matrix.diagonal()
    shown = support > 0
    if not shown.any():
        raise ValueError("no pixel to score: all are of ignored classes")
    mean_iou, *mean_interval = percentile_interval(mean_over_classes(resampled_iou))
    return SegmentationScores(
        images=len(matrices),
        pixel_accuracy=float(hits.sum() / support.sum()),
        mean_accuracy=float((hits[shown] / support[shown]).mean()),
        mean_iou=mean_iou,
        mean_iou_interval=tuple(mean_interval),
        frequency_weighted_iou=float(np.average(class_iou[shown], weights=support[shown])),
        # 2 TP / (2 TP + FP + FN), from TP / (TP + FP + FN).
        mean_f1=float(np.nanmean(2 * class_iou / (1 + class_iou))),
        class_iou=tuple(class_iou.tolist()),
        class_iou_intervals=tuple(percentile_interval(values)[1:] for values in resampled_iou.T),
    )


def bootstrap_iou(matrices: np.ndarray, ignore: Collection[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the images' confusion matrices summed, [C, C], and the class IoU of all bootstrap samples.

    The IoU, [1 + samples, C], begins with that of the images themselves. Pixels of ignored classes are left
    out. Whole images are drawn, not pixels: those of one image are right or wrong together.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    # As floats, which hold whole numbers up to 2^53 exactly, the product is BLAS's.
    counts = matrices.astype(np.float64)
    counts[:, list(ignore)] = 0
    images = len(counts)
    drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=RESAMPLES)
    drawn = np.concatenate([np.ones((1, images)), drawn])
    sums = (drawn @ counts.reshape(images, -1)).reshape(-1, *counts.shape[1:])
    class_iou = iou_by_class(sums)
    class_iou[:, list(ignore)] = np.nan
    return sums[0], class_iou


def iou_by_class(matrices: np.ndarray) -> np.ndarray:
    """Return IoU = TP / (TP + FP + FN) per class, float64 [..., C], of confusion matrices [..., C, C].

    A class absent from truth and prediction is NaN.
    """
    f1 = f1_by_class(matrices)
    return f1 / (2 - f1)


def mean_over_classes(class_iou: np.ndarray) -> np.ndarray:
    """Return the means [N] of the values [N, C] that are not NaN; NaN where all are (without a warning)."""
    return np.ma.masked_invalid(class_iou).mean(1).filled(np.nan)


def compare_matrices(
    first: np.ndarray, second: np.ndarray, *, ignore: Collection[int] = (), seed: int = 0
) -> pd.DataFrame:
    """Compare the IoU of two networks by a paired bootstrap, which draws the same images for both.

    Args:
        first, second: confusion matrices, int64 [N, 7, 7], of the same images in the same order; those of
            several seeds added up.
        ignore: classes left out, as in `score_matrices`; they get NaN.

    Returns:
        a row per class, then `mean`, with columns difference (second minus first), low and high (its 95 %
        interval). A class absent from truth and both predictions is NaN. Where no image has a class and only
        one of the two predicts it, its IoU of 0 is compared with 1: the other is right about every pixel.
        `mean` is the difference of the mean IoUs that `score_matrices` gives the two.

    Raises:
        ValueError: not of the same images.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 16.
    """
    if first.shape != second.shape or not (first.sum(2) * second.sum() == second.sum(2) * first.sum()).all():
        raise ValueError("the two do not score the same images: their true pixels differ")
    before, after = (bootstrap_iou(matrices, ignore, seed)[1] for matrices in (first, second))
    means = mean_over_classes(after) - mean_over_classes(before)
    # Only for a class that the truth lacks altogether, not for one that a bootstrap sample happens to lack.
    absent = first.sum((0, 2)) == 0
    one_predicts = absent & (np.isnan(before) != np.isnan(after))
    before[one_predicts & np.isnan(before)] = after[one_predicts & np.isnan(after)] = 1
    names, columns = (*PIXEL_CLASSES, "mean"), (*(after - before).T, means)
    rows = {name: percentile_interval(values) for name, values in zip(names, columns, strict=True)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["difference", "low", "high"])


def median_frequency_weights(
    masks: Masks, classes: int = len(PIXEL_CLASSES), chosen: Tensor | None = None
) -> Tensor:
    """Return class weights for the loss, float32 [classes]: median frequency / frequency of each class.

    A frequency is the class's pixels divided by all pixels of the images that show it. A class that no image
    shows gets weight 0, so that a class that was never learned does not decide which epoch is the best.

    Args:
        masks: class ids, integers [N, H, W], of the training split.
        chosen: int64 [M], indices of the masks to count, without copying all of them; None counts all.

    Raises:
        ValueError: no pixels, or an id that is no class.

    Warns:
        MissingClassWarning: a class has no pixel; names it.

    Source: Eigen & Fergus (2015), https://arxiv.org/abs/1411.4734, section 6.
    """
    masks, counts = torch.as_tensor(masks), []
    shape = tuple(masks.shape)
    no_ids = ValueError(f"expected class ids 0..{classes - 1} [N, H, W], at least one, got {shape}")
    if masks.ndim != 3 or masks.numel() == 0:
        raise no_ids
    for part in gather(masks, chosen):
        if part.min() < 0 or part.max() >= classes:
            raise no_ids
        counts += [np.bincount(mask.ravel(), minlength=classes) for mask in part.numpy()]
    counts = np.stack(counts)
    seen = counts.any(0)
    frequencies = counts.sum(0)[seen] / ((counts > 0).sum(0)[seen] * masks[0].numel())
    if not seen.all():
        missing = ", ".join(PIXEL_CLASSES[label] for label in np.flatnonzero(~seen))
        text = f"no image shows {missing}: nothing to learn it from. Its weight in the loss is 0"
        warnings.warn(text, MissingClassWarning, stacklevel=2)
    weights = np.zeros(classes, np.float32)
    weights[seen] = np.median(frequencies) / frequencies
    return torch.from_numpy(weights)
