"""What grading writes: pages that never meet, cells that never compute, and nothing lost on a full disk."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
import resource
import unicodedata
from pathlib import Path

import pytest

from elfw_course.cli import main
from elfw_course.grading import batch
from elfw_course.grading.batch import append_whole, display_name, feedback_path, name_pages
from elfw_course.grading.report import escape_cell, format_table
from elfw_course.grading.run import SubmissionRun
from tests.course.grading.hostile.submissions import honest_cells, notebook, write_key


@pytest.fixture
def folder(tmp_path) -> Path:
    """A key, and two submissions in folders of their own."""
    write_key(tmp_path)
    for name in ("ann", "bob"):
        write(tmp_path / "submissions" / name / "03.ipynb")
    return tmp_path / "submissions"


def write(path: Path) -> None:
    """Write an honest submission."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook(honest_cells())), encoding="utf-8")


def grade(folder: Path, out: Path | None = None) -> int:
    """Grade this test's own harmless submissions, by the command."""
    out = out or folder.parent / "out"
    return main(["grade", str(folder.parent / "key.toml"), str(folder), "--out", str(out), "--unsandboxed"])


def read_rows(text: str) -> dict[str, dict[str, str]]:
    """Return the rows of a table by student."""
    return {row["student"]: row for row in csv.DictReader(io.StringIO(text))}


def digest_page(path: str) -> str:
    """Return the name that a page gets when another is in its way."""
    name = f"{path}/{path}.html".encode()
    return hashlib.sha256(name).hexdigest()


@pytest.mark.parametrize(
    "names",
    [
        ["col.ipynb", "col.ipynb.html/dan.ipynb"],
        ["a/col.ipynb", "a/col.ipynb.html/b/dan.ipynb", "a/col.ipynb.html.ipynb"],
        ["Ann/03.ipynb", "ann/03.ipynb", "ANN/03.IPYNB"],
        ["Straße.ipynb", "STRASSE.ipynb"],
        [unicodedata.normalize(form, "José.ipynb") for form in ("NFC", "NFD")],
        ["COL.ipynb", "col.IPYNB.HTML/dan.ipynb"],
        ["col.ipynb", "col.ipynb.html/dan.ipynb", f"{digest_page('col.ipynb')}.html/eve.ipynb"],
        ["x" * 240 + "1.ipynb", "x" * 240 + "2.ipynb"],
        ["/".join(["deep"] * 400) + "/1.ipynb", "/".join(["deep"] * 400) + "/2.ipynb"],
        ["ann/03.ipynb", "bob/03.ipynb", "bob/04.ipynb"],
    ],
    ids=range(10),
)
def test_pages_never_meet_on_any_disk(names, tmp_path):
    pages = name_pages([Path(name) for name in names])
    assert list(pages) == [Path(name) for name in names]
    folded = [unicodedata.normalize("NFC", str(page)).casefold() for page in pages.values()]
    folders = {str(parent) for page in folded for parent in Path(page).parents}
    assert len(set(folded)) == len(names) and not folders & set(folded)
    for page in pages.values():
        assert page.suffix == ".html" and not page.is_absolute() and ".." not in page.parts
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / page).write_text("written", encoding="utf-8")


def test_pages_that_are_in_nobody_s_way_are_named_as_their_submissions():
    paths = [Path("ann/03.ipynb"), Path("Bob/03.ipynb"), Path("bob b/03.ipynb")]
    assert name_pages(paths) == {path: feedback_path(path) for path in paths}
    assert feedback_path(Path("ann/03.ipynb")) == Path("ann/03.ipynb.html")


def test_names_in_the_table_stay_apart():
    names = [
        b"a.IPYNB",
        b"a.IPYNB.ipynb",
        b"a.ipynb",
        b"a.ipynb.ipynb",
        b".ipynb",
        b"no\xff.ipynb",
        rb"no\xff.ipynb",
    ]
    shown = [display_name(Path(os.fsdecode(name))) for name in names]
    assert len(set(shown)) == len(names), shown
    assert display_name(Path("ann/03.ipynb")) == "ann/03"


def test_submissions_whose_pages_would_meet_are_graded(folder):
    write(folder / "col.ipynb")
    write(folder / "col.ipynb.html" / "dan.ipynb")
    assert grade(folder) == 0
    rows = read_rows((folder.parent / "out" / "grades.csv").read_text(encoding="utf-8"))
    assert [row["total"] for row in rows.values()] == ["7"] * 4
    assert len(list((folder.parent / "out" / "feedback").rglob("*.html"))) == 5, "four pages, one folder"


FORMULA = re.compile(r"""[\s"']*[=+\-@|%]""")


@pytest.mark.parametrize("separator", ",;\t|:")
@pytest.mark.parametrize(
    "name",
    ["a;=1+1;b", "a,=1+1,b", "a\t=1+1", 'a";=1+1;"b', "a; =1", "a;'=1", "a|@SUM(1)", "a:-1", ";+1", "a\n=1"],
)
def test_no_spreadsheet_finds_a_formula(name, separator):
    text = format_table(["student", "flags"], [[escape_cell(name), escape_cell(name)]])
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        for row in csv.reader(io.StringIO(text), delimiter=separator, quoting=quoting):
            for cell in row:
                bare = cell.lstrip('"')
                assert bare.startswith("'") or not FORMULA.match(bare), (row, cell)
    assert len(text.splitlines()) == 2


def test_every_cell_is_quoted(folder):
    write(folder / "a;=1+1;b.ipynb")
    assert grade(folder) == 0
    for line in (folder.parent / "out" / "grades.csv").read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r'"([^"]|"")*"(,"([^"]|"")*")*', line)
    assert escape_cell("ann_1=2") == "ann_1=2" and escape_cell("Ann - 3") == "Ann - 3"


