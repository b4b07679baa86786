"""Measure whether training on rendered faces helps on real photos.

    python benchmarks/rendered_to_real.py --rendered FOLDER --real FOLDER [--out FOLDER] [--jobs 2]

Both folders are in ELFW's layout with masks; the rendered one should hold about 20,000 faces, as `elfw
pretrain` leaves them. Each network is trained in three ways: `scratch`, on photos from random weights;
`rendered only`, on no photo (tested twice, the second time corrected for the prior shift: glasses and caps
are much rarer in life); and `pre-trained`, the rendered-only network trained on photos by the recipe of
scratch. Tests are five-fold cross-validation by person, with the predictions of all folds pooled to one
score, and the folder's own held-out split, with its validation photos used for training too: nothing is
selected, and the last epoch's weights count. A seed determines the initial weights, the order of the samples
and the folds.

The photos' masks label beards as skin, so a beard that the U-Net predicts counts as skin.

Every finished run is stored in --out (numbers and weights, never a photo), so the same command resumes an
interrupted benchmark. At the end, or when interrupted, it prints the tables of the finished seeds and writes
them to tables.md there.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import real_photos
import stored_runs
import torch
from real_photos import MINI, RESNET, UNET, classify_photos, cut_folds, load_faces, take_faces, train_network
from safetensors.torch import load_file, save
from stored_runs import format_spread, format_table, read_result
from torch import Tensor

from elfw_course.weights.release import measure_prior_shift
from elfw_helpers.data.labels import ATTRIBUTES, BEARD, PIXEL_CLASSES
from elfw_helpers.evaluation.classification import Scores, score
from elfw_helpers.evaluation.segmentation import iou_by_class
from elfw_helpers.utils.files import write_atomically
from elfw_helpers.utils.paths import rendered_weights

SEEDS = (0, 1, 2)
SCRATCH, RENDERED_ONLY, PRETRAINED = ("scratch", "rendered only", "pre-trained")
# The rendered-only network again, corrected for the prior shift.
CORRECTED = "rendered only, priors corrected"
WAYS = (SCRATCH, RENDERED_ONLY, CORRECTED, PRETRAINED)
EVERYTHING, HELD_OUT = "all photos", "held-out split"
FOLDS = tuple(f"fold {number}" for number in range(1, 6))

# A kind and the side of its inputs, pixels; ResNet-18 at 96 only on a GPU.
Network = tuple[str, int]
NETWORKS: list[Network] = [(MINI, 64), (RESNET, 32), (RESNET, 64), (UNET, 64)]
if torch.cuda.is_available():
    NETWORKS.insert(3, (RESNET, 96))
TESTED_ON_HELD_OUT = [(MINI, 64), (RESNET, 32)]


@dataclass(frozen=True)
class Run:
    """One training; `part` names the photos that test it."""

    network: Network
    way: str
    seed: int
    part: str


@dataclass(frozen=True)
class Bench:
    """What all runs share.

    Attributes:
        rendered, real, out: the folders.
        attributes: int64 [N], the photos' class indices.
        parts: indices of the photos to train on and to test on, by seed and name of the part.
        checksums: of code and data, by what depends on them: "all", "rendered" and ResNet's "weights".
    """

    rendered: Path
    real: Path
    out: Path
    attributes: Tensor
    parts: dict[tuple[int, str], tuple[Tensor, Tensor]]
    checksums: dict[str, str]


def prepare_bench(rendered: Path, real: Path, out: Path) -> Bench:
    """Return the folders, the parts of the photos, and checksums of what the results depend on."""
    folder = real_photos.open_folder(real)
    checksums = {
        "all": real_photos.hash_code() + real_photos.hash_folder(real),
        "rendered": real_photos.hash_folder(rendered),
        "weights": hashlib.sha256(rendered_weights("resnet18").read_bytes()).hexdigest(),
    }
    attributes, parts = folder.attributes, {}
    split = folder.split()
    for seed in SEEDS:
        parts[seed, HELD_OUT] = torch.cat([split.train, split.validation]), split.test
        folds = cut_folds(folder, torch.arange(len(folder)), len(FOLDS), seed)
        parts.update(((seed, name), fold) for name, fold in zip(FOLDS, folds, strict=True))
    return Bench(rendered, real, out, attributes, parts, checksums)


def list_runs(network: Network, ways: tuple[str, ...], seed: int) -> list[Run]:
    """Return the runs of a network in some ways from one seed."""
    photos = FOLDS + ((HELD_OUT,) if network in TESTED_ON_HELD_OUT else ())
    parts = {way: (EVERYTHING,) if way == RENDERED_ONLY else photos for way in ways}
    return [Run(network, way, seed, part) for way in ways for part in parts[way]]


def find_file(bench: Bench, run: Run) -> Path:
    """Return the file of a run's result; its name changes with everything that the result depends on."""
    depends_on = [bench.checksums["all"]]
    if run.way != SCRATCH:
        depends_on += [bench.checksums["rendered"]]
        depends_on += [bench.checksums["weights"]] if run.network[0] == RESNET else []
    if run.way != RENDERED_ONLY:
        depends_on += [indices.tolist() for indices in bench.parts[run.seed, run.part]]
    kind, size = run.network
    words = (kind, size, run.way, f"seed-{run.seed}", run.part)
    return stored_runs.name_file(bench.out / "runs", words, depends_on)


