"""What the runs of a submission brought, and what it is worth."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from elfw_course.grading.exercises import Plan, Step
from elfw_course.grading.key import Key


@dataclass
class Findings:
    """What the runs of a submission brought.

    Attributes:
        answers: by exercise, what is wrong with each probe's answer, "" where nothing is.
        raised: by exercise, the error that its cell raised.
        deaths: by step, why it ended a run.
        peak: bytes.
        hurried: whether cells that the student added were left out, for those before took too long.
        starved: whether something waited for its turn until patience ended, and is not to blame.
        exhausted: whether a run was left out, for those before took all the time there is for a submission.
        uncompiled: whether a cell was no Python of this version.
        later: exercises that were asked once more at the end, and had another answer then.
        missing: names that are not there, of cells that the student added and that raised an error.
    """

    answers: dict[str, list[str]] = field(default_factory=dict)
    raised: dict[str, str] = field(default_factory=dict)
    deaths: dict[Step, str] = field(default_factory=dict)
    peak: int = 0
    hurried: bool = False
    starved: bool = False
    exhausted: bool = False
    uncompiled: bool = False
    later: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Verdict:
    """What became of one probe."""

    probe: str  # its name
    points: float  # earned
    of: float  # to be earned
    problem: str  # "" when right


def give_verdicts(key: Key, plan: Plan, findings: Findings) -> dict[str, list[Verdict]]:
    """Return the verdict on every probe of every exercise."""
    reasons = {name: why for step, why in findings.deaths.items() for name in step.exercises}
    verdicts = {}
    for exercise in key.exercises:
        absent = "not reached" if exercise.name in plan.cells else "not found"
        nothing = [reasons.get(exercise.name, absent)] * len(exercise.probes)
        problems = findings.answers.get(exercise.name, nothing)
        verdicts[exercise.name] = [
            Verdict(probe.name, 0 if problem else probe.points, probe.points, problem)
            for probe, problem in zip(exercise.probes, problems, strict=True)
        ]
    return verdicts


def flag_findings(findings: Findings, python: str = "") -> list[str]:
    """Return what is out of the ordinary about the runs.

    Args:
        findings: what they brought.
        python: the version that the submission was written with, or "".
    """
    flags = []
    for step, reason in findings.deaths.items():
        what = ", ".join(step.exercises) or "an added or changed cell"
        is_lost = not step.exercises or any(name not in findings.answers for name in step.exercises)
        flags.append(
            f"{what}: {reason}" if is_lost else f"{what}: a part of its cell {reason} and was left out"
        )
    if findings.hurried:
        flags.append("added or changed cells took too long: not all of them were run")
    if findings.exhausted:
        flags.append("took too long as a whole: not all of it was run")
    flags += [f"{name}: its cell raised {error}" for name, error in findings.raised.items()]
    flags += [f"{name}: needs what a cell further down makes" for name in sorted(findings.later)]
    if findings.missing:
        names = ", ".join(sorted(findings.missing))
        flags.append(f"an added or changed cell raised an error (not defined here: {names})")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if findings.uncompiled and python and python.split(".")[:2] != here.split("."):
        flags.append(f"a cell is no Python {here}; the notebook was written with Python {python}")
    return flags


def give_nothing(key: Key, problem: str) -> dict[str, list[Verdict]]:
    """Return no points for every probe, all for one reason."""
    return {
        exercise.name: [Verdict(probe.name, 0, probe.points, problem) for probe in exercise.probes]
        for exercise in key.exercises
    }
