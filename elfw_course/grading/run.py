"""Runs a submission, statement by statement: again and again, until none of its code ends the run."""

from __future__ import annotations

import builtins
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from elfw_course.grading.exercises import Names, Plan, Released, Step, list_own_cells, plan_submission
from elfw_course.grading.questions import Answer, AskedExercise, Questions
from elfw_course.grading.sandbox import Sandbox
from elfw_course.grading.session import TOO_LONG, RunEnded, Session
from elfw_course.grading.submission import Cell, Submission

SETUP_SECONDS = 120
NAMES_SECONDS = 10  # to read the names of all cells
MOST_SHOWN = 3  # names that are missing
NOTEBOOK_NAMES = ("In", "Out", "_", "display", "get_ipython")  # which `runner.pretend_notebook` makes
TRIES = 2  # a submission may take twice the seconds that its key has for all of it
DEFINITIONS, TRIALS = "definitions", "trials"
MOST_RUNS_ENDED = 3  # before cells of the student's own are run for their definitions only
# The errors whose names students may read: those of honest code. Every further name could tell more of the
# hidden inputs.
COMMON_ERRORS = (
    *(NameError, TypeError, ValueError, AttributeError, IndexError, KeyError, ZeroDivisionError),
    *(RuntimeError, NotImplementedError, SyntaxError, ImportError),
)
ANOTHER_ERROR = "another error"
TRIAL_SHARE = 0.5  # of the time that is left, for a statement that others can do without


class GraderFault(Exception):
    """The grader itself failed, before any code of a student ran: no fault of the submission."""