def find_parent(bench: Bench, run: Run) -> Path:
    """Return the result file of the rendered-only run that a pre-trained one continues."""
    return find_file(bench, Run(run.network, RENDERED_ONLY, run.seed, EVERYTHING))


def is_done(bench: Bench, run: Run) -> bool:
    """Say whether a run's result is stored, and the weights too of a rendered-only one."""
    file = find_file(bench, run)
    return file.exists() and (run.way != RENDERED_ONLY or file.with_suffix(".safetensors").exists())


def do_run(bench: Bench, run: Run) -> None:
    """Train a network, and store its predictions for the photos that test it."""
    train = train_on_rendered if run.way == RENDERED_ONLY else train_on_photos
    train(bench, run)


def train_on_rendered(bench: Bench, run: Run) -> None:
    """Do a rendered-only run and store its weights too."""
    kind, size = run.network
    faces, file = load_faces(bench.rendered, size), find_file(bench, run)
    statistics = real_photos.measure_statistics(kind, faces)
    model = real_photos.seeded_network(kind, run.seed, "rendered")
    train_network(model, kind, faces, statistics, real_photos.RENDERED_RECIPES[kind], run.seed)
    photos = load_faces(bench.real, size)
    shift = measure_prior_shift(faces.masks if kind == UNET else faces.attributes).tolist()
    result = classify_photos(model, kind, photos, statistics)
    result[CORRECTED] = classify_photos(model, kind, photos, statistics, shift)
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(file.with_suffix(".safetensors"), save(tensors))
    stored_runs.store_result(file, {"statistics": statistics, **result})


def train_on_photos(bench: Bench, run: Run) -> None:
    """Do a run from scratch or a pre-trained one."""
    kind, size = run.network
    photos = load_faces(bench.real, size)
    train, test = (take_faces(photos, indices) for indices in bench.parts[run.seed, run.part])
    model = real_photos.seeded_network(kind, run.seed)
    if run.way == PRETRAINED:
        parent = find_parent(bench, run)
        model.load_state_dict(load_file(parent.with_suffix(".safetensors")))
        statistics = read_result(parent)["statistics"]
    else:
        statistics = real_photos.measure_statistics(kind, train)
    train_network(model, kind, train, statistics, real_photos.PHOTO_RECIPES[kind], run.seed)
    stored_runs.store_result(find_file(bench, run), classify_photos(model, kind, test, statistics))


