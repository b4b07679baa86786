"""Measure whether training on rendered faces helps on real photos.

    python benchmarks/rendered_to_real.py --rendered FOLDER --real FOLDER [--out FOLDER] [--jobs 2]

Both folders are in ELFW's layout with masks; about 20,000 rendered faces are meant, such as
`elfw pretrain` leaves. Each network goes three ways: `scratch`, trained on photos from random weights;
`rendered only`, which has seen no photo (asked twice, the second time corrected for how much rarer glasses
and caps are in life); and `pre-trained`, the rendered-only network trained on photos by the recipe of
scratch. Photos are tested by five-fold cross-validation by person, the answers pooled over the folds to one
score, and on the folder's own held-out split, whose validation photos are trained on too: nothing is chosen
on anything, and the last epoch's weights count. A seed decides the initial weights, the order of the
samples, and the cut into folds.

The photos' labels know no beards (they are labelled skin), so a beard that the U-Net finds counts as skin.

Every finished run is stored in --out (numbers and weights, never a photo), so the same command goes on
where it was stopped. At the end, or when it is stopped, it prints the tables of the seeds that are finished
and writes them to tables.md there.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import real_photos
import stored_runs
import torch
from real_photos import MINI, RESNET, UNET, classify_photos, cut_folds, load_faces, take_faces, train_network
from safetensors.torch import load_file, save
from stored_runs import format_spread, format_table, read_result
from torch import Tensor
from tqdm import tqdm

from elfw_course.weights.release import measure_shift
from elfw_helpers.data.labels import ATTRIBUTES, BEARD, PIXEL_CLASSES
from elfw_helpers.evaluation.classification import Scores, iou_by_class, score
from elfw_helpers.models.weights import read_verified
from elfw_helpers.utils.device import best_device
from elfw_helpers.utils.files import write_atomically
from elfw_helpers.utils.parallel import run_parallel
from elfw_helpers.utils.paths import rendered_weights

SEEDS = (0, 1, 2)
SCRATCH, RENDERED_ONLY, PRETRAINED = ("scratch", "rendered only", "pre-trained")
# The rendered-only network again, corrected for how much rarer glasses and caps are in life.
AS_IN_LIFE = "rendered only, shares as in life"
WAYS = (SCRATCH, RENDERED_ONLY, AS_IN_LIFE, PRETRAINED)
EVERYTHING, HELD_OUT = "all photos", "held-out split"
FOLDS = tuple(f"fold {number}" for number in range(1, 6))

# A kind and the side of its inputs, pixels; ResNet-18 at 96 only where a GPU makes it cheap.
Network = tuple[str, int]
NETWORKS: list[Network] = [(MINI, 64), (RESNET, 32), (RESNET, 64), (UNET, 64)]
if torch.cuda.is_available():
    NETWORKS.insert(3, (RESNET, 96))
TESTED_ON_HELD_OUT = [(MINI, 64), (RESNET, 32)]


@dataclass(frozen=True)
class Run:
    """One training; `part` names the photos that it is tested on."""

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
    """Look at the data: who is tested when, and what the results depend on."""
    folder = real_photos.open_folder(real)
    checksums = {
        "all": real_photos.hash_code() + real_photos.hash_folder(real),
        "rendered": real_photos.hash_folder(rendered),
        "weights": hashlib.sha256(read_verified(rendered_weights("resnet18"))).hexdigest(),
    }
    attributes, parts = folder.attributes, {}
    split = folder.split()
    for seed in SEEDS:
        parts[seed, HELD_OUT] = torch.cat([split.train, split.validation]), split.test
        folds = cut_folds(folder, torch.arange(len(folder)), len(FOLDS), seed)
        parts.update(((seed, name), fold) for name, fold in zip(FOLDS, folds, strict=True))
    return Bench(rendered, real, out, attributes, parts, checksums)


def list_runs(network: Network, ways: tuple[str, ...], seed: int) -> list[Run]:
    """Return the runs of a network some ways from a seed."""
    photos = FOLDS + ((HELD_OUT,) if network in TESTED_ON_HELD_OUT else ())
    parts = {way: (EVERYTHING,) if way == RENDERED_ONLY else photos for way in ways}
    return [Run(network, way, seed, part) for way in ways for part in parts[way]]


def find_file(bench: Bench, run: Run) -> Path:
    """Return where a run's result is stored, under a name that changes with all that it depends on."""
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
    """Return the result of the rendered-only run that a pre-trained one continues."""
    return find_file(bench, Run(run.network, RENDERED_ONLY, run.seed, EVERYTHING))


