"""Grades all submissions of a folder, several at a time; whatever one does, the others are graded."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import sys
import threading
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from tqdm import tqdm

from elfw_course.grading.delegation import flag_delegations
from elfw_course.grading.exercises import Released, strip_blanks
from elfw_course.grading.judge import judge_answers
from elfw_course.grading.key import Key, find_key, read_key
from elfw_course.grading.report import (
    Grade,
    escape_cell,
    flag_findings,
    format_page,
    format_table,
    give_verdicts,
    table_header,
    table_row,
)
from elfw_course.grading.run import GraderFault
from elfw_course.grading.submission import Submission, Unreadable, parse_notebook, read_bytes
from elfw_course.grading.worker import Ran, Work, prepare_sandbox, run_submission
from elfw_helpers.utils.errors import DataError, ElfwError, require_cluster
from elfw_helpers.utils.files import explain_error, require_writable, write_atomically

FAULT = "grader fault"
LONGEST_SHOWN = 40  # characters of a name beside the bar
LONGEST_NAME = 200  # bytes of the name of a page's file
LONGEST_PATH = 1000  # bytes of its folders and name together


@dataclass
class Reading:
    """What reading a submission brought."""

    digest: str = ""  # of what its grade depends on
    submission: Submission | None = None
    problem: Exception | None = None  # why there is none


class Batch:
    """The grading of a folder, by a key: grades.csv, log.jsonl and feedback/ go into `out`."""

    def __init__(
        self, key: Key, listing: Listing, out: Path, work: Work, jobs: int, cluster: str | None = None
    ):
        self.key, self.listing, self.out, self.work = key, listing, out, work
        self.jobs, self.cluster = jobs, cluster
        self.sandboxes: set[str] = set()  # the names of those that were used
        self.taken_over = 0  # grades of an earlier run
        self.unwritten: dict[Path, OSError] = {}
        self._grader = digest_grader()
        self._task = f"{listing.folder.resolve()} by {key.path.name}"
        self._log_path = out / "log.jsonl"
        relative = [path.relative_to(listing.folder) for path in listing.submissions]
        self._pages = {path: out / "feedback" / page for path, page in name_pages(relative).items()}
        self._lock = threading.RLock()  # of the log, the bar and what is noted here: a thread hands out
        self._handed: dict[Path, str] = {}  # digests of submissions that workers have, the first at the front
        self._announced: set[Path] = set()

    def run(self) -> list[list[str]]:
        """Grade what is not graded yet, write grades.csv, and return its rows."""
        paths = self.listing.submissions
        rows = self._take_over(self._read_log())
        self.taken_over, left = len(rows), [path for path in paths if path not in rows]
        bar = tqdm(total=len(paths), initial=len(rows), unit="submission", delay=2)
        with bar, closing(self._run_all(left, bar)) as results:
            for path, result in results:
                rows[path] = self._grade_file(path, result)
                self._announce(bar)
                bar.update()
        table, place = [rows[path] for path in paths], self.out / "grades.csv"
        text = format_table(table_header(self.key), table)
        with self._noting_unwritten(place):
            write_atomically(place, text.encode())
        if place in self.unwritten:
            print(text, end="")  # or the grades were lost
        return table

    def _run_all(self, paths: Sequence[Path], bar: tqdm) -> Iterator[tuple[Path, Ran | str]]:
        """Have submissions run where the sandboxes are; yield each with what that brought."""
        if not paths:
            return
        # Not above: it loads NumPy, which a command that refuses does without.
        from elfw_helpers.utils.parallel import run_parallel

        run, jobs = partial(run_submission, self.work), (self._hand_out(path, bar) for path in paths)
        prepare = partial(prepare_sandbox, self.work.unsandboxed, self.work.hidden)
        with closing(run_parallel(run, jobs, self.jobs, self.cluster, prepare=prepare)) as results:
            for place, result in results:
                yield paths[place], result

    def _take_over(self, known: dict[str, dict]) -> dict[Path, list[str]]:
        """Return the rows of the submissions that were graded before, as they are now and by this key."""
        rows = {}
        for path in self.listing.submissions:
            entry = known.get(self._name(path))
            if entry and self._page(path).is_file() and self._read(path).digest == entry["digest"]:
                rows[path] = entry["row"]
        return rows

    def _name(self, path: Path) -> str:
        """Return the name that a submission has in the table."""
        return display_name(path.relative_to(self.listing.folder))

    def _page(self, path: Path) -> Path:
        """Return the file of a submission's page."""
        return self._pages[path.relative_to(self.listing.folder)]

    def _hand_out(self, path: Path, bar: tqdm) -> Submission | None:
        """Read a submission that a worker is to run, and return what the worker needs of it, if anything."""
        reading = self._read(path)
        with self._lock:
            self._handed[path] = reading.digest
            if not reading.submission:  # there is nothing to run
                self._announced.add(path)
        self._announce(bar)
        return reading.submission and reading.submission.without_outputs()

    def _announce(self, bar: tqdm) -> None:
        """Name those that run, the first that were handed out: in the log, and beside the bar."""
        with self._lock:
            running = list(self._handed)[: self.jobs]
            for path in running:
                if path not in self._announced:
                    self._announced.add(path)
                    self._log(path, started=time.strftime("%Y-%m-%d %H:%M:%S"))
            shown = [escape_cell(self._name(path))[-LONGEST_SHOWN:] for path in running]
            # Before, a bar is not shown yet: most often, all are graded by then.
            bar.set_postfix_str(", ".join(shown), refresh=bar.format_dict["elapsed"] > bar.delay)

    def _grade_file(self, path: Path, result: Ran | str) -> list[str]:
        """Return the row of a submission, by what a worker found; without a score if the grader failed."""
        with self._lock:
            digest = self._handed.pop(path)
        student, page = self._name(path), self._page(path)
        try:
            reading = self._read(path)  # once more: what students' outputs take is not kept for all at once
            if reading.digest != digest:
                raise GraderFault("it was changed while it was graded")
            grade, text = self._grade(student, reading, result)
        except Exception as error:  # one submission must not end the batch, whatever is wrong in here
            kind = "" if isinstance(error, GraderFault) else f"{type(error).__name__}: "
            grade = Grade(student, f"{FAULT}: {kind}{error}", None)
            text = format_page(grade, self.key, {}, [])
        with self._noting_unwritten(self.out / "feedback"):
            page.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(page, text.encode())
        row = table_row(grade, self.key)
        verdicts = {name: [asdict(one) for one in given] for name, given in (grade.verdicts or {}).items()}
        self._log(path, digest=digest, row=row, verdicts=verdicts)
        return row

    @contextmanager
    def _noting_unwritten(self, place: Path) -> Iterator[None]:
        """Go on when something cannot be written; a message at the end says so."""
        try:
            yield
        except OSError as error:
            with self._lock:
                self.unwritten[place] = error

    def _log(self, path: Path, **more: object) -> None:
        """Append a line about a submission to the log."""
        line = json.dumps({"student": self._name(path), "task": self._task, **more}).encode() + b"\n"
        with self._noting_unwritten(self._log_path), self._lock:
            append_whole(self._log_path, line)

    def _read(self, path: Path) -> Reading:
        """Return a submission, or why there is nothing to run."""
        reading = Reading()
        digest = hashlib.sha256(f"{self._grader} {self.key.digest} ".encode())
        try:
            if path in self.listing.unreadable:
                raise self.listing.unreadable[path]
            content = read_bytes(path)
            digest.update(content)
            reading.submission = parse_notebook(content)
        except OSError as error:
            reading.problem = GraderFault(f"it cannot be read ({error.strerror})")
        except Exception as error:  # Unreadable; or a fault in here, which must not end the batch
            reading.problem = error
        if reading.problem:
            digest.update(str(reading.problem).encode())
        reading.digest = digest.hexdigest()
        return reading

    def _grade(self, student: str, reading: Reading, result: Ran | str) -> tuple[Grade, str]:
        """Return the grade of a submission, or of a file that is not a notebook, and its page."""
        if isinstance(reading.problem, Unreadable):
            verdicts = give_verdicts(self.key, {}, {}, "not readable")
            grade = Grade(student, f"unreadable: {reading.problem}", verdicts)
            return grade, format_page(grade, self.key, {}, [])
        if reading.problem:
            raise reading.problem
        if isinstance(result, str):
            raise GraderFault(result)
        self.sandboxes.add(result.sandbox)
        cells = reading.submission.cells
        grade = self._judge(student, result, reading.submission.python)
        texts = [cell for cell in cells if cell.kind == "markdown"]
        written = [cell for cell in texts if strip_blanks(cell.source) not in self.work.released.markdown]
        found = {name: cells[place] for name, place in result.places.items()}
        return grade, format_page(grade, self.key, found, written)

    def _judge(self, student: str, ran: Ran, python: str) -> Grade:
        """Return the grade of a submission that was run, and written with some Python."""
        plan, findings = ran.plan, ran.findings
        status = "graded in part" if findings.ended else "graded"
        if not plan.cells:
            status = "no exercise found"
        reasons = dict.fromkeys(plan.cells, "not reached")
        reasons |= {name: why for step, why in findings.ended.items() for name in step.exercises}
        asked = [exercise for exercise in self.key.exercises if exercise.name in findings.answers]
        problems = {one.name: judge_answers(one, findings.answers[one.name]) for one in asked}
        verdicts = give_verdicts(self.key, problems, reasons, "not found")
        sources = [step.cell.source for step in plan.steps]
        flags = [*plan.flags, *flag_delegations(self.key, sources, self.work.released.sources)]
        flags += flag_findings(findings, problems, python)
        return Grade(student, status, verdicts, flags, ran.seconds, findings.peak)

    def _read_log(self) -> dict[str, dict]:
        """Return the stored grades by student, without faults of the grader, which are tried again.

        Grades of other submissions, or by another key, raise a DataError.
        """
        try:
            text = self._log_path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise explain_error(error, self._log_path) from error
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
            append_whole(self._log_path, b"\n")
        return {student: entry for student, entry in known.items() if not entry["row"][1].startswith(FAULT)}


