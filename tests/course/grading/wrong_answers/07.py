"""Answers to the exercises of notebook 07: the right ones get all points, the wrong ones at most a third."""

import math

import numpy as np
import torch


# right: class_iou: NumPy
def class_iou(matrix):
    hits = matrix.diagonal()
    with np.errstate(invalid="ignore"):
        return hits / (matrix.sum(axis=0) + matrix.sum(axis=1) - hits)


# right: class_iou: loops, and a list
def class_iou(matrix):
    ious = []
    for k in range(len(matrix)):
        union = sum(matrix[k, :]) + sum(matrix[:, k]) - matrix[k, k]
        ious.append(math.nan if union == 0 else matrix[k, k] / union)
    return ious


# right: class_iou: tensors
def class_iou(matrix):
    matrix = torch.as_tensor(matrix, dtype=torch.float64)
    missed, false = matrix.sum(1) - matrix.diag(), matrix.sum(0) - matrix.diag()
    return matrix.diag() / (matrix.diag() + missed + false)


# wrong: class_iou: 0 for a class that is nowhere
def class_iou(matrix):
    hits = np.diag(matrix)
    return hits / np.maximum(matrix.sum(0) + matrix.sum(1) - hits, 1)


# wrong: class_iou: 1 for a class that is nowhere
def class_iou(matrix):
    hits = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hits
    return np.where(union == 0, 1.0, hits / np.maximum(union, 1))


# wrong: class_iou: NaN for a class that the truth does not show
def class_iou(matrix):
    hits, support = np.diag(matrix), matrix.sum(1)
    return np.where(support == 0, np.nan, hits / np.maximum(matrix.sum(0) + support - hits, 1))


# wrong: class_iou: NaN for a class that is never found
def class_iou(matrix):
    hits = np.diag(matrix)
    return np.where(hits == 0, np.nan, hits / np.maximum(matrix.sum(0) + matrix.sum(1) - hits, 1))


# wrong: class_iou: a class that is nowhere is left out
def class_iou(matrix):
    hits = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hits
    return hits[union > 0] / union[union > 0]


# wrong: class_iou: the hits are counted twice
def class_iou(matrix):
    with np.errstate(invalid="ignore"):
        return np.diag(matrix) / (matrix.sum(0) + matrix.sum(1))


# wrong: class_iou: Dice
def class_iou(matrix):
    with np.errstate(invalid="ignore"):
        return 2 * np.diag(matrix) / (matrix.sum(0) + matrix.sum(1))


# wrong: class_iou: recall
def class_iou(matrix):
    with np.errstate(invalid="ignore"):
        return np.diag(matrix) / matrix.sum(1)


# wrong: class_iou: precision
def class_iou(matrix):
    with np.errstate(invalid="ignore"):
        return np.diag(matrix) / matrix.sum(0)


# wrong: class_iou: the mean
def class_iou(matrix):
    hits = np.diag(matrix)
    with np.errstate(invalid="ignore"):
        return np.nanmean(hits / (matrix.sum(0) + matrix.sum(1) - hits))


# wrong: class_iou: a share of all pixels
def class_iou(matrix):
    return np.diag(matrix) / matrix.sum()


# wrong: class_iou: whole numbers
def class_iou(matrix):
    hits = np.diag(matrix)
    return hits // np.maximum(matrix.sum(0) + matrix.sum(1) - hits, 1)


# wrong: class_iou: None for a class that is nowhere
def class_iou(matrix):
    hits = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hits
    return [hit / whole if whole else None for hit, whole in zip(hits, union)]


# right: frequency_weights: NumPy
def frequency_weights(masks, classes):
    shown = (masks[..., None] == np.arange(classes)).sum((1, 2))
    frequencies = shown.sum(0) / ((shown > 0).sum(0) * masks[0].size)
    return np.median(frequencies) / frequencies


