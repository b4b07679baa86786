"""Measure what it costs to start: importing elfw_helpers beside torch's own import, and `elfw --help`.

    python benchmarks/startup.py [--store]

Every start is a fresh process, timed from outside, in turns; a first round fills the disk's cache and is not
counted. A ratio is formed round by round. The unit of the commands is a Python that does nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from functools import partial

from measure import Figure, measure_in_turns, ratios, report

ROUNDS = 11
TORCH = "import torch, torchvision\n"
DOORS = """import elfw_helpers, elfw_helpers.notebook
from elfw_helpers import augmentation, data, deployment, models, plots, rendering, training, utils
"""
SETUP = "from elfw_helpers.notebook import choose_device\nchoose_device()\n"
NOTHING, TORCH_ALONE, WITH_DOORS, WITH_SETUP = "python", "torch", "doors", "setup"
HELP, UNKNOWN = "elfw --help", "elfw nonsense"
STARTS = {
    NOTHING: ["-c", "pass"],
    TORCH_ALONE: ["-c", TORCH],
    WITH_DOORS: ["-c", TORCH + DOORS],
    WITH_SETUP: ["-c", TORCH + SETUP],
    HELP: ["-m", "elfw_course.cli", "--help"],
    UNKNOWN: ["-m", "elfw_course.cli", "nonsense"],
}


def time_start(name: str) -> float:
    """Return the seconds from the start to the end of a fresh Python; refuse one that failed."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *STARTS[name]], capture_output=True, encoding="utf-8")
    seconds = time.perf_counter() - start
    if done.returncode != (2 if name == UNKNOWN else 0):
        raise SystemExit(f"{name} ended with code {done.returncode}: {done.stderr}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/startup.json")
    store = parser.parse_args().store
    measures = {name: partial(time_start, name) for name in STARTS}
    measure_in_turns(measures, 1)
    seconds = measure_in_turns(measures, ROUNDS)
    doors, setup = (ratios(seconds[name], seconds[TORCH_ALONE]) for name in (WITH_DOORS, WITH_SETUP))
    figures = [
        Figure("a Python that does nothing", seconds[NOTHING], "s"),
        Figure("import of torch and torchvision", seconds[TORCH_ALONE], "s"),
        Figure("the same and elfw_helpers with all its packages", seconds[WITH_DOORS], "s"),
        Figure("the same and a notebook's setup cell", seconds[WITH_SETUP], "s"),
        Figure("import of torch, torchvision and elfw_helpers: ratio to without it", doors, headline=True),
        Figure("a notebook's setup cell: ratio to importing torch and torchvision", setup, headline=True),
    ]
    for name in (HELP, UNKNOWN):
        figures.append(Figure(f"`{name}`", seconds[name], "s"))
        figures.append(Figure(f"`{name}`: ratio to nothing", ratios(seconds[name], seconds[NOTHING])))
    report("startup", figures, store=store, packages=["typer"])


if __name__ == "__main__":
    main()
