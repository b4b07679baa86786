"""All submissions of a folder, several at a time; whatever one of them does, the others are graded."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from elfw_helpers.errors import DataError, ElfwError
from elfw_helpers.files import write_atomically
from elfw_helpers.grading.key import Key, find_key, read_key
from elfw_helpers.grading.load import Cell, Submission, Unreadable, parse_notebook, read_bytes
from elfw_helpers.grading.released import Released, normalise
from elfw_helpers.grading.report import Grade, format_page, format_table, table_header, table_row
from elfw_helpers.grading.run import GraderFault, SubmissionRun
from elfw_helpers.grading.sandbox import Sandbox, choose_sandbox, refuse_exposed
from elfw_helpers.grading.session import Stopped
from elfw_helpers.grading.verdicts import flag_findings, give_nothing, give_verdicts

# Changed whenever the same submission may get another grade: stored grades of before are not taken over.
VERSION = 1
FAULT = "grader fault"
LONGEST_NAME = 200  # bytes of the name of a page's file


class Batch:
    """The grading of a folder.

    Args:
        key: the answer key.
        folder: of the submissions.
        out: where grades.csv, log.jsonl and feedback/ go.
        sandbox: where submissions run.
        jobs: how many at a time.
    """

    def __init__(self, key: Key, folder: Path, out: Path, sandbox: Sandbox, jobs: int):
        self.key, self.folder, self.out, self.sandbox = key, folder, out, sandbox
        self.released = Released(key.released)
        self._task = f"{folder.resolve()} by {key.path.name}"
        self.stop = threading.Event()
        self._numbers: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(jobs):
            self._numbers.put(number)
        self._jobs = jobs
        self.taken_over = 0
        self._log_lock = threading.Lock()

    def run(self) -> list[list[str]]:
        """Grade what is not graded yet, write grades.csv, and return its rows."""
        paths = list(find_submissions(self.folder))
        known = self._read_log()
        rows: dict[Path, list[str]] = {}
        pool = ThreadPoolExecutor(self._jobs)
        futures = {pool.submit(self._grade_file, path, known): path for path in paths}
        try:
            with tqdm(total=len(paths), unit="submission", delay=2) as bar:
                for future in as_completed(futures):
                    rows[futures[future]] = future.result()
                    bar.update()
        except BaseException:
            self.stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        table = [rows[path] for path in paths]
        write_atomically(self.out / "grades.csv", format_table(table_header(self.key), table).encode())
        return table

    def _grade_file(self, path: Path, known: dict[str, dict]) -> list[str]:
        """Return the row of one submission; a fault of the grader's own is one without a score."""
        student = display_name(path.relative_to(self.folder))
        page = self.out / "feedback" / feedback_path(path.relative_to(self.folder))
        digest, start = "", time.monotonic()
        try:
            submitted, digest = self._read(path)
            if page.is_file() and known.get(student, {}).get("digest") == digest:
                with self._log_lock:
                    self.taken_over += 1
                return known[student]["row"]
            grade, text = self._grade(student, submitted)
        except Stopped:
            raise
        except Exception as error:  # one submission must not end the batch, whatever is wrong in here
            grade, text = self._admit_fault(student, error)
        grade.seconds = time.monotonic() - start
        try:
            page.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(page, text.encode())
        except OSError as error:
            grade, _ = self._admit_fault(student, error)
        row = table_row(grade, self.key)
        self._log(student, digest, row, grade)
        return row

    def _admit_fault(self, student: str, error: Exception) -> tuple[Grade, str]:
        """Return the grade of a submission that the grader failed on, which has no score, and its page."""
        kind = "" if isinstance(error, GraderFault) else f"{type(error).__name__}: "
        grade = Grade(student, f"{FAULT}: {kind}{error}", None)
        return grade, format_page(grade, self.key, {}, [])

    def _read(self, path: Path) -> tuple[Submission | str, str]:
        """Return a submission, or why it is none, and a digest of what its grade rests on."""
        digest = hashlib.sha256(f"{VERSION} {self.key.digest} ".encode())
        try:
            content = read_bytes(path)
            digest.update(content)
            return parse_notebook(content), digest.hexdigest()
        except Unreadable as error:
            digest.update(str(error).encode())
            return str(error), digest.hexdigest()

    def _grade(self, student: str, submitted: Submission | str) -> tuple[Grade, str]:
        """Return the grade of a submission, or of what is none, and its page."""
        if isinstance(submitted, str):
            nothing = give_nothing(self.key, "not readable")
            grade = Grade(student, f"unreadable: {submitted}", nothing)
            return grade, format_page(grade, self.key, {}, [])
        grade, cells = self._grade_cells(student, submitted)
        written = [cell for cell in submitted.cells if self._is_own_text(cell)]
        return grade, format_page(grade, self.key, cells, written)

    def _grade_cells(self, student: str, submitted: Submission) -> tuple[Grade, dict[str, Cell]]:
        """Return the grade of a readable submission, and the cells of its exercises."""
        number = self._numbers.get()
        try:
            run = SubmissionRun(submitted, self.key, self.released, self.sandbox, number, self.stop)
            findings = run.run()
        finally:
            self._numbers.put(number)
        plan = run.plan
        status = "graded in part" if findings.deaths else "graded"
        if not plan.cells:
            status = "no exercise found"
        grade = Grade(student, status, give_verdicts(self.key, plan, findings), peak=findings.peak)
        grade.flags = [*plan.flags, *flag_findings(findings, submitted.python)]
        return grade, plan.cells

    def _is_own_text(self, cell: Cell) -> bool:
        """Say whether a cell is text that the student wrote or changed."""
        return cell.kind == "markdown" and normalise(cell.source) not in self.released.markdown

    def _read_log(self) -> dict[str, dict]:
        """Return the stored grades by student, without faults of the grader, which are tried again.

        Raises:
            DataError: they are of other submissions, or by another key.
        """
        try:
            lines = (self.out / "log.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return {}
        known = {}
        for line in lines:
            try:
                entry = json.loads(line)
                known[entry["student"]] = entry
            except (ValueError, KeyError, TypeError):  # the last line of a run that was killed
                continue
        stored = {entry.get("task") for entry in known.values()}
        if stored - {self._task}:
            raise DataError(self.out, f"holds grades of {min(map(str, stored))}", "Name a new folder")
        return {student: entry for student, entry in known.items() if not entry["row"][1].startswith(FAULT)}

    def _log(self, student: str, digest: str, row: list[str], grade: Grade) -> None:
        """Append a submission to the log."""
        verdicts = {name: [asdict(one) for one in all_of] for name, all_of in (grade.verdicts or {}).items()}
        entry = {"student": student, "task": self._task, "digest": digest, "row": row, "verdicts": verdicts}
        with self._log_lock, (self.out / "log.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")


def grade_folder(name: str, folder: Path, out: Path, jobs: int = 1, unsandboxed: bool = False) -> int:
    """Grade the submissions of a folder by the key of some name, and say what came of it.

    Args:
        name: the number of a notebook, or an answer key.
        folder: of the submissions, in any subfolders.
        out: a new folder, or that of an earlier run to go on with.
        jobs: how many submissions to run at a time.
        unsandboxed: run them without protection.

    Returns:
        Exit code: 0, or 1 when the grader failed on some.

    Raises:
        ElfwError: there is no key, no submission or no sandbox; nothing was run.
    """
    key = read_key(find_key(name))
    if not folder.is_dir():
        found = "is a file" if folder.is_file() else "no such folder"
        raise DataError(folder, found, "Name the folder that holds the submissions")
    if next(find_submissions(folder), None) is None:
        raise DataError(folder, "holds no .ipynb", "Name the folder that holds the submissions")
    if jobs < 1:
        raise ElfwError(f"--jobs {jobs}: at least one submission has to be run at a time.")
    sandbox = choose_sandbox(unsandboxed)
    for hidden in (key.path, folder, out):
        refuse_exposed(sandbox, hidden)
    make_folder(out)
    batch = Batch(key, folder, out, sandbox, jobs)
    rows = batch.run()
    before = f" {batch.taken_over} of them were graded before." if batch.taken_over else ""
    print(f"Sandbox: {sandbox.name}. {describe_rows(rows)}{before}")
    others = count_others(folder)
    if others:
        what = "1 file whose name does" if others == 1 else f"{others} files whose names do"
        print(f"Not looked at: {what} not end in .ipynb.")
    faults = [row for row in rows if row[1].startswith(FAULT)]
    for row in faults[:3]:
        print(f"{row[0]}: {row[1]}")
    print(f"See {out / 'grades.csv'} and {out / 'feedback'}.")
    return int(bool(faults))


def make_folder(out: Path) -> None:
    """Make the folder that everything is written into, or take that of an earlier run.

    Raises:
        DataError: it holds something else, or cannot be made.
    """
    fix = "Name a new folder, or that of an earlier run"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()) and not (out / "log.jsonl").is_file():
            raise DataError(out, "holds something else", fix)
    except OSError as error:
        raise DataError(out, f"cannot be written to ({error.strerror})", fix) from error