# right: frequency_weights: loops
def frequency_weights(masks, classes):
    from statistics import median

    frequencies = []
    for k in range(classes):
        pixels = possible = 0
        for mask in masks.tolist():
            found = sum(row.count(k) for row in mask)
            pixels += found
            possible += len(mask) * len(mask[0]) if found else 0
        frequencies.append(pixels / possible)
    return [median(frequencies) / frequency for frequency in frequencies]


# right: frequency_weights: tensors
def frequency_weights(masks, classes):
    shown = torch.nn.functional.one_hot(torch.as_tensor(masks), classes).flatten(1, 2).double().mean(1)
    frequencies = torch.stack([column[column > 0].mean() for column in shown.T])
    return frequencies.quantile(0.5) / frequencies


# wrong: frequency_weights: all masks count
def frequency_weights(masks, classes):
    frequencies = np.bincount(masks.ravel(), minlength=classes) / masks.size
    return np.median(frequencies) / frequencies


# wrong: frequency_weights: the mean, not the median
def frequency_weights(masks, classes):
    shown = (masks[..., None] == np.arange(classes)).sum((1, 2))
    frequencies = shown.sum(0) / ((shown > 0).sum(0) * masks[0].size)
    return frequencies.mean() / frequencies


# wrong: frequency_weights: the lower median of torch
def frequency_weights(masks, classes):
    shown = (masks[..., None] == np.arange(classes)).sum((1, 2))
    frequencies = torch.as_tensor(shown.sum(0) / ((shown > 0).sum(0) * masks[0].size))
    return frequencies.median() / frequencies


# wrong: frequency_weights: upside down
def frequency_weights(masks, classes):
    shown = (masks[..., None] == np.arange(classes)).sum((1, 2))
    frequencies = shown.sum(0) / ((shown > 0).sum(0) * masks[0].size)
    return frequencies / np.median(frequencies)


# wrong: frequency_weights: reciprocals
def frequency_weights(masks, classes):
    shown = (masks[..., None] == np.arange(classes)).sum((1, 2))
    return (shown > 0).sum(0) * masks[0].size / shown.sum(0)


# wrong: frequency_weights: frequencies
def frequency_weights(masks, classes):
    shown = (masks[..., None] == np.arange(classes)).sum((1, 2))
    return shown.sum(0) / ((shown > 0).sum(0) * masks[0].size)


# wrong: frequency_weights: masks are counted, not pixels
def frequency_weights(masks, classes):
    frequencies = np.array([(masks == k).any((1, 2)).mean() for k in range(classes)])
    return np.median(frequencies) / frequencies


# wrong: frequency_weights: the first mask alone
def frequency_weights(masks, classes):
    counts = np.maximum(np.bincount(masks[0].ravel(), minlength=classes), 1)
    return np.median(counts) / counts


# wrong: frequency_weights: all classes of the course
def frequency_weights(masks, classes):
    shown = (masks[..., None] == np.arange(7)).sum((1, 2))
    frequencies = shown.sum(0) / np.maximum((shown > 0).sum(0) * masks[0].size, 1)
    return np.median(frequencies) / np.maximum(frequencies, 1e-9)


# wrong: frequency_weights: weights that add up to 1
def frequency_weights(masks, classes):
    shown = (masks[..., None] == np.arange(classes)).sum((1, 2))
    weights = (shown > 0).sum(0) / shown.sum(0)
    return weights / weights.sum()


# wrong: frequency_weights: the pixels of a mask are forgotten
def frequency_weights(masks, classes):
    counts = np.bincount(masks.ravel(), minlength=classes)
    return counts.sum() / (classes * counts)


# wrong: frequency_weights: all weigh 1
def frequency_weights(masks, classes):
    return [1.0] * classes


# right: dice_score: sets of places
def dice_score(first, second, label):
    a = {tuple(place) for place in np.argwhere(first == label)}
    b = {tuple(place) for place in np.argwhere(second == label)}
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else math.nan


