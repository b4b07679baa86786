"""Runs submissions where the sandbox is: in a process of this machine, or on a worker of a cluster.

What is sent here holds what is asked, and never what is expected. What is sent back are the values that
submissions answered with, to be judged by whoever holds the key.
"""

from __future__ import annotations

import functools
import os
import time
from dataclasses import dataclass
from pathlib import Path

from elfw_course.grading.exercises import Plan, Released
from elfw_course.grading.questions import Questions
from elfw_course.grading.run import Findings, GraderFault, SubmissionRun
from elfw_course.grading.sandbox import Sandbox, choose_sandbox, refuse_exposed
from elfw_course.grading.submission import Submission
from elfw_course.grading.turns import Stopped, take_turn
from elfw_helpers.utils.paths import project_folder


@dataclass(frozen=True)
class Work:
    """What all submissions of a batch share."""

    questions: Questions
    released: Released
    batch: str  # a name that no other batch has
    hidden: tuple[Path, ...]  # what no sandbox may show, here or on another machine
    unsandboxed: bool
    client: int | None  # the process of this machine that waits for the answers; None: on a cluster

    def is_over(self) -> bool:
        """Say whether nobody waits any more for the submission that runs here.

        Of this machine, the process that waits is this one or its parent, unless it is gone. A worker of a
        cluster knows which of its tasks the client has taken back, or left behind.
        """
        if self.client:
            return self.client not in (os.getpid(), os.getppid())
        from distributed import get_worker

        worker = get_worker()
        task = worker.state.tasks.get(worker.get_current_task())
        return not task or task.state == "cancelled"


@dataclass(frozen=True)
class Ran:
    """What the runs of a submission brought."""

    plan: Plan
    findings: Findings
    places: dict[str, int]  # by exercise: which of the submission's cells it is
    seconds: float  # that it took, without those of waiting for others
    sandbox: str  # its name


def run_submission(work: Work, submission: Submission | None) -> Ran | str:
    """Run a submission; return what that brought, or why the grader failed, "" where there is nothing to run.

    Raises:
        ElfwError: there is no sandbox here, or it would show what is to be hidden. Nothing was run.
        Stopped: nobody waits for it any more.
    """
    if submission is None:
        return ""
    sandbox = prepare_sandbox(work.unsandboxed, work.hidden)
    try:
        return _run_in_turn(work, submission, sandbox)
    except Stopped:
        raise
    except GraderFault as error:
        return str(error)
    except Exception as error:  # one submission must not end the batch, whatever is wrong in here
        return f"{type(error).__name__}: {error}"


@functools.lru_cache(1)
def prepare_sandbox(unsandboxed: bool, hidden: tuple[Path, ...]) -> Sandbox:
    """Return the sandbox of this machine; raise ElfwError if there is none, or it shows what is hidden."""
    sandbox = choose_sandbox(unsandboxed)
    # Where this is another machine than that of the key, its checkout may hold keys too.
    for place in (*hidden, *(project_folder() / "grading").glob("[0-9][0-9].*")):
        refuse_exposed(sandbox, place)
    sandbox.remove_left_over()
    return sandbox


def _run_in_turn(work: Work, submission: Submission, sandbox: Sandbox) -> Ran:
    """Run a submission; what others may have slowed down is run once more, alone on this machine."""
    run = SubmissionRun(submission, work.questions, work.released, sandbox, work.is_over)
    seconds = 0.0
    for alone, go in ((False, run.run), (True, run.run_alone)):
        if alone and not run.needs_second_try:
            break
        with take_turn(work.batch, alone, work.is_over) as number:
            start = time.monotonic()
            go(number)
            seconds += time.monotonic() - start
    cells = {id(cell): place for place, cell in enumerate(submission.cells)}
    places = {name: cells[id(cell)] for name, cell in run.plan.cells.items()}
    return Ran(run.plan, run.findings, places, seconds, sandbox.name)
