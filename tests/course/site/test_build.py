"""A small site, built; skipped where the packages of the extra `site` are missing."""

import base64
import io
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from elfw_course.site.build import build_site, require_packages
from elfw_course.site.check import Findings, check_files
from elfw_helpers.utils.errors import ElfwError, MissingPackage
from elfw_helpers.utils.paths import project_folder

README = """# Course

![A figure](figures/one.png)

## Notebooks

| notebook | question | study | computing |
|---|---|---|---|
| [00 small](notebooks/00_small.ipynb) | Why? | 5 min | 1 min |
"""
STUBS = (
    "docs/maintainers.md",
    "data/README.md",
    "data/weights/README.md",
    "grading/README.md",
    "benchmarks/README.md",
)


@pytest.fixture
def project(tmp_path):
    """A course of one notebook and one module."""
    try:
        require_packages()
    except MissingPackage as error:
        pytest.skip(f"no site is built: {error}")
    for name in STUBS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("# A text\n", encoding="utf-8")
    shutil.copytree(project_folder() / "docs" / "site", tmp_path / "docs" / "site")
    (tmp_path / "docs/site/glossary.md").write_text("# Glossary\n", encoding="utf-8")
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    results = "benchmarks/results"
    (tmp_path / results).mkdir()
    shutil.copy(project_folder() / results / "startup.json", tmp_path / results)
    (tmp_path / "elfw_helpers/utils").mkdir(parents=True)
    for name in ("__init__.py", "errors.py"):
        (tmp_path / "elfw_helpers/utils" / name).touch()
    (tmp_path / "notebooks/student").mkdir(parents=True)
    (tmp_path / "figures").mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "figures" / "one.png")
    return tmp_path


def write_notebook(project, text: str) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (3, 3)).save(picture, "PNG")
    data = {"image/png": base64.b64encode(picture.getvalue()).decode()}
    figure = new_output("display_data", data, metadata={"image/png": {"alt": "A black square"}})
    cells = [
        new_markdown_cell(f"# 00 · Small\n\n$$\\frac{{1}}{{2}}$$\n\n{text}"),
        new_markdown_cell("<details><summary>Answer</summary>\nIt is $x^2$.\n</details>"),
        new_code_cell("# exercise: one", outputs=[figure], execution_count=1),
    ]
    python = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    nbformat.write(new_notebook(cells=cells, metadata=python), project / "notebooks" / "00_small.ipynb")


def test_a_site_has_formulas_alt_texts_folded_solutions_and_a_reference(project):
    write_notebook(project, "[The data](../data/README.md)")
    front = build_site(project, project / "site")
    page = (project / "site/notebooks/00_small.html").read_text(encoding="utf-8")
    assert "<mfrac>" in page and "<msup>" in page
    assert 'alt="A black square"' in page and "Show a solution" in page
    assert "DataError" in (project / "site/reference/utils.html").read_text(encoding="utf-8")
    findings = Findings()
    check_files(front.parent, sorted(front.parent.rglob("*.html")), findings)
    assert findings.faults == []


def test_a_dead_link_is_no_site(project):
    write_notebook(project, "[Gone](gone.md)")
    with pytest.raises(ElfwError, match="mend what the lines above name"):
        build_site(project, project / "site")
