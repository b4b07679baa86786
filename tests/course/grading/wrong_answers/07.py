"""Answers to the exercises of notebook 07: the right ones get all points, the wrong ones at most a third."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate, max_pool2d


def make_block(before, after):
    convolution = nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


class PlainUNet(nn.Module):
    """The notebook's, which submissions find."""

    def __init__(self, classes=7, width=8):
        super().__init__()
        a, b, c, d, e = (width * 2**level for level in range(5))
        pairs = (3, a), (a, b), (b, c), (c, d), (d, e)
        self.down = nn.ModuleList(nn.Sequential(make_block(i, o), make_block(o, o)) for i, o in pairs)
        pairs = (e + d, d), (d + c, c), (c + b, b), (b + a, a)
        self.up = nn.ModuleList(make_block(i, o) for i, o in pairs)
        self.head = nn.Conv2d(a, classes, kernel_size=1)

    def forward(self, images):
        maps, copies = self.down[0](images), []
        for step in self.down[1:]:
            copies.append(maps)
            maps = step(max_pool2d(maps, 2))
        for step in self.up:
            maps = interpolate(maps, scale_factor=2)
            maps = step(torch.cat([maps, copies.pop()], dim=1))
        return self.head(maps)


def scale(images):
    return images.permute(0, 3, 1, 2) / 255


def train_briefly(images, masks, new_images, weights, epochs=4):
    """The recipe of the notebook's visible cells."""
    torch.manual_seed(0)
    network = PlainUNet()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * (epoch + 0.5) / epochs))
        for part in torch.randperm(len(images)).split(16):
            optimizer.zero_grad()
            cross_entropy(network(scale(images[part])), masks[part].long(), weight=weights).backward()
            optimizer.step()
    with torch.inference_mode():
        return network.eval()(scale(new_images)).argmax(1)


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


# right: segment_faces: median-frequency weights, mirrored one by one, a NumPy array
def segment_faces(images, masks, new_images):
    torch.manual_seed(1)
    network, epochs, inputs, targets = PlainUNet(), 12, scale(images), masks.long()
    shown = torch.nn.functional.one_hot(targets, 7).flatten(1, 2).float().mean(1)
    frequencies = shown.sum(0) / (shown > 0).sum(0)
    weights = (frequencies.nanmedian() / frequencies).nan_to_num(0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    steps = epochs * -(-len(images) // 8)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
    for _ in range(epochs):
        for part in torch.randperm(len(images)).split(8):
            flip = torch.rand(len(part), 1, 1) < 0.5
            x = torch.where(flip[..., None], inputs[part].flip(3), inputs[part])
            y = torch.where(flip, targets[part].flip(2), targets[part])
            optimizer.zero_grad()
            cross_entropy(network(x), y, weight=weights).backward()
            optimizer.step()
            schedule.step()
    with torch.inference_mode():
        return network.eval()(scale(new_images)).argmax(1).numpy()


# right: segment_faces: Adam, all faces and their mirror images, masks of uint8
def segment_faces(images, masks, new_images):
    torch.manual_seed(2)
    inputs = torch.cat([scale(images), scale(images).flip(3)])
    targets = torch.cat([masks, masks.flip(2)]).long()
    weights = torch.bincount(targets.flatten(), minlength=7).clamp(min=1) ** -0.5
    network, epochs = PlainUNet(), 5
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    steps = epochs * -(-len(inputs) // 8)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps)
    for _ in range(epochs):
        for part in torch.randperm(len(inputs)).split(8):
            optimizer.zero_grad()
            cross_entropy(network(inputs[part]), targets[part], weight=weights).backward()
            optimizer.step()
            schedule.step()
    with torch.inference_mode():
        return network.eval()(scale(new_images)).argmax(1).to(torch.uint8)


# wrong: segment_faces: the recipe of section 3, cross-entropy
def segment_faces(images, masks, new_images):
    return train_briefly(images, masks, new_images, None)


# wrong: segment_faces: the recipe of section 3, weighted
def segment_faces(images, masks, new_images):
    counts = torch.bincount(masks.long().flatten(), minlength=7).clamp(min=1)
    return train_briefly(images, masks, new_images, counts.median() / counts)


# wrong: segment_faces: cross-entropy for ten epochs
def segment_faces(images, masks, new_images):
    return train_briefly(images, masks, new_images, None, epochs=10)


# wrong: segment_faces: no training
def segment_faces(images, masks, new_images):
    with torch.inference_mode():
        return PlainUNet().eval()(scale(new_images)).argmax(1)


# wrong: segment_faces: background everywhere
def segment_faces(images, masks, new_images):
    return torch.zeros(new_images.shape[:3], dtype=torch.int64)


# wrong: segment_faces: each place's commonest class
def segment_faces(images, masks, new_images):
    return masks.long().mode(0).values.expand(len(new_images), -1, -1)


# wrong: segment_faces: the mask of the most similar face
def segment_faces(images, masks, new_images):
    distances = torch.cdist(new_images.flatten(1).float(), images.flatten(1).float())
    return masks[distances.argmin(1)]


# wrong: segment_faces: the masks it was given
def segment_faces(images, masks, new_images):
    return masks[: len(new_images)]


# wrong: segment_faces: logits
def segment_faces(images, masks, new_images):
    with torch.inference_mode():
        return PlainUNet().eval()(scale(new_images))
