"""Measure what transfers to photos of real people from where, frozen and fine-tuned.

    python benchmarks/transfer_on_photos.py --real FOLDER [--out FOLDER] [--seeds 2] [--store]

FOLDER holds photos with masks in ELFW's layout; attributes follow from the masks by the course's rule. This
is the table of notebook 02 on photos. A network begins from random weights; from rendered faces, but not
their attributes; from ImageNet; or from this very question: the masks of rendered faces, which define the
attribute. It learns from photos, at 64 px, in five folds by person, each class weighted to count alike:

- frozen: a logistic regression on the network's features;
- fine-tuned: all layers, four epochs of SGD in batches of 16, its rate falling along half a cosine.

A seed determines the folds, the random weights and the order of the photos. Nothing was chosen by these
scores. ImageNet's weights of torchvision's ResNet-18 are a download: where they cannot be had, their rows are
missing.

Finished runs are stored in --out (predictions, never a photo), and are not done again. `--store` writes
`data/measured/transfer_on_photos.json`, which notebook 02 shows.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from attributes_on_photos import fit_head
from measure import store_results
from real_photos import cut_folds, hash_folder, load_faces, open_folder
from sklearn.metrics import balanced_accuracy_score
from stored_runs import format_spread, format_table, name_file, read_result, store_result
from torch import Tensor, nn
from tqdm import tqdm

from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches
from elfw_helpers.data.labels import ATTRIBUTES
from elfw_helpers.models.classification import efficient_classifier, resnet18
from elfw_helpers.models.transfer import extract_features
from elfw_helpers.training.loop import fit, predict_logits
from elfw_helpers.training.losses import Loss
from elfw_helpers.training.search import make_seeded
from elfw_helpers.training.segmentation import cosine_schedule
from elfw_helpers.utils.device import best_device
from elfw_helpers.utils.errors import WeightsError
from elfw_helpers.utils.paths import build_folder, measured_file

STORED = measured_file("transfer_on_photos")
SIZE, FOLDS, EPOCHS, RATE, BATCH_SIZE = 64, 5, 4, 0.02, 16
STARTS = {
    "random weights, ResNet-18": partial(resnet18, None),
    "rendered faces, not their attributes, ResNet-18": partial(resnet18, "rendered"),
    "ImageNet, ResNet-18": partial(resnet18, "imagenet"),
    "random weights, EfficientNet-Lite0": partial(efficient_classifier, None),
    "ImageNet, EfficientNet-Lite0": partial(efficient_classifier, "imagenet"),
    "this question (rendered masks), EfficientNet-Lite0": partial(efficient_classifier, "masks"),
}
WAYS = ("frozen", "fine-tuned")
RESAMPLES = 2_000


def make_batches(real: Path, chosen: Tensor | None = None, seed: int | None = None) -> Batches:
    """Return batches of some photos, shuffled by a seed."""
    faces = load_faces(real, SIZE)
    options = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "batch_size": BATCH_SIZE, "device": best_device()}
    return Batches(faces.images, faces.attributes, chosen=chosen, shuffle_seed=seed, **options)


def predict_folds(build: Callable[[], nn.Module], way: str, real: Path, seed: int) -> list[int]:
    """Return each photo's attribute, said by a network that learned from the other four folds."""
    folder = open_folder(real)
    predicted = torch.zeros(len(folder), dtype=torch.int64)
    predict = predict_frozen if way == "frozen" else predict_tuned
    folds = cut_folds(folder, torch.arange(len(folder)), FOLDS, seed)
    for (_, test), answers in zip(folds, predict(build, real, folds, seed), strict=True):
        predicted[test] = answers
    return predicted.tolist()


def predict_frozen(build: Callable, real: Path, folds: list, seed: int) -> list[Tensor]:
    """Return the answers of a head on frozen features, fold by fold."""
    attributes = open_folder(real).attributes.numpy()
    features = extract_features(make_seeded(build, seed), make_batches(real)).numpy()
    return [
        torch.from_numpy(fit_head(features[train], attributes[train])(features[test]))
        for train, test in folds
    ]