def grade_folder(
    name: str,
    folder: Path,
    out: Path,
    jobs: int | None = None,
    unsandboxed: bool = False,
    cluster: str | None = None,
) -> int:
    """Grade the submissions of a folder by an answer key, and print a summary.

    Args:
        name: the number of a notebook, or an answer key.
        folder: of the submissions, in any subfolders.
        out: a new folder, or that of an earlier run to go on with.
        jobs: how many submissions this machine runs at a time, 1 if left out; not on a cluster.
        unsandboxed: run them without protection.
        cluster: the address of a Dask scheduler, each of whose workers runs one submission at a time.

    Returns:
        Exit code: 0, or 1 when the grader failed on some. An ElfwError says why nothing was run at all.
    """
    try:
        key = read_key(find_key(name))
    except OSError as error:
        raise explain_error(error) from error
    listing = list_submissions(folder)
    if jobs is not None and cluster:
        cure = "Start as many workers as shall run at a time"
        raise ElfwError(f"--jobs is for this machine: of a cluster, each worker runs one submission. {cure}.")
    if jobs is not None and jobs < 1:
        raise ElfwError(f"--jobs {jobs}: at least one submission has to be run at a time.")
    hidden = tuple(path.resolve() for path in (key.path, folder, out))
    client = None if cluster else os.getpid()
    work = Work(key.questions, Released(key.released), secrets.token_hex(8), hidden, unsandboxed, client)
    if cluster:
        jobs = count_workers(cluster)
    else:
        prepare_sandbox(unsandboxed, hidden)
    make_folder(out)
    batch = Batch(key, listing, out, work, jobs or 1, cluster)
    try:
        rows = batch.run()
    except BaseException:
        if not cluster:  # processes of this machine were killed, and left their containers
            prepare_sandbox(unsandboxed, hidden).remove_left_over()
        raise
    sandboxes = f"Sandbox: {', '.join(sorted(batch.sandboxes))}. " if batch.sandboxes else ""
    print(f"{sandboxes}{describe_rows(rows, batch.taken_over)}")
    if listing.others:
        what = "1 file whose name does" if listing.others == 1 else f"{listing.others} files whose names do"
        print(f"Not looked at: {what} not end in .ipynb.")
    if listing.links:
        print(f"Not looked into: {listing.links} {'link' if listing.links == 1 else 'links'} to folders.")
    faults = [row for row in rows if row[1].startswith(FAULT)]
    for row in faults[:3]:
        print(f"{row[0]}: {row[1]}")
    for path, error in batch.unwritten.items():
        problem = explain_error(error, path)
        print(f"{path}: cannot be written ({problem.found}). {problem.fix}, then run the same command again.")
    if out / "grades.csv" not in batch.unwritten:
        print(f"See {out / 'grades.csv'} and {out / 'feedback'}.")
    return int(bool(faults or batch.unwritten))


