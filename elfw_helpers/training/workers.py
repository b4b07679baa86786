"""Jobs in worker processes of one thread each, which Ctrl-C ends at once."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import torch

from elfw_helpers.utils.errors import TrainingError


def run_jobs(
    function: Callable[[Any, Any], Any], shared: Any, jobs: Sequence[Any], workers: int, device: str = "cpu"
) -> Iterator[tuple[int, Any]]:
    """Yield (place in jobs, `function(shared, job)`) of every job as it is done.

    Ctrl-C, or a job that raises, ends them all; what finished jobs have stored stays.

    Args:
        function: of a module, so that workers can import it.
        shared: what all jobs need, handed to each worker once.
        jobs: the longest first, so that no worker is left with one at the end.
        workers: processes, at most.
        device: where the jobs compute; on anything but "cpu" they are done here, one after the other.

    Raises:
        TrainingError: a worker ended without an answer.
    """
    if device != "cpu":
        yield from ((place, function(shared, job)) for place, job in enumerate(jobs))
        return
    if not jobs:
        return
    # Spawned, not forked: a fork of a process whose threads hold locks can hang.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    # Pickled here, once: torch would share memory with the workers, of which containers have little.
    task = pickle.dumps((function, shared))
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, start_worker, (task,))
    try:
        places = {pool.submit(work, job): place for place, job in enumerate(jobs)}
        for future in as_completed(places):
            yield places[future], future.result()
        pool.shutdown()
    except BrokenProcessPool as error:
        raise TrainingError(
            "a worker process ended without an answer. Most often memory ran out: take fewer workers, or "
            "smaller batches. If it happens at once, put the function into a module that workers can import"
        ) from error
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        # Nobody waits for the jobs under way, and they would keep the cores busy for minutes.
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise


_task: tuple = ()


def start_worker(pickled: bytes) -> None:
    """Prepare a worker: one thread, what all jobs need in memory, Ctrl-C left to the parent."""
    global _task
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _task = pickle.loads(pickled)


def work(job: Any) -> Any:
    """Do one job in a worker."""
    function, shared = _task
    return function(shared, job)
