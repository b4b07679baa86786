"""Web pages of executed notebooks that need no network: formulas as MathML, pictures inside, no scripts."""

from __future__ import annotations

import base64
import os
import re
import shlex
import sys
from pathlib import Path

import nbformat
from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from elfw_course.formulas import format_formulas
from elfw_helpers.utils.errors import ElfwError, MissingPackage

# [![words](picture on the web)](link): a browser would fetch the picture, but the link only on a click.
BADGE = re.compile(r"\[!\[([^\]]*)\]\(https?://[^)]*\)\]")
PICTURE = re.compile(r"(!\[[^\]]*\]\()([^):]+\.png)\)")
# nbconvert's own page without its scripts, which would be fetched, and with the alt text that `save_figure`
# gives a figure, which nbconvert leaves out.
OFFLINE = """
{%- extends 'lab/index.html.j2' -%}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
"""
WITH_ALT_TEXTS = """
{% block data_png scoped %}
<div class="jp-RenderedImage jp-OutputArea-output {{ extra_class }}">
<img alt="{{ output | get_metadata('alt', 'image/png') | default('', true) | escape_html }}"
 src="data:image/png;base64,{{ output.data['image/png'] | escape_html }}">
</div>
{%- endblock data_png %}
"""


def read_executed(path: Path) -> NotebookNode:
    """Return a notebook; raise ElfwError if a code cell has not run, for its output would be missing."""
    notebook = nbformat.read(path, as_version=4)
    codes = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    missing = sum(cell.execution_count is None for cell in codes)
    if missing:
        raise ElfwError(
            f"{path} has not been executed: {missing} of its {len(codes)} code cells have not run. "
            "Execute the notebooks with `make refresh`, and start again."
        )
    return notebook


def replace_badges(markdown: str) -> str:
    """Turn badges, pictures on the web that are links, into links of words."""
    return BADGE.sub(r"[\1]", markdown)


def embed_pictures(markdown: str, folder: Path) -> str:
    """Put the pictures of a text into it; nbconvert leaves out those that lie beside the notebook's folder.

    Args:
        folder: where relative links start. Nothing outside of the folder above it is read.
    """

    def embed(found: re.Match[str]) -> str:
        file = (folder / found[2]).resolve()
        if not (file.is_relative_to(folder.resolve().parent) and file.is_file()):
            return found[0]
        content = base64.b64encode(file.read_bytes()).decode("ascii")
        return f"{found[1]}data:image/png;base64,{content})"

    return PICTURE.sub(embed, markdown)


class OfflineExporter(HTMLExporter):
    """Writes a notebook as a page that makes no request.

    Raises:
        MissingPackage: nbconvert's templates, which lie beside its package, are not in this environment.
    """

    def __init__(self, **options: object):
        try:
            super().__init__(**options)
        except ValueError as error:
            # As nbconvert's `get_template_names` says it, with the folders where it looked.
            if not str(error).startswith("No template sub-directory"):
                raise
            python = shlex.quote(sys.executable) if os.name == "posix" else f'"{sys.executable}"'
            mend = f"{python} -m pip install --force-reinstall --no-deps nbconvert"
            found = f"nbconvert's page templates are not in {sys.prefix}/share/jupyter"
            raise MissingPackage(f"{found}, so no page can be written. Do: {mend}") from error

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        """Return the HTML of a text cell, with its formulas as MathML and its pictures inside."""
        folder = Path(context["resources"]["metadata"]["path"])
        return format_formulas(super().markdown2html(context, embed_pictures(replace_badges(source), folder)))


def make_exporter() -> OfflineExporter:
    """Return what writes pages; raise MissingPackage where this environment lacks its templates."""
    return OfflineExporter(raw_template=OFFLINE + WITH_ALT_TEXTS)


def format_page(notebook: NotebookNode, path: Path) -> str:
    """Return a notebook's page.

    Args:
        path: of the notebook's file; its relative links start there.
    """
    resources = {"metadata": {"name": path.stem, "path": str(path.parent)}}
    return make_exporter().from_notebook_node(notebook, resources)[0]
