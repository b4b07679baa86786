"""Formulas become MathML, and all of the notebooks' do."""

import re

import nbformat
import pytest

from elfw_course.formulas import format_formula, format_formulas
from elfw_course.student import list_notebooks
from elfw_helpers.utils.paths import project_folder


def test_a_formula_in_a_line_and_one_on_its_own():
    assert re.search(r'display="inline".*<mfrac>.*<mn>1</mn>', format_formula(r"\frac{1}{2}"))
    assert 'display="block"' in format_formula("x", block=True)
    assert '<mi>ln</mi><mspace width="0.17em" /><mi>p</mi>' in format_formula(r"\ln p")


def test_what_is_no_formula_stays_readable():
    assert format_formula(r"\frac") == '<code class="unread-formula">\\frac</code>'
    assert "&lt;" in format_formula(r"\left( a < 1")


def test_html_keeps_code_and_prices():
    html = r"<code>$x$</code> costs \$5 and <pre>$a$ $$b$$</pre>"
    assert format_formulas(html) == html
    shown = format_formulas("if $p &lt; 1$, then $$q$$")
    assert shown.count("<math") == 2 and shown.count('display="block"') == 1 and "$" not in shown


@pytest.mark.parametrize(
    "path", list_notebooks(project_folder() / "notebooks"), ids=lambda path: path.stem[:2]
)
def test_every_formula_of_a_notebook_is_read(path):
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    for text in texts:
        without_code = re.sub(r"```.*?```|`[^`]*`|^    .*$", "", text, flags=re.DOTALL | re.MULTILINE)
        shown = format_formulas(without_code)
        assert "unread-formula" not in shown and "$" not in shown, text
