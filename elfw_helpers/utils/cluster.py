"""Runs jobs on the workers of a Dask cluster, each of which is checked before its first job.

Dask plans, sends and repeats; joblib speaks with it. A task that is lost with its worker is given to another.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import importlib.metadata
import logging
import os
import platform
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import joblib
from distributed import Client, KilledWorker, Worker, get_worker
from distributed.comm import CommClosedError
from joblib._dask import DaskDistributedBackend

from elfw_helpers.utils.errors import DataError, ElfwError
from elfw_helpers.utils.files import require_writable
from elfw_helpers.utils.paths import data_folder, project_folder

# How long a scheduler may take to answer, and the first worker to join.
PATIENCE = 10  # seconds
# What decides results: these packages' versions, and these files of the course.
PACKAGES = (
    *("torch", "torchvision", "numpy", "pillow", "scipy", "scikit-learn", "pandas", "timm"),
    *("joblib", "dask", "distributed"),
)
FILES = (
    "elfw_helpers/**/*.py",
    "elfw_course/**/*.py",
    "data/weights/*.safetensors",
    "data/rendered_faces.zip",
)


class Needs(NamedTuple):
    """What a worker must have to compute what this process would.

    Attributes:
        facts: names and versions of packages, names and checksums of the course's files.
        marks: a file in each folder that all workers must share with this process.
        data: the folder in $ELFW_DATA and its content, as `describe_folder` says it; None without one.
        prepare: what else a worker does before its first job.
    """

    facts: tuple[tuple[str, str], ...]
    marks: tuple[Path, ...]
    data: tuple[Path, str] | None
    prepare: Callable[[], object] | None


@dataclass(frozen=True, eq=False)
class Shared:
    """What all jobs share: it reaches each worker once."""

    function: Callable[[Any], Any]
    needs: Needs


class ClusterBackend(DaskDistributedBackend):
    """joblib's backend, which (in 1.6) waits for ever for a task that Dask has given up, takes the error of a
    lost task for its result, computes in this process where the cluster has one worker, and leaves tasks that
    nobody waits for to compute.
    """

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Return the number of workers, but never 1."""
        return max(2, super().effective_n_jobs(n_jobs))

    def submit(self, func: Callable, callback: Callable) -> Any:
        """Submit a batch of jobs; the callback hears of errors too."""
        job = super().submit(func, callback)
        job.add_done_callback(lambda done: callback(done.exception()) if done.exception() else None)
        return job

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Take back what waits, and end those workers that compute: Dask interrupts no task."""
        if self.client.status == "running":
            # What cannot be done must not hide the error that led here.
            with suppress(Exception):
                busy = list(self.client.call_stack(keys=list(self.client.futures)))
                self.client.cancel(list(self._results))
                self.client.run(end_process, workers=busy, on_error="ignore")
        super().abort_everything(ensure_ready)

    def retrieve_result_callback(self, out: Any) -> Any:
        """Return what a batch of jobs returned, or raise what ended it."""
        if isinstance(out, BaseException):
            raise out
        return super().retrieve_result_callback(out)


def end_process(dask_worker: Worker) -> None:
    """End this worker, whose nanny starts it anew; one that has none finishes its job."""
    if dask_worker.nanny:
        os._exit(1)


def run_on_cluster(
    function: Callable,
    jobs: Iterable,
    address: str,
    folders: Sequence[str | Path],
    prepare: Callable[[], object] | None,
) -> Iterator[tuple[int, Any]]:
    """Yield (index of the job, `function(job)`) of every job; see `run_parallel`."""
    with connect(address) as client, mark_folders(folders) as marks:
        shared = Shared(function, Needs(describe_course(), marks, describe_data(), prepare))
        check_workers(client, shared.needs)
        pending, before = dict(enumerate(jobs)), None
        while pending:
            try:
                for index, result in compute(client, shared, pending):
                    del pending[index]
                    yield index, result
            except CancelledError:
                # The last worker that held the data is lost. Of those that still live, each gets them again,
                # unless nothing was done since the last time.
                if client.status != "running" or len(pending) == before:
                    raise
                before = len(pending)


def compute(client: Client, shared: Shared, jobs: Mapping[int, Any]) -> Iterator[tuple[int, Any]]:
    """Yield index and result of each job as soon as it is done.

    Raises:
        CancelledError: the scheduler is lost, or all workers that held what the jobs share.
    """
    # To one worker; each other one fetches it with its first job. Copies sent beforehand would be deleted by
    # Dask, which tidies up every two seconds. To name it by its content, Dask would read all data.
    data = client.scatter(shared, hash=False)
    with joblib.parallel_config(ClusterBackend(client=client)):
        # A job is a task, and the scheduler knows all tasks: workers that join later get their share.
        pool = joblib.Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="all")
    run = joblib.delayed(run_checked)
    yield from pool(run(data, index, job) for index, job in jobs.items())


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """Connect to a scheduler for a while.

    Raises:
        ElfwError: no scheduler answers, or it is lost, or so are its workers.
    """
    with quieten("distributed.client"):
        try:
            client = Client(address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError, asyncio.TimeoutError) as error:
            cure = "Start one with `dask scheduler`, or check the address, which it prints"
            raise ElfwError(f"no scheduler answers at {address}: {error}. {cure}") from None
        try:
            yield client
        except (CancelledError, CommClosedError, KilledWorker) as error:
            raise explain_loss(client, address, error) from None
        finally:
            client.close(timeout=PATIENCE)


@contextmanager
def quieten(name: str) -> Iterator[None]:
    """Keep a logger from writing for a while; what it has to say, an error says in a sentence."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def explain_loss(client: Client, address: str, error: Exception) -> ElfwError:
    """Return an error that says what of a cluster was lost, and what to do."""
    if isinstance(error, KilledWorker):
        found = "a job ended each worker that tried it. Most often memory ran out: start fewer workers there"
        return ElfwError(f"{found}, or take smaller batches ({error})")
    if isinstance(error, CancelledError) and client.status == "running":
        found = f"jobs end the workers of {address}, or these do not stay. Most often memory ran out"
        cure = "Start fewer workers on a machine"
    else:
        found = f"the scheduler at {address} has ended, or the connection to it"
        cure = "Start it and its workers"
    return ElfwError(f"{found}. {cure}, then this again: it goes on from what is stored")


