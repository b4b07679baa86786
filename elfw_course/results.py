"""`elfw results`: two tables, made from what the notebooks and the benchmarks store."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from elfw_course.student import list_notebooks, put_between, write_if_changed
from elfw_course.times import write_times
from elfw_helpers.data.labels import ATTRIBUTES
from elfw_helpers.evaluation.classification import wilson_interval
from elfw_helpers.notebook import Value, find_payloads, read_metrics
from elfw_helpers.utils.errors import ElfwError

BEGIN, END = "<!-- results: written by `elfw results` -->", "<!-- end of results -->"
SPEED_BEGIN, SPEED_END = "<!-- speed: written by `elfw results` -->", "<!-- end of speed -->"
# Of the report's two models: images predicted correctly, of how many, and the majority baseline if known.
REPORT = (
    ("ResNet-18, ImageNet weights, 32 x 32", 18, 22, 17 / 22),
    ("mini network, 64 x 64", 193, 228, None),
)
# What `Scores.as_metrics` names; metrics that lack one of them are not a model's scores.
MEASURES = frozenset(
    ("images", "accuracy", "accuracy_interval", "majority_baseline", "balanced_accuracy", "macro_f1")
    + ("macro_f1_interval", *(f"f1_{name}" for name in ATTRIBUTES))
)
HEADER = (
    "model", "tested on", "accuracy [95 %]", "always the commonest", "balanced accuracy", "macro F1 [95 %]",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """A model's scores, as a notebook shows them."""

    title: str  # names the model
    notebook: str  # such as 05_evaluation
    metrics: dict[str, Value]  # as `Scores.as_metrics` names them


def collect_results(notebooks: Iterable[tuple[str, NotebookNode]]) -> list[Result]:
    """Return all titled metrics that hold a model's scores, in order, from (name, notebook) pairs."""
    payloads = [
        (name, payload)
        for name, notebook in notebooks
        for cell in notebook.cells
        for payload in find_payloads(cell.get("outputs", []))
    ]
    return [
        Result(payload["title"], name, metrics)
        for name, payload in payloads
        if payload["title"] and (metrics := read_metrics(payload)).keys() >= MEASURES
    ]


def encode_results(results: Iterable[Result], data: str) -> str:
    """Return results as JSON with the name of their data: numbers alone, so that they may be shared."""
    return json.dumps({"data": data, "results": [asdict(one) for one in results]}, indent=1) + "\n"


def read_results(file: Path) -> tuple[str, list[Result]]:
    """Return the name of the data and the results from a file that `encode_results` made.

    Raises:
        ElfwError: the file cannot be read, or holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return content["data"], [Result(**one) for one in content["results"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ElfwError(
            f"{file}: no results of a run ({error!r}). `make run` writes build/results.json."
        ) from None


def format_results_table(project: Path) -> str:
    """Return the table in Markdown: the report's numbers, the notebooks', and those measured on photos."""
    notebooks = list_notebooks(project / "notebooks")
    stored = collect_results((path.stem, nbformat.read(path, as_version=4)) for path in notebooks)
    photos, on_photos = read_results(project / "benchmarks" / "course_on_photos.json")
    rows = [HEADER, ["---"] * len(HEADER)]
    for model, correct, total, majority in REPORT:
        accuracy = format_value(correct / total, wilson_interval(correct, total))
        row = [f"the report's {model}", f"{total} photos of its own", accuracy, format_value(majority)]
        rows.append([*row, format_value(None), format_value(None)])
    for results, data in ((stored, "rendered faces"), (on_photos, photos)):
        # A later notebook may show a model again: the first one counts.
        first = {one.title: one for one in reversed(results)}
        rows += [
            (one.title, f"{one.metrics['images']} {data}", *format_scores(one.metrics))
            for one in results
            if one is first[one.title]
        ]
    return join_rows(rows)


def join_rows(rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown of rows of cells."""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def format_scores(metrics: dict[str, Value]) -> list[str]:
    """Return a model's accuracy, majority baseline, balanced accuracy and macro F1, with their intervals."""
    names = ("accuracy", "majority_baseline", "balanced_accuracy", "macro_f1")
    return [format_value(metrics[name], metrics.get(f"{name}_interval")) for name in names]


def format_value(value: Value, interval: Value = None) -> str:
    """Write a number with three decimals and its interval, or a dash where there is none."""
    text = "–" if value is None else f"{value:.3f}"
    return f"{text} [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else text


def format_speed_table(project: Path) -> str:
    """Return the benchmarks' headline figures in Markdown, and under them where and when they were measured.

    Raises:
        ElfwError: a file in benchmarks/results/ is no benchmark's, or none holds a headline figure.
    """
    folder = project / "benchmarks" / "results"
    rows = [("what", "median [lowest, highest]", "measured by"), ["---"] * 3]
    setups: dict[str, list[str]] = {}
    for file in sorted(folder.glob("*.json")):
        figures, setup = read_figures(file)
        script = f"`{file.stem}.py`"
        rows += [(*figure, script) for figure in figures]
        if figures:
            setups.setdefault(setup, []).append(script)
    if not setups:
        raise ElfwError(f"{folder}: no headline figure. `python benchmarks/NAME.py --store` writes them.")
    lines = [f"- {', '.join(scripts)}: {setup}" for setup, scripts in setups.items()]
    return "\n".join([join_rows(rows), "", *lines])


def read_figures(file: Path) -> tuple[list[tuple[str, str]], str]:
    """Return a benchmark's headline figures, (what, value) each, and where and when in a line.

    Args:
        file: as `benchmarks/measure.py` writes it.

    Raises:
        ElfwError: the file cannot be read, or holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        figures = [
            (" ".join(filter(None, (one["what"], one["note"] and f"({one['note']})"))), format_figure(one))
            for one in content["figures"]
            if one.get("headline")
        ]
        versions = ", ".join(f"{package} {version}" for package, version in content["versions"].items())
        return figures, f"{content['machine']}, {content['date']}; {versions}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ElfwError(
            f"{file}: no figures of a benchmark ({error!r}). "
            f"`python benchmarks/{file.stem}.py --store` writes them."
        ) from None


def format_figure(figure: dict[str, Any]) -> str:
    """Write a figure's median, lowest and highest value with three digits or more, and its unit."""
    values = figure["values"]
    shown = [
        f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"
        for value in (statistics.median(values), min(values), max(values))
    ]
    return f"{shown[0]} [{shown[1]}, {shown[2]}] {figure['unit']}".rstrip()


def write_results(project: Path) -> None:
    """Write the tables of results (README.md) and of speed (benchmarks/README.md), then the notebooks' times.

    Raises:
        ElfwError: the marks are not there, or a file that a table is made from cannot be read.
    """
    for readme, begin, end, format_table in (
        (project / "README.md", BEGIN, END, format_results_table),
        (project / "benchmarks" / "README.md", SPEED_BEGIN, SPEED_END, format_speed_table),
    ):
        text = readme.read_text(encoding="utf-8")
        write_if_changed(readme, put_between(begin, end, format_table(project), text, readme))
    write_times(project)
