"""Jobs in worker processes: their results, and how they end."""

import math
import multiprocessing
import os
from functools import partial

import pytest

from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.parallel import run_parallel


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_has_its_result_and_a_function_need_not_be_in_a_module(workers):
    offset = 10
    found = dict(run_parallel(lambda job: job + offset, [3, 1, 2], workers))
    assert found == {0: 13, 1: 11, 2: 12}
    assert list(run_parallel(abs, [], workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_job_is_raised(workers):
    with pytest.raises(ZeroDivisionError):
        list(run_parallel(lambda job: 1 / job, [0, 1], workers))


def worker_processes() -> set[int]:
    """Return the ids of this process's workers."""
    return {process.pid for process in multiprocessing.active_children()}


def test_the_next_call_finds_the_workers_of_the_last_one_and_an_error_ends_them():
    assert dict(run_parallel(abs, [-1, -2], 2)) == {0: 1, 1: 2}
    workers = worker_processes()
    assert workers
    assert dict(run_parallel(math.sqrt, [4, 9], 2)) == {0: 2, 1: 3}
    assert worker_processes() == workers
    with pytest.raises(ZeroDivisionError):
        list(run_parallel(lambda job: 1 / job, [0, 1], 2))
    assert not worker_processes() & workers


def test_a_worker_that_is_killed_is_said_to_be():
    with pytest.raises(ElfwError, match="ended without an answer.*fewer workers"):
        list(run_parallel(os._exit, [9], 2))


class CountedPickle:
    """Adds a line to a file each time that it is pickled."""

    def __init__(self, log):
        self.log = log

    def __getstate__(self):
        with open(self.log, "a", encoding="utf-8") as log:
            log.write("pickled\n")
        return vars(self)


def test_what_jobs_share_is_pickled_once_not_with_every_job(tmp_path):
    function = partial(lambda shared, job: job, CountedPickle(tmp_path / "log"))
    assert dict(run_parallel(function, range(8), 2)) == {job: job for job in range(8)}
    assert (tmp_path / "log").read_text(encoding="utf-8") == "pickled\n"
