"""Train on 200,000 faces within 1 GiB: seconds of a first and a second start, and the peak of memory.

    python benchmarks/large_set.py [--count 200000] [--folder FOLDER] [--store]

Writes the faces, JPEGs of 64 x 64 pixels, each with content of its own (a few of the embedded ones and a
comment in the file), and frozen splits into a temporary folder, or into FOLDER, which is kept. Two processes
follow, one after the other, each of one thread: the first finds nothing decoded, the second all. Each opens
the folder, preloads it, measures the channels' statistics, makes every training batch once, and trains the
mini network on the first 32,000 images. The peak is `ru_maxrss` of the whole process, torch included.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import Figure, report
from PIL import Image

from elfw_helpers.utils.paths import embedded_faces, project_folder

DRAWINGS, SIDE, TRAINED = 50, 64, 32_000
MIB = 1 << 10  # of what `ru_maxrss` counts, on Linux


def write_faces(folder: Path, count: int, size: tuple[int, int] = (SIDE, SIDE)) -> None:
    """Write faces of a width and height in ELFW's layout, two of each person, from a few drawings."""
    (folder / "faces").mkdir(parents=True)
    names = [f"person_{number // 2:06d}_{number % 2 + 1:04d}" for number in range(count)]
    files = sorted((embedded_faces() / "faces").iterdir())[:DRAWINGS]
    drawings = [encode_face(file, size) for file in files]
    for number, name in enumerate(names):
        drawing = drawings[number % DRAWINGS]
        # A comment, right behind a JPEG's first two bytes: its marker, its length, its text.
        comment = b"\xff\xfe\x00\x0a%08d" % number
        (folder / "faces" / f"{name}.jpg").write_bytes(drawing[:2] + comment + drawing[2:])
    lines = [f"{name} {number % 3 + 1}\n" for number, name in enumerate(names)]
    (folder / "labels.txt").write_text("".join(lines), encoding="utf-8")
    cuts = {
        "train": slice(count // 5, None),
        "validation": slice(count // 10),
        "test": slice(count // 10, count // 5),
    }
    for split, part in cuts.items():
        (folder / f"{split}.txt").write_text("\n".join(names[part]), encoding="utf-8")


def encode_face(file: Path, size: tuple[int, int]) -> bytes:
    """Return a face as a JPEG of this width and height."""
    stream = io.BytesIO()
    Image.open(file).convert("RGB").resize(size).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def use_faces(folder: Path) -> None:
    """Print, as JSON, the seconds of each step and the peak of memory after it, MiB."""
    steps, start = {}, time.perf_counter()

    def finish(step: str) -> None:
        nonlocal start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
        steps[step], start = (time.perf_counter() - start, peak), time.perf_counter()

    from elfw_helpers.data.batches import Batches, channel_statistics
    from elfw_helpers.data.datasets import FaceFolder
    from elfw_helpers.models.classification import mini_network
    from elfw_helpers.training.loop import fit

    finish("import")
    faces = FaceFolder(folder)
    finish("open the folder")
    train = faces.split().train
    finish("split")
    tensors = faces.preload(SIDE)
    finish("preload")
    mean, std = channel_statistics(tensors.images, train)
    finish("channel statistics")
    options = {"mean": mean, "std": std, "shuffle_seed": 0}
    for _ in Batches(tensors.images, tensors.attributes, chosen=train, **options):
        pass
    finish("all batches")
    fit(
        mini_network(),
        Batches(tensors.images, tensors.attributes, chosen=train[:TRAINED], **options),
        None,
        1,
    )
    finish("training")
    print(json.dumps(steps))


def start_process(folder: Path, build: Path) -> dict[str, tuple[float, float]]:
    """Return what `use_faces` measures in a process of its own."""
    root = str(project_folder())
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ELFW_BUILD": str(build), "PYTHONPATH": root}
    command = [sys.executable, __file__, "--use", str(folder)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200_000, help="how many faces (default 200,000)")
    parser.add_argument("--folder", type=Path, help="write them here and keep them, or use those found here")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/large_set.json")
    parser.add_argument("--use", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.use:
        use_faces(arguments.use)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "faces"
        if not folder.exists():
            write_faces(folder, arguments.count)
            # What was written a moment ago may still change: nothing would be kept of it.
            time.sleep(3)
        figures = []
        for start in ("first", "second"):
            for step, (seconds, peak) in start_process(folder, Path(temporary) / "build").items():
                figures.append(Figure(f"{start} start: {step}", [seconds], "s", f"peak {peak:.0f} MiB"))
            figures.append(
                Figure(
                    f"{arguments.count:,} faces at 64 px, {start} start: peak of resident memory",
                    [peak],
                    "MiB",
                    headline=start == "first",
                )
            )
        report("large_set", figures, store=arguments.store)


if __name__ == "__main__":
    main()
