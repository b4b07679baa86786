"""Measure how far the shipped segmentation network's scores on photos depend on the seed of its training.

    python benchmarks/masks_seeds.py [--work FOLDER] train --seed 2
    python benchmarks/masks_seeds.py [--work FOLDER] score --real FOLDER [--store]

`train` makes the network of `elfw pretrain efficient_unet --faces 12000` again from the same rendered
faces, with another seed for its first weights, the order of the faces and their changes; --work keeps the
network and its checkpoints, so the same call goes on where one was stopped (an hour on one thread). `score`
measures those of all SEEDS that are there beside the shipped one (seed 1) as `masks_on_photos.py` does.
Nothing is chosen by the scores.

`--store` writes `benchmarks/masks_seeds.json`: numbers, never a photo.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from unittest.mock import patch

from masks_on_photos import LABELLED, cut_halves, predict_photos, score_part
from measure import store_results
from real_photos import open_folder
from stored_runs import format_spread, format_table

from elfw_course.weights import masks as recipe
from elfw_helpers.data.labels import PIXEL_CLASSES
from elfw_helpers.models.hub import load_model

STORED = Path(__file__).with_suffix(".json")
FACES, SEEDS = 12_000, (2, 3)
COLUMNS = {
    **{PIXEL_CLASSES[label]: ("masks", f"iou_{PIXEL_CLASSES[label]}") for label in LABELLED},
    "mean IoU": ("masks", "mean_iou"),
    "macro F1 by the rule": ("attributes", "macro_f1"),
    "balanced accuracy": ("attributes", "balanced_accuracy"),
}


def name_network(work: Path, seed: int) -> Path:
    """Return the file of the network of a seed."""
    return work / f"efficient_unet_seed_{seed}.safetensors"


def score_seeds(work: Path, real: Path) -> dict[str, dict]:
    """Return the scores on each part of the photos by seed; the network of seed 1 is the shipped one."""
    files = {1: "efficient_unet"} | {seed: name_network(work, seed) for seed in SEEDS}
    folder, results = open_folder(real), {}
    halves = cut_halves(folder)
    for seed, file in files.items():
        if seed != 1 and not file.exists():
            print(f"seed {seed} is left out: there is no {file}")
            continue
        answers = predict_photos(load_model(file), folder)
        results[f"seed {seed}"] = {part: score_part(*answers, halves[part]) for part in halves}
    return results


def format_seeds(results: dict[str, dict]) -> str:
    """Return a table: per part of the photos a row per seed, then their mean and standard deviation."""
    rows = []
    for part in next(iter(results.values())):
        scores = {
            seed: [one[part][group][key] for group, key in COLUMNS.values()] for seed, one in results.items()
        }
        rows += [
            [f"{part}, {seed}", *(f"{value:.3f}" for value in values)] for seed, values in scores.items()
        ]
        if len(scores) > 1:
            rows.append([f"{part}, mean ± sd", *map(format_spread, zip(*scores.values(), strict=True))])
    return format_table(["photos", *COLUMNS], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/pretraining"), help="for faces and networks")
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train")
    train.add_argument("--seed", type=int, required=True, choices=SEEDS)
    score = commands.add_parser("score")
    score.add_argument("--real", type=Path, required=True, help="a folder of real photos")
    score.add_argument("--store", action="store_true", help="write the scores beside this script")
    chosen = parser.parse_args()
    if chosen.command == "train":
        # The faces stay those of the shipped network: their seed is that of another module.
        with patch.object(recipe, "PRETRAINING_SEED", chosen.seed):
            recipe.make_efficient_unet(FACES, name_network(chosen.work, chosen.seed), chosen.work)
        return
    results = score_seeds(chosen.work, chosen.real)
    print(format_seeds(results))
    if chosen.store:
        store_results(STORED, results)


if __name__ == "__main__":
    main()
