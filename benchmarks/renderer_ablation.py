"""Measure what each ingredient of the renderer brings on photos of real people.

    python benchmarks/renderer_ablation.py --real FOLDER --start FILE [--seeds 1] [--store]

Every run goes on training the same network, for a short while, on other faces: without ingredients, with one
of them, or with two that serve the same purpose. FILE is that network, the first of the two stages that
`elfw pretrain efficient_unet` takes: it was shipped before there were ingredients,
`git show fe9f9fd:data/weights/efficient_unet_rendered.safetensors > before.safetensors`. Each seed has faces
of its own, the same ones in all runs but for the ingredients. Photos go the way of `elfw predict`.

Which ingredients are kept is decided on the half of the photos that `masks_on_photos.py` names for choosing.
Finished runs are stored in --out (numbers, never a photo), so the same command goes on where it was stopped;
`--store` writes `data/measured/renderer_ablation.json`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ablation import render_faces
from masks_on_photos import LABELLED, UNLABELLED, cut_halves, predict_photos
from measure import store_results
from real_photos import hash_files, open_folder
from stored_runs import format_table, name_file, read_result, run_missing, store_result

from elfw_course.weights.masks import (
    PRIOR_STRENGTH,
    SIZE,
    count_steps,
    start_training,
    train_epoch,
    weigh_classes,
)
from elfw_course.weights.randomisation import render_backgrounds
from elfw_course.weights.release import measure_prior_shift, subtract_from_logits
from elfw_helpers import rendering
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.labels import PIXEL_CLASSES
from elfw_helpers.evaluation.segmentation import compare_matrices, score_matrices
from elfw_helpers.models.hub import TrainedModel, load_model
from elfw_helpers.utils.paths import measured_file

STORED = measured_file("renderer_ablation")
FACES, EPOCHS, BACKGROUNDS = 1500, 3, 200
PEAK_RATE = 6e-4
NONE = "none"
VARIANTS = {
    NONE: (),
    "headwear": ("headwear",),
    "background and hair": ("background", "hair"),
}


@dataclass(frozen=True)
class Run:
    """One training: which ingredients its faces have, and the seed of the faces."""

    variant: str
    seed: int


@dataclass(frozen=True)
class Bench:
    """What all runs share: photos, the network to begin with, where results go, how many may render."""

    photos: FaceFolder
    start: Path
    out: Path
    jobs: int


def find_file(bench: Bench, run: Run) -> Path:
    """Return where a run's answers are stored, under a name that changes with all that they depend on."""
    renderer = sorted(Path(rendering.__file__).parent.glob("*.py"))
    depends_on = [train_epoch, hash_files([*renderer, bench.start]), VARIANTS[run.variant], run.seed]
    return name_file(bench.out, (run.variant, f"seed-{run.seed}"), depends_on)


def do_run(bench: Bench, run: Run) -> None:
    """Train on the faces of a run, and store how often each class was called each in every photo."""
    parameters = {"ingredients": VARIANTS[run.variant]}
    faces = render_faces(100 + run.seed, FACES, parameters, bench.jobs, SIZE)
    model = go_on_training(load_model(bench.start), faces.images, faces.masks)
    matrices, truth, predicted = predict_photos(model, bench.photos)
    answers = {"matrices": matrices.tolist(), "truth": truth, "predicted": predicted}
    store_result(find_file(bench, run), answers)


def go_on_training(model: TrainedModel, images: torch.Tensor, masks: torch.Tensor) -> TrainedModel:
    """Return a model trained on, with faces, uint8 [N, S, S, 3], and their masks, uint8 [N, S, S]."""
    shift = PRIOR_STRENGTH * measure_prior_shift(masks)
    # It is given back what the correction took from it, and corrected anew at the end.
    subtract_from_logits(model.network, -shift)
    steps = EPOCHS * count_steps(images)
    network, average, optimizer = start_training(images.device, steps, PEAK_RATE, model.network)
    faces = images, masks, render_backgrounds(BACKGROUNDS, SIZE), weigh_classes(masks)
    for epoch in range(EPOCHS):
        train_epoch(network, average, optimizer, faces, epoch, EPOCHS)
    subtract_from_logits(average.module, shift)
    return replace(model, network=average.module.eval())


def compare_runs(bench: Bench, seeds: range) -> dict[str, object]:
    """Return the scores of each variant and what it gains, by halves of the photos, seeds added up."""
    matrices = {
        variant: sum(
            np.array(read_result(find_file(bench, Run(variant, seed)))["matrices"]) for seed in seeds
        )
        for variant in VARIANTS
    }
    results: dict[str, object] = {}
    for part, chosen in cut_halves(bench.photos).items():
        results[part] = {}
        for variant, counted in matrices.items():
            gains = compare_matrices(matrices[NONE][chosen], counted[chosen], ignore=UNLABELLED)
            scores = score_matrices(counted[chosen], ignore=UNLABELLED)
            results[part][variant] = {
                "masks": scores.as_metrics(),
                # A row each: difference, low, high; NaN where no photo has the class.
                "gains": {name: gains.loc[name].round(4).tolist() for name in shown_rows()},
            }
    return results


def shown_rows() -> list[str]:
    """Return the classes that photos have labels of, and their mean."""
    return [*(PIXEL_CLASSES[label] for label in LABELLED), "mean"]


def tabulate(part: dict[str, dict]) -> str:
    """Return a Markdown table: mean IoU of each variant, and what it gains by class."""
    rows = []
    for variant, found in part.items():
        cells = (f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]" for gain, low, high in found["gains"].values())
        rows.append([variant, f"{found['masks']['mean_iou']:.3f}", *cells])
    return format_table(["ingredients", "mean IoU", *shown_rows()], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True, help="a folder of real photos")
    parser.add_argument("--start", type=Path, required=True, help="the network to begin with")
    parser.add_argument("--seeds", type=int, default=1, help="how many sets of faces")
    parser.add_argument("--out", type=Path, default=Path("build/renderer_ablation"), help="for the runs")
    parser.add_argument("--jobs", type=int, default=2, help="processes that render")
    parser.add_argument("--store", action="store_true", help="write the scores where notebook 07 reads them")
    chosen = parser.parse_args()
    bench = Bench(open_folder(chosen.real), chosen.start, chosen.out, chosen.jobs)
    seeds = range(chosen.seeds)
    runs = [Run(variant, seed) for seed in seeds for variant in VARIANTS]
    # One at a time: a run renders by several processes itself.
    run_missing(do_run, bench, [runs], lambda bench, run: find_file(bench, run).exists(), 1)
    results = compare_runs(bench, seeds)
    for part, scores in results.items():
        print(f"{part}, {chosen.seeds} seeds\n\n{tabulate(scores)}\n")
    if chosen.store:
        store_results(STORED, results)


if __name__ == "__main__":
    main()
