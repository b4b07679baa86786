"""One run of a submission: its cells statement by statement, and the questions about its exercises."""

from __future__ import annotations

import builtins
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from elfw_course.grading.exercises import Step
from elfw_course.grading.judge import judge
from elfw_course.grading.key import Exercise
from elfw_course.grading.session import Died, Session
from elfw_course.grading.verdicts import Findings

DEFINITIONS, TRIALS = "definitions", "trials"
MOST_OWN_DEATHS = 3  # before cells of the student's own are run for their definitions only
# The errors that answers are told to have raised: what honest code meets. With each name more, more of hidden
# inputs could be read out of them.
COMMON_ERRORS = (
    *(NameError, TypeError, ValueError, AttributeError, IndexError, KeyError, ZeroDivisionError),
    *(RuntimeError, NotImplementedError, SyntaxError, ImportError),
)
ANOTHER_ERROR = "another error"
TRIAL = 0.5  # of the time that is left, for a statement that others can do without


@dataclass
class Omitted:
    """What ended a run before, and is not done again.

    Attributes:
        statements: by step, the places of statements in its cell.
        steps: whole ones.
        exercises: those that are not asked about.
        own_deaths: how many runs were ended by cells that the student added.
        own_seconds: what these took, of each pool of time for such cells.
    """

    statements: dict[Step, set[int]] = field(default_factory=lambda: defaultdict(set))
    steps: set[Step] = field(default_factory=set)
    exercises: set[str] = field(default_factory=set)
    own_deaths: int = 0
    own_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

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

    def but_for(self, step: Step, others: set[str]) -> Omitted:
        """Return what is left out of all cells but one, whose exercises are asked about, and no others."""
        statements = {one: set(places) for one, places in self.statements.items() if one is not step}
        steps, seconds = self.steps - {step}, self.own_seconds.copy()
        return Omitted(defaultdict(set, statements), steps, others, self.own_deaths, seconds)


