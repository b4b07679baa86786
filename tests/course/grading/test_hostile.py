"""Submissions that attack the grader, in one batch: each gets what it should, and nothing is left behind."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from joblib.externals.loky import get_reusable_executor

from elfw_course.grading.batch import grade_folder
from elfw_course.grading.report import escape_cell
from elfw_course.grading.watchdog import descendants
from elfw_helpers.utils.parallel import run_parallel
from tests.course.grading.hostile.submissions import (
    CASES,
    HONEST,
    SCRIPT,
    write_case,
    write_key,
    write_oddities,
)
from tests.course.grading.sandboxes import needs_sandbox

pytestmark = needs_sandbox
MEASURED = ("seconds", "peak_mb")


@dataclass
class Graded:
    """A batch that has been graded."""

    key: Path
    folder: Path
    out: Path
    expected: dict[str, tuple[str, int]]  # of those that are odd as files: status, total
    rows: dict[str, dict[str, str]]  # by student
    before: tuple  # what ran and was mounted before
    left: tuple  # and after


def state_of_machine() -> tuple[set[str], str, set[str]]:
    """Return the processes, what is mounted, and the files that submissions write to the temporary folder."""
    # The grader's own processes, which wait for more work, are ended; what watches them is there each time.
    assert sorted(run_parallel(abs, [-1, 2], 2)) == [(0, 1), (1, 2)]
    get_reusable_executor().shutdown()
    # Others may be grading at the same time: our own processes count, and daemons of these submissions.
    commands = {str(process) for process in descendants(os.getpid())}
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"elfw-hostile-daemon" in process.read_bytes():
                commands.add(process.parent.name)
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    return commands, mounts, {name for name in os.listdir("/tmp") if name.isdigit()}


def read_rows(out: Path) -> dict[str, dict[str, str]]:
    """Return the rows of grades.csv by student."""
    with (out / "grades.csv").open(encoding="utf-8", newline="") as stream:
        return {row["student"]: row for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Graded:
    """All hostile and odd submissions, graded as one batch of two jobs."""
    root = tmp_path_factory.mktemp("hostile")
    folder, out = root / "submissions", root / "out"
    folder.mkdir()
    key, expected = write_key(root), write_oddities(folder)
    os.environ["ELFW_HOSTILE_SECRET"] = "a secret of the instructor's"
    before = state_of_machine()
    with socket.create_server(("127.0.0.1", 0)) as server:
        words = {"FOLDER": repr(str(folder)), "KEY": repr(str(key)), "PORT": str(server.getsockname()[1])}
        for name in CASES:
            write_case(folder, name, words)
        assert grade_folder(str(key), folder, out, jobs=2) == 0
    del os.environ["ELFW_HOSTILE_SECRET"]
    return Graded(key, folder, out, expected, read_rows(out), before, state_of_machine())


@pytest.mark.parametrize("name", CASES)
def test_verdict(graded, name):
    case, row = CASES[name], graded.rows[name]
    assert (row["status"], tuple(int(row[one]) for one in HONEST)) == (case.status, case.points), row
    assert case.flag in row["flags"]


def test_odd_files_have_a_row_each_and_the_batch_holds_no_other(graded):
    for name, (status, total) in graded.expected.items():
        row = graded.rows[escape_cell(name)]
        assert re.match(status.replace("unreadable: ", "unreadable: .*"), row["status"]), row
        assert row["total"] == str(total)
    assert len(graded.rows) == len(CASES) + len(graded.expected)


def test_no_process_no_mount_and_no_file_is_left_behind(graded):
    assert graded.left == graded.before


def test_files_that_were_to_be_deleted_or_written_are_as_they_were(graded):
    assert graded.key.is_file() and (graded.folder / "honest.ipynb").is_file()
    assert not any(Path(place, "x").exists() for place in ("/", "/usr", "/etc", "/dev"))


def test_pages_hold_no_script_no_hidden_input_and_no_expected_value(graded):
    pages = list((graded.out / "feedback").rglob("*.html"))
    assert len(pages) == len(graded.rows)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert SCRIPT not in text and not re.search(r"<script|<img(?! alt)|javascript:", text), page
        assert "8713" not in text and "2905" not in text, page
        assert "SEEN" not in text or "print(" in text


def test_no_cell_of_the_table_is_a_formula(graded):
    for row in graded.rows.values():
        assert not any(re.match(r"[=+\-@\t\r]", cell or "") for cell in row.values()), row


def test_a_second_time_gives_the_same_table_but_for_what_is_measured(graded, tmp_path):
    # A third of them: all take as long as the whole batch did.
    (tmp_path / "some").mkdir()
    for path in sorted(filter(Path.is_file, graded.folder.glob("*.ipynb")))[::3]:
        shutil.copy(path, tmp_path / "some", follow_symlinks=False)
    assert grade_folder(str(graded.key), tmp_path / "some", tmp_path / "again", jobs=2) == 0
    again = read_rows(tmp_path / "again")
    assert len(again) > len(CASES) / 4
    for student, row in again.items():
        same = [(row[name], graded.rows[student][name]) for name in row if name not in MEASURED]
        assert all(one == other for one, other in same), same


def test_torch_does_not_open_a_door(tmp_path):
    """Tensors that lie, functions of torch replaced, and more memory than there is."""
    from tests.course.grading.hostile.torch_submissions import TORCH_CASES, write_torch_cases

    write_torch_cases(tmp_path / "submissions")
    assert grade_folder("03", tmp_path / "submissions", tmp_path / "out", jobs=2) == 0
    rows = read_rows(tmp_path / "out")
    for name, (_, status, points) in TORCH_CASES.items():
        row = rows[name]
        assert (row["status"], float(row["training_step"])) == (status, points), row
        assert (row["conv_output_size"], row["probability_from_loss"]) == ("6", "6"), row
