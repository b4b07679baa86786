"""Runs jobs on the workers of a Dask cluster, each of which is checked before its first job.

Dask plans, sends and repeats; joblib speaks with it. A task that is lost with its worker is given to another.
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import joblib
from distributed import Client, KilledWorker, Security, Worker
from distributed.comm import CommClosedError, get_address_host, parse_address
from joblib._dask import DaskDistributedBackend

from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.files import require_writable
from elfw_helpers.utils.shared import Shared
from elfw_helpers.utils.workers import Needs, describe_course, describe_data, list_faults, prepare_worker

# How long a scheduler may take to answer, and the first worker to join.
PATIENCE = 10  # seconds


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
    with connect(address) as client, mark_folders(folders) as marks, ExitStack() as stack:
        shared = Shared(function, Needs(describe_course(), marks, describe_data(), prepare))
        check_workers(client, shared.needs)
        stack.enter_context(keep_copies(client))
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
    # To all workers, or Dask would rather have jobs wait for the one that holds it. Workers that join later
    # fetch it with their first job. To name it by its content, Dask would read all data.
    try:
        data = client.scatter(shared, broadcast=True, hash=False)
    except asyncio.TimeoutError:
        raise CancelledError("no worker is left") from None
    except TypeError as error:
        raise ElfwError(f"what the jobs share cannot be sent: {error.__cause__ or error}") from error
    with joblib.parallel_config(ClusterBackend(client=client)):
        # A job is a task, and the scheduler knows all tasks: workers that join later get their share.
        pool = joblib.Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="all")
    run = joblib.delayed(run_checked)
    yield from pool(run(data, index, job) for index, job in jobs.items())


@contextmanager
def keep_copies(client: Client) -> Iterator[None]:
    """Keep Dask's memory manager, which deletes copies every two seconds, from doing so for a while."""
    was_running = client.amm.running()
    client.amm.stop()
    try:
        yield
    finally:
        if was_running and client.status == "running":
            # A scheduler that is being lost has none.
            with suppress(Exception):
                client.amm.start()


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """Connect to a scheduler for a while.

    Raises:
        ElfwError: the address is none, no scheduler answers, or it is lost, or so are its workers.
    """
    check_address(address)
    with quieten("distributed"), quieten("distributed.client"):
        try:
            client = Client(address, timeout=PATIENCE, set_as_default=False)
        except (OSError, asyncio.TimeoutError) as error:
            cure = "Start one with `dask scheduler`, or check the address, which it prints"
            raise ElfwError(f"no scheduler answers at {address}: {error}. {cure}") from None
        try:
            yield client
        except (CancelledError, CommClosedError, KilledWorker) as error:
            raise explain_loss(client, address, error) from None
        finally:
            client.close(timeout=PATIENCE)


def check_address(address: str) -> None:
    """Raise ElfwError for what can be no scheduler's address: Dask's client would keep us from ending."""
    try:
        get_address_host(address)
    except ValueError as error:
        cure = "Give what `dask scheduler` prints, such as tcp://HOST:8786"
        raise ElfwError(f"{address} is no address of a scheduler: {error}. {cure}") from None
    if parse_address(address)[0] == "tls" and not Security().get_connection_args("client")["ssl_context"]:
        cure = "Name their files in Dask's settings (docs/cluster.md, Trusted networks only)"
        raise ElfwError(f"{address} asks for certificates, and this process has none. {cure}")


@contextmanager
def quieten(name: str) -> Iterator[None]:
    """Keep a logger from writing for a while; what it has to say, an error says in a sentence."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
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
        worker: [f"install the same course there ({answer})"] if isinstance(answer, Exception) else answer
        for worker, answer in found.items()
    }
    told = [f"{worker}: {'; '.join(lacks)}" for worker, lacks in faults.items() if lacks]
    if told:
        cure = "End them, or mend that and start them again"
        raise ElfwError("\n  ".join([f"{len(told)} of {len(found)} workers cannot take part.", *told, cure]))


def run_checked(shared: Shared, index: int, job: Any) -> tuple[int, Any]:
    """Return the index of a job and its result, computed on a worker."""
    prepare_worker(shared.needs)
    return index, shared.function(job)