def run_bench(bench: Bench, jobs: int) -> None:
    """Do all runs that are not stored, seed by seed, the longest of a stage first.

    The pre-trained runs start from the weights of the rendered-only ones, so they come in a later stage.
    """
    stages = [
        [run for network in reversed(NETWORKS) for run in list_runs(network, ways, seed)]
        for seed in SEEDS
        for ways in ((RENDERED_ONLY,), (SCRATCH, PRETRAINED))
    ]
    stored_runs.run_missing(do_run, bench, stages, is_done, jobs)


def read_predictions(bench: Bench, network: Network, way: str, seed: int, part: str) -> dict:
    """Return a run's predictions for the photos of a part; for all photos, if it was trained on none."""
    if way in (SCRATCH, PRETRAINED):
        return read_result(find_file(bench, Run(network, way, seed, part)))
    result = read_result(find_file(bench, Run(network, RENDERED_ONLY, seed, EVERYTHING)))
    return result if way == RENDERED_ONLY else result[CORRECTED]


def finished_seeds(bench: Bench, network: Network, *ways: str) -> list[int]:
    """Return the seeds for which all runs of a network in these ways are stored."""
    trained = tuple(RENDERED_ONLY if way == CORRECTED else way for way in ways)
    return [seed for seed in SEEDS if all(is_done(bench, run) for run in list_runs(network, trained, seed))]


def score_pooled(bench: Bench, network: Network, way: str, seed: int, parts: tuple[str, ...]) -> Scores:
    """Return one score of the predictions pooled over parts of the photos."""
    tested, predicted = [], []
    for part in parts:
        test = bench.parts[seed, part][1]
        found = torch.tensor(read_predictions(bench, network, way, seed, part)["attributes"])
        tested.append(test)
        predicted.append(found if way in (SCRATCH, PRETRAINED) else found[test])
    return score(bench.attributes[torch.cat(tested)], torch.cat(predicted))


def pool_ious(bench: Bench, way: str, seeds: list[int]) -> np.ndarray:
    """Return the U-Net's IoU per seed, [seeds, 8]: of the 7 classes, and the mean of those in photos."""
    parts = FOLDS if way in (SCRATCH, PRETRAINED) else (EVERYTHING,)
    rows = []
    for seed in seeds:
        answers = [read_predictions(bench, (UNET, 64), way, seed, part) for part in parts]
        matrix = sum(np.array(answer["matrix"]) for answer in answers)
        ious = iou_by_class(matrix)
        rows.append([*ious, ious[matrix.sum(1) > 0].mean()])
    return np.array(rows)


def name_network(network: Network) -> str:
    """Return a network's name for the tables."""
    kind, size = network
    return f"{kind}, {size} px" + (", by the rule from its masks" if kind == UNET else "")


def tabulate_scores(bench: Bench, networks: list[Network], parts: tuple[str, ...]) -> str:
    """Return attribute scores, one row per network and way after that of always predicting hair."""
    measures = ("balanced_accuracy", "macro_f1", "accuracy")
    tested = torch.cat([bench.parts[SEEDS[0], part][1] for part in parts])
    hair = score(bench.attributes[tested], torch.zeros_like(tested))
    rows = [["always hair", "", "", *(f"{getattr(hair, measure):.3f}" for measure in measures)]]
    for network in networks:
        for way in WAYS:
            seeds = finished_seeds(bench, network, way)
            if not seeds:
                continue
            scores = [score_pooled(bench, network, way, seed, parts) for seed in seeds]
            cells = (format_spread([getattr(one, measure) for one in scores]) for measure in measures)
            rows.append([name_network(network), way, str(len(seeds)), *cells])
    return format_table(["network", "way", "seeds", "balanced accuracy", "macro F1", "accuracy"], rows)


