"""Measure grading: seconds per submission with 1 and 2 jobs, and a class on one machine and on a cluster.

    python benchmarks/grading.py [--key 03] [--count 30] [--many 500]

Submissions are copies of the notebook with its solutions, each run in a fresh sandbox that imports torch
anew. Seconds are wall clock, from the start of a sandbox to its end; while two run, each counts in full.
The class is `--many` copies of notebook 11, whose exercises train nothing, half of them without solutions. It
is graded with 2 jobs, then by a Dask cluster of two workers on this machine, one of which is killed half-way:
the grades must be the same. This process's memory is looked at meanwhile. Needs bubblewrap and distributed.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from elfw_course.grading.batch import grade_folder
from elfw_course.grading.key import find_key, read_key
from elfw_course.grading.watchdog import resident_memory
from elfw_helpers.utils.paths import project_folder

CLASS = "11"


def write_submissions(key: str, count: int, folder: Path) -> Path:
    """Write copies of a notebook with its solutions."""
    name = read_key(find_key(key)).released.name
    folder.mkdir()
    for number in range(count):
        shutil.copy(project_folder() / "notebooks" / name, folder / f"student_{number:03d}.ipynb")
    return folder


def measure_seconds(key: str, count: int, jobs: int, root: Path) -> str:
    """Grade copies, and return a sentence on how long a submission and the batch took."""
    folder, out = write_submissions(key, count, root / f"jobs_{jobs}"), root / f"out_{jobs}"
    start = time.perf_counter()
    grade_folder(key, folder, out, jobs)
    wall = time.perf_counter() - start
    with (out / "grades.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if any(row["total"] != row["of"] for row in rows):
        raise SystemExit("a solution did not get all points, so the times mean nothing")
    seconds = [float(row["seconds"]) for row in rows]
    return (
        f"{jobs} job(s): {wall / count:.2f} s per submission over the batch; one takes "
        f"{statistics.median(seconds):.1f} s (median), {max(seconds):.1f} s (most)"
    )


def write_class(count: int, folder: Path) -> Path:
    """Write copies of the class's notebook, every second one without solutions."""
    write_submissions(CLASS, count, folder)
    for path in sorted(folder.iterdir())[::2]:
        shutil.copy(read_key(find_key(CLASS)).released, path)
    return folder


def read_grades(out: Path) -> list[dict[str, str]]:
    """Return the rows of grades.csv without what is measured."""
    with (out / "grades.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [{name: cell for name, cell in row.items() if name not in ("seconds", "peak_mb")} for row in rows]


@contextmanager
def watch(out: Path, half: int, at_half: Callable[[], None]) -> Iterator[list[int]]:
    """Collect this process's memory while a class is graded, and do something once when half of it is."""
    memory, done = [], threading.Event()

    def look() -> None:
        log, waits = out / "log.jsonl", True
        while not done.wait(0.5):
            memory.append(resident_memory(os.getpid()))
            if waits and log.exists() and log.read_bytes().count(b'"verdicts"') >= half:
                waits = False
                at_half()

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield memory
    finally:
        done.set()
        looker.join()


def measure_class(count: int, root: Path) -> list[str]:
    """Grade a class here and on a cluster, and return sentences on how long that took."""
    folder, start = write_class(count, root / "class"), time.perf_counter()
    with watch(root / "here", count // 2, lambda: None) as memory:
        grade_folder(CLASS, folder, root / "here", jobs=2)
    # Not above: this process's memory is that of grading without it.
    from distributed import LocalCluster

    middle = time.perf_counter()
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        kill = partial(os.kill, cluster.workers[0].pid, signal.SIGKILL)
        with watch(root / "there", count // 2, kill):
            grade_folder(CLASS, folder, root / "there", cluster=cluster.scheduler_address)
    end = time.perf_counter()
    if read_grades(root / "here") != read_grades(root / "there"):
        raise SystemExit("the cluster gave other grades")
    return [
        f"{count} submissions, 2 jobs: {middle - start:.0f} s; the grader held {max(memory) / 2**20:.0f} MB",
        f"the same on 2 workers of a cluster, one killed half-way: {end - middle:.0f} s, its start included",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--key", default="03", help="of the timed batch (default 03)")
    parser.add_argument("--count", type=int, default=30, help="submissions of the timed batch (default 30)")
    parser.add_argument("--many", type=int, default=500, help="submissions of the class (default 500)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="elfw-grading-") as folder:
        lines = [measure_seconds(chosen.key, chosen.count, jobs, Path(folder)) for jobs in (1, 2)]
        lines += measure_class(chosen.many, Path(folder))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
