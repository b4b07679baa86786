"""The tables of results and of speed say what the stored notebooks and the stored benchmarks say."""

import json
import subprocess
import sys
from importlib.metadata import version

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from elfw_course import results
from elfw_helpers.evaluation.classification import score
from elfw_helpers.notebook import METRICS_MIME
from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.paths import project_folder

TARGETS, PREDICTIONS = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0]


def metrics_of(targets, predictions) -> dict:
    """Return the metrics of some answers as a notebook stores them."""
    plain = score(targets, predictions).as_metrics()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def notebook_with(*shown: tuple[str | None, dict]):
    """Return a notebook that shows metrics under titles."""
    cells = []
    for title, metrics in shown:
        columns = [{"name": name, "values": [value]} for name, value in metrics.items()]
        payload = {"title": title, "rows": None, "columns": columns}
        cells.append(new_code_cell("", outputs=[new_output("display_data", data={METRICS_MIME: payload})]))
    return new_notebook(cells=cells)


@pytest.fixture
def project(tmp_path):
    """A project with two notebooks that show the same model, results on photos, and a README."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "benchmarks").mkdir()
    good, better = metrics_of(TARGETS, PREDICTIONS), metrics_of(TARGETS, TARGETS)
    notebooks = {
        "01_one": [("mini", good), ("a loss", {"loss": 0.5})],
        "02_two": [("other", good), ("mini", better)],
    }
    for name, shown in notebooks.items():
        nbformat.write(notebook_with(*shown), tmp_path / "notebooks" / f"{name}.ipynb")
    on_photos = results.encode_results([results.Result("mini", "01_one", better)], "photos of nobody")
    (tmp_path / "benchmarks" / "course_on_photos.json").write_text(on_photos, encoding="utf-8")
    store_figures(tmp_path, "rendering", FACES)
    store_figures(tmp_path, "notebooks_alone")
    fill_readmes(tmp_path, "old", "old")
    return tmp_path


FACES = {
    "what": "faces",
    "values": [41.04, 40, 1234.5],
    "unit": "faces/s",
    "note": "2 cores",
    "headline": True,
}
SETUP = {"machine": "2 cores of X", "date": "2026-11-27", "versions": {"python": "3.11", "torch": "2.9"}}


def store_figures(project, name: str, *figures: dict, **setup) -> None:
    """Write figures as a benchmark stores them."""
    folder = project / "benchmarks" / "results"
    folder.mkdir(exist_ok=True)
    content = {**SETUP, **setup, "figures": figures}
    (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def fill_readmes(project, scores: str, speed: str) -> None:
    """Write both files, each with its table."""
    texts = format_readmes(scores, speed)
    for name, text in texts.items():
        (project / name).write_text(text, encoding="utf-8")


def format_readmes(scores: str, speed: str) -> dict[str, str]:
    """Return the text of both files by name."""
    return {
        "README.md": f"before\n{results.BEGIN}\n{scores}\n{results.END}\nafter\n",
        "benchmarks/README.md": f"before\n{results.SPEED_BEGIN}\n{speed}\n{results.SPEED_END}\nafter\n",
    }


def test_table_holds_the_report_s_numbers_each_model_once_and_the_photos(project):
    rows = results.format_results_table(project).splitlines()
    assert len(rows) == 2 + 2 + 2 + 1
    assert "| 22 photos of its own | 0.818 [0.615, 0.927] | 0.773 |" in rows[2]
    assert "| 228 photos of its own | 0.846 [0.794, 0.888] | – |" in rows[3]
    assert rows[4].startswith("| mini | 6 rendered faces | 0.667 [0.300, 0.903] | 0.500 | 0.556 | 0.489 [")
    assert rows[5].startswith("| other | 6 rendered faces | 0.667 [")
    assert rows[6].startswith("| mini | 6 photos of nobody | 1.000 [")


def test_written_between_the_marks_and_nowhere_else(project):
    results.write_results(project)
    expected = format_readmes(results.format_results_table(project), results.format_speed_table(project))
    assert {name: (project / name).read_text(encoding="utf-8") for name in expected} == expected


@pytest.mark.parametrize(("name", "file"), [("END", "README.md"), ("SPEED_END", "benchmarks/README.md")])
def test_a_text_without_a_place_is_left_alone(project, name, file):
    text = format_readmes("old", "old")[file].replace(getattr(results, name), "")
    (project / file).write_text(text, encoding="utf-8")
    with pytest.raises(ElfwError, match="has no place. Put the lines <!-- .* and <!-- end of"):
        results.write_results(project)
    assert (project / file).read_text(encoding="utf-8") == text


def test_speed_is_the_headline_figures_with_machine_date_and_versions_once(project):
    plain = {**FACES, "what": "a ratio", "values": [0.98765], "unit": "", "note": ""}
    store_figures(project, "steps", plain, {**plain, "what": "a detail", "headline": False})
    store_figures(project, "starts", plain, date="2026-12-01")
    store_figures(project, "details", {**plain, "headline": False}, machine="unseen")
    assert results.format_speed_table(project).splitlines() == [
        "| what | median [lowest, highest] | measured by |",
        "| --- | --- | --- |",
        "| faces (2 cores) | 41.0 [40.0, 1,234] faces/s | `rendering.py` |",
        "| a ratio | 0.988 [0.988, 0.988] | `starts.py` |",
        "| a ratio | 0.988 [0.988, 0.988] | `steps.py` |",
        "",
        "- `rendering.py`, `steps.py`: 2 cores of X, 2026-11-27; python 3.11, torch 2.9",
        "- `starts.py`: 2 cores of X, 2026-12-01; python 3.11, torch 2.9",
    ]


DAMAGED = ["", "[]", '{"figures": [{"what": "no values", "headline": true, "note": ""}]}', '{"figures": []}']
DAMAGED.append(json.dumps({**SETUP, "figures": [{**FACES, "values": []}]}))


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_file_of_figures_is_named_with_what_writes_it(project, text):
    (project / "benchmarks" / "results" / "steps.json").write_text(text, encoding="utf-8")
    with pytest.raises(ElfwError, match=r"steps\.json: no figures .*`python benchmarks/steps\.py --store`"):
        results.write_results(project)


def test_a_project_without_figures_is_told_what_writes_them(project):
    (project / "benchmarks" / "results" / "rendering.json").unlink()
    with pytest.raises(ElfwError, match="results: no headline figure. `python benchmarks/NAME.py --store`"):
        results.write_results(project)


def test_what_a_benchmark_stores_is_what_the_table_reads(tmp_path):
    script = "import sys; from pathlib import Path; import measure; measure.RESULTS = Path(sys.argv[1])\n"
    script += "figure = measure.Figure('a step', [1.0, 2.0, 4.0], 's', 'quiet', headline=True)\n"
    script += "measure.report('steps', [figure], store=True)"
    command = [sys.executable, "-c", script, str(tmp_path)]
    subprocess.run(command, check=True, cwd=project_folder() / "benchmarks")
    figures, setup = results.read_figures(tmp_path / "steps.json")
    assert figures == [("a step (quiet)", "2.00 [1.00, 4.00] s")]
    assert f"torch {version('torch')}" in setup


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"data": "photos", "results": [{"title": "mini"}]})])
def test_results_that_are_none_are_said_so(tmp_path, text):
    (tmp_path / "results.json").write_text(text, encoding="utf-8")
    with pytest.raises(ElfwError, match="no results of a run"):
        results.read_results(tmp_path / "results.json")


@pytest.mark.parametrize(
    ("file", "begin", "end", "format_table"),
    [
        ("README.md", results.BEGIN, results.END, results.format_results_table),
        ("benchmarks/README.md", results.SPEED_BEGIN, results.SPEED_END, results.format_speed_table),
    ],
)
def test_tables_say_what_the_notebooks_the_run_on_photos_and_the_benchmarks_say(
    file, begin, end, format_table
):
    text = (project_folder() / file).read_text(encoding="utf-8")
    table = text.partition(begin)[2].partition(end)[0].strip()
    assert table == format_table(project_folder()), "run `elfw results`"
