"""Jobs and searches on a cluster of real processes: what is checked, and what is killed.

They stand in the order in which they use the cluster up: near the end a worker is killed, at last the
scheduler. The first has a worker started anew before any has loaded torch, which takes seconds.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
from distributed import LocalCluster

from elfw_helpers.training.search import grid_search
from elfw_helpers.utils import cluster as cluster_code
from elfw_helpers.utils.errors import DataError, ElfwError, MissingPackage, TrainingError
from elfw_helpers.utils.parallel import run_parallel
from tests.cluster import ROOT, WORKER, log_and_wait, start_cluster, wait_until
from tests.training.test_loop import make_batches, make_model

GRID = {"lr": (0.01, 0.05), "momentum": (0.0, 0.9)}
EPOCHS = 3
WEIGHTS = "data/weights/mini_network_rendered.safetensors"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers."""
    with start_cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The table of the grid, computed in this process."""
    return search(tmp_path_factory.mktemp("here"), workers=1)


class SlowMotion:
    """An augmentation that changes nothing and takes its time, so that a grid can be disturbed."""

    def __call__(self, inputs, targets, generator):
        time.sleep(0.02)
        return inputs, targets


def search(out, **options):
    data = make_batches(augment=SlowMotion()), make_batches(seed=1)
    return grid_search(make_model, *data, EPOCHS, out=out, grid=GRID, **options)


def do_when(happened, action):
    """Do something in a thread once something has happened."""

    def wait():
        wait_until(happened)
        action()

    threading.Thread(target=wait, daemon=True).start()


@pytest.fixture
def ctrl_c():
    """Ctrl-C is heard, which a shell's job in the background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_what_computes_there_and_forgets_what_waits(cluster, tmp_path):
    log, end = tmp_path / "log", tmp_path / "end"

    def list_processes():
        return [int(line) for line in log.read_text(encoding="utf-8").split()] if log.exists() else []

    do_when(lambda: len(list_processes()) == 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        list(run_parallel(partial(log_and_wait, log, end), range(6), cluster=cluster.address))
    plain, nannied = sorted(list_processes(), key=lambda process: process != cluster.workers[0].pid)
    # Its nanny has ended it; the other one, which has none, finishes its job.
    wait_until(lambda: not Path(f"/proc/{nannied}").exists())
    assert plain == cluster.workers[0].pid
    end.touch()
    cluster.wait_for_workers(2)
    assert dict(run_parallel(abs, [-2, -3], cluster=cluster.address)) == {0: 2, 1: 3}
    assert len(list_processes()) == 2


class Counted:
    """Adds the process to a file each time that it is unpickled."""

    def __init__(self, log):
        self.log = log

    def __setstate__(self, state):
        vars(self).update(state)
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"{os.getpid()}\n")


def tell_process(shared, job):
    time.sleep(0.05)
    return job, os.getpid()


def test_every_job_has_its_result_and_what_they_share_reaches_each_worker_once(cluster, tmp_path):
    function = partial(tell_process, Counted(tmp_path / "log"))
    found = dict(run_parallel(function, range(12), cluster=cluster.address))
    assert {index: job for index, (job, _) in found.items()} == {job: job for job in range(12)}
    used = Counter(str(process) for _, process in found.values())
    assert len(used) == 2 and str(os.getpid()) not in used
    assert Counter((tmp_path / "log").read_text(encoding="utf-8").split()) == dict.fromkeys(used, 1)


def divide(job):
    return 1 / job


def refuse(job):
    raise DataError("a/file", "is broken", "Mend it", line=3)


def test_an_error_of_a_job_is_raised_as_it_is_and_the_cluster_goes_on(cluster):
    with pytest.raises(ZeroDivisionError):
        list(run_parallel(divide, [1, 0, 1], cluster=cluster.address))
    with pytest.raises(DataError, match="a/file, line 3: is broken. Mend it") as caught:
        list(run_parallel(refuse, [1], cluster=cluster.address))
    assert caught.value.line == 3
    assert dict(run_parallel(divide, [1, 2], cluster=cluster.address)) == {0: 1, 1: 0.5}
    assert list(run_parallel(divide, [], cluster="tcp://127.0.0.1:1")) == []


@pytest.fixture
def another_course(tmp_path):
    """A copy of the course with other code and other weights."""
    copy = tmp_path / "course"
    for package in ("elfw_helpers", "elfw_course"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "elfw_helpers" / "__init__.py").open("a", encoding="utf-8") as code:
        code.write("# Another version.\n")
    shutil.copytree(ROOT / "data" / "weights", copy / "data" / "weights")
    (copy / WEIGHTS).write_bytes(b"others")
    (copy / "data" / "rendered_faces.zip").symlink_to(ROOT / "data" / "rendered_faces.zip")
    return copy


def test_a_worker_of_another_course_is_refused_and_named(cluster, another_course):
    worker = cluster.start("worker", "--no-nanny", *WORKER, source=another_course)
    cluster.wait_for_workers(3)
    with pytest.raises(ElfwError) as caught:
        list(run_parallel(divide, [1], cluster=cluster.address))
    worker.kill()
    cluster.wait_for_workers(2)
    refused, fault, _ = str(caught.value).splitlines()
    assert refused == "1 of 3 workers cannot take part."
    digits = "[0-9a-f]{12}"
    expected = [rf"{name} is {digits}, not {digits}" for name in ("elfw_helpers/__init__.py", WEIGHTS)]
    assert re.fullmatch(rf"  tcp://127.0.0.1:\d+: {'; '.join(expected)}", fault)


