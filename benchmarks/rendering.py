"""Measure how many faces of 128 x 128 pixels are rendered per second, on one core and on two.

    python benchmarks/rendering.py [--store]

In turns in one run: faces in this process; faces by two workers, from their first face on; what the workers
need until that face; and a whole `elfw render`, in a process of its own, as users call it: with the start of
Python and of the workers, the files and the manifest.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import Figure, measure_in_turns, ratios, report

from elfw_helpers.rendering import render_face
from elfw_helpers.utils.parallel import run_parallel

FACES, FOLDER, SIZE, WORKERS = 100, 300, 128, 2


def render_one(seed: int) -> int:
    """Render a face and return how many of its pixels are not background."""
    return int((render_face(seed, SIZE).mask > 0).sum())


def measure_one_core() -> float:
    """Return faces per second in this process."""
    start = time.perf_counter()
    for seed in range(FACES):
        render_one(seed)
    return FACES / (time.perf_counter() - start)


def measure_workers() -> tuple[float, float]:
    """Return faces per second of two workers from their first face on, and the seconds until that face."""
    times = [time.perf_counter()]
    times += [time.perf_counter() for _ in run_parallel(render_one, range(2 * FACES), WORKERS)]
    return (len(times) - 2) / (times[-1] - times[1]), times[1] - times[0]


def measure_command() -> float:
    """Return faces per second of `elfw render` from its call to its end."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        command = [
            sys.executable,
            "-m",
            "elfw_course.cli",
            "render",
            "--out",
            str(out),
            "--count",
            str(FOLDER),
        ]
        start = time.perf_counter()
        subprocess.run([*command, "--size", str(SIZE)], check=True, capture_output=True)
        return FOLDER / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/rendering.json")
    store = parser.parse_args().store
    render_one(0)  # makes the textures
    measures = {"one core": measure_one_core, "workers": measure_workers, "command": measure_command}
    measured = measure_in_turns(measures)
    two_cores, starts = zip(*measured["workers"], strict=True)
    size = f"{SIZE} px"
    figures = [
        Figure(f"faces of {size}, one core", measured["one core"], "faces/s"),
        Figure(
            f"faces of {size}, two cores",
            two_cores,
            "faces/s",
            "two workers, without their start",
            headline=True,
        ),
        Figure("two cores to one", ratios(two_cores, measured["one core"])),
        Figure("start of two workers", starts, "s", "until the first face"),
        Figure(
            f"elfw render, {FOLDER} faces", measured["command"], "faces/s", "from call to end", headline=True
        ),
    ]
    report("rendering", figures, store=store, packages=("pillow", "joblib"))


if __name__ == "__main__":
    main()
