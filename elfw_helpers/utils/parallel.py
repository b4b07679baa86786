"""Runs the same function on many jobs in parallel: one process per core, one thread per process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool

from elfw_helpers.utils.errors import ElfwError

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_parallel(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None = None
) -> Iterator[tuple[int, Result]]:
    """Yield (index of the job, `function(job)`) of every job as soon as it is done.

    Ctrl-C, or a job that raises an error, ends all workers at once.

    Args:
        function: of a module or a notebook; `functools.partial` gives it what all jobs share.
        jobs: the longest first, so that no worker is left with one at the end.
        workers: processes; None takes one per core that this process may use, 1 computes in this process.

    Raises:
        ElfwError: a worker process was killed.
    """
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        # Without a limit in bytes, joblib would share large arrays in memory of which containers have little.
        pool = joblib.Parallel(
            workers or joblib.cpu_count(), return_as="generator_unordered", max_nbytes=None
        )
    numbered = joblib.delayed(run_numbered)
    try:
        yield from pool(numbered(function, index, job) for index, job in enumerate(jobs))
    except BrokenProcessPool as error:
        raise ElfwError(
            "a worker process ended without an answer. Most often memory ran out: take fewer workers, or "
            "smaller batches"
        ) from error


def run_numbered(function: Callable[[Job], Result], index: int, job: Job) -> tuple[int, Result]:
    """Return the index of a job and its result."""
    return index, function(job)
