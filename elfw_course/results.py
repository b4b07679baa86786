"""The README's table of results, made from the metrics that the notebooks store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from elfw_course.student import list_notebooks, write_if_changed
from elfw_helpers.data.labels import ATTRIBUTES
from elfw_helpers.evaluation.classification import wilson_interval
from elfw_helpers.notebook import METRICS_MIME, Value, read_metrics
from elfw_helpers.utils.errors import ElfwError

BEGIN, END = "<!-- results: written by `elfw results` -->", "<!-- end of results -->"
# Of the report's two accuracies, with how many of its images were right, where that can be told.
REPORT = (
    ("ResNet-18, ImageNet weights, 32 x 32", 18, 22, 17 / 22),
    ("mini network, 64 x 64", 193, 228, None),
)
# What `Scores.as_metrics` names: fewer make no row.
MEASURES = frozenset(
    ("images", "accuracy", "accuracy_interval", "majority_baseline", "balanced_accuracy", "macro_f1")
    + ("macro_f1_interval", *(f"f1_{name}" for name in ATTRIBUTES))
)
HEADER = (
    "model", "tested on", "accuracy [95 %]", "always the commonest", "balanced accuracy", "macro F1 [95 %]",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What one model reached, as a notebook shows it.

    Attributes:
        title: names the model.
        notebook: that measured it, such as `05_evaluation`.
        metrics: by name, as `Scores.as_metrics` names them.
    """

    title: str
    notebook: str
    metrics: dict[str, Value]


def collect_results(notebooks: Iterable[tuple[str, NotebookNode]]) -> list[Result]:
    """Return all titled metrics that hold a model's scores, in order, from (name, notebook) pairs."""
    return [
        Result(payload["title"], name, metrics)
        for name, notebook in notebooks
        for payload in iterate_payloads(notebook)
        if payload["title"] and (metrics := read_metrics(payload)).keys() >= MEASURES
    ]


def iterate_payloads(notebook: NotebookNode) -> Iterator[dict]:
    """Yield the payloads of all metrics a notebook shows, in order."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if METRICS_MIME in output.get("data", {}):
                yield output["data"][METRICS_MIME]


def encode_results(results: Iterable[Result], data: str) -> str:
    """Return results as JSON with the name of their data: numbers alone, so that they may be shared."""
    models = [{"title": one.title, "notebook": one.notebook, "metrics": one.metrics} for one in results]
    return json.dumps({"data": data, "results": models}, indent=1) + "\n"


def read_results(file: Path) -> tuple[str, list[Result]]:
    """Return the name of the data and the results that `encode_results` wrote.

    Raises:
        ElfwError: the file is not what it wrote.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return content["data"], [Result(**one) for one in content["results"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ElfwError(
            f"{file}: no results of a run ({error!r}). `make run` writes build/results.json."
        ) from None


def results_table(project: Path) -> str:
    """Return the table in Markdown: the report's numbers, the notebooks', and those measured on photos.

    Raises:
        ElfwError: the file of the results on photos cannot be read.
    """
    stored = [
        (path.stem, nbformat.read(path, as_version=4)) for path in list_notebooks(project / "notebooks")
    ]
    photos, on_photos = read_results(project / "benchmarks" / "course_on_photos.json")
    rows = [HEADER, tuple("---" for _ in HEADER)]
    rows += [describe_report(*numbers) for numbers in REPORT]
    rows += [describe_result(one, "rendered faces") for one in first_of_each(collect_results(stored))]
    rows += [describe_result(one, photos) for one in first_of_each(on_photos)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def first_of_each(results: Iterable[Result]) -> list[Result]:
    """Return the first result of each title, in order: a later notebook may show a model again."""
    found: dict[str, Result] = {}
    for one in results:
        found.setdefault(one.title, one)
    return list(found.values())


def describe_report(model: str, correct: int, total: int, majority: float | None) -> tuple[str, ...]:
    """Return the row of one of the report's accuracies."""
    accuracy = format_value(correct / total, wilson_interval(correct, total))
    return f"the report's {model}", f"{total} photos of its own", accuracy, format_value(majority), "–", "–"


def describe_result(result: Result, data: str) -> tuple[str, ...]:
    """Return the row of a result."""
    metrics = result.metrics
    return (
        result.title,
        f"{metrics['images']} {data}",
        format_value(metrics["accuracy"], metrics["accuracy_interval"]),
        format_value(metrics["majority_baseline"]),
        format_value(metrics["balanced_accuracy"]),
        format_value(metrics["macro_f1"], metrics["macro_f1_interval"]),
    )


def format_value(value: Value, interval: Value = None) -> str:
    """Write a number with three decimals and its interval, or a dash where there is none."""
    text = "–" if value is None else f"{value:.3f}"
    return f"{text} [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else text


def write_results(project: Path) -> None:
    """Put the table into README.md, between its two marks.

    Raises:
        ElfwError: the marks are not there, or as `results_table`.
    """
    readme = project / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ElfwError(f"{readme} has no place for the results: put the lines {BEGIN} and {END} there.")
    write_if_changed(readme, f"{before}{BEGIN}\n{results_table(project)}\n{END}{after}")