# right: dice_score: from the IoU
def dice_score(first, second, label):
    a, b = first == label, second == label
    union = np.logical_or(a, b).sum()
    if union == 0:
        return np.nan
    iou = np.logical_and(a, b).sum() / union
    return 2 * iou / (1 + iou)


# right: dice_score: NaN from a division
def dice_score(first, second, label):
    a, b = (first == label).astype(float), (second == label).astype(float)
    with np.errstate(invalid="ignore"):
        return np.float64(2 * (a * b).sum()) / (a.sum() + b.sum())


# right: dice_score: the other classes are wiped out in place
def dice_score(first, second, label):
    for mask in (first, second):
        mask[mask != label] = -1
    marked = (first == label).sum() + (second == label).sum()
    return 2 * ((first == second) & (first == label)).sum() / marked if marked else float("nan")


# wrong: dice_score: IoU
def dice_score(first, second, label):
    a, b = first == label, second == label
    return (a & b).sum() / (a | b).sum() if (a | b).any() else np.nan


# wrong: dice_score: the 2 forgotten
def dice_score(first, second, label):
    a, b = first == label, second == label
    return (a & b).sum() / (a.sum() + b.sum()) if (a | b).any() else np.nan


# wrong: dice_score: twice the IoU
def dice_score(first, second, label):
    a, b = first == label, second == label
    return 2 * (a & b).sum() / (a | b).sum() if (a | b).any() else np.nan


# wrong: dice_score: 0 if neither shows it
def dice_score(first, second, label):
    a, b = first == label, second == label
    return 2 * (a & b).sum() / max(a.sum() + b.sum(), 1)


# wrong: dice_score: 1 if neither shows it
def dice_score(first, second, label):
    a, b = first == label, second == label
    return 2 * (a & b).sum() / (a.sum() + b.sum()) if (a | b).any() else 1.0


# wrong: dice_score: NaN if one does not show it
def dice_score(first, second, label):
    a, b = first == label, second == label
    return 2 * (a & b).sum() / (a.sum() + b.sum()) if a.any() and b.any() else np.nan


# wrong: dice_score: NaN if the second does not show it
def dice_score(first, second, label):
    a, b = first == label, second == label
    return 2 * (a & b).sum() / (a.sum() + b.sum()) if b.any() else np.nan


# wrong: dice_score: the label is ignored
def dice_score(first, second, label):
    a, b = first > 0, second > 0
    return 2 * (a & b).sum() / (a.sum() + b.sum()) if (a | b).any() else np.nan


# wrong: dice_score: equal pixels of any class
def dice_score(first, second, label):
    a, b = first == label, second == label
    return 2 * (first == second).sum() / (a.sum() + b.sum()) if (a | b).any() else np.nan


# wrong: dice_score: recall
def dice_score(first, second, label):
    a, b = first == label, second == label
    return (a & b).sum() / a.sum() if a.any() else np.nan


# wrong: dice_score: background has none
def dice_score(first, second, label):
    a, b = first * (first == label), second * (second == label)
    whole = (a > 0).sum() + (b > 0).sum()
    return 2 * (a * b > 0).sum() / whole if whole else np.nan


# wrong: dice_score: the loss
def dice_score(first, second, label):
    a, b = first == label, second == label
    return 1 - 2 * (a & b).sum() / (a.sum() + b.sum()) if (a | b).any() else np.nan


# wrong: dice_score: a share of the image
def dice_score(first, second, label):
    a, b = first == label, second == label
    return 2 * (a & b).sum() / (first.size + second.size) if (a | b).any() else np.nan


# wrong: dice_score: whole numbers
def dice_score(first, second, label):
    a, b = first == label, second == label
    return 2 * (a & b).sum() // (a.sum() + b.sum()) if (a | b).any() else np.nan


# wrong: dice_score: None if neither shows it
def dice_score(first, second, label):
    a, b = first == label, second == label
    if (a | b).any():
        return 2 * (a & b).sum() / (a.sum() + b.sum())
