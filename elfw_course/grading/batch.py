"""All submissions of a folder, several at a time; whatever one of them does, the others are graded."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import queue
import sys
import threading
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from elfw_course.grading.delegation import flag_delegations
from elfw_course.grading.exercises import Released, strip_blanks
from elfw_course.grading.key import Key, find_key, read_key
from elfw_course.grading.report import (
    Grade,
    disarm,
    flag_findings,
    format_page,
    format_table,
    give_nothing,
    give_verdicts,
    table_header,
    table_row,
)
from elfw_course.grading.run import GraderFault, SubmissionRun
from elfw_course.grading.sandbox import Sandbox, choose_sandbox, claim_jobs, refuse_exposed
from elfw_course.grading.session import Stopped
from elfw_course.grading.submission import Cell, Submission, Unreadable, parse_notebook, read_bytes
from elfw_helpers.utils.errors import DataError, ElfwError
from elfw_helpers.utils.files import explain_error, require_writable, write_atomically

FAULT = "grader fault"
LONGEST_SHOWN = 40  # characters of a name beside the bar
LONGEST_NAME = 200  # bytes of the name of a page's file
LONGEST_PATH = 1000  # bytes of its folders and name together


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
        self._grader = digest_grader()
        self._task = f"{folder.resolve()} by {key.path.name}"
        self.stop = threading.Event()
        self._numbers: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._jobs, self._all_numbers = jobs, threading.Lock()
        self.taken_over = 0
        self._lock = threading.Lock()  # of the log, and of what is noted here
        self._running: list[str] = []
        self._pages: dict[Path, Path] = {}
        self._unreadable: dict[Path, OSError] = {}
        self.unwritten: dict[Path, OSError] = {}

    def run(self) -> list[list[str]]:
        """Grade what is not graded yet, write grades.csv, and return its rows."""
        paths = list(find_submissions(self.folder, self._unreadable))
        self._pages = name_pages([path.relative_to(self.folder) for path in paths])
        known = self._read_log()
        with claim_jobs(self._jobs) as numbers:
            for number in numbers:
                self._numbers.put(number)
            rows = self._grade_files(paths, known)
        table = [rows[path] for path in paths]
        text = format_table(table_header(self.key), table)
        try:
            write_atomically(self.out / "grades.csv", text.encode())
        except OSError as error:
            self.unwritten[self.out / "grades.csv"] = error
            print(text, end="")  # or they were lost
        return table

    def _grade_files(self, paths: Sequence[Path], known: dict[str, dict]) -> dict[Path, list[str]]:
        """Return the rows of submissions, several of which are graded at a time."""
        rows = {}
        pool = ThreadPoolExecutor(self._jobs)
        with tqdm(total=len(paths), unit="submission", delay=2) as bar:
            futures = {pool.submit(self._grade_file, path, known, bar): path for path in paths}
            try:
                for future in as_completed(futures):
                    rows[futures[future]] = future.result()
                    bar.update()
            except BaseException:
                self.stop.set()
                raise
            finally:
                pool.shutdown(cancel_futures=True)
        return rows

    def _grade_file(self, path: Path, known: dict[str, dict], bar: tqdm) -> list[str]:
        """Return the row of one submission; a fault of the grader's own is one without a score."""
        relative = path.relative_to(self.folder)
        student, page = display_name(relative), self.out / "feedback" / self._pages[relative]
        digest = ""
        try:
            submitted, digest = self._read(path)
            if page.is_file() and known.get(student, {}).get("digest") == digest:
                with self._lock:
                    self.taken_over += 1
                return known[student]["row"]
            with self._announced(student, bar):
                grade, text = self._grade(student, submitted)
        except Stopped:
            raise
        except Exception as error:  # one submission must not end the batch, whatever is wrong in here
            grade, text = self._admit_fault(student, error)
        self._write_page(page, text)
        row = table_row(grade, self.key)
        self._log(student, digest, row, grade)
        return row

    @contextmanager
    def _announced(self, student: str, bar: tqdm) -> Iterator[None]:
        """Name a submission while it runs: in the log, and beside the bar."""
        started, shown = time.strftime("%Y-%m-%d %H:%M:%S"), disarm(student)[-LONGEST_SHOWN:]
        self._append_to_log({"student": student, "task": self._task, "started": started})
        with self._lock:
            self._running.append(shown)
            # Before, a bar is not shown yet: most often, all are graded by then.
            bar.set_postfix_str(", ".join(self._running), refresh=bar.format_dict["elapsed"] > bar.delay)
        try:
            yield
        finally:
            with self._lock:
                self._running.remove(shown)

    def _write_page(self, page: Path, text: str) -> None:
        """Write a page, or note that it cannot be written."""
        try:
            page.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(page, text.encode())
        except OSError as error:
            with self._lock:
                self.unwritten[self.out / "feedback"] = error

    def _admit_fault(self, student: str, error: Exception) -> tuple[Grade, str]:
        """Return the grade of a submission that the grader failed on, which has no score, and its page."""
        kind = "" if isinstance(error, GraderFault) else f"{type(error).__name__}: "
        grade = Grade(student, f"{FAULT}: {kind}{error}", None)
        return grade, format_page(grade, self.key, {}, [])

    def _read(self, path: Path) -> tuple[Submission | str, str]:
        """Return a submission, or why it is none, and a digest of what its grade rests on."""
        digest = hashlib.sha256(f"{self._grader} {self.key.digest} ".encode())
        try:
            if path in self._unreadable:
                raise self._unreadable[path]
            content = read_bytes(path)
            digest.update(content)
            return parse_notebook(content), digest.hexdigest()
        except Unreadable as error:
            digest.update(str(error).encode())
            return str(error), digest.hexdigest()
        except OSError as error:
            raise GraderFault(f"it cannot be read ({error.strerror})") from error

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
        run, seconds = self._run(submitted)
        plan, findings = run.plan, run.findings
        status = "graded in part" if findings.ended else "graded"
        if not plan.cells:
            status = "no exercise found"
        verdicts = give_verdicts(self.key, plan, findings)
        grade = Grade(student, status, verdicts, seconds=seconds, peak=findings.peak)
        sources = [step.cell.source for step in plan.steps]
        delegations = flag_delegations(self.key, sources, self.released.sources)
        grade.flags = [*plan.flags, *delegations, *flag_findings(findings, submitted.python)]
        return grade, plan.cells

    def _run(self, submitted: Submission) -> tuple[SubmissionRun, float]:
        """Run a submission; once more, while no other runs, what may have suffered from others.

        Returns:
            The run, and the seconds that it took, without those of waiting for others.
        """
        with self._hold(1) as number:
            run = SubmissionRun(submitted, self.key, self.released, self.sandbox, number, self.stop)
            start = time.monotonic()
            run.run()
            seconds = time.monotonic() - start
        if run.needs_second_try:
            with self._hold(self._jobs) as number:
                start = time.monotonic()
                run.run_alone(number)
                seconds += time.monotonic() - start
        return run, seconds

    @contextmanager
    def _hold(self, count: int) -> Iterator[int]:
        """Wait for so many of the jobs' numbers, and lend one; who holds all of them runs alone.

        Raises:
            Stopped: the batch is being interrupted.
        """
        numbers: list[int] = []
        try:
            # Two that wait for all would each keep what the other waits for.
            with self._all_numbers if count > 1 else nullcontext():
                while len(numbers) < count:
                    numbers.append(self._take_number())
            yield numbers[0]
        finally:
            for number in numbers:
                self._numbers.put(number)

    def _take_number(self) -> int:
        """Wait for the number of a job."""
        while not self.stop.is_set():
            try:
                return self._numbers.get(timeout=0.2)
            except queue.Empty:
                continue
        raise Stopped

    def _is_own_text(self, cell: Cell) -> bool:
        """Say whether a cell is text that the student wrote or changed."""
        return cell.kind == "markdown" and strip_blanks(cell.source) not in self.released.markdown

    def _read_log(self) -> dict[str, dict]:
        """Return the stored grades by student, without faults of the grader, which are tried again.

        Raises:
            DataError: they are of other submissions, or by another key.
        """
        path = self.out / "log.jsonl"
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise explain_error(error, path) from error
        known, tasks = {}, set()
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                tasks.add(entry["task"])
                if "row" in entry:
                    known[entry["student"]] = entry
            except (ValueError, KeyError, TypeError):  # the last line of a run that was killed
                continue
        if tasks - {self._task}:
            raise DataError(self.out, f"holds grades of {min(map(str, tasks))}", "Name a new folder")
        if text and not text.endswith("\n"):
            append_whole(path, b"\n")
        return {student: entry for student, entry in known.items() if not entry["row"][1].startswith(FAULT)}

    def _log(self, student: str, digest: str, row: list[str], grade: Grade) -> None:
        """Append a grade to the log."""
        verdicts = {name: [asdict(one) for one in all_of] for name, all_of in (grade.verdicts or {}).items()}
        entry = {"student": student, "task": self._task, "digest": digest, "row": row, "verdicts": verdicts}
        self._append_to_log(entry)

    def _append_to_log(self, entry: dict) -> None:
        """Append a line to the log, or note that it cannot be written."""
        path = self.out / "log.jsonl"
        with self._lock:
            try:
                append_whole(path, json.dumps(entry).encode() + b"\n")
            except OSError as error:
                self.unwritten[path] = error


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
    try:
        key = read_key(find_key(name))
        find_nothing_wrong(folder)
    except OSError as error:
        raise explain_error(error) from error
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
    others, links = count_others(folder)
    if others:
        what = "1 file whose name does" if others == 1 else f"{others} files whose names do"
        print(f"Not looked at: {what} not end in .ipynb.")
    if links:
        print(f"Not looked into: {links} {'link' if links == 1 else 'links'} to folders.")
    faults = [row for row in rows if row[1].startswith(FAULT)]
    for row in faults[:3]:
        print(f"{row[0]}: {row[1]}")
    for path, error in batch.unwritten.items():
        problem = explain_error(error, path)
        print(f"{path}: cannot be written ({problem.found}). {problem.fix}, then run the same command again.")
    if out / "grades.csv" not in batch.unwritten:
        print(f"See {out / 'grades.csv'} and {out / 'feedback'}.")
    return int(bool(faults or batch.unwritten))