def test_what_cannot_be_sent_or_loaded_is_said(cluster, tmp_path, monkeypatch, caplog):
    lock = threading.Lock()
    with pytest.raises(ElfwError, match="cannot be sent: cannot pickle '_thread.lock' object"):
        list(run_parallel(lambda job: lock, [1], cluster=cluster.address))
    (tmp_path / "only_here.py").write_text("def double(job):\n    return 2 * job\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    double = importlib.import_module("only_here").double
    with pytest.raises(ElfwError, match="cannot load what the jobs need .*only_here.* or install it on each"):
        list(run_parallel(double, [1], cluster=cluster.address))
    assert not caplog.records


def expect_torch_1(monkeypatch):
    """Have this process say that it has a torch that no worker has."""
    facts = dict(cluster_code.describe_course()) | {"torch": "1.0"}
    monkeypatch.setattr(cluster_code, "describe_course", lambda: tuple(facts.items()))


def test_workers_with_other_packages_or_other_data_are_refused(cluster, tmp_path, monkeypatch):
    expect_torch_1(monkeypatch)
    monkeypatch.setattr(cluster_code, "describe_data", lambda: (tmp_path / "faces", "names"))
    with pytest.raises(ElfwError, match="2 of 2 workers") as caught:
        list(run_parallel(divide, [1], cluster=cluster.address, folders=[tmp_path]))
    faults = f"torch is {version('torch')}, not 1.0; the data folder {tmp_path / 'faces'} is not there"
    assert str(caught.value).count(faults) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_worker_without_the_folder_is_refused(cluster, tmp_path, monkeypatch):
    elsewhere = (tmp_path / "not_mounted" / ".elfw_cluster_1",)
    monkeypatch.setattr(cluster_code, "mark_folders", lambda folders: nullcontext(elsewhere))
    with pytest.raises(ElfwError, match="not_mounted: is not there, or is not the same storage"):
        list(run_parallel(divide, [1], cluster=cluster.address, folders=[tmp_path]))


def find_no_sandbox():
    raise ElfwError("there is no sandbox")


def test_what_a_worker_prepares_is_asked_of_it_before_the_first_job(cluster, tmp_path):
    with pytest.raises(ElfwError, match=r"2 of 2 workers[^$]*: there is no sandbox"):
        list(run_parallel(divide, [1], cluster=cluster.address, prepare=find_no_sandbox))


def test_a_worker_that_joins_later_is_checked_by_its_first_job(cluster, monkeypatch):
    expect_torch_1(monkeypatch)
    monkeypatch.setattr(cluster_code, "check_workers", lambda client, needs: None)
    with pytest.raises(ElfwError, match=r"worker tcp://127.0.0.1:\d+ cannot take part: torch is .*, not 1.0"):
        list(run_parallel(divide, [1], cluster=cluster.address))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://127.0.0.1:9", "no scheduler answers at tcp://127.0.0.1:9.*dask scheduler"),
        ("nowhere://127.0.0.1:9", "nowhere://127.0.0.1:9 is no address of a scheduler.*tcp://HOST:8786"),
        ("127.0.0.1", "127.0.0.1 is no address of a scheduler: missing port.*tcp://HOST:8786"),
        ("tls://127.0.0.1:9", "asks for certificates.*Name their files in Dask's settings"),
    ],
)
def test_no_scheduler_at_an_address_is_said_in_time(monkeypatch, address, said):
    monkeypatch.setattr(cluster_code, "PATIENCE", 0.5)
    started = time.monotonic()
    with pytest.raises(ElfwError, match=said):
        list(run_parallel(divide, [1], cluster=address))
    assert time.monotonic() - started < 5


def test_a_scheduler_without_workers_is_told_how_to_get_some(monkeypatch):
    monkeypatch.setattr(cluster_code, "PATIENCE", 0.5)
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as empty:
        address = empty.scheduler_address
        with pytest.raises(ElfwError, match=f"{address} has no workers. Start some.*dask worker {address} "):
            list(run_parallel(divide, [1], cluster=address))


def test_without_dask_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingPackage, match=r'pip install "elfw-helpers\[cluster\]"$'):
        list(run_parallel(divide, [1], cluster="tcp://127.0.0.1:9"))


def test_settings_cannot_be_trained_together_on_a_cluster(tmp_path):
    with pytest.raises(TrainingError, match='one model in one process. On a cluster, take "one by one"'):
        search(tmp_path, cluster="tcp://127.0.0.1:9", strategy="together")


def test_a_grid_outlives_a_worker_that_is_killed_and_equals_one_machine_s(cluster, expected, tmp_path):
    # By then each worker is in the middle of a run, with an epoch stored.
    do_when(lambda: len(list(tmp_path.glob("*/checkpoint.safetensors"))) > 1, cluster.workers[0].kill)
    table = search(tmp_path, cluster=cluster.address)
    assert cluster.workers[0].wait() == -signal.SIGKILL
    assert table["error"].tolist() == [""] * 4
    pd.testing.assert_frame_equal(table, expected, rtol=0, atol=1e-6)
    assert len(list(tmp_path.glob("*.json"))) == 4


def test_a_lost_scheduler_is_said_and_the_next_start_goes_on_from_what_is_stored(
    cluster, expected, tmp_path, caplog
):
    killed = []

    def kill():
        cluster.scheduler.kill()
        killed.append(time.monotonic())

    do_when(lambda: any(tmp_path.glob("*.json")), kill)
    with pytest.raises(ElfwError, match="the scheduler at .* has ended.*goes on from what is stored"):
        search(tmp_path, cluster=cluster.address)
    assert time.monotonic() - killed[0] < 5
    finished = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.json")}
    assert 0 < len(finished) < 4 and len(caplog.records) < 3
    pd.testing.assert_frame_equal(search(tmp_path, workers=1), expected, rtol=0, atol=1e-6)
    assert {file: file.stat().st_mtime_ns for file in finished} == finished
