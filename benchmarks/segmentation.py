"""Measure how well the course's U-Net segments real photos, and what rendered faces and objects bring.

    python benchmarks/segmentation.py --real FOLDER [--out FOLDER] [--jobs 2]

FOLDER holds photos with masks in ELFW's layout. The U-Net that the course ships (trained on rendered faces
alone) is tested as it is, on all photos and on the held-out split. Then it is trained on photos, from three
seeds, in three ways with equally many samples:

- `scratch`, from random weights;
- `pre-trained`, from the shipped ones;
- `pre-trained, objects`, the same, with as many copies of the photos that wear rendered eyewear or a hand.

The last epoch's weights count. Each network is tested on the folder's held-out split and, on a GPU, by
five-fold cross-validation over all photos. RECIPE was also chosen on a GPU: each of RECIPES is tried on the
photos outside the held-out split, by five folds of their own.

The photos' masks label beards as skin, so a beard that the U-Net predicts counts as skin. Every finished run
is stored in --out (numbers, never a photo): the same command resumes an interrupted benchmark.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import stored_runs
import torch
from real_photos import cut_folds, hash_code, hash_files, hash_folder, load_faces, open_folder, take_faces
from stored_runs import format_spread, format_table, read_result
from torch import Tensor

import elfw_helpers
from elfw_helpers.augmentation import augment_faces
from elfw_helpers.data.batches import Batches
from elfw_helpers.data.datasets import FaceTensors
from elfw_helpers.data.labels import (
    BEARD,
    EYEWEAR,
    HAIR,
    MOUTH_MASK,
    PIXEL_CLASSES,
    SKIN,
    WEARABLE,
    attribute_from_mask,
)
from elfw_helpers.evaluation.classification import score
from elfw_helpers.evaluation.segmentation import (
    compare_matrices,
    confusion_matrices,
    median_frequency_weights,
    score_matrices,
)
from elfw_helpers.models.hub import TrainedModel, load_model
from elfw_helpers.training.loop import fit, predict_masks
from elfw_helpers.training.losses import Loss
from elfw_helpers.training.segmentation import QUICK_RECIPE
from elfw_helpers.utils.device import best_device
from elfw_helpers.utils.files import write_atomically
from elfw_helpers.utils.paths import rendered_weights

SEEDS = (0, 1, 2)
SCRATCH, PRETRAINED, OBJECTS = WAYS = ("scratch", "pre-trained", "pre-trained, objects")
KINDS = ("eyewear", "hand")
# Photos to test on: the held-out split, the folds of all photos, and the folds of those outside the split.
HELD_OUT = "held-out split"
FOLDS, TRIALS = (tuple(f"{kind} {number}" for number in range(1, 6)) for kind in ("fold", "trial"))
# The classes that the photos' masks have, and the others.
LABELLED, UNLABELLED = (0, SKIN, HAIR, EYEWEAR, WEARABLE), (BEARD, MOUTH_MASK)
PLAIN = replace(QUICK_RECIPE, lr=0.05, balance_classes=False)
RECIPES = {
    "96 px, 20 epochs": replace(PLAIN, size=96, epochs=20),
    "128 px, 40 epochs": replace(PLAIN, size=128, epochs=40),
    "128 px, 40 epochs, weighted": replace(PLAIN, size=128, epochs=40, balance_classes=True),
}
RECIPE = "128 px, 40 epochs, weighted"
# Inference is timed at this side in pixels, in batches of this size.
TIMED_SIZE, TIMED_BATCH = 128, 16


@dataclass(frozen=True)
class Run:
    """One training on photos; `part` names those that test it."""

    way: str
    seed: int
    part: str = HELD_OUT
    recipe: str = RECIPE


@dataclass(frozen=True)
class Bench:
    """What all runs share.

    Attributes:
        parts: indices of the photos to train on and to test on, by seed and name of the part.
        depends_on: a checksum of code and data.
    """

    real: Path
    out: Path
    parts: dict[tuple[int, str], tuple[Tensor, Tensor]]
    depends_on: str


def prepare_bench(real: Path, out: Path) -> Bench:
    """Return the folders, the parts of the photos, and a checksum of what the results depend on."""
    folder, parts = open_folder(real), {}
    split, everything = folder.split(), torch.arange(len(folder))
    others = torch.cat([split.train, split.validation]).sort().values
    for seed in SEEDS:
        parts[seed, HELD_OUT] = others, split.test
        for names, chosen in ((FOLDS, everything), (TRIALS, others)):
            folds = cut_folds(folder, chosen, len(names), seed)
            parts.update(((seed, name), fold) for name, fold in zip(names, folds, strict=True))
    # Of the code, also what draws objects, resizes photos and counts pixels.
    folders = ("augmentation", "data", "evaluation", "rendering", "training")
    package = Path(elfw_helpers.__file__).parent
    code = [Path(__file__), *sorted(file for name in folders for file in package.glob(f"{name}/*.py"))]
    weights = hashlib.sha256(rendered_weights("efficient_unet").read_bytes()).hexdigest()
    depends_on = hash_code() + hash_files(code) + hash_folder(real) + weights
    return Bench(real, out, parts, depends_on)


def list_runs(gpu: bool) -> list[Run]:
    """Return all runs; without a GPU only those that are tested on the held-out split."""
    seeded = [(way, seed) for seed in SEEDS for way in WAYS]
    runs = [Run(way, seed) for way, seed in seeded]
    if gpu:
        trials = [Run(PRETRAINED, 0, part, recipe) for recipe in RECIPES for part in TRIALS]
        runs = trials + runs + [Run(way, seed, part) for way, seed in seeded for part in FOLDS]
    return runs


def find_file(bench: Bench, run: Run) -> Path:
    """Return the file of a run's result."""
    words = (run.recipe, run.way, f"seed-{run.seed}", run.part)
    photos = [indices.tolist() for indices in bench.parts[run.seed, run.part]]
    return stored_runs.name_file(bench.out / "runs", words, [bench.depends_on, photos])


