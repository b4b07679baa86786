"""What the site is made of, and that the glossary leads to what the notebooks teach."""

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from elfw_course.site.sources import TEXTS, prepare_cells, read_filling, take_columns, write_reference
from elfw_course.student import PLACEHOLDER
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.paths import project_folder

GLOSSARY = project_folder() / "docs" / "site" / "glossary.md"


def read_anchors(name: str) -> set[str]:
    """Return the anchors of a notebook's headings, as MyST and GitHub make them."""
    cells = nbformat.read(project_folder() / name, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_term_leads_to_a_section_that_is_there():
    text = GLOSSARY.read_text(encoding="utf-8")
    links = re.findall(r"\((notebooks/[^)#]+)#([^)]+)\)", text)
    anchors = {name: read_anchors(name) for name, _ in links}
    assert [(name, anchor) for name, anchor in links if anchor not in anchors[name]] == []
    entries = re.findall(r"^(\S.*)\n  (\S.*)$", text.partition("{glossary}")[2], re.MULTILINE)
    assert len(entries) > 60
    assert [term for term, meaning in entries if "](notebooks/" not in meaning] == []


def test_texts_lead_to_texts_that_are_pages_too():
    project = project_folder()
    pages = {page.resolve() for pattern in TEXTS for page in project.glob(pattern)}
    links = {
        (page.name, target): (page.parent / target).resolve()
        for page in pages
        for target in re.findall(r"\]\((?!\w+:)([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
    }
    assert len(links) > 10
    assert [link for link, target in links.items() if target not in pages] == []


def test_front_page_and_times_come_from_readme():
    filling = read_filling(project_folder())
    assert filling["introduction"].startswith("# ")
    assert "![" not in filling["notebooks"] and "[00]: https://" in filling["notebooks"]
    assert re.search(
        r"^\| \[05 evaluation\]\(\S+\) \| \d+ min \| \S+ min \|$", filling["times"], re.MULTILINE
    )


@pytest.mark.parametrize("repository", ["some-school/faces", PLACEHOLDER])
def test_the_front_page_leads_to_the_course_where_it_has_an_address(monkeypatch, repository):
    monkeypatch.setattr("elfw_course.site.sources.read_repository", lambda project: repository)
    link = f"[its README](https://github.com/{repository}#start)"
    assert read_filling(project_folder())["readme"] == ("its README" if repository == PLACEHOLDER else link)


def test_a_readme_without_its_table_is_named(tmp_path):
    (tmp_path / "README.md").write_text("# Course\n", encoding="utf-8")
    with pytest.raises(DataError, match="README.md: no table whose columns begin with notebook, question"):
        read_filling(tmp_path)


def test_columns_are_taken_by_name():
    table = "| a | b | c |\n|---|---|---|\n| 1 | 2 | 3 |\n"
    assert take_columns(table, ("a", "c")) == "| a | c |\n| --- | --- |\n| 1 | 3 |"


def test_solutions_fold_figures_are_described_and_badges_are_words():
    figure = new_output("display_data", {"image/png": "x"}, metadata={"image/png": {"alt": "A line"}})
    cells = [
        new_markdown_cell("[![Open](https://a.test/b.svg)](https://a.test) [copy](student/03.ipynb)"),
        new_code_cell("# exercise: one"),
        new_code_cell("draw()", outputs=[figure]),
    ]
    prepare_cells(new_notebook(cells=cells))
    assert cells[0].source == "[Open](https://a.test) [copy](path:student/03.ipynb)"
    assert cells[1].metadata["tags"] == ["hide-input"]
    assert cells[1].metadata["mystnb"]["code_prompt_show"] == "Show a solution"
    assert cells[2].metadata["mystnb"] == {"image": {"alt": "A line"}} and "tags" not in cells[2].metadata


def test_reference_has_a_page_for_each_part_of_the_package():
    pages = dict(write_reference(project_folder() / "elfw_helpers"))
    assert {"data", "models", "notebook", "training", "utils"} <= pages.keys()
    assert pages["data"].startswith("# elfw_helpers.data\n")
    assert ".. automodule:: elfw_helpers.data.splits" in pages["data"]
