"""Measure grading: seconds per submission with 1 and 2 jobs, and the grader's own memory over a large batch.

    python benchmarks/grading.py [--key 03] [--count 30] [--many 300]

Submissions are copies of the notebook with its solutions, each run in a fresh sandbox that imports torch
anew. Seconds are wall clock, from the start of a sandbox to its end; while two run, each counts in full.
The grader's memory is what this process itself has in memory, over a batch of `--many` copies of
notebook 04, whose exercises need no torch. Needs bubblewrap.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

from elfw_course.grading.batch import grade_folder
from elfw_course.grading.key import find_key, read_key
from elfw_course.grading.watchdog import resident_memory
from elfw_helpers.utils.paths import project_folder


def write_submissions(key: str, count: int, folder: Path) -> Path:
    """Write copies of a notebook with its solutions."""
    name = read_key(find_key(key)).released.name
    folder.mkdir()
    for number in range(count):
        shutil.copy(project_folder() / "notebooks" / name, folder / f"student_{number:03d}.ipynb")
    return folder


def measure_seconds(key: str, count: int, jobs: int, root: Path) -> str:
    """Grade copies, and say how long a submission and the batch took."""
    folder, out = write_submissions(key, count, root / f"jobs_{jobs}"), root / f"out_{jobs}"
    start = time.perf_counter()
    grade_folder(key, folder, out, jobs)
    wall = time.perf_counter() - start
    with (out / "grades.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if any(row["total"] != row["of"] for row in rows):
        raise SystemExit("a solution did not get all points: this measures nothing")
    seconds = [float(row["seconds"]) for row in rows]
    return (
        f"{jobs} job(s): {wall / count:.2f} s per submission over the batch; one takes "
        f"{statistics.median(seconds):.1f} s (median), {max(seconds):.1f} s (most)"
    )


def measure_memory(count: int, root: Path) -> str:
    """Grade many copies, and say what this process held after a tenth of them and at the end."""
    folder, samples, done = write_submissions("04", count, root / "many"), [], threading.Event()

    def sample() -> None:
        log = root / "out_many" / "log.jsonl"
        while not done.wait(0.5):
            graded = log.read_bytes().count(b'"verdicts"') if log.exists() else 0
            samples.append((graded, resident_memory(os.getpid())))

    sampler = threading.Thread(target=sample)
    sampler.start()
    grade_folder("04", folder, root / "out_many", jobs=2)
    done.set()
    sampler.join()
    early = max(held for graded, held in samples if graded <= max(count // 10, 1))
    most = max(held for _, held in samples)
    return f"{count} submissions: {early / 2**20:.0f} MB after the first tenth, {most / 2**20:.0f} MB at most"


def main() -> None:
    """Measure, and print a line for each measurement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--key", default="03", help="of the timed batch (default 03)")
    parser.add_argument("--count", type=int, default=30, help="submissions of the timed batch (default 30)")
    parser.add_argument("--many", type=int, default=300, help="submissions of the large batch (default 300)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="elfw-grading-") as folder:
        lines = [measure_seconds(chosen.key, chosen.count, jobs, Path(folder)) for jobs in (1, 2)]
        lines.append(measure_memory(chosen.many, Path(folder)))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