@pytest.mark.parametrize(("out", "found"), [("/proc/grades", "/proc"), ("/dev/null", "/dev/null")])
def test_a_place_that_cannot_be_written_to_is_named_before_anything_runs(
    folder, capsys, monkeypatch, out, found
):
    monkeypatch.setattr(batch.Batch, "run", lambda self: pytest.fail("it ran"))
    assert grade(folder, Path(out)) == 1
    error = capsys.readouterr().err
    assert found in error and len(error.splitlines()) == 1 and "Traceback" not in error


def fill_disk(monkeypatch, *names: str) -> None:
    """Let writing fail as on a full disk, for some functions of the batch."""

    def fail(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    for name in names:
        monkeypatch.setattr(batch, name, fail)


def test_a_log_that_cannot_be_written_loses_no_grade(folder, capsys, monkeypatch):
    fill_disk(monkeypatch, "append_whole")
    assert grade(folder) == 1
    said = capsys.readouterr().out
    assert len(re.findall(r"log\.jsonl: cannot be written \(No space left on device\)", said)) == 1
    rows = read_rows((folder.parent / "out" / "grades.csv").read_text(encoding="utf-8"))
    assert [row["total"] for row in rows.values()] == ["7", "7"]


def test_a_table_that_cannot_be_written_is_printed(folder, capsys, monkeypatch):
    fill_disk(monkeypatch, "write_atomically", "append_whole")
    assert grade(folder) == 1
    said = capsys.readouterr().out
    table = said[said.index('"student"') : said.index("Sandbox:")]
    assert [row["total"] for row in read_rows(table).values()] == ["7", "7"]
    for what in ("grades.csv", "feedback", "log.jsonl"):
        assert f"{what}: cannot be written (No space left on device)" in said
    monkeypatch.undo()
    assert grade(folder) == 0, "and once there is room"
    assert len(list((folder.parent / "out" / "feedback").rglob("*.html"))) == 2


def test_half_a_line_is_taken_back_from_a_full_disk(tmp_path):
    path = tmp_path / "log"
    append_whole(path, b"whole\n")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match="No space left"):
            append_whole(path, b"more than fits\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"whole\n"


def test_a_line_cut_by_a_crash_does_not_take_the_next_one_with_it(folder):
    assert grade(folder) == 0
    log = folder.parent / "out" / "log.jsonl"
    log.write_bytes(log.read_bytes() + b'{"student": "bob/03", "di')
    write(folder / "cy.ipynb")
    assert grade(folder) == 0
    lines = log.read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["row"][0] == "cy"


def test_a_log_that_cannot_be_read_is_named(folder, capsys, monkeypatch):
    assert grade(folder) == 0
    read = Path.read_text

    def refuse(self, *arguments, **options):
        if self.name == "log.jsonl":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return read(self, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert grade(folder) == 1
    error = capsys.readouterr().err
    assert "log.jsonl: Permission denied" in error and len(error.splitlines()) == 1


def refuse_folder(monkeypatch, folder: Path) -> None:
    """Let a folder be unreadable, even to root."""
    scan = os.scandir

    def refuse(path="."):
        if Path(os.fsdecode(path)) == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_a_subfolder_that_cannot_be_read_has_its_row(folder, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        refuse_folder(patch, folder / "bob")
        assert grade(folder) == 1
    rows = read_rows((folder.parent / "out" / "grades.csv").read_text(encoding="utf-8"))
    assert list(rows) == ["ann/03", "bob"]
    assert rows["bob"]["status"] == "grader fault: it cannot be read (Permission denied)"
    assert rows["bob"]["total"] == "" and rows["ann/03"]["total"] == "7"
    assert "bob: grader fault" in capsys.readouterr().out
    assert grade(folder) == 0
    assert list(read_rows((folder.parent / "out" / "grades.csv").read_text(encoding="utf-8"))) == [
        "ann/03",
        "bob/03",
    ]


def test_a_folder_of_submissions_that_cannot_be_read_is_named(folder, capsys, monkeypatch):
    refuse_folder(monkeypatch, folder)
    assert grade(folder) == 1
    error = capsys.readouterr().err
    assert f"{folder}: Permission denied" in error and len(error.splitlines()) == 1


def test_a_submission_that_cannot_be_read_has_its_row(folder, monkeypatch):
    original = batch.read_bytes

    def refuse(path):
        if path.parent.name == "bob":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return original(path)

    monkeypatch.setattr(batch, "read_bytes", refuse)
    assert grade(folder) == 1
    row = read_rows((folder.parent / "out" / "grades.csv").read_text(encoding="utf-8"))["bob/03"]
    assert (row["status"], row["total"]) == ("grader fault: it cannot be read (Permission denied)", "")


def test_a_submission_is_named_when_it_starts(folder, monkeypatch):
    seen, original = [], SubmissionRun.run

    def look(self, job):
        log = (folder.parent / "out" / "log.jsonl").read_text(encoding="utf-8").splitlines()
        seen.append(json.loads(log[-1]))
        return original(self, job)

    monkeypatch.setattr(SubmissionRun, "run", look)
    assert grade(folder) == 0
    assert [entry["student"] for entry in seen] == ["ann/03", "bob/03"]
    assert all(entry["started"] and "row" not in entry for entry in seen)


def test_what_is_passed_over_is_counted(folder, capsys):
    (folder / "notes.txt").write_text("", encoding="utf-8")
    (folder / "again").symlink_to(folder / "ann")
    assert grade(folder) == 0
    said = capsys.readouterr().out
    assert "Not looked at: 1 file whose name" in said and "Not looked into: 1 link to folders." in said
