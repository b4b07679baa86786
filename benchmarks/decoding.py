"""Measure decoding a folder's JPEGs to 64 x 64 uint8, against PIL's plain way and the bare libjpeg-turbo.

    python benchmarks/decoding.py [--data FOLDER] [--store]

All ways decode the same files, in turns, on one core and on all, in threads. PIL's plain way opens, converts
and resizes. The bare decoder (simplejpeg: `pip install -e ".[benchmarks]"`) is given the file's bytes and
resizes nothing; scaled, it computes from the JPEG's coefficients the smallest picture not below 64 x 64.
`FaceFolder.preload` is measured as a user sees it, opening the folder included: the first start decodes and
keeps the faces on disk, the second finds them there.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import joblib
import simplejpeg
from measure import Figure, measure_in_turns, ratios, report
from PIL import Image

from elfw_helpers.data.datasets import FaceFolder, decode_face
from elfw_helpers.utils.paths import data_folder

SIZE = 64


def decode_plainly(file: Path) -> None:
    """Decode by PIL's plain way."""
    Image.open(file).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)


def decode_barely(file: Path, side: int = 0) -> None:
    """Decode by libjpeg-turbo alone: at full size, or scaled to at least `side` x `side`."""
    simplejpeg.decode_jpeg(file.read_bytes(), min_height=side, min_width=side)


WAYS: dict[str, Callable[[Path], object]] = {
    "ours": partial(decode_face, mask_path=None, size=SIZE),
    "PIL's plain way": decode_plainly,
    "libjpeg-turbo alone, full size": decode_barely,
    "libjpeg-turbo alone, scaled": partial(decode_barely, side=SIZE),
}


def measure_way(files: Sequence[Path], decode: Callable[[Path], object], threads: int) -> float:
    """Return the files decoded per second."""
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        for _ in pool.map(decode, files):
            pass
        return len(files) / (time.perf_counter() - start)


def measure_start(folder: Path, build: Callable[[], str]) -> float:
    """Return the faces opened and preloaded per second, with a build folder of its own."""
    os.environ["ELFW_BUILD"] = build()
    start = time.perf_counter()
    faces = FaceFolder(folder)
    faces.preload(SIZE)
    return len(faces) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=data_folder(), help="faces in ELFW's layout, as JPEG")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/decoding.json")
    arguments = parser.parse_args()
    files = list(FaceFolder(arguments.data).layout.images.values())
    width, height = Image.open(files[0]).size
    kind = f"{width} x {height} JPEG to {SIZE} x {SIZE}"
    measures = {
        (name, cores): partial(measure_way, files, decode, cores)
        for cores in (1, joblib.cpu_count())
        for name, decode in WAYS.items()
    }
    with tempfile.TemporaryDirectory() as temporary:
        new = partial(tempfile.mkdtemp, dir=temporary)
        measures["preload, first start", joblib.cpu_count()] = partial(measure_start, arguments.data, new)
        kept = new()
        measure_start(arguments.data, lambda: kept)
        again = partial(measure_start, arguments.data, lambda: kept)
        measures["preload, second start", joblib.cpu_count()] = again
        values = measure_in_turns(measures)
    figures = [
        Figure(
            f"{kind}: {name}, {cores} core{'s' * (cores > 1)}",
            speeds,
            "faces/s",
            headline=name.startswith("preload"),
        )
        for (name, cores), speeds in values.items()
    ]
    for name in WAYS:
        if name != "ours":
            by_core = ratios(values["ours", 1], values[name, 1])
            figures.append(Figure(f"{kind}: ours / {name}, 1 core", by_core))
    report("decoding", figures, store=arguments.store, packages=("pillow", "simplejpeg"))


if __name__ == "__main__":
    main()
