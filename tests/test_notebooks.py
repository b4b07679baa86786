"""What every notebook has in common; nbval checks what they compute."""

import re

import nbformat
import pytest
from PIL import Image

from elfw_helpers.notebook import METRICS_MIME
from elfw_helpers.utils.paths import project_folder

# Lines of a cell with a component, and of an output; letters of an alt text.
LONGEST_COMPONENT, LONGEST_OUTPUT, LONGEST_ALT = 27, 14, 170

NOTEBOOKS = sorted((project_folder() / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    """One notebook, with its path."""
    content = nbformat.read(request.param, as_version=4)
    nbformat.validate(content)
    content.path = request.param
    return content


def code_of(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_the_course_is_complete():
    assert [path.stem for path in NOTEBOOKS] == [
        "00_primer",
        "01_preprocessing",
        "02_transfer_learning",
        "03_overfit_one_sample",
        "04_grid_search",
        "05_evaluation",
        "06_deployment",
        "07_segmentation",
        "08_class_augmentation",
        "09_fairness",
        "10_capstone",
        "11_scaling_out",
    ]


def test_begins_with_title_badge_question_goals_and_time(notebook):
    opening = notebook.cells[0].source
    assert opening.startswith(f"# {notebook.path.stem[:2]} · ")
    assert f"/notebooks/{notebook.path.name})" in opening
    for part in ("**The question:**", "**You will learn**", "**You need:**", "**Time:**", "On Colab's T4:"):
        assert part in opening
    assert "GPU" in opening.partition("colab-badge")[0], "advice before the first cell"


def test_setup_cell_is_the_same_everywhere_but_for_what_deploying_and_scaling_need(notebook):
    setup, plain = code_of(notebook)[0], code_of(nbformat.read(NOTEBOOKS[0], as_version=4))[0]
    if notebook.path.name == "06_deployment.ipynb":
        plain = plain.replace('./elfw-course"\n', './elfw-course[deploy]"\n')
        plain = plain.replace("!/elfw_helpers/deployment", "!/elfw_helpers/rendering")
    if notebook.path.name == "11_scaling_out.ipynb":
        # By way of dask, which Colab has: so pip takes the release that goes with Colab's.
        plain = plain.replace('./elfw-course"\n', './elfw-course dask[distributed]"\n')
    assert setup == plain
    assert setup.splitlines()[0] == "# @title On Colab, run this cell first. On your own machine, skip it."
    assert "device = choose_device()" in code_of(notebook)[1]


@pytest.mark.parametrize("path", sorted((project_folder() / "notebooks").rglob("*.ipynb")), ids=str)
def test_no_cell_assigns_what_a_command_prints(path):
    # The IPython that Colab has cannot parse that on Python 3.12 or newer.
    for cell in nbformat.read(path, as_version=4).cells:
        assert not re.search(r"=\s*!", cell.source.replace("!=", "")), cell.source


def test_imports_from_at_most_seven_places_and_by_their_front_doors(notebook):
    places = set(re.findall(r"(?m)^\s*from (elfw_helpers[\w.]*) import", "\n".join(code_of(notebook))))
    assert 2 <= len(places) <= 7, places
    assert all(place.count(".") == 1 for place in places), places


def test_says_what_the_report_said_and_closes_with_takeaways_and_exercises(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert "**The report said" in text
    assert text.index("## Takeaways") < text.index("## Exercises")


def test_every_exercise_has_a_solution_and_is_followed_by_its_check(notebook):
    codes = code_of(notebook)
    exercises = [index for index, code in enumerate(codes) if code.startswith("# exercise: ")]
    assert len(exercises) >= 2
    for index in exercises:
        name = codes[index].splitlines()[0].removeprefix("# exercise: ")
        assert f"def {name}(" in codes[index] or f"class {name}(" in codes[index]
        assert re.search(r"### BEGIN SOLUTION\n.+\n *### END SOLUTION", codes[index], re.DOTALL)
        assert codes[index + 1].startswith(f"# check: {name}\n")


def test_shows_a_figure_and_checked_metrics(notebook):
    kinds = {
        kind
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for kind in output.get("data", {})
    }
    assert {"image/png", "application/vnd.elfw.metrics+json"} <= kinds


def test_cells_are_short(notebook):
    longest = max(code_of(notebook), key=lambda code: code.count("\n"))
    assert longest.count("\n") < LONGEST_COMPONENT, longest


def outputs_of(notebook):
    """Yield (cell, output) of all outputs."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield from ((cell, output) for output in cell.outputs)


def text_of(output) -> str:
    """Return what an output shows as plain text."""
    return output.get("text") or output.get("data", {}).get("text/plain", "")


def test_every_figure_has_its_alt_text(notebook):
    for cell, output in outputs_of(notebook):
        if "image/png" in output.get("data", {}):
            alt = output.metadata.get("image/png", {}).get("alt", "")
            assert 20 <= len(alt) <= LONGEST_ALT, f"{cell.id}: {alt!r}"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for alt in re.findall(r"!\[(.*?)\]\((?!https://colab)", cell.source):
                assert len(alt) >= 20, f"{cell.id}: {alt!r}"


def test_saved_figures_describe_themselves():
    for path in sorted((project_folder() / "figures").glob("[0-9][0-9]_*.png")):
        with Image.open(path) as picture:
            assert picture.info.get("Description"), path.name


def test_outputs_are_short_and_say_more_than_true(notebook):
    for cell, output in outputs_of(notebook):
        lines = text_of(output).strip().splitlines()
        # torchsummary's table has the lines that it has.
        assert len(lines) <= LONGEST_OUTPUT or "summary(" in cell.source, f"{cell.id}: {len(lines)} lines"
        bare = [line for line in lines if re.search(r"(^|[:=] *)(True|False)$", line)]
        assert not bare, f"{cell.id}: {bare}"


def test_a_folded_answer_is_one_block_of_html(notebook):
    # After a blank line nbconvert goes on with Markdown, outside of the fold.
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    folds = re.findall(r"<details>(.*?)</details>", text, re.DOTALL)
    assert len(folds) >= 3
    assert not [fold for fold in folds if "\n\n" in fold]


def test_tolerances_and_claims_stand_in_the_metadata_of_cells_that_show_numbers(notebook):
    claims = 0
    for cell in notebook.cells:
        held_to = cell.metadata.get("elfw", {})
        assert set(held_to) <= {"atol", "claims"}, cell.id
        if held_to:
            assert any(METRICS_MIME in output.get("data", {}) for output in cell.outputs), cell.id
            assert "nbval-ignore-output" not in cell.metadata.get("tags", []), cell.id
        claims += len(held_to.get("claims", {}))
    assert claims > 0


def test_faces_shown_are_not_the_first_of_the_training_split(notebook):
    for code in code_of(notebook):
        assert not re.search(r"(?s)(train|test)\[:\d+\].*(show_faces|draw_overlays)\(", code), code


def test_no_output_names_a_folder_of_the_machine_it_ran_on(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"(^|[\s'\"(])/(home|root|tmp|work|Users|usr|content)/", text), text
