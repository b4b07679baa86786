"""Grading on a cluster of real processes: the grades of one machine, also when a worker is killed.

The tests stand in the order in which they use the cluster up.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from distributed import Client

from elfw_course.cli import main
from elfw_course.grading.batch import grade_folder
from elfw_course.grading.watchdog import descendants
from elfw_helpers.utils.errors import ElfwError
from tests.cluster import WORKER, Cluster, start_cluster, wait_until
from tests.course.grading.hostile.submissions import honest_cells, notebook, write_case, write_key
from tests.course.grading.sandboxes import needs_sandbox
from tests.course.grading.test_hostile import MEASURED, read_rows
from tests.course.grading.test_sandbox import is_alive, is_sandbox

pytestmark = needs_sandbox
# One of each kind: right, wrong, cheating, crashing, tried once more alone, and no notebook at all.
NAMES = (
    *("honest", "helper below", "newer Python", "duplicate, last wrong", "another course", "right once"),
    *("exits", "two exit, a cell before a check", "reads the key", "forges answers", "not a number"),
)


@dataclass
class Class:
    """A key, the submissions of a class, a cluster, and where its second worker looks for programs."""

    key: Path
    folder: Path
    cluster: Cluster
    programs: Path

    def grade(self, out: str, **more: object) -> int:
        return grade_folder(str(self.key), self.folder, self.folder.parent / out, **more)


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Class:
    """Twelve submissions, and a cluster of two workers: the second finds no sandbox."""
    root = tmp_path_factory.mktemp("class")
    folder, programs = root / "submissions", root / "programs"
    for one in (folder, programs, root / "cluster"):
        one.mkdir()
    key = write_key(root)
    for name in NAMES:
        write_case(folder, name, {"FOLDER": repr(str(folder)), "KEY": repr(str(key)), "PORT": "1"})
    (folder / "a web page.ipynb").write_text("<html>", encoding="utf-8")
    with start_cluster(root / "cluster", workers=1) as cluster:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", str(programs))
            cluster.workers.append(cluster.start("worker", "--no-nanny", *WORKER))
        yield Class(key, folder, cluster, programs)


def test_a_worker_without_a_sandbox_is_refused_and_nothing_is_run(course, capsys):
    with Client(course.cluster.address) as client:
        client.wait_for_workers(2)
    with pytest.raises(ElfwError, match="1 of 2 workers cannot take part(.|\n)*No sandbox was found"):
        course.grade("refused", cluster=course.cluster.address)
    assert (course.folder.parent / "refused" / "log.jsonl").read_bytes() == b""
    assert capsys.readouterr().err == ""


def test_grades_are_those_of_one_machine_also_when_a_worker_is_killed(course, capsys):
    assert course.grade("here", jobs=2) == 0
    (course.programs / "bwrap").symlink_to("/usr/bin/bwrap")
    worker, log, lost = course.cluster.workers[0], course.folder.parent / "there" / "log.jsonl", []

    def kill_half_way():
        wait_until(lambda: log.exists() and log.read_bytes().count(b'"row"') >= 4 and descendants(worker.pid))
        lost.extend(descendants(worker.pid))
        os.kill(worker.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_half_way)
    killer.start()
    assert course.grade("there", cluster=course.cluster.address) == 0
    killer.join()
    here, there = (read_rows(course.folder.parent / out) for out in ("here", "there"))
    assert worker.poll() is not None and lost and len(there) == len(NAMES) + 1
    for row in (*here.values(), *there.values()):
        for name in MEASURED:
            del row[name]
    assert there == here
    assert log.read_bytes().count(b'"row"') == len(there), "none was graded twice"
    wait_until(lambda: not any(map(is_alive, lost)))
    assert "Sandbox: bubblewrap. 12 submissions" in capsys.readouterr().out


def test_nothing_runs_on_when_the_command_is_gone(course):
    folder = course.folder.parent / "endless"
    folder.mkdir()
    cells = honest_cells(conv_output_size="while True: pass")
    (folder / "ann.ipynb").write_text(json.dumps(notebook(cells)), encoding="utf-8")
    key, worker = course.key.with_name("slow.toml"), course.cluster.workers[1]
    key.write_text(course.key.read_text(encoding="utf-8").replace("seconds = 3", "seconds = 300"), "utf-8")
    command = [sys.executable, "-m", "elfw_course.cli", "grade", str(key), str(folder), "--cluster"]
    command += [course.cluster.address, "--out", str(course.folder.parent / "endless_out")]
    grader = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(map(is_sandbox, descendants(worker.pid))))
    finally:
        grader.kill()
        grader.wait()
    wait_until(lambda: not any(map(is_sandbox, descendants(worker.pid))))


def test_jobs_and_a_cluster_exclude_each_other(course, tmp_path, capsys):
    command = ["grade", str(course.key), str(course.folder), "--out", str(tmp_path / "out")]
    assert main([*command, "--jobs", "2", "--cluster", course.cluster.address]) == 1
    assert "Start as many workers as shall run at a time" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
