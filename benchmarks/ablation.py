"""Measure which ingredient of the renderer matters for real photos, by leaving out one at a time.

    python benchmarks/ablation.py --real FOLDER [--faces 1200] [--out FOLDER] [--jobs 2]

For each change and seed, faces are rendered in memory (the same faces, but for the change), a mini network
and a U-Net are trained on them, and both are asked about every photo: neither has seen one before. The
photos' labels know no beards (they are labelled skin), so a beard that the U-Net finds counts as skin.

Every finished run is stored in --out (numbers, never a photo), so the same command goes on where it was
stopped. At the end it prints the table and writes it to tables.md there.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import real_photos
import stored_runs
import torch
from PIL import Image
from real_photos import MINI, RENDERED_RECIPES, UNET, Recipe
from stored_runs import format_spread, format_table, read_result
from tqdm import tqdm

from elfw_helpers import rendering
from elfw_helpers.data.datasets import FaceTensors
from elfw_helpers.data.labels import EYEWEAR, HAIR, PIXEL_CLASSES, SKIN, WEARABLE, attribute_from_mask
from elfw_helpers.evaluation.classification import score
from elfw_helpers.evaluation.segmentation import iou_by_class
from elfw_helpers.rendering import render_face
from elfw_helpers.utils.device import best_device
from elfw_helpers.utils.files import write_atomically
from elfw_helpers.utils.parallel import run_parallel

SEEDS = (0, 1, 2)
# Rendered as large as the embedded set, shown to the networks at 64 pixels.
RENDER_SIZE, SIZE = 128, 64
# Each seed has faces of its own, from this many seeds of the renderer.
FACE_SEEDS = 1_000_000
# The U-Net takes longer, so that it comes first.
RECIPES = {
    UNET: replace(RENDERED_RECIPES[UNET], samples=12_000),
    MINI: replace(RENDERED_RECIPES[MINI], samples=30_000),
}
SHOWN_CLASSES = (SKIN, HAIR, EYEWEAR, WEARABLE)


@dataclass(frozen=True)
class Variant:
    """One change of the full renderer or of how it is used.

    Attributes:
        name: for the table.
        parameters: set for every face, as `render_face` takes them.
        augment: train on faces augmented by `augment_batch`.
    """

    name: str
    parameters: dict = field(default_factory=dict)
    augment: bool = True


VARIANTS = (
    Variant("full"),
    Variant("without augmentation", augment=False),
    Variant("smooth hairline", {"hair": {"wisps": 0.0, "curtain": 0.0, "quiff": 0.0, "fringe": None}}),
    Variant("plain backgrounds", {"background": {"kind": "plain"}}),
    Variant(
        "light eye sockets, no make-up",
        {
            "identity": {"socket_shade": 0.2, "eye_depth": 0.13},
            "expression": {"eyeshadow": 0.0, "eyeliner": 0.0},
        },
    ),
    Variant(
        "studio: one light, clean camera",
        {
            "light": {"direction": (0.0, 0.5, 0.86), "lamp": (1.0, 1.0, 1.0), "sky": (0.6, 0.6, 0.6)},
            "camera": {
                "blur": 0.4,
                "noise": 0.0,
                "jpeg_quality": 95,
                "exposure": 0.9,
                "contrast": 1.05,
                "saturation": 1.0,
                "white_balance": (1.0, 1.0, 1.0),
            },
        },
    ),
)


@dataclass(frozen=True)
class Run:
    """One training."""

    variant: Variant
    kind: str
    seed: int


@dataclass(frozen=True)
class Bench:
    """What all runs share: how many faces, the photos, where results are stored, and a checksum of it all."""

    count: int
    photos: FaceTensors
    out: Path
    checksum: str


def prepare_bench(real: Path, count: int, out: Path) -> Bench:
    """Read the photos, and find out what the results depend on."""
    renderer = sorted(Path(rendering.__file__).parent.glob("*.py"))
    checksum = real_photos.hash_code() + real_photos.hash_files(renderer) + real_photos.hash_folder(real)
    return Bench(count, real_photos.load_faces(real, SIZE), out, checksum)


def choose_recipe(run: Run) -> Recipe:
    """Return how a run trains."""
    return replace(RECIPES[run.kind], augment=run.variant.augment)


def find_file(bench: Bench, run: Run) -> Path:
    """Return where a run's result is stored, under a name that changes with all that it depends on."""
    depends_on = [bench.checksum, bench.count, run.variant, choose_recipe(run)]
    words = (run.variant.name, run.kind, f"seed-{run.seed}")
    return stored_runs.name_file(bench.out / "runs", words, depends_on)


