"""A Dask cluster on this machine, for tests: a scheduler and workers of their own on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from distributed import Client
from distributed.utils import json_load_robust

ROOT = Path(__file__).parent.parent
# Seconds that a cluster may take to start on a busy machine, and how long it outlives tests that were killed.
PATIENCE = 120
WORKER = ("--nthreads", "1", "--death-timeout", str(PATIENCE), "--local-directory", ".")


class Cluster:
    """A scheduler and its workers, as processes that a test may kill.

    Attributes:
        address: of the scheduler.
        scheduler: its process.
        workers: those of the workers. The first has no nanny, which would start another if it is killed; the
            others have one, as Dask gives to each.
    """

    def __init__(self, folder: Path):
        self.folder, self.file = folder, folder / "scheduler.json"
        self.processes: list[subprocess.Popen] = []

    def begin(self, workers: int) -> None:
        """Start the scheduler and workers, and wait for the address."""
        self.scheduler = self.start("scheduler", "--port", "0", "--idle-timeout", f"{PATIENCE}s")
        nannies = ["--no-nanny", *["--nanny"] * (workers - 1)]
        self.workers = [self.start("worker", nanny, *WORKER) for nanny in nannies]
        # The scheduler creates its file before it writes it: Dask's own reader waits for both.
        self.address = json_load_robust(self.file, timeout=PATIENCE)["address"]
        self.wait_for_workers(workers)

    def wait_for_workers(self, count: int) -> None:
        """Wait until there are just so many workers."""
        with Client(self.address, set_as_default=False) as client:
            wait_until(lambda: len(client.nthreads()) == count)

    def start(self, *command: str, source: Path = ROOT) -> subprocess.Popen:
        """Start a process of the cluster, with the course in a folder; what it writes is kept in a file."""
        options = ("--scheduler-file", str(self.file), "--host", "127.0.0.1", "--no-dashboard")
        # What is not installed but checked out, and the tests themselves, are found by their place.
        environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
        with (self.folder / f"{command[0]}_{time.monotonic_ns()}.log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command, *options],
                env=environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def kill(self) -> None:
        """End all processes, those that they started too."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until(happened: Callable[[], object]) -> None:
    """Wait until something has happened; AssertionError where it has not for two minutes."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "waited for two minutes"
        time.sleep(0.02)


def log_and_wait(log: Path, end: Path, job: object) -> None:
    """Add this process to a file, then wait until there is another file: a job of a worker."""
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"{os.getpid()}\n")
    wait_until(end.exists)


@contextmanager
def start_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """Start a cluster whose files lie in a folder; end all its processes, whatever happens meanwhile."""
    cluster = Cluster(folder)
    try:
        cluster.begin(workers)
        yield cluster
    finally:
        cluster.kill()
