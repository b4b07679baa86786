"""A notebook's page asks nothing of the web, and its formulas and pictures are inside."""

import re
import sys

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

from elfw_course.run import run_course
from elfw_course.web_page import format_page, read_executed
from elfw_helpers.utils.errors import ElfwError, MissingPackage


def make_page(tmp_path, *texts: str) -> str:
    (tmp_path / "project" / "notebooks").mkdir(parents=True, exist_ok=True)
    notebook = new_notebook(cells=[new_markdown_cell(text) for text in texts])
    return format_page(notebook, tmp_path / "project" / "notebooks" / "03_small.ipynb")


def test_a_page_makes_no_request(tmp_path):
    badge = "[![Open in Colab](https://colab.test/badge.svg)](https://colab.test/notebook)"
    page = make_page(tmp_path, "# Title", badge, r"$$\frac{a}{b}$$")
    assert not re.findall(r'(?:src|data-main)="(?!data:)[^"]*"|<link[^>]*href|@import|url\(["\']?http', page)
    assert "<script" not in page.replace('<script type="text/x-mathjax', "")
    assert '<a href="https://colab.test/notebook">Open in Colab</a>' in page
    assert "<mfrac>" in page and "MathJax" not in page


def test_a_folded_answer_shows_its_formula(tmp_path):
    page = make_page(tmp_path, "<details><summary>Answer</summary>\nIt is $x^2$.\n</details>")
    assert "<msup>" in page and "$" not in page[page.index("Answer") :]


def test_without_the_templates_of_pages_nothing_runs_and_what_installs_them_is_named(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("nbconvert.exporters.templateexporter.jupyter_path", lambda *_: [])
    monkeypatch.setattr("elfw_course.run.data_folder", lambda: tmp_path)
    with pytest.raises(MissingPackage, match="page templates are not in .* pip install --force") as caught:
        run_course(["03"])
    assert f"{sys.executable} -m pip" in str(caught.value) and capsys.readouterr().out == ""


def test_pictures_of_the_project_are_inside_and_no_others(tmp_path):
    for folder in ("project/figures", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (2, 2)).save(tmp_path / folder / "one.png")
    page = make_page(tmp_path, "![Two](../figures/one.png)", "![Far](../../elsewhere/one.png)")
    assert re.search(r'<img alt="Two"[^>]*src="data:image/png;base64,iVBOR', page)
    assert 'src="../../elsewhere/one.png"' in page


def test_a_notebook_that_has_not_run_is_refused_with_what_to_do(tmp_path):
    import nbformat

    path = tmp_path / "03_small.ipynb"
    cells = [new_code_cell("1", execution_count=1), new_code_cell("2"), new_code_cell(" ")]
    nbformat.write(new_notebook(cells=cells), path)
    with pytest.raises(ElfwError, match=r"03_small.ipynb .*1 of its 2 code cells.*make refresh"):
        read_executed(path)
