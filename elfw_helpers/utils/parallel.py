"""Runs the same function on many jobs: in a process per core of this machine, or on the workers of a cluster.

A process computes one job at a time, in one thread.
"""

from __future__ import annotations

import functools
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.backend.reduction import dumps
from joblib.externals.loky.process_executor import BrokenProcessPool

from elfw_helpers.utils.errors import ElfwError, require_cluster

# The next call finds the workers of the last one, who take seconds to start; they hold what its jobs shared.
IDLE_SECONDS = 20

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_parallel(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int | None = None,
    cluster: str | None = None,
    folders: Sequence[str | Path] = (),
    prepare: Callable[[], object] | None = None,
) -> Iterator[tuple[int, Result]]:
    """Yield (index of the job, `function(job)`) of every job as soon as it is done.

    Ctrl-C, or a job that raises an error, ends all workers at once; of a cluster, those that compute.

    Args:
        function: of a module or a notebook; `functools.partial` gives it what all jobs share, which is sent
            to each worker once.
        jobs: the longest first, so that no worker is left with one at the end.
        workers: processes; None takes one per core that this process may use, 1 computes in this process.
        cluster: the address of a Dask scheduler, tcp://HOST:8786. All its workers are used, and those that
            join later; a job that is lost with its worker is given to another.
        folders: what the jobs write into, on storage that a cluster's workers share with this process.
        prepare: what each worker of a cluster does before its first job; an ElfwError keeps it from taking
            part.

    Raises:
        ElfwError: a worker process of this machine was killed; no scheduler answers, or it has no workers, or
            some that cannot compute the same; or it is lost.
        MissingPackage: Dask's package is not installed.
    """
    if cluster and jobs:
        require_cluster()
        from elfw_helpers.utils.cluster import run_on_cluster

        yield from run_on_cluster(function, jobs, cluster, folders, prepare)
        return
    workers = workers or joblib.cpu_count()
    if workers == 1 or not jobs:
        yield from ((index, function(job)) for index, job in enumerate(jobs))
        return
    with joblib.parallel_config("loky", inner_max_num_threads=1, idle_worker_timeout=IDLE_SECONDS):
        # Without a limit in bytes, joblib would share large arrays in memory of which containers have little.
        pool = joblib.Parallel(workers, return_as="generator_unordered", max_nbytes=None)
    numbered = joblib.delayed(run_numbered)
    try:
        # joblib would send the function, and all that the jobs share, again with every job.
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "function.pickle"
            file.write_bytes(dumps(function))
            yield from pool(numbered(file, index, job) for index, job in enumerate(jobs))
    except BrokenProcessPool as error:
        raise ElfwError(
            "a worker process ended without an answer. Most often memory ran out: take fewer workers, or "
            "smaller batches"
        ) from error
    except BaseException:
        get_reusable_executor().shutdown()
        raise


def run_numbered(file: Path, index: int, job: Job) -> tuple[int, Result]:
    """Return the index of a job and its result."""
    return index, load_function(file)(job)


@functools.lru_cache(1)
def load_function(file: Path) -> Callable[[Job], Result]:
    """Return the function of a worker's jobs, read before the first of them."""
    return pickle.loads(file.read_bytes())
