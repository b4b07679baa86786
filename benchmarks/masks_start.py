"""Measure what ImageNet's weights and more rendered faces bring to masks on photos of real people.

    python benchmarks/masks_start.py --real FOLDER [--out FOLDER] [--store]

The course's segmentation network learns from the embedded rendered faces' training split alone, from equally
many samples in every run, by the recipe of `elfw pretrain efficient_unet`: with both, without ImageNet's
weights, and from a quarter of the faces. One seed. Photos go the way of `elfw predict`; what either brings is
paired over photos. Nothing is chosen by the scores.

Finished runs are kept in --out (numbers, never a photo): the same command goes on where it was stopped.
`--store` writes `data/measured/masks_start.json`, which notebook 07 reads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from masks_on_photos import LABELLED, UNLABELLED, predict_photos
from measure import store_results
from real_photos import hash_files, open_folder
from stored_runs import format_table, name_file, read_result, store_result
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from elfw_course.weights import masks as recipe
from elfw_course.weights.randomisation import render_backgrounds
from elfw_course.weights.release import measure_prior_shift, subtract_from_logits
from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.labels import PIXEL_CLASSES
from elfw_helpers.evaluation.segmentation import compare_matrices, score_matrices
from elfw_helpers.models.hub import ModelCard, TrainedModel
from elfw_helpers.models.segmentation import EfficientUNet
from elfw_helpers.utils.paths import embedded_faces, measured_file

STORED = measured_file("masks_start")
SAMPLES, BACKGROUNDS, PEAK_RATE = 5_472, 200, 1.5e-3
BOTH = "both"
# By what a run lacks: the weights of the way down, and that every so manieth face is trained on.
RUNS = {BOTH: ("imagenet", 1), "ImageNet's weights": (None, 1), "four times the faces": ("imagenet", 4)}


def train(weights: str | None, part: int) -> TrainedModel:
    """Return the network trained on every `part`-th of the training faces, its rare classes corrected."""
    faces = FaceFolder(embedded_faces())
    chosen, loaded = faces.split().train[::part], faces.preload(recipe.SIZE)
    images, masks = loaded.images[chosen], loaded.masks[chosen]
    epochs = round(SAMPLES / len(images))
    steps = epochs * recipe.count_steps(images)
    torch.manual_seed(0)
    network = EfficientUNet(len(PIXEL_CLASSES), weights=weights).to(memory_format=torch.channels_last)
    decay = get_ema_multi_avg_fn(max(0.0, 1 - 1 / (recipe.AVERAGED * steps)))
    average = AveragedModel(network, multi_avg_fn=decay, use_buffers=True)
    # The way down knows something already, or has everything to learn.
    rate = PEAK_RATE * (recipe.ENCODER_RATE if weights else 1)
    decoder = [*network.up.parameters(), *network.head.parameters()]
    groups = [
        {"params": list(network.encoder.parameters()), "peak": rate},
        {"params": decoder, "peak": PEAK_RATE},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.WEIGHT_DECAY)
    data = images, masks, render_backgrounds(BACKGROUNDS, recipe.SIZE), recipe.weigh_classes(masks)
    for epoch in range(epochs):
        print(f"epoch {epoch}: {recipe.train_epoch(network, average, optimizer, data, epoch, epochs):.3f}")
    subtract_from_logits(average.module, recipe.PRIOR_STRENGTH * measure_prior_shift(masks))
    card = ModelCard(
        architecture="efficient_unet",
        classes=PIXEL_CLASSES,
        size=recipe.SIZE,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        trained_on=f"{len(images)} embedded rendered faces",
    )
    return TrainedModel(average.module.eval(), card, "trial")


def score_runs(matrices: dict[str, np.ndarray]) -> dict[str, dict]:
    """Return each run's scores, and by class and on average what it lacks brings: difference, low, high."""
    results = {}
    for name, counted in matrices.items():
        gains = compare_matrices(counted, matrices[BOTH], ignore=UNLABELLED)
        shown = [*(PIXEL_CLASSES[label] for label in LABELLED), "mean"]
        results[name] = {
            "masks": score_matrices(counted, ignore=UNLABELLED).as_metrics(),
            "gains": {row: gains.loc[row].round(4).tolist() for row in shown},
        }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True, help="a folder of real photos")
    parser.add_argument("--out", type=Path, default=Path("build/masks_start"), help="for the runs")
    parser.add_argument("--store", action="store_true", help="write the scores for notebook 07")
    chosen = parser.parse_args()
    folder, matrices = open_folder(chosen.real), {}
    for name, options in RUNS.items():
        depends_on = [hash_files([Path(__file__)]), recipe.train_epoch, options, len(folder)]
        file = name_file(chosen.out, [name], depends_on)
        if not file.exists():
            store_result(file, {"matrices": predict_photos(train(*options), folder)[0].tolist()})
        matrices[name] = np.array(read_result(file)["matrices"])
    results = score_runs(matrices)
    rows = [
        [name, f"{one['masks']['mean_iou']:.3f}"]
        + [f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]" for gain, low, high in one["gains"].values()]
        for name, one in results.items()
    ]
    print(format_table(["without", "mean IoU", *results[BOTH]["gains"]], rows))
    if chosen.store:
        store_results(STORED, results)


if __name__ == "__main__":
    main()