class Attempt:
    """One run, in a session after its setup.

    Args:
        session: the session.
        exercises: what to ask, by name.
        own_seconds: for all cells together that the student added.
        missing: by step, the names that its cell reads and nobody makes.
        omitted: what is left out; what ends this run is added.
        findings: what this run brings is added.
    """

    def __init__(
        self,
        session: Session,
        exercises: Mapping[str, Exercise],
        own_seconds: float,
        missing: Mapping[Step, Sequence[str]],
        omitted: Omitted,
        findings: Findings,
    ):
        self.session, self.exercises, self.missing = session, exercises, missing
        self.omitted, self.findings = omitted, findings
        # Seconds: of each exercise's cell, for itself and its questions; of all other cells, in two pools, or
        # their definitions would be lost by what else they do.
        self.left: dict[Step | str, float] = {
            pool: own_seconds - omitted.own_seconds[pool] for pool in (DEFINITIONS, TRIALS)
        }
        self.homes: dict[str, Step] = {}
        self.raised: dict[str, list[int]] = {}  # by exercise, the places of questions that raised an error

    def run(self, steps: Sequence[Step]) -> bool:
        """Run cells and ask about exercises; say whether nothing ended the run.

        What raised an error is asked once more at the end, when all cells of the student have run: it may
        need an import or a function below.
        """
        for step in steps:
            if step.exercises:
                self.left[step] = sum(self.exercises[name].seconds for name in step.exercises)
                self.homes |= dict.fromkeys(step.exercises, step)
        try:
            for step in steps:
                self._run_cell(step)
                for name in step.asked:
                    self._ask_about(name)
        except Died as error:
            self.findings.starved |= error.starved
            return False
        with suppress(Died):
            for name in sorted(set(self.raised).difference(steps[-1].asked if steps else ())):
                self._ask_again(name)
        return True

    def _run_cell(self, step: Step) -> None:
        """Run a cell, but for what has ended a run before."""
        if step in self.omitted.steps or (
            not step.exercises and self.omitted.own_deaths > 2 * MOST_OWN_DEATHS
        ):
            return
        place, kinds, pool = -1, [], step if step.exercises else DEFINITIONS
        before = self.left.copy()
        try:
            kind, content = self._ask(pool, "open", step.cell.source, step.check)
            self.findings.uncompiled |= kind == "raised"
            self._note(step, kind, content)
            # No more than a cell has characters, whoever forges the answer.
            kinds = content[: len(step.cell.source)] if kind == "done" and isinstance(content, list) else []
            for place, kind in enumerate(kinds):
                if not step.exercises:
                    pool = TRIALS if kind == "trial" else DEFINITIONS
                if place not in self.omitted.statements.get(step, ()) and self._has_time(pool):
                    share = 1 if step.exercises and kind == "definition" else TRIAL
                    self._note(step, *self._ask(pool, "statement", str(place), share=share))
        except Died as error:
            self.findings.deaths[step] = str(error)
            self.omitted.add(step, place, kinds)
            if not step.exercises:
                self.omitted.own_deaths += 1
                self.omitted.own_seconds[pool] += before[pool] - self.left[pool]
            raise

    def _has_time(self, pool: Step | str) -> bool:
        """Say whether a statement may be run: no trial of cells that took too long."""
        if pool != TRIALS or (self.left[TRIALS] > 0 and self.omitted.own_deaths <= MOST_OWN_DEATHS):
            return True
        self.findings.hurried = True
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
            raise Died("ran out of memory")
        return kind, content

    def _note(self, step: Step, kind: str, content: Any) -> None:
        """Note the first error of an exercise's cell, and what is missing where another cell raised one."""
        if kind != "raised":
            return
        error = self._describe(content, step)
        for name in step.exercises:
            self.findings.raised.setdefault(name, error)
        if not step.exercises:
            self.findings.missing.update(self.missing.get(step, ()))

    def _describe(self, content: Any, step: Step) -> str:
        """Return the name of an error; of a NameError, with names that its cell reads and nobody makes.

        These were found in the code before it ran: what an error says may tell of hidden inputs.
        """
        error = name_error(content, any_of_python=not self.session.probed)
        names = self.missing.get(step, ())
        return f"{error} (not defined here: {', '.join(names)})" if error == "NameError" and names else error

    def _ask_about(self, name: str) -> None:
        """Ask an exercise's questions, and note what is wrong with each answer."""
        if name in self.omitted.exercises:
            return
        exercise, self.raised[name] = self.exercises[name], []
        try:
            answers = [self._ask_probe(exercise, place) for place in range(len(exercise.probes))]
        except Died as error:
            self.omitted.exercises.add(name)
            self.findings.answers.pop(name, None)
            self.findings.deaths[self.homes[name]] = str(error)
            # The second time, it may be what the cell left behind, such as processes: the others go without.
            if self.homes[name] in self.omitted.statements:
                self.omitted.steps.add(self.homes[name])
            raise
        self.findings.answers[name] = answers

    def _ask_again(self, name: str) -> None:
        """Ask what raised an error once more, and note whether that was of use."""
        for place in tuple(self.raised[name]):
            problem = self._ask_probe(self.exercises[name], place)
            self.findings.answers[name][place] = problem
            if not problem:
                self.findings.later.add(name)

    def _ask_probe(self, exercise: Exercise, place: int) -> str:
        """Return what is wrong with the answer to one question, or ""."""
        probe, home = exercise.probes[place], self.homes[exercise.name]
        parts = (exercise.name, probe.given, probe.call, exercise.inputs)
        kind, content = self._ask(home, "probe", *parts)
        if kind == "value":
            return judge(probe, content)
        self.raised[exercise.name].append(place)
        if kind != "undefined":
            return f"raised {self._describe(content, home)}"
        if home in self.findings.deaths:
            return self.findings.deaths[home]
        error = self.findings.raised.get(exercise.name)
        return f"your cell raised {error}" if error else f"your cell does not define {exercise.name}"


def name_error(content: Any, any_of_python: bool) -> str:
    """Return the name of an error, if it may be told.

    Args:
        content: as the runner names it, or who forges its answer.
        any_of_python: nothing was asked yet, so that no code can know a hidden input, and tell of it.
    """
    error = getattr(builtins, content, None) if isinstance(content, str) else None
    if not (isinstance(error, type) and issubclass(error, BaseException)):
        return ANOTHER_ERROR
    if any_of_python:
        return content
    return next((kind.__name__ for kind in error.__mro__ if kind in COMMON_ERRORS), ANOTHER_ERROR)