def digest_grader() -> str:
    """Return a digest of the code that grades and of Python's version: stored grades of others are old."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):  # what runs inside the sandbox too
        digest.update(path.read_bytes())
    return digest.hexdigest()


def find_nothing_wrong(folder: Path) -> None:
    """Raise unless a folder holds submissions.

    Raises:
        DataError: it is none, cannot be read or holds none.
    """
    if not folder.is_dir():
        found = "is a file" if folder.is_file() else "no such folder"
        raise DataError(folder, found, "Name the folder that holds the submissions")
    unreadable: dict[Path, OSError] = {}
    if next(find_submissions(folder, unreadable), folder) == folder:
        if folder in unreadable:
            raise explain_error(unreadable[folder], folder)
        raise DataError(folder, "holds no .ipynb", "Name the folder that holds the submissions")


def make_folder(out: Path) -> None:
    """Make the folder that everything is written into, or take that of an earlier run.

    Raises:
        DataError: it holds something else, or cannot be made.
    """
    try:
        if out.is_dir() and any(out.iterdir()) and not (out / "log.jsonl").is_file():
            raise DataError(out, "holds something else", "Name a new folder, or that of an earlier run")
    except OSError as error:
        raise explain_error(error, out) from error
    require_writable(out)
    (out / "log.jsonl").touch()  # by which the folder is known as that of an earlier run


def append_whole(path: Path, content: bytes) -> None:
    """Append to a file all of some content, or nothing.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("ab", buffering=0) as stream:
        before = stream.tell()
        if stream.write(content) < len(content):  # what still found room on a full disk
            stream.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def describe_rows(rows: list[list[str]]) -> str:
    """Say how many submissions there were, by status."""
    counts = Counter(row[1].partition(":")[0] for row in rows)
    noun = "submission" if len(rows) == 1 else "submissions"
    return f"{len(rows)} {noun}: {', '.join(f'{n} {status}' for status, n in sorted(counts.items()))}."