@dataclass
class Findings:
    """What the runs of a submission brought."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)  # by exercise, one for each question
    raised: dict[str, str] = field(default_factory=dict)  # by exercise: the error of its cell
    ended: dict[Step, str] = field(default_factory=dict)  # by step: why it ended a run
    peak: int = 0  # bytes
    skipped: bool = False  # added cells were left out, because those before took too long
    waited: bool = False  # something waited for its turn up to the limit, and is not to blame
    exhausted: bool = False  # a run was left out: those before took all the time of a submission
    uncompiled: bool = False  # a cell was not Python of this version
    missing: set[str] = field(default_factory=set)  # names that an added cell lacks, which raised an error


@dataclass
class Omitted:
    """What ended a run before, and is not run again."""

    statements: dict[Step, set[int]] = field(default_factory=lambda: defaultdict(set))  # places in the cell
    steps: set[Step] = field(default_factory=set)
    exercises: set[str] = field(default_factory=set)  # those that are not asked about
    runs_ended_by_own: int = 0  # how many runs were ended by cells that the student added
    own_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by pool: these took

    def add(self, step: Step, place: int, kinds: Sequence[str]) -> None:
        """Leave out a statement and the trials below it; the second time, all below it but definitions.

        A second one that is a definition takes the whole cell with it.
        """
        again = step in self.statements
        if place < 0 or (again and kinds[place] == "definition"):
            self.steps.add(step)
        dropped = ("trial", "assignment") if again else ("trial",)
        below = [later for later, kind in enumerate(kinds) if later > place and kind in dropped]
        self.statements[step].update([place, *below])

    def copy_for_one(self, step: Step, others: set[str]) -> Omitted:
        """Return what is left out of all cells but one, whose exercises are asked about, and no others."""
        statements = {one: set(places) for one, places in self.statements.items() if one is not step}
        steps, seconds = self.steps - {step}, self.own_seconds.copy()
        return Omitted(defaultdict(set, statements), steps, others, self.runs_ended_by_own, seconds)


@dataclass(eq=False)
class SubmissionRun:
    """The runs of one submission."""

    submission: Submission
    questions: Questions
    released: Released
    sandbox: Sandbox
    is_stopped: Callable[[], bool]  # whether the batch is being interrupted
    plan: Plan = Plan((), {}, ())  # what is run, once it has been read
    findings: Findings = field(default_factory=Findings)  # what that has brought
    _job: int = 0  # its number among those at the same time
    _lecture: str = ""  # code of the lecture that the submission needs
    _missing: dict[Step, list[str]] = field(default_factory=dict)
    _omitted: Omitted = field(default_factory=Omitted)

    def __post_init__(self) -> None:
        self.exercises = {exercise.name: exercise for exercise in self.questions.exercises}
        self._left = TRIES * self.questions.seconds

    def run(self, job: int) -> Findings:
        """Run everything; when some code ends the run, start again without that code.

        `job` is its number among those at the same time.
        """
        self._job = job
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
                is_whole = self._attempt(session, self._omitted, self.findings)
        if not cells:
            self._make_plan(names)
        return self.findings

    @property
    def needs_second_try(self) -> bool:
        """Whether something should be tried once more, while no other submission runs, before it counts.

        What took too long may have been slowed down by others. Of several exercises that ended a run,
        one may have left something behind that ended the rest.
        """
        lost = self._list_lost()
        reasons = [self.findings.ended[step] for step in lost]
        return self.findings.waited or len(lost) > 1 or TOO_LONG in reasons

    def run_alone(self, job: int) -> None:
        """Try once more what others may have spoiled: all that waited, and each lost exercise on its own."""
        self._job = job
        if self.findings.waited:
            self.findings = Findings(peak=self.findings.peak)
            self.run(job)
        for step in self._list_lost():
            if self._left <= 0:
                break
            alone, others = Findings(), set(self.exercises).difference(step.exercises)
            omitted = self._omitted.copy_for_one(step, others)
            # Leave out cells that ended a run themselves: they may leave processes behind.
            omitted.steps |= {one for one in self.findings.ended if one.exercises and one is not step}
            with self._open() as session:
                if self._attempt(session, omitted, alone):
                    del self.findings.ended[step]
                    self.findings.answers |= alone.answers

    def _list_lost(self) -> list[Step]:
        """Return the cells that ended a run before an exercise of theirs was there to be asked about."""
        answers, ended = self.findings.answers, self.findings.ended
        return [
            step
            for step, reason in ended.items()
            if any(
                name not in answers or any(answer.problem == reason for answer in answers[name])
                for name in step.exercises
            )
        ]

    @contextmanager
    def _open(self) -> Iterator[Session]:
        """Start a session, and note what it held."""
        with Session(self.sandbox, self._job, self.questions.memory, self.is_stopped) as session:
            try:
                self._ask_for_start(session, "names", [b"", b""])
                yield session
            finally:
                self.findings.peak = max(self.findings.peak, session.peak)

    def _ask_for_start(self, session: Session, verb: str, parts: Sequence[bytes]) -> tuple[str, Any]:
        """Ask for what runs no code of a student; raise GraderFault when there is no answer."""
        try:
            return session.ask(verb, parts, SETUP_SECONDS)
        except RunEnded as error:
            said = session.printed.decode("utf-8", "replace").strip()[-500:]
            raise GraderFault(f"the sandbox did not start: it {error}. {said}") from None

    def _read_names(self, session: Session, cells: Sequence[Cell], names: dict[int, Names]) -> bool:
        """Ask for the names of all cells; False when one is too much for the parser, and ends the run."""
        wanted = " ".join(self.released.names)
        last, before = session.used + NAMES_SECONDS, session.spent
        try:
            for cell in cells:
                parts = [cell.source.encode(), wanted.encode()]
                _, content = session.ask("names", parts, last - session.used)
                names[id(cell)] = Names.from_answer(content)
        except RunEnded:
            return False
        finally:
            self._left -= session.spent - before
        return True

    def _make_plan(self, names: dict[int, Names]) -> None:
        """Make the plan, and find the names that the student's code reads and no code defines."""
        self.plan = plan_submission(self.submission.cells, self.released, [*self.exercises], names)
        steps = {step: names[id(step.cell)] for step in self.plan.steps}
        self._lecture = self.released.code_for(
            name for one in steps.values() for name in one.read | one.mentioned
        )
        known = {*dir(builtins), *NOTEBOOK_NAMES}.union(*(one.made for one in steps.values()))
        for code in (self._lecture, self.questions.setup):
            # Names of attributes are among them; they do no harm here.
            known.update(compile(code, "<setup>", "exec").co_names)
        self._missing = {step: sorted(one.read - known)[:MOST_SHOWN] for step, one in steps.items()}

    def _attempt(self, session: Session, omitted: Omitted, findings: Findings) -> bool:
        """Run the key's own code and then all steps; say whether nothing ended the run."""
        parts = [self.questions.setup.encode(), self._lecture.encode(), b"colab" * self.submission.colab]
        kind, content = self._ask_for_start(session, "setup", parts)
        if kind != "done":
            raise GraderFault(f"the key's setup failed: {content or kind}")
        own_seconds, before = self.questions.own_seconds, session.spent
        session.last = session.used + self._left
        try:
            attempt = Attempt(session, self.exercises, own_seconds, self._missing, omitted, findings)
            return attempt.run(self.plan.steps)
        finally:
            self._left -= session.spent - before


