"""One submission, run as often as it takes until no cell of it ends the run."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Collection, Sequence
from typing import Any

from elfw_helpers.grading.compare import judge
from elfw_helpers.grading.key import Exercise, Key
from elfw_helpers.grading.locate import Plan, Step
from elfw_helpers.grading.released import Released
from elfw_helpers.grading.sandbox import Sandbox
from elfw_helpers.grading.session import TOO_LONG, Died, Session
from elfw_helpers.grading.verdicts import Findings

SETUP_SECONDS = 120
MOST_OWN_DEATHS = 3
TRIES = 2  # a submission may use twice the seconds that its key allows for all of it
# What a student reads of an error in an answer. Each name more would tell more of hidden inputs; these are
# what honest code meets.
COMMON_ERRORS = (
    *(NameError, TypeError, ValueError, AttributeError, IndexError, KeyError, ZeroDivisionError),
    *(RuntimeError, NotImplementedError, SyntaxError, ImportError),
)
ANOTHER_ERROR = "another error"


class GraderFault(Exception):
    """Something of the grader's own failed, before any code of a student ran; no fault of the submission."""


class SubmissionRun:
    """The runs of one submission.

    Args:
        plan: what to run.
        key: what to ask.
        released: what students were given.
        sandbox: where.
        job: number of the job among those at the same time.
        stop: set when the batch is being interrupted.
    """

    def __init__(
        self, plan: Plan, key: Key, released: Released, sandbox: Sandbox, job: int, stop: threading.Event
    ):
        self.plan, self.key, self.sandbox, self.job, self.stop = plan, key, sandbox, job, stop
        self.exercises = {exercise.name: exercise for exercise in key.exercises}
        code = released.code_for(step.cell.source for step in plan.steps)
        self.setup = f"{code}\n{key.setup}".encode()
        self.findings = Findings()
        self.seconds_left = TRIES * key.seconds
        self.starved = False

    def run(self) -> Findings:
        """Run everything; after a cell that ended the run, everything anew without that cell.

        Raises:
            GraderFault: the sandbox did not start, or the key's own code failed.
            Stopped: the batch is being interrupted.
        """
        deaths, left_out = self.findings.deaths, set()
        while (died := self._run_once(self.plan.steps, left_out)) is not None:
            left_out.add(died)
            if sum(not step.exercises for step in deaths) >= MOST_OWN_DEATHS:
                left_out |= {step for step in self.plan.steps if not step.exercises}
        return self.findings

    @property
    def is_doubtful(self) -> bool:
        """Whether something is to be tried once more, alone, before its end counts.

        What took too long may have suffered from other submissions; of several exercises that ended their
        runs, one may have left something behind that ended the others.
        """
        fallen = [reason for step, reason in self.findings.deaths.items() if step.exercises]
        return self.starved or len(fallen) > 1 or TOO_LONG in fallen

    def run_alone(self, job: int) -> None:
        """Try once more what is doubtful: each exercise that ended a run on its own, or all when starved.

        Args:
            job: number of the job; no other runs.
        """
        self.job = job
        if self.starved:
            self.findings, self.starved = Findings(peak=self.findings.peak), False
            self.run()
        for step in [step for step in self.findings.deaths if step.exercises]:
            self._run_once([step], ())

    def _run_once(self, steps: Sequence[Step], left_out: Collection[Step]) -> Step | None:
        """Run steps in a fresh sandbox; return the one that ended the run, or None."""
        if not any(step.exercises and step not in left_out for step in steps):
            return None
        if self.seconds_left <= 0:
            self.findings.exhausted = True
            return None
        with Session(self.sandbox, self.job, self.key.memory, self.stop) as session:
            self._set_up(session)
            own_seconds = self.key.own_seconds
            for step in steps:
                if step in left_out:
                    continue
                if not step.exercises and own_seconds <= 0:
                    self.findings.hurried = True
                    continue
                start = session.spent
                try:
                    self._run_step(session, step)
                    self.findings.deaths.pop(step, None)
                except Died as error:
                    self._bury(step, str(error))
                    self.starved = self.starved or error.starved
                    return step
                finally:
                    self.findings.peak = max(self.findings.peak, session.peak)
                    self.seconds_left -= session.spent - start
                if not step.exercises:
                    own_seconds -= session.spent - start
        return None

    def _set_up(self, session: Session) -> None:
        """Start, and run the key's own code."""
        try:
            kind, content = session.ask("setup", [self.setup], SETUP_SECONDS)
        except Died as error:
            said = session.printed.decode("utf-8", "replace").strip()[-500:]
            raise GraderFault(f"the sandbox did not start: it {error}. {said}") from None
        if kind != "done":
            raise GraderFault(f"the key's setup failed: {content or kind}")

    def _run_step(self, session: Session, step: Step) -> None:
        """Run a cell, and ask about the exercises in it."""
        seconds = [self.exercises[name].seconds for name in step.exercises]
        last = session.used + sum(seconds or [self.key.own_seconds / 2])
        may_name_all = not session.probed
        kind, content = session.ask("cell", [step.cell.source.encode()], last - session.used)
        if kind == "memory":
            raise Died("ran out of memory")
        for name in step.exercises:
            undefined = f"its cell does not define {name}"
            if kind == "raised":
                self.findings.raised[name] = _name_error(content, may_name_all)
                undefined = f"its cell raised {self.findings.raised[name]}"
            exercise = self.exercises[name]
            self.findings.answers[name] = self._ask_probes(session, exercise, last, undefined)

    def _ask_probes(self, session: Session, exercise: Exercise, last: float, undefined: str) -> list[str]:
        """Return what is wrong with the answer to each probe: `undefined` where its name is not there."""
        problems = []
        for probe in exercise.probes:
            texts = (exercise.name, probe.given, probe.call)
            parts = [*(text.encode() for text in texts), exercise.inputs]
            kind, content = session.ask("probe", parts, last - session.used)
            if kind == "memory":
                raise Died("ran out of memory")
            if kind == "value":
                problems.append(judge(probe, content))
            else:
                problems.append(undefined if kind == "undefined" else f"raised {_name_error(content)}")
        return problems

    def _bury(self, step: Step, reason: str) -> None:
        """Note that a step ended its run, and that its exercises have no answers."""
        self.findings.deaths[step] = reason
        for name in step.exercises:
            self.findings.answers.pop(name, None)
            self.findings.raised.pop(name, None)


def _name_error(content: Any, any_of_python: bool = False) -> str:
    """Return the name of an error, if it may be told.

    Args:
        content: as the runner, or who forges its answer, names it.
        any_of_python: it was raised by code that cannot know a hidden input, so that its name tells none.
    """
    error = getattr(builtins, content, None) if isinstance(content, str) else None
    if not (isinstance(error, type) and issubclass(error, BaseException)):
        return ANOTHER_ERROR
    if any_of_python:
        return content
    return next((kind.__name__ for kind in error.__mro__ if kind in COMMON_ERRORS), ANOTHER_ERROR)
