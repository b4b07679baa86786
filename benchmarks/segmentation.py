"""Measure how well the course's U-Net segments real photos, and what rendered faces and objects bring.

    python benchmarks/segmentation.py --real FOLDER [--out FOLDER] [--jobs 2]

FOLDER holds photos with masks in ELFW's layout. The U-Net that ships with the course (trained on rendered
faces alone) is asked as it is, about all photos and about the test split; it is trained on photos three ways,
from three seeds: `scratch`, from random weights; `pre-trained`, from the shipped ones; `pre-trained,
objects`, the same with rendered eyewear and hands put on as many copies of training photos as there are. All
see equally many samples. The epoch is chosen on the folder's validation split; nothing is chosen on the test
split.

The photos' labels know no beards (they are labelled skin), so a beard that the U-Net finds counts as skin.
Every finished run is stored in --out (numbers, never a photo): the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import stored_runs
import torch
from real_photos import hash_code, hash_files, hash_folder, load_faces, open_folder, take_faces
from stored_runs import format_spread, format_table, read_result
from tqdm import tqdm

from elfw_helpers import recipes
from elfw_helpers.augment import augment_faces
from elfw_helpers.batches import Batches
from elfw_helpers.datasets import FaceTensors
from elfw_helpers.files import write_atomically
from elfw_helpers.labels import BEARD, EYEWEAR, HAIR, PIXEL_CLASSES, SKIN, WEARABLE, attribute_from_mask
from elfw_helpers.metrics import score
from elfw_helpers.models import UNet
from elfw_helpers.paths import rendered_weights
from elfw_helpers.segmentation_metrics import compare_matrices, confusion_matrices, score_matrices
from elfw_helpers.trained import TrainedModel, load_model
from elfw_helpers.training import best_device, fit, predict_masks
from elfw_helpers.workers import run_jobs

SEEDS = (0, 1, 2)
SCRATCH, PRETRAINED, OBJECTS = WAYS = ("scratch", "pre-trained", "pre-trained, objects")
# The classes that the photos' labels know.
LABELLED = (0, SKIN, HAIR, EYEWEAR, WEARABLE)
# Measured with few epochs: a training of this size takes minutes on a CPU.
RECIPE = replace(recipes.TWO_CORES, size=96, lr=0.05, epochs=20)
KINDS = ("eyewear", "hand")
# Inference is timed at this side, in batches of so many.
TIMED_SIZE, TIMED_BATCH = 128, 16


@dataclass(frozen=True)
class Run:
    """One training on photos."""

    way: str
    seed: int


@dataclass(frozen=True)
class Bench:
    """The folders, and a checksum of the code and data that the results depend on."""

    real: Path
    out: Path
    depends_on: str


def prepare_bench(real: Path, out: Path) -> Bench:
    """Return what all runs share."""
    code = [
        Path(__file__),
        Path(recipes.__file__),
        *sorted(Path(recipes.__file__).parent.glob("augment/*.py")),
    ]
    weights = hashlib.sha256(rendered_weights("unet").read_bytes()).hexdigest()
    return Bench(real, out, hash_code() + hash_files(code) + hash_folder(real) + weights)


def find_file(bench: Bench, run: Run) -> Path:
    """Return where a run's result is stored."""
    words = (run.way, f"seed-{run.seed}")
    return stored_runs.name_file(bench.out / "runs", words, [bench.depends_on])


def do_run(bench: Bench, run: Run) -> None:
    """Train on the photos of the training split, ask about those of the test split, and store the answers."""
    photos, split = load_faces(bench.real, RECIPE.size), open_folder(bench.real).split()
    shipped, train = load_model("unet"), take_faces(photos, split.train)
    epochs = RECIPE.epochs
    if run.way == OBJECTS:
        chosen = torch.arange(len(train))
        copies, _ = augment_faces(train, chosen, KINDS, seed=run.seed)
        epochs = round(epochs * len(train) / (len(train) + len(copies)))
        train = join_faces(train, copies)
    batches = make_batches(train, shipped, shuffle_seed=run.seed, augment=RECIPE.augment)
    validation = make_batches(take_faces(photos, split.validation), shipped)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        model = UNet(len(PIXEL_CLASSES), **shipped.card.options)
    if run.way != SCRATCH:
        model.load_state_dict(shipped.network.state_dict())
    options = {"lr": RECIPE.lr, "momentum": RECIPE.momentum, "weight_decay": RECIPE.weight_decay}
    schedule, checkpoint = RECIPE.schedule(epochs), bench.out / "training"
    fit(
        model, batches, validation, epochs, schedule=schedule, seed=run.seed, checkpoint=checkpoint, **options
    )
    result = {
        part: ask_about(replace(shipped, network=model), take_faces(photos, indices))
        for part, indices in (("validation", split.validation), ("test", split.test))
    }
    stored_runs.store_result(find_file(bench, run), result)


def join_faces(first: FaceTensors, second: FaceTensors) -> FaceTensors:
    """Return the faces of both."""
    pairs = ((getattr(first, name), getattr(second, name)) for name in ("images", "masks", "attributes"))
    return FaceTensors(*map(torch.cat, pairs), [*first.names, *second.names])