@dataclass
class Attempt:
    """One run of a submission's cells, in a session after its setup."""

    session: Session
    exercises: Mapping[str, AskedExercise]  # what to ask, by name
    own_seconds: float  # for all cells together that the student added
    missing: Mapping[Step, Sequence[str]]  # by step: the names that its cell reads and no code defines
    omitted: Omitted  # what is left out; what ends this run is added
    findings: Findings  # what this run brings is added
    step_of: dict[str, Step] = field(default_factory=dict)  # by exercise: its cell
    raised: dict[str, list[int]] = field(default_factory=dict)  # by exercise: questions that raised an error
    last: tuple[Any, Answer] = (None, Answer())  # what was asked last and gave a value, and the value

    def __post_init__(self) -> None:
        # Seconds: of each exercise's cell, for itself and its questions; of all other cells, in two pools, or
        # their definitions would be lost by what else they do.
        spent = self.omitted.own_seconds
        self.left: dict[Step | str, float] = {
            pool: self.own_seconds - spent[pool] for pool in (DEFINITIONS, TRIALS)
        }

    def run(self, steps: Sequence[Step]) -> bool:
        """Run cells and ask about exercises; say whether nothing ended the run.

        What raised an error is asked once more at the end, when all cells of the student have run: it may
        need an import or a function below.
        """
        for step in steps:
            if step.exercises:
                self.left[step] = sum(self.exercises[name].seconds for name in step.exercises)
                self.step_of |= dict.fromkeys(step.exercises, step)
        try:
            for step in steps:
                self._run_cell(step)
                for name in step.asked:
                    self._ask_about(name)
        except RunEnded as error:
            self.findings.waited |= error.waited
            return False
        with suppress(RunEnded):
            for name in sorted(set(self.raised).difference(steps[-1].asked if steps else ())):
                self._ask_again(name)
        return True

    def _run_cell(self, step: Step) -> None:
        """Run a cell, without what has ended a run before."""
        has_ended_too_many = not step.exercises and self.omitted.runs_ended_by_own > 2 * MOST_RUNS_ENDED
        if step in self.omitted.steps or has_ended_too_many:
            return
        place, kinds, pool = -1, [], step if step.exercises else DEFINITIONS
        before = self.left.copy()
        try:
            kind, content = self._ask(pool, "open", step.cell.source, step.check)
            self.findings.uncompiled |= kind == "raised"
            self._note_error(step, kind, content)
            # Never more than a cell has characters: the answer may be forged.
            kinds = content[: len(step.cell.source)] if kind == "done" and isinstance(content, list) else []
            for place, kind in enumerate(kinds):
                if not step.exercises:
                    pool = TRIALS if kind == "trial" else DEFINITIONS
                if place not in self.omitted.statements.get(step, ()) and self._has_time_for(pool):
                    share = 1 if step.exercises and kind == "definition" else TRIAL_SHARE
                    self._note_error(step, *self._ask(pool, "statement", str(place), share=share))
        except RunEnded as error:
            self.findings.ended[step] = str(error)
            self.omitted.add(step, place, kinds)
            if not step.exercises:
                self.omitted.runs_ended_by_own += 1
                self.omitted.own_seconds[pool] += before[pool] - self.left[pool]
            raise

    def _has_time_for(self, pool: Step | str) -> bool:
        """Say whether a statement may be run: no trial of cells that took too long."""
        if pool != TRIALS or (self.left[TRIALS] > 0 and self.omitted.runs_ended_by_own <= MOST_RUNS_ENDED):
            return True
        self.findings.skipped = True
        return False

    def _ask(self, pool: Step | str, verb: str, *parts: str | bytes, share: float = 1) -> tuple[str, Any]:
        """Send a request, on a share of the time that is left in a pool."""
        start = self.session.spent
        sent = [part.encode() if isinstance(part, str) else part for part in parts]
        try:
            kind, content = self.session.ask(verb, sent, share * self.left[pool])
        finally:
            self.left[pool] -= self.session.spent - start
        if kind == "memory":
            raise RunEnded("ran out of memory")
        return kind, content

    def _note_error(self, step: Step, kind: str, content: Any) -> None:
        """Note the first error of an exercise's cell, and what is missing where another cell raised one."""
        if kind != "raised":
            return
        error = self._describe_error(content, step)
        for name in step.exercises:
            self.findings.raised.setdefault(name, error)
        if not step.exercises:
            self.findings.missing.update(self.missing.get(step, ()))

    def _describe_error(self, content: Any, step: Step) -> str:
        """Return the name of an error; of a NameError, with names that its cell reads and no code defines.

        These were found in the code before it ran: what an error says may tell of hidden inputs.
        """
        error = error_name_to_tell(content, any_of_python=not self.session.probed)
        names = self.missing.get(step, ())
        return f"{error} (not defined here: {', '.join(names)})" if error == "NameError" and names else error

    def _ask_about(self, name: str) -> None:
        """Ask an exercise's questions, and note each answer."""
        if name in self.omitted.exercises:
            return
        exercise, self.raised[name] = self.exercises[name], []
        try:
            answers = [self._ask_probe(exercise, place) for place in range(len(exercise.questions))]
        except RunEnded as error:
            self.omitted.exercises.add(name)
            self.findings.answers.pop(name, None)
            self.findings.ended[self.step_of[name]] = str(error)
            # The second time, the cause may be what the cell left behind, such as processes.
            if self.step_of[name] in self.omitted.statements:
                self.omitted.steps.add(self.step_of[name])
            raise
        self.findings.answers[name] = answers

    def _ask_again(self, name: str) -> None:
        """Ask what raised an error once more."""
        for place in tuple(self.raised[name]):
            answer = self._ask_probe(self.exercises[name], place)
            self.findings.answers[name][place] = replace(answer, is_late=True)

    def _ask_probe(self, exercise: AskedExercise, place: int) -> Answer:
        """Return the answer to one question.

        One that asks more of the same answer as the one before, such as a higher accuracy, is not sent again.
        """
        question, home = exercise.questions[place], self.step_of[exercise.name]
        parts = (exercise.name, question.given, question.call, exercise.inputs)
        if self.last[0] == parts:
            return self.last[1]
        kind, content = self._ask(home, "probe", *parts)
        if kind == "value":
            self.last = parts, Answer.from_content(content)
            return self.last[1]
        self.raised[exercise.name].append(place)
        if kind != "undefined":
            return Answer(problem=f"raised {self._describe_error(content, home)}")
        if home in self.findings.ended:
            return Answer(problem=self.findings.ended[home])
        error = self.findings.raised.get(exercise.name)
        problem = f"your cell raised {error}" if error else f"your cell does not define {exercise.name}"
        return Answer(problem=problem)


def error_name_to_tell(content: Any, any_of_python: bool) -> str:
    """Return the name of an error, if it may be told.

    Args:
        content: as the runner names it; it may be forged.
        any_of_python: nothing was asked yet, so that no code can know a hidden input, and tell of it.
    """
    error = getattr(builtins, content, None) if isinstance(content, str) else None
    if not (isinstance(error, type) and issubclass(error, BaseException)):
        return ANOTHER_ERROR
    if any_of_python:
        return content
    return next((kind.__name__ for kind in error.__mro__ if kind in COMMON_ERRORS), ANOTHER_ERROR)
