"""Measure how well a network that has seen no photo segments photos of real people.

    python benchmarks/masks_on_photos.py --real FOLDER [--store] [MODEL ...]

FOLDER holds photos with masks in ELFW's layout. MODEL is a name or a file that `load_model` takes; by default
the network that comes with the course. Each photo goes the way of `elfw predict`, and its mask is compared at
the photo's own size; a predicted beard counts as skin, as the photos' masks label it.

The photos are cut in halves, by person and with as many glasses and caps in each: what was chosen with scores
in view was chosen on the first half alone, so the second is free of that. Beside them stand the embedded
rendered faces' test split, scored alike, and the scores without the last step of `elfw predict`, which leaves
out objects that are too small. Intervals are over images.

`--store` writes `data/measured/masks_on_photos.json`, which notebook 07 reads: numbers, never a photo.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from measure import store_results
from real_photos import cut_folds, open_folder
from stored_runs import format_table
from tqdm import tqdm

from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.labels import (
    ATTRIBUTES,
    BACKGROUND,
    BEARD,
    EYEWEAR,
    HAIR,
    MOUTH_MASK,
    PIXEL_CLASSES,
    SKIN,
    WEARABLE,
    attribute_from_mask,
)
from elfw_helpers.deployment.predict import LEAST_SHARES, predict_mask
from elfw_helpers.evaluation.classification import confusion_matrix, score
from elfw_helpers.evaluation.segmentation import confusion_matrices, score_matrices
from elfw_helpers.models.hub import TrainedModel, load_model
from elfw_helpers.utils.paths import embedded_faces, measured_file

STORED = measured_file("masks_on_photos")
WORST = 10
# The classes that the photos' masks have, and the others.
LABELLED, UNLABELLED = (BACKGROUND, SKIN, HAIR, EYEWEAR, WEARABLE), (BEARD, MOUTH_MASK)


def cut_halves(folder: FaceFolder) -> dict[str, torch.Tensor]:
    """Return the indices of all photos, of the half for choosing, and of the half kept back."""
    everything = torch.arange(len(folder))
    (_, chosen), (_, kept) = cut_folds(folder, everything, 2, seed=0)
    return {"all photos": everything, "half for choosing": chosen, "half kept back": kept}


def predict_photos(
    model: TrainedModel, folder: FaceFolder, chosen: Sequence[int] | None = None
) -> tuple[np.ndarray, list[int], list[int]]:
    """Return each photo's confusion matrix, [N, 7, 7], its true and its predicted attribute; beards are skin.

    Of all photos, or of those at the chosen indices.
    """
    matrices, truth, predicted = [], [], []
    for index in tqdm(range(len(folder)) if chosen is None else chosen, unit="photo"):
        image, mask = folder.read(index)
        mask, found = (np.where(one == BEARD, SKIN, one) for one in (mask, predict_mask(model, image)))
        matrices.append(confusion_matrices(mask[None], found[None])[0])
        truth.append(attribute_from_mask(mask))
        predicted.append(attribute_from_mask(found))
    return np.stack(matrices), truth, predicted


def find_smallest(folder: FaceFolder) -> dict[str, float]:
    """Return the smallest share of skin, beard and itself that each class of LEAST_SHARES has in a mask."""
    smallest = dict.fromkeys(LEAST_SHARES, 1.0)
    for index in tqdm(range(len(folder)), unit="mask"):
        counts = np.bincount(folder.read(index)[1].ravel(), minlength=len(PIXEL_CLASSES))
        for label in filter(counts.__getitem__, smallest):
            share = counts[label] / (counts[label] + counts[SKIN] + counts[BEARD])
            smallest[label] = min(smallest[label], float(share))
    return {PIXEL_CLASSES[label]: round(share, 3) for label, share in smallest.items()}


def describe_glasses(matrices: np.ndarray) -> str:
    """Return in how many photos with and without glasses some are found; confusion matrices [N, 7, 7]."""
    worn, found = matrices[:, EYEWEAR].sum(1) > 0, matrices[:, :, EYEWEAR].sum(1)
    false = found - matrices[:, EYEWEAR, EYEWEAR]
    with_glasses = f"{(found[worn] > 0).sum()} of {worn.sum()} photos with glasses"
    without = f"{(found[~worn] > 0).sum()} of {(~worn).sum()} without"
    share = false[~worn].sum() / false.sum()
    return f"glasses are found in {with_glasses} and in {without} ({share:.0%} of the false pixels)"


def score_part(
    matrices: np.ndarray, truth: list[int], predicted: list[int], part: torch.Tensor
) -> dict[str, object]:
    """Return all scores of some of the photos, ready for JSON."""
    truth, predicted = ([values[index] for index in part.tolist()] for values in (truth, predicted))
    masks, attributes = score_matrices(matrices[part], ignore=UNLABELLED), score(truth, predicted)
    pixels = matrices[part].sum(0)[LABELLED, :]
    return {
        "masks": masks.as_metrics(),
        "attributes": attributes.as_metrics(),
        # Of the pixels of each labelled class (rows), the share that was given to each of the seven.
        "pixels": (pixels / pixels.sum(1, keepdims=True)).round(4).tolist(),
        "attribute_matrix": confusion_matrix(truth, predicted, len(ATTRIBUTES)).tolist(),
    }


def format_row(name: str, scores: dict) -> list[str]:
    """Return one row of the table: a value with its interval per column."""

    def cell(metrics: dict, key: str) -> str:
        low, high = metrics[f"{key}_interval"]
        return f"{metrics[key]:.3f} [{low:.3f}, {high:.3f}]"

    keys = [f"iou_{PIXEL_CLASSES[label]}" for label in LABELLED] + ["mean_iou"]
    attributes = scores["attributes"]
    cells = [cell(scores["masks"], key) for key in keys] + [cell(attributes, "macro_f1")]
    return [name, *cells, f"{attributes['balanced_accuracy']:.3f}", f"{attributes['accuracy']:.3f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["efficient_unet"], metavar="MODEL")
    parser.add_argument("--real", type=Path, required=True, help="a folder of real photos")
    parser.add_argument("--store", action="store_true", help="write the scores beside this script")
    chosen = parser.parse_args()
    folder, results, rows = open_folder(chosen.real), {}, []
    halves, rendered = cut_halves(folder), open_folder(embedded_faces())
    print(f"smallest shares of a face on rendered faces: {find_smallest(rendered)}")
    for name, kept in product(chosen.models, (False, True)):
        model, title = load_model(name), Path(name).stem + ", small objects kept" * kept
        with patch.dict(LEAST_SHARES, clear=kept):
            answers = predict_photos(model, folder)
            on_rendered = predict_photos(model, rendered, rendered.split().test.tolist())
        scores = {part: score_part(*answers, halves[part]) for part in halves}
        scores["rendered test faces"] = score_part(*on_rendered, torch.arange(len(on_rendered[0])))
        results[title] = scores
        rows += [format_row(f"{title}, {part}", scores[part]) for part in scores]
        print(f"{title}: {describe_glasses(answers[0])}")
        worst = [score_matrices(matrix[None], ignore=UNLABELLED).mean_iou for matrix in answers[0]]
        names = [folder.names[index] for index in np.argsort(worst)[:WORST]]
        print(f"{title}: lowest mean IoU in {', '.join(names)}")
    names = [PIXEL_CLASSES[label] for label in LABELLED]
    print(format_table(["network", *names, "mean IoU", "macro F1 by the rule", "balanced", "accuracy"], rows))
    if chosen.store:
        store_results(STORED, results)


if __name__ == "__main__":
    main()