def describe_rows(rows: list[list[str]]) -> str:
    """Say how many submissions there were, by status."""
    counts = Counter(row[1].partition(":")[0] for row in rows)
    noun = "submission" if len(rows) == 1 else "submissions"
    return f"{len(rows)} {noun}: {', '.join(f'{n} {status}' for status, n in sorted(counts.items()))}."


def find_submissions(folder: Path) -> Iterator[Path]:
    """Yield everything called *.ipynb below a folder, in order; links to folders are not followed.

    Left out are copies that programs make unasked: Jupyter's checkpoints, and the `._` files of macOS.
    """
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in (".ipynb_checkpoints", "__MACOSX"))
        for name in sorted(folders + files):
            if name.lower().endswith(".ipynb") and not name.startswith("._"):
                yield Path(place, name)


def count_others(folder: Path) -> int:
    """Return how many files below a folder are no submissions by their name, hidden ones aside."""
    names = [name for _, _, files in os.walk(folder) for name in files if not name.startswith(".")]
    return sum(not name.lower().endswith(".ipynb") for name in names)


def display_name(path: Path) -> str:
    """Return a relative path as text without its .ipynb; bytes that are no text become escapes."""
    text = os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
    return text.removesuffix(".ipynb") or text


def feedback_path(path: Path) -> Path:
    """Return where a submission's page goes, relative to the folder of pages."""
    name = f"{path.name}.html"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f"{hashlib.sha256(os.fsencode(path.name)).hexdigest()}.html"
    return path.with_name(name)
