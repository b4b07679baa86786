"""Writes the results: points, flags, rows of grades.csv, and pages for students of text and pictures only."""

from __future__ import annotations

import csv
import html
import io
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from elfw_course.grading.key import Key
from elfw_course.grading.run import Findings
from elfw_course.grading.submission import Cell, join_lines, take

LONGEST_TEXT = 20_000  # characters of code or output that a page shows of one cell
LARGEST_PICTURE = 2 << 20
PNG = re.compile(r"iVBORw0KGgo[A-Za-z0-9+/=]*")  # in base64; the rest is left to the browser to refuse
# The table's words, and those of the page, which is for the student who wrote the cells.
YOURS = {
    "an added or changed cell": "a cell that you added or changed",
    "added or changed cells": "cells that you added or changed",
    "its cell": "your cell",
}
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Where a spreadsheet may see a formula: at the beginning, and after what it may take for the end of a cell.
FORMULA = re.compile(r"""(^|[,;:|\t\r\n])(?=[\s"']*[=+\-@|%＝＋－＠\t\r\n])""")

PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'">
<meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem;
 color: #222 }}
h1 {{ font-size: 1.5rem; margin-bottom: 0 }} h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .5rem }}
h2 span, .points, .total {{ float: right; font-weight: 600 }} .quiet {{ color: #595959 }}
ul {{ list-style: none; padding: 0; margin: 0 }}
li {{ padding: .15rem 0 .15rem 1.6rem; text-indent: -1.6rem }}
li::before {{ display: inline-block; width: 1.6rem; text-indent: 0; font-weight: 700 }}
.right::before {{ content: "✓"; color: #1a7f37 }} .wrong::before {{ content: "✗"; color: #b42318 }}
pre {{ background: #f6f6f4; border-left: 3px solid #ccc; padding: .6rem .8rem; font-size: .85rem;
 line-height: 1.4; white-space: pre-wrap; overflow-wrap: anywhere }}
pre.output {{ background: none; border-color: #9bb8d3 }} img {{ max-width: 100% }}
</style></head><body>
{body}
</body></html>
"""


@dataclass(frozen=True)
class Verdict:
    """What became of one probe."""

    probe: str  # its name
    points: float  # earned
    of: float  # to be earned
    problem: str  # "" when right


def give_verdicts(
    key: Key, answers: Mapping[str, Sequence[str]], reasons: Mapping[str, str], otherwise: str
) -> dict[str, list[Verdict]]:
    """Return the verdict on every probe of every exercise.

    By exercise, `answers` are what is wrong with each, or ""; `reasons` are why there are none.
    """
    verdicts = {}
    for exercise in key.exercises:
        nothing = [reasons.get(exercise.name, otherwise)] * len(exercise.probes)
        verdicts[exercise.name] = [
            Verdict(probe.name, 0 if problem else probe.points, probe.points, problem)
            for probe, problem in zip(exercise.probes, answers.get(exercise.name, nothing), strict=True)
        ]
    return verdicts


def flag_findings(findings: Findings, problems: Mapping[str, Sequence[str]], python: str) -> list[str]:
    """Return what is unusual about the runs of a submission.

    Args:
        findings: what they brought.
        problems: by exercise, what is wrong with each of its answers, or "".
        python: the version that it was written with, "" if unknown.
    """
    flags = []
    for step, reason in findings.ended.items():
        what = ", ".join(step.exercises) or "an added or changed cell"
        is_lost = not step.exercises or any(name not in findings.answers for name in step.exercises)
        flags.append(f"{what}: {reason if is_lost else f'a part of its cell {reason} and was left out'}")
    if findings.skipped:
        flags.append("added or changed cells took too long: not all of them were run")
    if findings.exhausted:
        flags.append("took too long as a whole: not all of it was run")
    flags += [f"{name}: its cell raised {error}" for name, error in findings.raised.items()]
    for name, answers in sorted(findings.answers.items()):
        if any(
            answer.is_late and not problem for answer, problem in zip(answers, problems[name], strict=True)
        ):
            flags.append(f"{name}: needs what a cell further down makes")
    if findings.missing:
        names = ", ".join(sorted(findings.missing))
        flags.append(f"an added or changed cell raised an error (not defined here: {names})")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if findings.uncompiled and python and python.split(".")[:2] != here.split("."):
        flags.append(f"a cell is no Python {here}; the notebook was written with Python {python}")
    return flags


@dataclass
class Grade:
    """What one submission is given."""

    student: str
    status: str
    verdicts: Mapping[str, Sequence[Verdict]] | None  # None: the grader failed, so no score, not even 0
    flags: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak: int = 0  # bytes


def table_header(key: Key) -> list[str]:
    """Return the column names of grades.csv."""
    names = [exercise.name for exercise in key.exercises]
    return ["student", "status", "total", "of", *names, "seconds", "peak_mb", "flags"]


def table_row(grade: Grade, key: Key) -> list[str]:
    """Return a submission's row of grades.csv."""
    scores, total = [""] * len(key.exercises), ""
    if grade.verdicts is not None:
        earned = [sum(one.points for one in grade.verdicts[exercise.name]) for exercise in key.exercises]
        scores, total = [f"{points:g}" for points in earned], f"{sum(earned):g}"
    # Rounded up to what two runs of the same code agree on.
    measured = [f"{grade.seconds:.1f}", str(math.ceil(grade.peak / 2**20 / 50) * 50)]
    cells = [grade.student, grade.status, total, f"{key.points:g}", *scores, *measured]
    return [escape_cell(cell) for cell in (*cells, "; ".join(grade.flags))]


def escape_cell(text: str) -> str:
    """Return text as one line in which no spreadsheet finds a formula."""
    safe = FORMULA.sub(r"\1'", text)
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in safe)


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return the text of a CSV file; in quotes, a cell is one whatever separates cells."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([header, *rows])
    return stream.getvalue()


def format_page(grade: Grade, key: Key, cells: Mapping[str, Cell], written: Sequence[Cell]) -> str:
    """Return a student's page, with the cells of the exercises that were found and the student's own texts.

    It shows what was in the file that the student handed in, never what that code printed while it was
    graded: there it may have seen the hidden inputs.
    """
    title = f"{key.released.stem} · {grade.student}"
    body = [f"<h1>{_escape(title)}</h1>"]
    if grade.verdicts is None:
        body.append("<p>This could not be graded, which is no fault of yours. Your instructor knows.</p>")
        return PAGE.format(title=_escape(title), body="\n".join(body))
    total = sum(verdict.points for verdicts in grade.verdicts.values() for verdict in verdicts)
    points = f'<span class="total">{total:g} of {key.points:g}</span>'
    body.append(f'<p class="quiet">{_escape(grade.status)}{points}</p>')
    if grade.status.startswith("unreadable"):
        body.append("<p>Your file could not be read as a notebook. Please hand in the .ipynb once more.</p>")
        return PAGE.format(title=_escape(title), body="\n".join(body))
    for name, verdicts in grade.verdicts.items():
        body += _format_exercise(name, verdicts, cells.get(name))
    if key.written and cells:
        body += _format_written(key.written, written)
    if grade.flags:
        notes = "".join(f"<p>{_escape(_flag_for_student(flag))}</p>" for flag in grade.flags)
        body.append(f'<h2>Notes</h2><div class="quiet">{notes}</div>')
    return PAGE.format(title=_escape(title), body="\n".join(body))


def _flag_for_student(flag: str) -> str:
    """Return a flag in the words of a student's page."""
    for word, yours in YOURS.items():
        flag = flag.replace(word, yours)
    return flag


def _format_exercise(name: str, verdicts: Sequence[Verdict], cell: Cell | None) -> list[str]:
    """Return the part of a page about one exercise."""
    earned, of = (sum(getattr(verdict, part) for verdict in verdicts) for part in ("points", "of"))
    parts = [f"<h2>{_escape(name)}<span>{earned:g} of {of:g}</span></h2>", "<ul>"]
    for verdict in verdicts:
        mark = "wrong" if verdict.problem else "right"
        problem = f' <span class="quiet">— {_escape(verdict.problem)}</span>' if verdict.problem else ""
        points = f'<span class="points">{verdict.points:g} of {verdict.of:g}</span>'
        parts.append(f'<li class="{mark}">{points}{_escape(verdict.probe)}{problem}</li>')
    parts.append("</ul>")
    if cell:
        parts += [f"<pre>{_escape(cell.source)}</pre>", *map(_format_output, cell.outputs[:20])]
    return parts


def _format_written(questions: Sequence[str], cells: Sequence[Cell]) -> list[str]:
    """Return the part of a page with the texts that a person reads."""
    parts = ["<h2>Read by a person, not graded here</h2>", "<ul>"]
    parts += [f"<li>{_escape(question)}</li>" for question in questions] + ["</ul>"]
    if not cells:
        parts.append('<p class="quiet">no answer found</p>')
    return parts + [f'<pre class="output">{_escape(cell.source)}</pre>' for cell in cells[:20]]


def _format_output(output: Any) -> str:
    """Return an output saved in the submission, as text or a PNG; of anything else, nothing."""
    if not isinstance(output, dict):
        return ""
    data = take(output, "data", dict)
    picture = take(data, "image/png", str)
    picture = "".join(picture.split()) if len(picture) < LARGEST_PICTURE else ""
    if PNG.fullmatch(picture):
        return f'<p><img alt="a picture of your own" src="data:image/png;base64,{picture}"></p>'
    text = join_lines(output.get("text", data.get("text/plain")))
    if not isinstance(text, str) or not text:
        return ""
    return f'<pre class="output">{_escape(ANSI.sub("", text))}</pre>'


def _escape(text: str) -> str:
    """Return text for a page, cut if it is long."""
    cut = text[:LONGEST_TEXT].encode("utf-8", "replace").decode()
    return html.escape(cut) + (" […]" if len(text) > LONGEST_TEXT else "")