def find_weights(result: Path) -> Path:
    """Return the weights that a rendered-only run with this result left."""
    return result.with_suffix(".safetensors")


def is_done(bench: Bench, run: Run) -> bool:
    """Say whether all that a run leaves is there."""
    file = find_file(bench, run)
    return file.exists() and (run.way != RENDERED_ONLY or find_weights(file).exists())


def do_run(bench: Bench, run: Run) -> None:
    """Train, ask about the photos to test, and store the answers."""
    if run.way == RENDERED_ONLY:
        train_on_rendered(bench, run)
    else:
        train_on_photos(bench, run)


def train_on_rendered(bench: Bench, run: Run) -> None:
    """Do a rendered-only run; its weights are stored too."""
    kind, size = run.network
    faces, file = load_faces(bench.rendered, size), find_file(bench, run)
    statistics = real_photos.measure_statistics(kind, faces)
    model = real_photos.seeded_network(kind, run.seed, "rendered")
    train_network(model, kind, faces, statistics, real_photos.RENDERED_RECIPES[kind], run.seed)
    photos = load_faces(bench.real, size)
    shift = measure_shift(faces.masks if kind == UNET else faces.attributes).tolist()
    result = classify_photos(model, kind, photos, statistics)
    result[AS_IN_LIFE] = classify_photos(model, kind, photos, statistics, shift)
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(find_weights(file), save(tensors))
    stored_runs.store_result(file, {"statistics": statistics, **result})


def train_on_photos(bench: Bench, run: Run) -> None:
    """Do a run from scratch or a pre-trained one."""
    kind, size = run.network
    photos = load_faces(bench.real, size)
    train, test = (take_faces(photos, indices) for indices in bench.parts[run.seed, run.part])
    model = real_photos.seeded_network(kind, run.seed)
    if run.way == PRETRAINED:
        parent = find_parent(bench, run)
        model.load_state_dict(load_file(find_weights(parent)))
        statistics = read_result(parent)["statistics"]
    else:
        statistics = real_photos.measure_statistics(kind, train)
    train_network(model, kind, train, statistics, real_photos.PHOTO_RECIPES[kind], run.seed)
    stored_runs.store_result(find_file(bench, run), classify_photos(model, kind, test, statistics))


def run_bench(bench: Bench, jobs: int) -> None:
    """Do all runs that are not stored, seed by seed: all of the first before any of the second.

    The pre-trained ones start from the weights that the rendered-only ones leave, and the longest come first.
    """
    stages = [
        [run for network in reversed(NETWORKS) for run in list_runs(network, ways, seed)]
        for seed in SEEDS
        for ways in ((RENDERED_ONLY,), (SCRATCH, PRETRAINED))
    ]
    missing = [[run for run in stage if not is_done(bench, run)] for stage in stages]
    total = sum(map(len, stages))
    with tqdm(total=total, initial=total - sum(map(len, missing)), unit="run") as bar:
        for stage in missing:
            workers = 1 if best_device() == "cuda" else jobs
            for _ in run_parallel(partial(do_run, bench), stage, workers):
                bar.update()


