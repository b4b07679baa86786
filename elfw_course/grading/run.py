"""One submission, run as often as it takes until no code of it ends the run."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from elfw_course.grading.attempt import Attempt, Omitted
from elfw_course.grading.exercises import Names, Plan, Step, list_own_cells, plan_submission
from elfw_course.grading.key import Key
from elfw_course.grading.exercises import Released
from elfw_course.grading.sandbox import Sandbox
from elfw_course.grading.session import TOO_LONG, Died, Session
from elfw_course.grading.submission import Cell, Submission
from elfw_course.grading.verdicts import Findings

SETUP_SECONDS = 120
NAMES_SECONDS = 10  # to read the names of all cells
MOST_SHOWN = 3  # names that are missing
NOTEBOOK_NAMES = ("In", "Out", "_", "display", "get_ipython")  # which `runner.pretend_notebook` makes
TRIES = 2  # a submission may take twice the seconds that its key has for all of it


class GraderFault(Exception):
    """Something of the grader's own failed, before any code of a student ran; no fault of the submission."""


class SubmissionRun:
    """The runs of one submission.

    Args:
        submission: what was handed in.
        key: what to ask.
        released: what students were given.
        sandbox: where.
        job: number of the job among those at the same time.
        stop: set when the batch is being interrupted.

    Attributes:
        plan: what is run of it, once it has been read.
        findings: what that has brought.
    """

    def __init__(
        self,
        submission: Submission,
        key: Key,
        released: Released,
        sandbox: Sandbox,
        job: int,
        stop: threading.Event,
    ):
        self.submission, self.key, self.released = submission, key, released
        self.sandbox, self.job, self.stop = sandbox, job, stop
        self.exercises = {exercise.name: exercise for exercise in key.exercises}
        self.plan, self.findings = Plan((), {}, ()), Findings()
        self._lecture = ""  # code of the lecture that the submission needs
        self._missing: dict[Step, list[str]] = {}
        self._omitted, self._left = Omitted(), TRIES * key.seconds

    def run(self) -> Findings:
        """Run everything; after code that ended the run, everything anew without that code.

        Raises:
            GraderFault: the sandbox did not start, or the key's own code failed.
            Stopped: the batch is being interrupted.
        """
        cells = list_own_cells(self.submission.cells, self.released)
        names = {id(cell): Names() for cell in cells}
        is_read, is_whole, self._omitted = False, not cells, Omitted()
        while not is_whole:
            if self._left <= 0:
                self.findings.exhausted = True
                break
            with self._open() as session:
                if not is_read:
                    is_read = True
                    survived = self._read_names(session, cells, names)
                    self._make_plan(names)
                    if not survived:
                        continue
                is_whole = self._attempt(session, self.plan.steps, self._omitted, self.findings)
        if not cells:
            self._make_plan(names)
        return self.findings

    @property
    def is_doubtful(self) -> bool:
        """Whether something should be tried once more, while no other submission runs, before it counts.

        What took too long may have suffered from others. Of several exercises that fell, one may have left
        something behind that ended the rest.
        """
        fallen = self._list_fallen()
        reasons = [self.findings.deaths[step] for step in fallen]
        return self.findings.starved or len(fallen) > 1 or TOO_LONG in reasons

    def run_alone(self, job: int) -> None:
        """Try once more what is doubtful: all when starved, and each exercise that fell without the others.

        Args:
            job: number of the job; no other runs.
        """
        self.job = job
        if self.findings.starved:
            self.findings = Findings(peak=self.findings.peak)
            self.run()
        for step in self._list_fallen():
            if self._left <= 0:
                break
            alone, others = Findings(), set(self.exercises).difference(step.exercises)
            omitted = self._omitted.but_for(step, others)
            # Not what ended a run itself, such as processes that it left behind.
            omitted.steps |= {one for one in self.findings.deaths if one.exercises and one is not step}
            with self._open() as session:
                if self._attempt(session, self.plan.steps, omitted, alone):
                    del self.findings.deaths[step]
                    self.findings.answers |= alone.answers

    def _list_fallen(self) -> list[Step]:
        """Return the cells that ended a run before an exercise of theirs was there to be asked about."""
        answers, deaths = self.findings.answers, self.findings.deaths
        return [
            step
            for step, reason in deaths.items()
            if any(reason in answers.get(name, (reason,)) for name in step.exercises)
        ]

    @contextmanager
    def _open(self) -> Iterator[Session]:
        """Start a session, and note what it held."""
        with Session(self.sandbox, self.job, self.key.memory, self.stop) as session:
            try:
                self._ask_for_start(session, "names", [b"", b""])
                yield session
            finally:
                self.findings.peak = max(self.findings.peak, session.peak)

    def _ask_for_start(self, session: Session, verb: str, parts: Sequence[bytes]) -> tuple[str, Any]:
        """Ask for what runs no code of a student.

        Raises:
            GraderFault: there is no answer.
        """
        try:
            return session.ask(verb, parts, SETUP_SECONDS)
        except Died as error:
            said = session.printed.decode("utf-8", "replace").strip()[-500:]
            raise GraderFault(f"the sandbox did not start: it {error}. {said}") from None

    def _read_names(self, session: Session, cells: Sequence[Cell], names: dict[int, Names]) -> bool:
        """Ask for the names of all cells; False when one is more than the parser bears, and ends the run."""
        wanted = " ".join(self.released.names)
        last, before = session.used + NAMES_SECONDS, session.spent
        try:
            for cell in cells:
                parts = [cell.source.encode(), wanted.encode()]
                _, content = session.ask("names", parts, last - session.used)
                names[id(cell)] = Names.from_answer(content)
        except Died:
            return False
        finally:
            self._left -= session.spent - before
        return True

    def _make_plan(self, names: dict[int, Names]) -> None:
        """Make the plan, and find out what the student's code reads and nobody makes."""
        self.plan = plan_submission(self.submission.cells, self.released, [*self.exercises], names)
        steps = {step: names[id(step.cell)] for step in self.plan.steps}
        self._lecture = self.released.code_for(
            name for one in steps.values() for name in one.read | one.mentioned
        )
        known = {*dir(builtins), *NOTEBOOK_NAMES}.union(*(one.made for one in steps.values()))
        for code in (self._lecture, self.key.setup):
            # Names of attributes are among them; to take one of these for known does no harm.
            known.update(compile(code, "<setup>", "exec").co_names)
        self._missing = {step: sorted(one.read - known)[:MOST_SHOWN] for step, one in steps.items()}

    def _attempt(self, session: Session, steps: Sequence[Step], omitted: Omitted, findings: Findings) -> bool:
        """Run the key's own code and then steps; say whether nothing ended the run."""
        parts = [self.key.setup.encode(), self._lecture.encode(), b"colab" * self.submission.colab]
        kind, content = self._ask_for_start(session, "setup", parts)
        if kind != "done":
            raise GraderFault(f"the key's setup failed: {content or kind}")
        own_seconds, before = self.key.own_seconds, session.spent
        session.last = session.used + self._left
        try:
            attempt = Attempt(session, self.exercises, own_seconds, self._missing, omitted, findings)
            return attempt.run(steps)
        finally:
            self._left -= session.spent - before
