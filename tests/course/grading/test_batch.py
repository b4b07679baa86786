"""Grading a folder: rows, pages, going on after an interruption, and faults of the grader's own.

What runs here without a sandbox is this test's own harmless code.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from elfw_course.cli import main
from elfw_course.grading import batch, sandbox
from elfw_course.grading.batch import display_name, feedback_path
from elfw_course.grading.report import escape_cell
from elfw_course.grading.run import SubmissionRun
from tests.course.grading.hostile.submissions import (
    HONEST,
    SCRIPTED,
    honest_cells,
    in_function,
    notebook,
    write_key,
    write_oddities,
)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A key, and three submissions in a folder."""
    write_key(tmp_path)
    folder = tmp_path / "submissions"
    for name, size in (
        ("ann", HONEST["conv_output_size"]),
        ("bob", in_function("return 48")),
        ("cy", "x = 1"),
    ):
        write(folder / name / "03.ipynb", conv_output_size=size)
    return folder


def write(path: Path, **sources: str) -> None:
    """Write a submission in which some exercises are not honest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook(honest_cells(**sources))), encoding="utf-8")


def grade(folder: Path, *more: str) -> int:
    """Grade a folder into `out` beside it, by the command."""
    key, out = str(folder.parent / "key.toml"), str(folder.parent / "out")
    return main(["grade", key, str(folder), "--out", out, "--unsandboxed", *more])


def read_rows(folder: Path) -> dict[str, dict[str, str]]:
    """Return the rows of grades.csv by student."""
    with (folder.parent / "out" / "grades.csv").open(encoding="utf-8", newline="") as stream:
        return {row["student"]: row for row in csv.DictReader(stream)}


def count_runs(monkeypatch) -> list[int]:
    """Return a list that grows by one with each submission that is run."""
    runs, original = [], SubmissionRun.run
    monkeypatch.setattr(SubmissionRun, "run", lambda self, job: (runs.append(1), original(self, job))[1])
    return runs


def test_each_submission_has_a_row_a_page_and_a_line_in_the_log(folder, capsys):
    assert grade(folder, "--jobs", "2") == 0
    assert "3 submissions: 3 graded" in capsys.readouterr().out
    rows = read_rows(folder)
    assert [row["total"] for row in rows.values()] == ["7", "5", "4"]
    assert rows["bob/03"]["conv_output_size"] == "1" and rows["bob/03"]["of"] == "7"
    assert rows["cy/03"]["flags"] == "conv_output_size: its cell does not define it"
    page = (folder.parent / "out" / "feedback" / "cy" / "03.ipynb.html").read_text(encoding="utf-8")
    assert "conv_output_size: your cell does not define it" in page, "to whom it speaks"
    page = (folder.parent / "out" / "feedback" / "bob" / "03.ipynb.html").read_text(encoding="utf-8")
    assert "5 of 7" in page and "not the expected value" in page and "return 48" in page
    log = [
        json.loads(line)
        for line in (folder.parent / "out" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    for kind in ("started", "verdicts"):
        assert sorted(entry["student"] for entry in log if kind in entry) == list(rows)
    assert [kind in log[0] for kind in ("started", "verdicts")] == [True, False], "named before it runs"


def test_what_is_graded_is_not_run_again_unless_it_has_changed(folder, monkeypatch, capsys):
    assert grade(folder) == 0
    before, runs = read_rows(folder), count_runs(monkeypatch)
    assert "3 of them were graded before" not in capsys.readouterr().out
    assert grade(folder) == 0
    assert (runs, read_rows(folder)) == ([], before)
    assert "3 of them were graded before" in capsys.readouterr().out
    write(folder / "bob" / "03.ipynb")
    (folder.parent / "out" / "feedback" / "ann" / "03.ipynb.html").unlink()
    with (folder.parent / "out" / "log.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"student": "cy/03", "dig')  # as when the machine was switched off
    assert grade(folder) == 0
    assert (len(runs), read_rows(folder)["bob/03"]["total"]) == (2, "7")
    key = folder.parent / "key.toml"
    key.write_text(key.read_text(encoding="utf-8").replace("expect = 48", "expect = 49"), encoding="utf-8")
    assert grade(folder) == 0
    assert (len(runs), read_rows(folder)["ann/03"]["total"]) == (5, "6")
    monkeypatch.setattr(batch, "digest_grader", lambda: "another")
    assert grade(folder) == 0
    assert len(runs) == 8, "graded by other code"


def test_an_interrupted_batch_goes_on(folder, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        original = batch.format_page

        def interrupt_at_bob(grade, *more):
            if grade.student.startswith("bob"):
                raise KeyboardInterrupt
            return original(grade, *more)

        patch.setattr(batch, "format_page", interrupt_at_bob)
        assert grade(folder) == 130
    assert not (folder.parent / "out" / "grades.csv").exists()
    runs = count_runs(monkeypatch)
    assert grade(folder) == 0
    assert len(runs) < 3 and len(read_rows(folder)) == 3


def test_two_probes_of_one_answer_ask_for_it_once(folder):
    key, question = folder.parent / "key.toml", 'call = "conv_output_size(48, 3, 1, 1)"\nexpect = 48\n'
    twice = f'{question}[[exercises.conv_output_size.probes]]\nname = "once more"\n{question}'
    key.write_text(key.read_text(encoding="utf-8").replace(question, twice), encoding="utf-8")
    write(
        folder / "bob" / "03.ipynb",
        conv_output_size="asked = []\n" + in_function("return asked.append(1) or 49 - len(asked)"),
    )
    assert grade(folder) == 0
    assert read_rows(folder)["bob/03"]["conv_output_size"] == "2", "49 - 1 is 48, 49 - 2 is not"


def test_a_fault_of_the_grader_leaves_the_score_blank_and_is_tried_again(folder, monkeypatch, capsys):
    original = SubmissionRun.run

    def fail_for_bob(run, job):
        if "return 48" in str(run.submission.cells):
            raise RuntimeError("out of order")
        return original(run, job)

    monkeypatch.setattr(SubmissionRun, "run", fail_for_bob)
    assert grade(folder) == 1
    row = read_rows(folder)["bob/03"]
    assert row["status"] == "grader fault: RuntimeError: out of order"
    assert (row["total"], row["conv_output_size"]) == ("", "")
    assert read_rows(folder)["ann/03"]["total"] == "7"
    page = (folder.parent / "out" / "feedback" / "bob" / "03.ipynb.html").read_text(encoding="utf-8")
    assert "no fault of yours" in page and "out of order" not in page
    monkeypatch.setattr(SubmissionRun, "run", original)
    assert grade(folder) == 0
    assert read_rows(folder)["bob/03"]["total"] == "5"


@pytest.mark.parametrize(
    ("setup", "found"),
    [("import gone", "ModuleNotFoundError: No module named 'gone'"), ("1/0", "ZeroDivision")],
)
def test_a_setup_that_fails_is_a_fault_of_the_grader(folder, capsys, setup, found):
    key = folder.parent / "key.toml"
    key.write_text(
        key.read_text(encoding="utf-8").replace('setup = "import math"', f'setup = "{setup}"'),
        encoding="utf-8",
    )
    assert grade(folder) == 1
    assert all(found in row["status"] and row["total"] == "" for row in read_rows(folder).values())
    assert found in capsys.readouterr().out


def test_a_sandbox_that_does_not_start_is_a_fault_of_the_grader(folder, monkeypatch):
    command = ["sh", "-c", "echo no such namespace >&2; exit 3"]
    monkeypatch.setattr(sandbox.Sandbox, "command", lambda *_: command)
    assert grade(folder) == 1
    assert all("no such namespace" in row["status"] for row in read_rows(folder).values())


def test_odd_files_end_no_batch(folder):
    folder = folder.parent / "odd"
    folder.mkdir()
    expected = write_oddities(folder)
    assert grade(folder, "--jobs", "2") == 0
    rows = read_rows(folder)
    assert set(rows) == {escape_cell(name) for name in expected}
    unread = [escape_cell(name) for name, (status, _) in expected.items() if "un" in status]
    assert {rows[name]["total"] for name in unread} == {"0"}
    pages = [
        page.read_text(encoding="utf-8") for page in (folder.parent / "out" / "feedback").rglob("*.html")
    ]
    assert any("Please hand in the .ipynb once more" in page for page in pages)


def test_page_shows_the_student_s_own_outputs_as_text_and_pictures_only(folder):
    picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
    submission = json.loads(json.dumps(SCRIPTED))
    data = {"image/png": picture, "text/html": "<b>bold</b>"}
    submission["cells"][0]["outputs"].append({"output_type": "display_data", "data": data})
    (folder / "dan.ipynb").write_text(json.dumps(submission), encoding="utf-8")
    assert grade(folder) == 0
    page = (folder.parent / "out" / "feedback" / "dan.ipynb.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in page and "<script" not in page and "bold" not in page
    assert page.count("<img") == 1 and picture in page


def test_written_answers_are_shown_to_be_read_by_a_person(folder):
    key = folder.parent / "key.toml"
    key.write_text(
        key.read_text(encoding="utf-8").replace(
            'setup = "import math"', 'setup = "import math"\nwritten = ["Why?"]'
        ),
        encoding="utf-8",
    )
    path = folder / "ann" / "03.ipynb"
    submission = json.loads(path.read_text(encoding="utf-8"))
    submission["cells"].append({"cell_type": "markdown", "metadata": {}, "source": "Because <b>."})
    path.write_text(json.dumps(submission), encoding="utf-8")
    assert grade(folder) == 0
    page = (folder.parent / "out" / "feedback" / "ann" / "03.ipynb.html").read_text(encoding="utf-8")
    assert "Read by a person" in page and "Why?" in page and "Because &lt;b&gt;." in page
    assert "A course" not in page


@pytest.mark.parametrize(
    ("more", "found"), [(["--jobs", "0"], "at least one"), (["--out", "/dev/null/x"], "Not a directory")]
)
def test_called_wrongly_says_so(folder, capsys, more, found):
    assert grade(folder, *more) == 1
    assert found in capsys.readouterr().err


def test_folders_that_are_missing_empty_or_in_use_are_named(folder, capsys):
    out = folder.parent / "out"
    assert main(["grade", "03", str(folder / "gone"), "--out", str(out), "--unsandboxed"]) == 1
    (folder / "nobody").mkdir()
    assert main(["grade", "03", str(folder / "nobody"), "--out", str(out), "--unsandboxed"]) == 1
    assert main(["grade", "03", str(folder), "--out", str(folder), "--unsandboxed"]) == 1
    errors = capsys.readouterr().err
    assert all(found in errors for found in ("no such folder", "holds no .ipynb", "holds something else"))
    assert not out.exists()


def test_grades_of_another_folder_are_not_written_over(folder, capsys):
    assert grade(folder) == 0
    before = read_rows(folder)
    out, key = str(folder.parent / "out"), str(folder.parent / "key.toml")
    assert main(["grade", key, str(folder / "ann"), "--out", out, "--unsandboxed"]) == 1
    assert "holds grades of" in capsys.readouterr().err
    assert read_rows(folder) == before


def test_files_of_other_kinds_are_counted(folder, capsys):
    (folder / "dan").mkdir()
    (folder / "dan" / "report.pdf").write_text("PDF", encoding="utf-8")
    assert grade(folder) == 0
    assert "Not looked at: 1 file whose name does not end in .ipynb" in capsys.readouterr().out


def test_names_stay_apart_and_pages_inside_their_folder():
    assert display_name(Path("ann/03.ipynb")) == "ann/03"
    assert display_name(Path("ann/03.IPYNB")) == "ann/03.IPYNB"
    assert feedback_path(Path("ann/03.ipynb")) == Path("ann/03.ipynb.html")
    long = [feedback_path(Path("x" * 240 + end)) for end in ("1.ipynb", "2.ipynb")]
    assert long[0] != long[1] and max(len(path.name) for path in long) < 200


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1", "＝1", "|calc", "%x"]
)
def test_formulas_are_escaped(text):
    assert escape_cell(text).startswith("'") and "\n" not in escape_cell(text)
    assert escape_cell("ann_1=2") == "ann_1=2"


def test_the_parent_stays_small():
    code = "import sys, elfw_course.grading.batch\n"
    code += "print(sorted({'torch', 'numpy', 'nbformat'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert found.stdout.strip() == "[]"