def read_answers(bench: Bench, network: Network, way: str, seed: int, part: str) -> dict:
    """Return what a run said of the photos of a part; of all photos, if it never saw any."""
    if way in (SCRATCH, PRETRAINED):
        return read_result(find_file(bench, Run(network, way, seed, part)))
    result = read_result(find_file(bench, Run(network, RENDERED_ONLY, seed, EVERYTHING)))
    return result if way == RENDERED_ONLY else result[AS_IN_LIFE]


def finished_seeds(bench: Bench, network: Network, *ways: str) -> list[int]:
    """Return the seeds of which all runs of a network in these ways are stored."""
    trained = tuple(RENDERED_ONLY if way == AS_IN_LIFE else way for way in ways)
    return [seed for seed in SEEDS if all(is_done(bench, run) for run in list_runs(network, trained, seed))]


def score_pooled(bench: Bench, network: Network, way: str, seed: int, parts: tuple[str, ...]) -> Scores:
    """Return one score of the answers pooled over parts of the photos."""
    targets, answers = [], []
    for part in parts:
        test = bench.parts[seed, part][1]
        found = torch.tensor(read_answers(bench, network, way, seed, part)["attributes"])
        targets.append(bench.attributes[test])
        answers.append(found if way in (SCRATCH, PRETRAINED) else found[test])
    return score(torch.cat(targets), torch.cat(answers))


def pool_ious(bench: Bench, way: str, seeds: list[int]) -> np.ndarray:
    """Return the U-Net's IoU by seed and class, [seeds, 8]: the 7 classes, and the mean of those in photos.

    One confusion matrix a seed, accumulated over the folds.
    """
    rows = []
    for seed in seeds:
        parts = FOLDS if way in (SCRATCH, PRETRAINED) else (EVERYTHING,)
        matrix = sum(np.array(read_answers(bench, (UNET, 64), way, seed, part)["matrix"]) for part in parts)
        ious = iou_by_class(matrix)
        rows.append([*ious, ious[matrix.sum(1) > 0].mean()])
    return np.array(rows)


def name_network(network: Network) -> str:
    """Return a network's name for the tables."""
    kind, size = network
    return f"{kind}, {size} px" + (", by the rule from its masks" if kind == UNET else "")


def tabulate_scores(bench: Bench, networks: list[Network], parts: tuple[str, ...]) -> str:
    """Return a table of attributes' scores, a row a network and way, after what always saying hair gets."""
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
    """Return a table of macro F1 pre-trained minus scratch, seed by seed, in both ways of testing."""
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
    """Return a table of the U-Net's IoU, a row a way; beards, which photos do not label, left out."""
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
    """Return all tables, in Markdown, with what has to be known to read them."""

    def count(chosen: Tensor) -> str:
        counts = torch.bincount(bench.attributes[chosen], minlength=len(ATTRIBUTES)).tolist()
        return ", ".join(f"{number} {name}" for number, name in zip(counts, ATTRIBUTES, strict=True))

    everything, held_out = torch.arange(len(bench.attributes)), bench.parts[SEEDS[0], HELD_OUT][1]
    return "\n\n".join(
        [
            "Mean ± standard deviation over seeds; – where a class is neither there nor found.",
            f"Five-fold cross-validation over {len(everything)} photos ({count(everything)}):",
            tabulate_scores(bench, NETWORKS, FOLDS),
            f"Held-out split, {len(held_out)} photos ({count(held_out)}):",
            tabulate_scores(bench, TESTED_ON_HELD_OUT, (HELD_OUT,)),
            "What pre-training on rendered faces brings, seed by seed:",
            tabulate_lifts(bench),
            "Pixels of the U-Net, 64 px, five folds. The photos' labels know no beards (they are labelled "
            "skin): a beard that it finds counts as skin.",
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
        print(
            "Stopped. The same command goes on; the tables hold the seeds that are finished.", file=sys.stderr
        )
    tables = write_tables(bench)
    write_atomically(chosen.out / "tables.md", f"{tables}\n".encode())
    print(tables)


if __name__ == "__main__":
    main()