def tabulate_lifts(bench: Bench) -> str:
    """Return a table of macro F1, pre-trained minus scratch of the same seed, in both tests."""
    rows = []
    for network in NETWORKS:
        seeds = finished_seeds(bench, network, SCRATCH, PRETRAINED)
        if not seeds:
            continue
        cells = [name_network(network), str(len(seeds))]
        for parts in (FOLDS, (HELD_OUT,)):
            if parts != FOLDS and network not in TESTED_ON_HELD_OUT:
                cells.append("–")
                continue
            before, after = (
                np.array([score_pooled(bench, network, way, seed, parts).macro_f1 for seed in seeds])
                for way in (SCRATCH, PRETRAINED)
            )
            cells.append(format_spread(after - before, sign=True))
        rows.append(cells)
    return format_table(["macro F1, pre-trained − scratch", "seeds", "five folds", HELD_OUT], rows)


def tabulate_ious(bench: Bench) -> str:
    """Return a table of the U-Net's IoU, one row per way, without beards, which photos do not label."""
    shown = [label for label in range(len(PIXEL_CLASSES) + 1) if label != BEARD]
    rows = []
    for way in WAYS:
        seeds = finished_seeds(bench, (UNET, 64), way)
        if seeds:
            values = pool_ious(bench, way, seeds)[:, shown].T
            rows.append([way, str(len(seeds)), *map(format_spread, values)])
    seeds = finished_seeds(bench, (UNET, 64), SCRATCH, PRETRAINED)
    if seeds:
        before, after = (pool_ious(bench, way, seeds)[:, shown].T for way in (SCRATCH, PRETRAINED))
        lifts = (format_spread(lift, sign=True) for lift in after - before)
        rows.append(["pre-trained − scratch", str(len(seeds)), *lifts])
    return format_table(
        ["IoU", "seeds", *[(*PIXEL_CLASSES, "mean of those in photos")[label] for label in shown]], rows
    )


def write_tables(bench: Bench) -> str:
    """Return all tables, in Markdown, with their explanations."""

    def count(chosen: Tensor) -> str:
        counts = torch.bincount(bench.attributes[chosen], minlength=len(ATTRIBUTES)).tolist()
        return ", ".join(f"{number} {name}" for number, name in zip(counts, ATTRIBUTES, strict=True))

    everything, held_out = torch.arange(len(bench.attributes)), bench.parts[SEEDS[0], HELD_OUT][1]
    return "\n\n".join(
        [
            "Mean ± standard deviation over seeds; – where a class is absent from truth and predictions.",
            f"Five-fold cross-validation over {len(everything)} photos ({count(everything)}):",
            tabulate_scores(bench, NETWORKS, FOLDS),
            f"Held-out split, {len(held_out)} photos ({count(held_out)}):",
            tabulate_scores(bench, TESTED_ON_HELD_OUT, (HELD_OUT,)),
            "What pre-training on rendered faces brings, seed by seed:",
            tabulate_lifts(bench),
            "Pixels of the U-Net, 64 px, five folds. The photos' masks label beards as skin: a beard that it "
            "predicts counts as skin.",
            tabulate_ious(bench),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rendered", type=Path, required=True, help="a folder of rendered faces")
    parser.add_argument("--real", type=Path, required=True, help="a folder of real photos")
    parser.add_argument("--out", type=Path, default=Path("build/rendered_to_real"), help="for the results")
    parser.add_argument("--jobs", type=int, default=2, help="processes, where there is no GPU")
    chosen = parser.parse_args()
    bench = prepare_bench(chosen.rendered, chosen.real, chosen.out)
    try:
        run_bench(bench, chosen.jobs)
    except KeyboardInterrupt:
        print("Stopped. The same command resumes; the tables hold the finished seeds.", file=sys.stderr)
    tables = write_tables(bench)
    write_atomically(chosen.out / "tables.md", f"{tables}\n".encode())
    print(tables)


if __name__ == "__main__":
    main()
