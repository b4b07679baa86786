"""README's table of results says what the stored notebooks say."""

import json

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
        columns = [{"name": name, "values": [value], "atol": 0.0} for name, value in metrics.items()]
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
    (tmp_path / "README.md").write_text(
        f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n", encoding="utf-8"
    )
    return tmp_path


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
    text = (project / "README.md").read_text(encoding="utf-8")
    assert text == f"before\n{results.BEGIN}\n{results.format_results_table(project)}\n{results.END}\nafter\n"


def test_readme_without_a_place_is_left_alone(project):
    (project / "README.md").write_text(f"before {results.END} {results.BEGIN}", encoding="utf-8")
    with pytest.raises(ElfwError, match="no place for the results"):
        results.write_results(project)


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"data": "photos", "results": [{"title": "mini"}]})])
def test_results_that_are_none_are_said_so(tmp_path, text):
    (tmp_path / "results.json").write_text(text, encoding="utf-8")
    with pytest.raises(ElfwError, match="no results of a run"):
        results.read_results(tmp_path / "results.json")


def test_readme_says_what_the_notebooks_and_the_run_on_photos_say():
    text = (project_folder() / "README.md").read_text(encoding="utf-8")
    table = text.partition(results.BEGIN)[2].partition(results.END)[0].strip()
    assert table == results.format_results_table(project_folder()), "run `elfw results`"