def is_done(bench: Bench, run: Run) -> bool:
    """Say whether a run's result is stored."""
    return find_file(bench, run).exists()


def do_run(bench: Bench, run: Run) -> None:
    """Train on the photos of a part, and store the predictions for those that test it."""
    recipe, shipped = RECIPES[run.recipe], load_model("efficient_unet")
    photos = load_faces(bench.real, recipe.size)
    train, test = (take_faces(photos, indices) for indices in bench.parts[run.seed, run.part])
    samples = recipe.epochs * len(train)
    if run.way == OBJECTS:
        copies, _ = augment_faces(train, torch.arange(len(train)), KINDS, seed=run.seed)
        train = join_faces(train, copies)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        model = type(shipped.network)(len(PIXEL_CLASSES), **shipped.card.options)
    if run.way != SCRATCH:
        model.load_state_dict(shipped.network.state_dict())
    epochs = round(samples / len(train))
    options = {"batch_size": recipe.batch_size, "shuffle_seed": run.seed, "augment": recipe.augment}
    fit(
        model,
        make_batches(train, shipped, **options),
        None,
        epochs,
        lr=recipe.schedule(recipe.lr, epochs),
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        loss=Loss(recipe.loss, median_frequency_weights(train.masks) if recipe.balance_classes else None),
        seed=run.seed,
        checkpoint=bench.out / "training",
    )
    stored_runs.store_result(find_file(bench, run), predict_photos(replace(shipped, network=model), test))


def join_faces(first: FaceTensors, second: FaceTensors) -> FaceTensors:
    """Return the faces of both."""
    pairs = ((getattr(first, name), getattr(second, name)) for name in ("images", "masks", "attributes"))
    return FaceTensors(*map(torch.cat, pairs), [*first.names, *second.names])