def find_submissions(folder: Path, unreadable: dict[Path, OSError]) -> Iterator[Path]:
    """Yield everything called *.ipynb below a folder, in order; links to folders are not followed.

    Left out are copies that programs make unasked: Jupyter's checkpoints, and the `._` files of macOS.

    Args:
        folder: of the submissions.
        unreadable: takes the folders that cannot be read, with the reason; they are yielded at the end.
    """

    def note(error: OSError) -> None:
        unreadable[Path(os.fsdecode(error.filename))] = error

    for place, folders, files in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if name not in (".ipynb_checkpoints", "__MACOSX"))
        for name in sorted(folders + files):
            if name.lower().endswith(".ipynb") and not name.startswith("._"):
                yield Path(place, name)
    yield from sorted(path for path in unreadable if not path.name.lower().endswith(".ipynb"))


def count_others(folder: Path) -> tuple[int, int]:
    """Return how many files below a folder are no submissions by their name, and how many links to folders.

    Hidden files are left aside.
    """
    files = links = 0
    for place, folders, names in os.walk(folder):
        files += sum(not name.lower().endswith(".ipynb") for name in names if not name.startswith("."))
        links += sum(Path(place, name).is_symlink() for name in folders)
    return files, links


def display_name(path: Path) -> str:
    """Return a relative path as text without its .ipynb; bytes that are no text become escapes.

    No two paths have the same: a backslash is doubled, and what is left never looks like another's file.
    """
    text = os.fsencode(path.as_posix()).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    short = text.removesuffix(".ipynb")
    return text if not short or short.lower().endswith(".ipynb") else short


