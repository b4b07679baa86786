"""Slides of a notebook, and the tags that they are made from."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from elfw_course import slides
from elfw_course.slides import tag_cells, write_slides
from elfw_helpers.utils.errors import ElfwError, MissingPackage

TABLE = new_output("display_data", {"application/vnd.elfw.metrics+json": {}, "text/plain": "accuracy 0.9"})
CELLS = {
    "slide": new_markdown_cell(
        "## 1. Data\n\nWhy?\n\n<details><summary>Answer</summary>\nBecause.\n</details>"
    ),
    "notes": new_markdown_cell("The table says more."),
    "subslide": new_code_cell("show_table(scores)", outputs=[TABLE], execution_count=1),
    "skip": new_code_cell("import torch", execution_count=2),
}


@pytest.fixture
def path(tmp_path):
    cells = [
        *CELLS.values(),
        new_markdown_cell("## Exercises"),
        new_code_cell("# exercise: a", execution_count=3),
    ]
    file = tmp_path / "03_small.ipynb"
    nbformat.write(new_notebook(cells=cells), file)
    return file


@pytest.fixture
def reveal(tmp_path, monkeypatch):
    """A folder in the place of reveal.js."""
    for name in ("dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js"):
        (tmp_path / "reveal" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "reveal" / name).write_text(f"/* {name} */", encoding="utf-8")
    monkeypatch.setattr(slides, "find_reveal", lambda: tmp_path / "reveal")


def test_cells_are_tagged_by_their_kind_and_a_tag_by_hand_stays(path):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].metadata["slideshow"] = {"slide_type": "fragment"}
    nbformat.write(notebook, path)
    ids = [cell.id for cell in notebook.cells]
    assert tag_cells(path) == 5
    cells = nbformat.read(path, as_version=4).cells
    types = [cell.metadata.slideshow.slide_type for cell in cells]
    assert types == ["slide", "fragment", "subslide", "skip", "skip", "skip"]
    assert [cell.id for cell in cells] == ids
    assert tag_cells(path) == 0


def test_slides_hold_all_they_need_and_answers_are_notes(path, reveal, tmp_path):
    tag_cells(path)
    page = write_slides(path, tmp_path / "out").read_text(encoding="utf-8")
    assert page.count("<section") == 3  # a stack of two slides
    assert '<aside class="notes">\nBecause.' in page and "<summary>" not in page
    assert "accuracy 0.9" in page and "show_table" not in page and "import torch" not in page
    assert "Exercises" not in page
    assert "/* dist/reveal.js */" in page and "src=" not in page and "cdn" not in page


def test_without_tags_or_reveal_it_is_said_what_to_do(path, tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "REVEAL_PACKAGE", "no_such_package")
    with pytest.raises(MissingPackage, match=r"no_such_package.*\[site\]"):
        write_slides(path, tmp_path)


def test_a_notebook_without_tags_is_refused(path, reveal, tmp_path):
    with pytest.raises(ElfwError, match=r"03_small.ipynb has no slides.*elfw tag-slides"):
        write_slides(path, tmp_path)