def make_batches(faces: FaceTensors, model: TrainedModel, **options) -> Batches:
    """Return batches of masks, normalised for the shipped network in all ways."""
    card = model.card
    return Batches(faces.images, faces.masks, mean=card.mean, std=card.std, device=best_device(), **options)


def predict_photos(model: TrainedModel, photos: FaceTensors) -> dict:
    """Return a confusion matrix, the predicted and the true attribute of each photo, ready for JSON."""
    masks = predict_masks(model.network, make_batches(photos, model))
    masks = torch.where(masks == BEARD, SKIN, masks)
    return {
        "matrices": confusion_matrices(photos.masks, masks).tolist(),
        "attributes": [attribute_from_mask(mask) for mask in masks.numpy()],
        "truth": photos.attributes.tolist(),
    }


def read_predictions(bench: Bench, runs: Sequence[Run]) -> dict | None:
    """Return the predictions of runs with different test photos, joined; None if a run is missing."""
    files = [find_file(bench, run) for run in runs]
    if not all(file.exists() for file in files):
        return None
    results = [read_result(file) for file in files]
    order = torch.cat([bench.parts[run.seed, run.part][1] for run in runs]).argsort().tolist()
    joined = {key: [answer for result in results for answer in result[key]] for key in results[0]}
    return {key: [values[place] for place in order] for key, values in joined.items()}


def format_scores(results: list[dict]) -> list[str]:
    """Return the cells of a row: IoU of the labelled classes, their mean, and the attribute scores.

    Args:
        results: of `predict_photos`, one per seed. A single one gets intervals over photos.
    """
    rows = []
    for result in results:
        scores = score_matrices(np.array(result["matrices"]), ignore=UNLABELLED)
        ious = [scores.class_iou[label] for label in LABELLED]
        attributes = score(result["truth"], result["attributes"])
        rows.append([*ious, scores.mean_iou, attributes.macro_f1, attributes.balanced_accuracy])
    if len(rows) > 1:
        return [format_spread(column) for column in zip(*rows, strict=True)]
    intervals = [scores.class_iou_intervals[label] for label in LABELLED]
    intervals += [scores.mean_iou_interval, attributes.macro_f1_interval]
    cells = [
        f"{value:.3f} [{low:.3f}, {high:.3f}]"
        for value, (low, high) in zip(rows[0][:-1], intervals, strict=True)
    ]
    return [*cells, f"{attributes.balanced_accuracy:.3f}"]


def tabulate_scores(rows: list[list[str]]) -> str:
    """Return a table of rows, each the name of a network and the cells of `format_scores`; "" for none."""
    if not rows:
        return ""
    names = [PIXEL_CLASSES[label] for label in LABELLED]
    header = ["network", *names, "mean IoU", "macro F1 by the rule", "balanced accuracy"]
    return format_table(header, rows)


def tabulate_shipped(bench: Bench) -> str:
    """Return the table of the shipped network, at its own size, on all photos and on the held-out ones."""
    shipped = load_model("efficient_unet")
    photos = load_faces(bench.real, shipped.card.size)
    parts = {
        f"all {len(photos)} photos": torch.arange(len(photos)),
        HELD_OUT: open_folder(bench.real).split().test,
    }
    results = {name: predict_photos(shipped, take_faces(photos, chosen)) for name, chosen in parts.items()}
    return tabulate_scores([[f"shipped, {name}", *format_scores([part])] for name, part in results.items()])


def tabulate_ways(bench: Bench, parts: tuple[str, ...]) -> str:
    """Return the table of some parts taken as one, one row per way whose runs are all finished."""
    results = {way: read_seeds(bench, way, parts) for way in WAYS}
    return tabulate_scores([[way, *format_scores(found)] for way, found in results.items() if found])


def read_seeds(bench: Bench, way: str, parts: tuple[str, ...]) -> list[dict]:
    """Return the predictions of a way on some parts taken as one, per seed; [] unless all are finished."""
    results = [read_predictions(bench, [Run(way, seed, part) for part in parts]) for seed in SEEDS]
    return results if all(results) else []