def name_pages(paths: Sequence[Path]) -> dict[Path, Path]:
    """Return where each submission's page goes, relative to the folder of pages; all relative paths.

    A page that would meet another, or the folder of others, is named by a digest: `a.ipynb` beside
    `a.ipynb.html/b.ipynb`. So it is for file systems that do not tell capitals or forms of Unicode apart.
    """
    pages = {path: feedback_path(path) for path in paths}
    taken = Counter(_same_on_any_disk(page) for page in pages.values())
    taken.update({_same_on_any_disk(folder) for page in pages.values() for folder in page.parents})
    for path, page in pages.items():
        if taken[_same_on_any_disk(page)] > 1:
            while taken[_same_on_any_disk(page)]:
                page = Path(_digest_name(path, page))
            taken[_same_on_any_disk(page)] += 1
            pages[path] = page
    return pages


def feedback_path(path: Path) -> Path:
    """Return where a submission's page goes, when no other is in its way."""
    page = path.with_name(f"{path.name}.html")
    if len(os.fsencode(page)) > LONGEST_PATH:
        return Path(_digest_name(path))
    return page if len(os.fsencode(page.name)) <= LONGEST_NAME else path.with_name(_digest_name(path))


def _digest_name(*paths: Path) -> str:
    """Return a file's name made of a digest of paths."""
    return f"{hashlib.sha256(b'/'.join(map(os.fsencode, paths))).hexdigest()}.html"


def _same_on_any_disk(path: Path) -> str:
    """Return a path without what some file systems do not tell apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())