def make_batches(faces: FaceTensors, model: TrainedModel, **options) -> Batches:
    """Return batches of masks, normalised as the shipped network expects it, so that all ways share it."""
    card = model.card
    return Batches(faces.images, faces.masks, mean=card.mean, std=card.std, device=best_device(), **options)


def ask_about(model: TrainedModel, photos: FaceTensors) -> dict:
    """Return what a network says of photos, ready for JSON: a confusion matrix and an attribute a photo."""
    masks = predict_masks(model.network, make_batches(photos, model))
    masks = torch.where(masks == BEARD, SKIN, masks)
    return {
        "matrices": confusion_matrices(photos.masks, masks).tolist(),
        "attributes": [attribute_from_mask(mask) for mask in masks.numpy()],
        "truth": photos.attributes.tolist(),
    }


def describe_answers(results: list[dict]) -> list[str]:
    """Return the cells of a row: IoU of the labelled classes, their mean, and the attributes' scores.

    Args:
        results: as `ask_about` returns them, one a seed. One alone comes with its interval over photos.
    """
    rows = []
    for result in results:
        scores = score_matrices(np.array(result["matrices"]))
        ious = [scores.class_iou[label] for label in LABELLED]
        words = score(result["truth"], result["attributes"])
        rows.append([*ious, float(np.mean(ious)), words.macro_f1, words.balanced_accuracy])
    if len(rows) > 1:
        return [format_spread(column) for column in zip(*rows, strict=True)]
    intervals = [scores.class_iou_intervals[label] for label in LABELLED]
    ends = [*intervals, None, words.macro_f1_interval, None]
    return [
        f"{value:.3f}" + (f" [{end[0]:.3f}, {end[1]:.3f}]" if end else "")
        for value, end in zip(rows[0], ends, strict=True)
    ]


def tabulate(bench: Bench, part: str) -> str:
    """Return the table of one part of the photos, a row a way whose seeds are all finished."""
    photos = load_faces(bench.real, RECIPE.size)
    split = open_folder(bench.real).split()
    shipped = ask_about(load_model("unet"), take_faces(photos, getattr(split, part)))
    rows = [["shipped, rendered faces alone", "1", *describe_answers([shipped])]]
    for way in WAYS:
        files = [find_file(bench, Run(way, seed)) for seed in SEEDS]
        if all(file.exists() for file in files):
            results = [read_result(file)[part] for file in files]
            rows.append([f"{way}", str(len(SEEDS)), *describe_answers(results)])
    return format_answers(rows)


def format_answers(rows: list[list[str]]) -> str:
    """Return a table under the names of its columns."""
    names = [PIXEL_CLASSES[label] for label in LABELLED]
    return format_table(
        ["way", "seeds", *names, "mean IoU", "macro F1 by the rule", "balanced accuracy"], rows
    )


def tabulate_gain(bench: Bench) -> str:
    """Return what objects bring over pre-training alone, on the test split, all seeds pooled."""
    files = [[find_file(bench, Run(way, seed)) for seed in SEEDS] for way in (PRETRAINED, OBJECTS)]
    if not all(file.exists() for row in files for file in row):
        return "Not all runs are finished."
    before, after = (
        np.array([read_result(file)["test"]["matrices"] for file in row]).sum(0) for row in files
    )
    gains = compare_matrices(before, after)
    rows = [[name, f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]"] for name, gain, low, high in gains.itertuples()]
    return format_table(["class", "IoU with objects − without, 95 % interval over photos"], rows)


def measure_speed(size: int) -> float:
    """Return how many images a second the shipped U-Net segments, the better of two tries."""
    model = load_model("unet", device=best_device())
    images = torch.zeros(TIMED_BATCH, 3, size, size, device=model.device)
    images = images.contiguous(memory_format=torch.channels_last)
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
    """Return all tables, in Markdown."""
    photos = load_faces(bench.real, RECIPE.size)
    everything = describe_answers([ask_about(load_model("unet"), photos)])
    parts = [
        f"All {len(photos)} photos, of which the shipped U-Net has seen none:",
        format_answers([["shipped, rendered faces alone", "1", *everything]]),
        "Test split, mean ± standard deviation over seeds (one network: its 95 % interval over photos):",
        tabulate(bench, "test"),
        "Validation split, which chose the epochs:",
        tabulate(bench, "validation"),
        "What rendered objects on photos bring:",
        tabulate_gain(bench),
        f"Inference, {TIMED_SIZE} x {TIMED_SIZE}: {measure_speed(TIMED_SIZE):.0f} images a second on "
        f"{best_device()}, {torch.get_num_threads()} threads.",
    ]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True, help="a folder of real photos")
    parser.add_argument("--out", type=Path, default=Path("build/segmentation"), help="for the results")
    parser.add_argument("--jobs", type=int, default=2, help="processes, where there is no GPU")
    chosen = parser.parse_args()
    bench = prepare_bench(chosen.real, chosen.out)
    runs = [Run(way, seed) for seed in SEEDS for way in WAYS]
    missing = [run for run in runs if not find_file(bench, run).exists()]
    with tqdm(total=len(runs), initial=len(runs) - len(missing), unit="run") as bar:
        for _ in run_jobs(do_run, bench, missing, chosen.jobs, best_device()):
            bar.update()
    tables = write_tables(bench)
    write_atomically(chosen.out / "tables.md", f"{tables}\n".encode())
    print(tables)


if __name__ == "__main__":
    main()