def tabulate_trials(bench: Bench) -> str:
    """Return the table that RECIPE was chosen by, one row per recipe whose runs are all finished."""
    rows = []
    for recipe in RECIPES:
        found = read_predictions(bench, [Run(PRETRAINED, 0, part, recipe) for part in TRIALS])
        if found:
            rows.append([recipe, *format_scores([found])])
    return tabulate_scores(rows)


def tabulate_gains(bench: Bench, parts: tuple[str, ...]) -> str:
    """Return the gains from pre-training, then from objects, on some parts taken as one, seeds summed."""
    results = {way: read_seeds(bench, way, parts) for way in WAYS}
    if not all(results.values()):
        return ""
    matrices = {way: sum(np.array(one["matrices"]) for one in found) for way, found in results.items()}
    pairs = ((SCRATCH, PRETRAINED), (PRETRAINED, OBJECTS))
    gains = [compare_matrices(matrices[a], matrices[b], ignore=UNLABELLED) for a, b in pairs]
    shown = [PIXEL_CLASSES[label] for label in LABELLED] + ["mean"]
    cells = [
        [f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]" for gain, low, high in table.loc[shown].to_numpy()]
        for table in gains
    ]
    return format_table(["change of IoU", *(f"{b} − {a}" for a, b in pairs)], zip(shown, *cells, strict=True))


def measure_speed(size: int) -> float:
    """Return how many images per second the shipped U-Net segments, the better of two tries."""
    model = load_model("efficient_unet", device=best_device())
    blank = torch.zeros(TIMED_BATCH, size, size, 3, dtype=torch.uint8)
    batches = Batches(blank, blank[..., 0], mean=model.card.mean, std=model.card.std, device=best_device())
    images, _ = next(iter(batches))
    seconds = []
    with torch.inference_mode():
        model.network(images)
        for _ in range(2):
            started = time.perf_counter()
            for _ in range(5):
                model.network(images).argmax(1).cpu()
            seconds.append(time.perf_counter() - started)
    return 5 * TIMED_BATCH / min(seconds)


def write_tables(bench: Bench) -> str:
    """Return all tables, in Markdown, with the rows whose runs are finished."""
    spread = "mean ± standard deviation over seeds"
    tried = f"Recipes tried outside the held-out split, pre-trained, seed 0; {RECIPE} is taken"
    sections = {
        "The shipped U-Net, which has seen no photo; 95 % intervals over photos": tabulate_shipped(bench),
        tried: tabulate_trials(bench),
        f"Trained on photos, five folds; {spread}": tabulate_ways(bench, FOLDS),
        "Five folds, paired over photos, 95 % intervals": tabulate_gains(bench, FOLDS),
        f"Trained on photos, {HELD_OUT}; {spread}": tabulate_ways(bench, (HELD_OUT,)),
        f"{HELD_OUT}, paired over photos, 95 % intervals": tabulate_gains(bench, (HELD_OUT,)),
    }
    tables = [f"{title}:\n\n{table}" for title, table in sections.items() if table]
    speed = (
        f"Inference, {TIMED_SIZE} x {TIMED_SIZE}: {measure_speed(TIMED_SIZE):.0f} images per second on "
        f"{best_device()}, {torch.get_num_threads()} threads."
    )
    return "\n\n".join([*tables, speed])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True, help="a folder of real photos")
    parser.add_argument("--out", type=Path, default=Path("build/segmentation"), help="for the results")
    parser.add_argument("--jobs", type=int, default=2, help="processes, where there is no GPU")
    chosen = parser.parse_args()
    bench, runs = prepare_bench(chosen.real, chosen.out), list_runs(gpu=best_device() == "cuda")
    stored_runs.run_missing(do_run, bench, [runs], is_done, chosen.jobs)
    tables = write_tables(bench)
    write_atomically(chosen.out / "tables.md", f"{tables}\n".encode())
    print(tables)


if __name__ == "__main__":
    main()