def render_one(seed: int, parameters: dict, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a face's image, uint8 [size, size, 3], and mask, uint8 [size, size]."""
    face = render_face(seed, RENDER_SIZE, **parameters)
    image = Image.fromarray(face.image).resize((size, size), Image.Resampling.BILINEAR)
    mask = Image.fromarray(face.mask).resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(image), np.asarray(mask)


def render_faces(seed: int, count: int, parameters: dict, jobs: int, size: int = SIZE) -> FaceTensors:
    """Return `count` faces with some parameters set, rendered by `jobs` processes."""
    seeds = range(FACE_SEEDS * seed, FACE_SEEDS * seed + count)
    rendered = run_parallel(partial(render_one, parameters=parameters, size=size), seeds, jobs)
    faces = dict(tqdm(rendered, "rendering", count, leave=False, unit="face"))
    images, masks = (np.stack(arrays) for arrays in zip(*(faces[i] for i in range(count)), strict=True))
    attributes = torch.tensor([attribute_from_mask(mask) for mask in masks])
    names = [str(face_seed) for face_seed in seeds]
    return FaceTensors(torch.from_numpy(images), torch.from_numpy(masks), attributes, names)


def do_run(shared: tuple[Bench, dict[int, FaceTensors]], run: Run) -> None:
    """Train on the seed's faces, ask about all photos, and store the answers."""
    bench, rendered = shared
    faces = rendered[run.seed]
    statistics = real_photos.measure_statistics(run.kind, faces)
    model = real_photos.seeded_network(run.kind, run.seed)
    real_photos.train_network(model, run.kind, faces, statistics, choose_recipe(run), run.seed)
    result = real_photos.classify_photos(model, run.kind, bench.photos, statistics)
    stored_runs.store_result(find_file(bench, run), result)


def run_bench(bench: Bench, jobs: int) -> None:
    """Do all runs that are not stored; variants with the same parameters share their faces."""
    runs = [Run(variant, kind, seed) for variant in VARIANTS for kind in RECIPES for seed in SEEDS]
    missing = [run for run in runs if not find_file(bench, run).exists()]
    with tqdm(total=len(runs), initial=len(runs) - len(missing), unit="run") as bar:
        while missing:
            parameters = missing[0].variant.parameters
            group = [run for run in missing if run.variant.parameters == parameters]
            seeds = sorted({run.seed for run in group})
            rendered = {seed: render_faces(seed, bench.count, parameters, jobs) for seed in seeds}
            workers = 1 if best_device() == "cuda" else jobs
            for _ in run_parallel(partial(do_run, (bench, rendered)), group, workers):
                bar.update()
            missing = [run for run in missing if run not in group]


def tabulate(bench: Bench) -> str:
    """Return a Markdown table with one row per variant, and how to read it."""
    rows = []
    for variant in VARIANTS:
        answers, masks = (
            [read_result(find_file(bench, Run(variant, kind, seed))) for seed in SEEDS]
            for kind in (MINI, UNET)
        )
        balanced = [score(bench.photos.attributes, one["attributes"]).balanced_accuracy for one in answers]
        ious = np.array([iou_by_class(np.array(one["matrix"])) for one in masks])
        cells = (format_spread(ious[:, label]) for label in SHOWN_CLASSES)
        rows.append([variant.name, format_spread(balanced), *cells])
    classes = [f"IoU {PIXEL_CLASSES[label]}" for label in SHOWN_CLASSES]
    remark = (
        f"{bench.count} rendered faces of {SIZE} px, tested on {len(bench.photos)} photos; mean ± standard "
        f"deviation over {len(SEEDS)} seeds. Balanced accuracy is the mini network's, IoU the U-Net's. The "
        "photos' labels know no beards (they are labelled skin): a beard that it finds counts as skin."
    )
    return f"{remark}\n\n{format_table(['change', 'balanced accuracy', *classes], rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True, help="a folder of real photos")
    parser.add_argument("--faces", type=int, default=1200, help="how many to render for each change and seed")
    parser.add_argument("--out", type=Path, default=Path("build/ablation"), help="for the results")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    chosen = parser.parse_args()
    bench = prepare_bench(chosen.real, chosen.faces, chosen.out)
    try:
        run_bench(bench, chosen.jobs)
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on with the runs that are missing.")
    table = tabulate(bench)
    write_atomically(chosen.out / "tables.md", f"{table}\n".encode())
    print(table)


if __name__ == "__main__":
    main()
