"""Measure how long each notebook takes when it is opened alone on a machine where nothing is stored yet.

    python benchmarks/notebooks_alone.py [NN ...] [--rounds N] [--store]

Each notebook is executed by a fresh kernel, with an empty build folder and a thread per core, one after the
other: from the start of the kernel to the end of the last cell. The processor's time beside it, of all cores
together, hardly depends on what else the machine does. Where the wall clock shows as much or more, the
machine was busy, or the notebook used one core. `elfw results` writes the stored times into the README and
the notebooks' titles. About twenty minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from pathlib import Path

import joblib
import nbformat
from measure import Figure, report
from tqdm import tqdm

from elfw_course.execute import Execution
from elfw_course.student import find_notebooks
from elfw_course.times import BENCHMARK


def count_processor_seconds() -> float:
    """Return the processor time of all child processes that have ended, theirs included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def time_notebook(path: Path) -> tuple[float, float]:
    """Return the seconds of a notebook by the wall clock and by the processor; refuse one that failed."""
    with tempfile.TemporaryDirectory() as build:
        execution = Execution(nbformat.read(path, as_version=4), path)
        before = count_processor_seconds()
        threads = {"OMP_NUM_THREADS": str(joblib.cpu_count())}
        execution.run({**os.environ, **threads, "ELFW_BUILD": build, "ELFW_DATA": ""})
        if execution.failure:
            raise SystemExit(str(execution.failure))
        return execution.seconds, count_processor_seconds() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="such as 05 (default: all)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/notebooks_alone.json")
    options = parser.parse_args()
    if options.names and options.store:
        parser.error("--store stores the times of all notebooks: give no names")
    figures = []
    for path in tqdm(find_notebooks(options.names), unit="notebook"):
        wall, processor = zip(*(time_notebook(path) for _ in range(options.rounds)), strict=True)
        figures.append(Figure(path.stem, wall, "s", f"processor: {max(processor):.0f} s"))
    report(BENCHMARK, figures, store=options.store)


if __name__ == "__main__":
    main()
