"""What the site asks of Sphinx beyond its own: formulas as MathML, and pages that the keyboard can use."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxTranslator

from elfw_course.formulas import format_formula, format_formulas

# Code, formulas and tables may be wider than a phone: the tab key has to reach what scrolls. A
# heading needs a level.
ACCESSIBLE = {
    "<pre>": '<pre tabindex="0">',
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
    '<div class="math-wrapper': '<div tabindex="0" class="math-wrapper',
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
}


def show_inline_formula(translator: SphinxTranslator, node: nodes.math) -> None:
    """Write a formula within a line."""
    translator.body.append(format_formula(node.astext()))
    raise nodes.SkipNode


def show_block_formula(translator: SphinxTranslator, node: nodes.math_block) -> None:
    """Write a formula on a line of its own."""
    translator.body.append(format_formula(node.astext(), block=True))
    raise nodes.SkipNode


def show_formulas_in_html(app: Sphinx, document: nodes.document) -> None:
    """Replace the formulas in a text's own HTML, such as a folded answer; Sphinx leaves HTML as it is."""
    for node in document.findall(nodes.raw):
        if "html" in node["format"].split() and "$" in node.astext():
            node.replace_self(nodes.raw("", format_formulas(node.astext()), format="html"))


def make_accessible(app: Sphinx, page: str, template: str, context: dict, document: object) -> None:
    """Mend a page's HTML as ACCESSIBLE says, after the theme has written its list of pages."""
    for part in ("body", "furo_navigation_tree"):
        for old, new in ACCESSIBLE.items():
            context[part] = context.get(part, "").replace(old, new)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the above with Sphinx."""
    app.add_html_math_renderer("mathml", (show_inline_formula, None), (show_block_formula, None))
    app.connect("doctree-read", show_formulas_in_html)
    app.connect("html-page-context", make_accessible, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