def count_workers(cluster: str) -> int:
    """Return how many workers a cluster has; raise ElfwError if no scheduler answers at its address."""
    require_cluster()
    from elfw_helpers.utils.cluster import connect

    with connect(cluster) as client:
        return len(client.nthreads())


def describe_rows(rows: Sequence[Sequence[str]], taken_over: int) -> str:
    """Say how many submissions there were, by status."""
    counts = Counter(row[1].partition(":")[0] for row in rows)
    noun = "submission" if len(rows) == 1 else "submissions"
    before = f" {taken_over} of them were graded before." if taken_over else ""
    return (
        f"{len(rows)} {noun}: {', '.join(f'{n} {status}' for status, n in sorted(counts.items()))}.{before}"
    )


def digest_grader() -> str:
    """Return a digest of the code that grades and of Python's version: stored grades of others are old."""
    digest, folder = hashlib.sha256(sys.version.encode()), Path(__file__).parent
    # What runs inside the sandbox too, and the marks by which exercises are found.
    for path in (*sorted(folder.rglob("*.py")), folder.parent / "student.py"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass
class Listing:
    """What is below a folder of submissions; links to folders are not followed."""

    folder: Path
    submissions: list[Path] = field(default_factory=list)  # all that is called *.ipynb, then the unreadable
    unreadable: dict[Path, OSError] = field(default_factory=dict)  # folders, with the reason
    others: int = 0  # files of other names, hidden ones aside
    links: int = 0  # to folders


def list_submissions(folder: Path) -> Listing:
    """Return what is below a folder of submissions, in order.

    Left out are copies that programs make unasked: Jupyter's checkpoints, and the `._` files of macOS.

    Raises:
        DataError: it is no folder, cannot be read or holds no submission.
    """
    if not folder.is_dir():
        found = "is a file" if folder.is_file() else "no such folder"
        raise DataError(folder, found, "Name the folder that holds the submissions")
    listing = Listing(folder)

    def note(error: OSError) -> None:
        listing.unreadable[Path(os.fsdecode(error.filename))] = error

    for place, folders, files in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if name not in (".ipynb_checkpoints", "__MACOSX"))
        names = sorted(name for name in folders + files if _is_notebook(name) and not name.startswith("._"))
        listing.submissions += [Path(place, name) for name in names]
        listing.others += sum(not (_is_notebook(name) or name.startswith(".")) for name in files)
        listing.links += sum(Path(place, name).is_symlink() for name in folders)
    if folder in listing.unreadable:
        raise explain_error(listing.unreadable[folder], folder)
    listing.submissions += sorted(path for path in listing.unreadable if not _is_notebook(path.name))
    if not listing.submissions:
        raise DataError(folder, "holds no .ipynb", "Name the folder that holds the submissions")
    return listing


def _is_notebook(name: str) -> bool:
    """Say whether a file's name is that of a notebook."""
    return name.lower().endswith(".ipynb")


def make_folder(out: Path) -> None:
    """Make the folder that everything is written into, or take that of an earlier run; no other."""
    try:
        if out.is_dir() and any(out.iterdir()) and not (out / "log.jsonl").is_file():
            raise DataError(out, "holds something else", "Name a new folder, or that of an earlier run")
    except OSError as error:
        raise explain_error(error, out) from error
    require_writable(out)
    (out / "log.jsonl").touch()  # by which the folder is known as that of an earlier run


def append_whole(path: Path, content: bytes) -> None:
    """Append content to a file as a whole; if that fails, append nothing and raise OSError."""
    with path.open("ab", buffering=0) as stream:
        before = stream.tell()
        if stream.write(content) < len(content):  # what still found room on a full disk
            stream.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


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