def predict_tuned(build: Callable, real: Path, folds: list, seed: int) -> list[Tensor]:
    """Return the answers of networks that were fine-tuned, fold by fold."""
    attributes, answers = open_folder(real).attributes, []
    for train, test in folds:
        network, counts = make_seeded(build, seed), attributes[train].bincount(minlength=len(ATTRIBUTES))
        loss = Loss("cross_entropy", len(train) / (len(ATTRIBUTES) * counts))
        rates = cosine_schedule(RATE, EPOCHS)
        fit(network, make_batches(real, train, seed), None, EPOCHS, lr=rates, loss=loss, seed=seed)
        answers.append(predict_logits(network, make_batches(real, test)).argmax(1))
    return answers


def measure_missing(real: Path, out: Path, seeds: int) -> dict[tuple[str, str], list[list[int]]]:
    """Return the predictions of every start and way, a list per seed, and do what is not stored in `out`."""
    found: dict[tuple[str, str], list[list[int]]] = {}
    runs = [(start, way, seed) for seed in range(seeds) for way in WAYS for start in STARTS]
    photos = hash_folder(real)
    for start, way, seed in tqdm(runs, unit="run"):
        try:
            network = make_seeded(STARTS[start], seed)
        except WeightsError as error:
            print(f"{start}: left out ({str(error)[:80]} ...)")
            continue
        depends_on = [predict_folds, predict_frozen, predict_tuned, network, photos]
        file = name_file(out, (start, way, f"seed {seed}"), depends_on)
        if not file.exists():
            store_result(file, {"attributes": predict_folds(STARTS[start], way, real, seed)})
        found.setdefault((start, way), []).append(read_result(file)["attributes"])
    return found


def macro_f1(truth: np.ndarray, answers: np.ndarray) -> float:
    """Return the mean F1 of the classes that are in the truth or among the answers, int [N] each."""
    kinds = len(ATTRIBUTES)
    counts = np.bincount(kinds * truth + answers, minlength=kinds**2).reshape(kinds, kinds)
    met = counts.sum(0) + counts.sum(1)
    return (2 * counts.diagonal()[met > 0] / met[met > 0]).mean()


def score_runs(truth: np.ndarray, runs: list[list[int]]) -> dict[str, object]:
    """Return macro F1 and balanced accuracy, one per seed, and the interval over photos of the mean F1."""
    answers = np.array(runs)
    drawn = np.random.default_rng(0).integers(len(truth), size=(RESAMPLES, len(truth)))
    means = [np.mean([macro_f1(truth[some], one[some]) for one in answers]) for some in drawn]
    return {
        "photos": len(truth),
        "macro_f1": [macro_f1(truth, one) for one in answers],
        "macro_f1_interval": np.quantile(means, (0.025, 0.975)).tolist(),
        "balanced_accuracy": [balanced_accuracy_score(truth, one) for one in answers],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True, help="a folder of real photos")
    parser.add_argument("--out", type=Path, help="where finished runs are stored")
    parser.add_argument("--seeds", type=int, default=2, help="how many")
    parser.add_argument("--store", action="store_true", help="write the scores beside this script")
    options = parser.parse_args()
    out = options.out or build_folder() / "transfer_on_photos"
    found = measure_missing(options.real, out, options.seeds)
    truth, rows = open_folder(options.real).attributes.numpy(), []
    results = {f"{start}; {way}": score_runs(truth, runs) for (start, way), runs in found.items()}
    for name, one in results.items():
        low, high = one["macro_f1_interval"]
        scores = [format_spread(one[key]) for key in ("macro_f1", "balanced_accuracy")]
        rows.append([name, f"{scores[0]} [{low:.3f}, {high:.3f}]", scores[1]])
    print(format_table(["start and way", "macro F1 [over photos]", "balanced accuracy"], rows))
    if options.store:
        store_results(STORED, results)


if __name__ == "__main__":
    main()
