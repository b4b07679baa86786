"""Measure what frozen features say about attributes of real people, by heads from photos or rendered faces.

    python benchmarks/attributes_on_photos.py --real FOLDER [--rendered FOLDER] [--store]

FOLDER holds photos with masks in ELFW's layout; attributes follow from the masks by the course's rule. A head
is a logistic regression on standardised features, its classes weighted to count alike. It learns

- from photos: five folds by person, so that every photo is predicted by a head that has not seen it;
- from rendered faces alone, by default the embedded ones: the photos are all unseen.

Features are the pooled outputs of EfficientNet-Lite0 with ImageNet's weights at 128 and 224 pixels; of the
way down of the course's U-Net; and what its masks say: the mean probability of each class in 8 x 8 cells.
Last, without a head, the rule on its masks. No kind of head or of features was chosen: all that was tried is
in the table. But the U-Net's recipe and its correction for rare classes were chosen on half of the photos
(`masks_on_photos.py`), so what rests on it is a little too good.

`--store` writes `benchmarks/attributes_on_photos.json`: numbers, never a photo.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measure import store_results
from real_photos import cut_folds, load_faces, open_folder
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from stored_runs import format_table
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches
from elfw_helpers.data.labels import attribute_from_mask
from elfw_helpers.evaluation.classification import score
from elfw_helpers.models.efficientnet import efficientnet_lite0
from elfw_helpers.models.hub import load_model
from elfw_helpers.training.loop import predict
from elfw_helpers.utils.device import best_device
from elfw_helpers.utils.paths import data_folder

STORED = Path(__file__).with_suffix(".json")
CELLS, FOLDS = 8, 5
# Weak enough that no fold overfits; not tuned.
PENALTY = 0.01


class Pooled(nn.Module):
    """The averages over the picture of features at several depths, [B, sum of their channels]."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return pooled features of images, float32 [B, 3, H, W]."""
        return torch.cat([features.mean((2, 3)) for features in self.encoder(images)], 1)


class CellProbabilities(nn.Module):
    """The mean probability of each class in each cell of a grid, [B, 7 * CELLS * CELLS]."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the shares of images, float32 [B, 3, H, W]."""
        return adaptive_avg_pool2d(self.network(images).softmax(1), CELLS).flatten(1)


def imagenet_features() -> nn.Module:
    """Return EfficientNet-Lite0 up to its pooled features, [B, 1280]."""
    network = efficientnet_lite0(weights="imagenet")
    network.reset_classifier(0)
    return network


def extract(network: nn.Module, folder: Path, size: int) -> np.ndarray:
    """Return the features of a folder's faces at a size, float32 [N, C]."""
    faces = load_faces(folder, size)
    options = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "device": best_device()}
    return predict(network, Batches(faces.images, faces.attributes, **options), Tensor.float).numpy()


def fit_head(features: np.ndarray, attributes: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a head's predictions as a function of features."""
    head = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=3000)
    return make_pipeline(StandardScaler(), head).fit(features, attributes).predict


def predict_folds(features: np.ndarray, real: Path) -> np.ndarray:
    """Return each photo's attribute, predicted by a head from the other four folds."""
    folder = open_folder(real)
    attributes, predicted = folder.attributes.numpy(), np.zeros(len(folder), int)
    for train, test in cut_folds(folder, torch.arange(len(folder)), FOLDS, seed=0):
        predicted[test] = fit_head(features[train], attributes[train])(features[test])
    return predicted


def predict_by_rule(real: Path) -> list[int]:
    """Return each photo's attribute by the rule on the masks of the course's U-Net."""
    model = load_model("efficient_unet", best_device())
    faces = load_faces(real, model.card.size)
    options = {"mean": model.card.mean, "std": model.card.std, "device": best_device()}
    batches = Batches(faces.images, faces.attributes, **options)
    masks = predict(model.network, batches, lambda logits: logits.argmax(1).byte())
    return [attribute_from_mask(mask) for mask in masks.numpy()]


def measure_all(real: Path, rendered: Path) -> dict[str, dict]:
    """Return the scores of every kind of features and heads, by name."""
    unet = load_model("efficient_unet", best_device())
    kinds = {
        "ImageNet, 128 px": (imagenet_features(), 128),
        "ImageNet, 224 px": (imagenet_features(), 224),
        "U-Net's way down": (Pooled(unet.network.encoder), unet.card.size),
        "U-Net's masks in cells": (CellProbabilities(unet.network), unet.card.size),
    }
    truth, results, found = open_folder(real).attributes.numpy(), {}, {}
    learned = open_folder(rendered)
    chosen, attributes = learned.split().train, learned.attributes.numpy()
    for name, (network, size) in kinds.items():
        found[name] = extract(network, real, size), extract(network, rendered, size)
    pair = [found[name] for name in ("ImageNet, 224 px", "U-Net's masks in cells")]
    found["ImageNet, 224 px, and masks in cells"] = tuple(
        np.hstack(parts) for parts in zip(*pair, strict=True)
    )
    for name, (of_photos, of_rendered) in found.items():
        head = fit_head(of_rendered[chosen], attributes[chosen])
        results[f"{name}; heads from photos, five folds"] = score(truth, predict_folds(of_photos, real))
        results[f"{name}; head from rendered faces"] = score(truth, head(of_photos))
    results["rule on the U-Net's masks"] = score(truth, predict_by_rule(real))
    return {name: one.as_metrics() for name, one in results.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True, help="a folder of real photos")
    parser.add_argument("--rendered", type=Path, default=data_folder(), help="a folder of rendered faces")
    parser.add_argument("--store", action="store_true", help="write the scores beside this script")
    options = parser.parse_args()
    results = measure_all(options.real, options.rendered)
    rows = [
        [
            name,
            f"{one['macro_f1']:.3f} [{one['macro_f1_interval'][0]:.3f}, {one['macro_f1_interval'][1]:.3f}]",
            f"{one['balanced_accuracy']:.3f}",
            f"{one['accuracy']:.3f}",
        ]
        for name, one in results.items()
    ]
    print(format_table(["features and heads", "macro F1", "balanced accuracy", "accuracy"], rows))
    if options.store:
        store_results(STORED, results)


if __name__ == "__main__":
    main()