@contextmanager
def mark_folders(folders: Sequence[str | Path]) -> Iterator[tuple[Path, ...]]:
    """Put a file into each folder for a while, by which workers know it; DataError where that cannot be."""
    with ExitStack() as stack:
        marks = []
        for folder in map(Path, folders):
            require_writable(folder)
            marks.append(folder.resolve() / f".elfw_cluster_{uuid.uuid4().hex}")
            marks[-1].touch()
            stack.callback(marks[-1].unlink, missing_ok=True)
        yield tuple(marks)


@functools.cache
def describe_course() -> tuple[tuple[str, str], ...]:
    """Return names and versions of packages, names and checksums of the course's files.

    Looked up once per process: a file that is changed later is not the code that runs here.
    """
    facts = {"Python": platform.python_version()}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            facts[package] = importlib.metadata.version(package)
    root = project_folder()
    for pattern in FILES:
        for file in sorted(root.glob(pattern)):
            facts[file.relative_to(root).as_posix()] = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    return tuple(facts.items())


def describe_data() -> tuple[Path, str] | None:
    """Return the folder in $ELFW_DATA and its content; None where the course's own faces are used."""
    return (data_folder(), describe_folder(data_folder())) if os.environ.get("ELFW_DATA") else None


def describe_folder(folder: Path) -> str:
    """Return a checksum of the names in a folder, of none where it cannot be read."""
    names = []
    with suppress(OSError):
        names = sorted(os.listdir(folder))
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def check_workers(client: Client, needs: Needs) -> None:
    """Raise ElfwError if a cluster has no workers, or some that lack what is needed; names each."""
    address = client.scheduler.address
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except (TimeoutError, asyncio.TimeoutError):
        cure = f"Start some on each machine: dask worker {address} --nworkers CORES --nthreads 1"
        raise ElfwError(f"the scheduler at {address} has no workers. {cure}") from None
    found = client.run(list_faults, needs, on_error="return")
    # What a worker without the course raises, it raises before it can look for faults.
    faults = {
        worker: [f"not the same course ({answer})"] if isinstance(answer, Exception) else answer
        for worker, answer in found.items()
    }
    told = [f"{worker}: {'; '.join(lacks)}" for worker, lacks in faults.items() if lacks]
    if told:
        cure = "End them, or mend that and start them again"
        raise ElfwError("\n  ".join([f"{len(told)} of {len(found)} workers cannot take part.", *told, cure]))


def list_faults(needs: Needs, dask_worker: Worker) -> list[str]:
    """Return what keeps this worker, which Dask names so, from computing what the client would."""
    here = dict(describe_course())
    wanted = dict(needs.facts)
    faults = [
        f"{name} is {here.get(name, 'missing')}, not {wanted.get(name, 'there')}"
        for name in {**wanted, **here}
        if here.get(name) != wanted.get(name)
    ]
    faults[3:] = [f"{len(faults) - 3} more such differences"] if len(faults) > 3 else []
    if dask_worker.state.nthreads != 1:
        # Jobs set torch's random numbers and threads, which all threads of a process share.
        faults.append("it has several threads: start it with --nthreads 1")
    if needs.data and describe_folder(needs.data[0]) != needs.data[1]:
        faults.append(f"the data folder {needs.data[0]} is not there, or is another")
    for step in (*(functools.partial(use_folder, mark) for mark in needs.marks), needs.prepare):
        try:
            if step:
                step()
        except ElfwError as error:
            faults.append(str(error))
    return faults


def use_folder(mark: Path) -> None:
    """Prove that this worker can write into the folder that holds a mark; else raise DataError."""
    if not mark.exists():
        cure = "Let the worker's machine mount it"
        raise DataError(mark.parent, "is not there, or is not the same storage", cure)
    require_writable(mark.parent)


@functools.lru_cache(1)
def prepare_worker(needs: Needs) -> None:
    """Check this worker, which may have joined after the others were checked."""
    faults = list_faults(needs, get_worker())
    if faults:
        raise ElfwError(f"the worker {get_worker().address} cannot take part: {'; '.join(faults)}")


def run_checked(shared: Shared, index: int, job: Any) -> tuple[int, Any]:
    """Return the index of a job and its result, computed on a worker."""
    prepare_worker(shared.needs)
    return index, shared.function(job)
