"""Slides of a notebook, from its tagged cells: one page that holds all it needs, with the speaker's notes."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import nbformat
from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert import SlidesExporter
from nbformat import NotebookNode

from elfw_course.student import CHECK, EXERCISE, format_notebook, write_if_changed
from elfw_course.web_page import WITH_ALT_TEXTS, OfflineExporter, read_executed
from elfw_helpers.utils.errors import ElfwError, MissingPackage

# What `show_metrics` and `show_table` leave beside their text.
METRICS = "application/vnd.elfw.metrics+json"
# Reveal.js comes in this package.
REVEAL_PACKAGE = "sphinx_revealjs"
ANSWER = re.compile(r"<details>\s*<summary>Answer</summary>(.*?)</details>", re.DOTALL)
# Paragraphs for those who open the notebook, not for those who watch.
FOR_READERS = re.compile(
    r"^(?:On Colab:|\[!\[Open in Colab|\*\*You need|\*\*Time).*?(?:\n\s*\n|\Z)", re.MULTILINE | re.DOTALL
)
HEADING = re.compile(r"^(#+) ", re.MULTILINE)
# From here on, a notebook is work for students, not a talk.
END = re.compile(r"^## Exercises", re.MULTILINE)
DEFINITION = re.compile(r"^(?:def|class) ", re.MULTILINE)
TEMPLATE = """
{%- extends 'reveal/index.html.j2' -%}
{% block header %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ resources.metadata.name }}: slides</title>
{{ resources.include_css("static/index.css") }}
{{ resources.include_css("static/theme-light.css") }}
{% for style in resources.inlining.css %}<style>{{ style }}</style>{% endfor %}
<style>{{ resources.slides.styles }}</style>
</head>
{% endblock header %}
{% block footer %}
<script>{{ resources.slides.scripts }}</script>
</html>
{% endblock footer %}
"""
# A slide that is too high for the screen is made smaller.
START = """
const fit = ({currentSlide: slide}) => {
  for (let zoom = 1; zoom > 0.4; zoom -= 0.05) {
    slide.style.zoom = zoom;
    if (slide.getBoundingClientRect().height / Reveal.getScale() <= 700) break;
  }
};
Reveal.on("ready", fit);
Reveal.on("slidechanged", fit);
Reveal.initialize({
  width: 1280, height: 720, margin: 0.02, center: false, hash: true, slideNumber: "c/t", transition: "none",
  plugins: [RevealNotes],
});
"""


def write_slides(path: Path, out: Path) -> Path:
    """Write the slides of an executed notebook into a folder, and return their file.

    Raises:
        ElfwError: the notebook has not been executed or has no tagged cells, or a package is missing.
    """
    reveal = find_reveal()
    notebook = read_executed(path)
    if not any(cell.metadata.get("slideshow") for cell in notebook.cells):
        raise ElfwError(f"{path} has no slides: no cell is tagged. `elfw tag-slides` tags them.")
    for cell in notebook.cells:
        if shows_result(cell) and not DEFINITION.search(cell.source):
            cell.metadata["transient"] = {"remove_source": True}
    styles = [reveal / "dist" / "reveal.css", Path(__file__).with_name("slides.css")]
    scripts = [reveal / "dist" / "reveal.js", reveal / "plugin" / "notes" / "notes.js"]
    slides = {
        "styles": "\n".join(file.read_text(encoding="utf-8") for file in styles),
        "scripts": "\n".join([*(file.read_text(encoding="utf-8") for file in scripts), START]),
    }
    exporter = OfflineSlides(
        raw_template=TEMPLATE + WITH_ALT_TEXTS,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    resources = {"metadata": {"name": path.stem, "path": str(path.parent)}, "slides": slides}
    page = exporter.from_notebook_node(notebook, resources)[0]
    file = out / f"{path.stem}.html"
    write_if_changed(file, page)
    return file


class OfflineSlides(OfflineExporter, SlidesExporter):
    """Writes a notebook as slides that make no request; folded answers become the speaker's notes."""

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        """Return the HTML of a text cell."""
        html = super().markdown2html(context, FOR_READERS.sub("", source))
        is_note = context["cell"].metadata.get("slide_type") == "notes"
        return ANSWER.sub(r"<p>\1</p>" if is_note else r'<aside class="notes">\1</aside>', html)


def find_reveal() -> Path:
    """Return the folder of reveal.js, or raise MissingPackage with the command that installs it."""
    found = find_spec(REVEAL_PACKAGE)
    if not found:
        raise MissingPackage(f'no package {REVEAL_PACKAGE}. For slides, do: pip install -e ".[site]"')
    return Path(found.origin).parent / "_static" / "revealjs"


def tag_cells(path: Path) -> int:
    """Tag the cells of a notebook's file that have no place in its slides yet; return how many there were.

    The tag is Jupyter's own: `slide_type` in a cell's `slideshow` metadata.
    """
    notebook = nbformat.read(path, as_version=4)
    tagged, ended = 0, False
    for cell in notebook.cells:
        ended = ended or bool(cell.cell_type == "markdown" and END.search(cell.source))
        if not cell.metadata.get("slideshow"):
            kind = "skip" if ended else choose_slide_type(cell)
            cell.metadata["slideshow"] = {"slide_type": kind}
            tagged += 1
    if tagged:
        write_if_changed(path, format_notebook(notebook))
    return tagged


def choose_slide_type(cell: NotebookNode) -> str:
    """Return where a cell belongs: sections, figures, tables and definitions are slides, other text notes."""
    if cell.cell_type == "markdown":
        heading = HEADING.search(cell.source)
        if heading and len(heading[1]) < 3:
            return "slide"
        is_report = cell.source.startswith("> **The report said")
        return "subslide" if heading or is_report else "notes"
    if EXERCISE.match(cell.source) or CHECK.match(cell.source):
        return "skip"
    return "subslide" if shows_result(cell) or DEFINITION.search(cell.source) else "skip"


def shows_result(cell: NotebookNode) -> bool:
    """Say whether a code cell shows a figure or a table."""
    kinds = {kind for output in cell.get("outputs", []) for kind in output.get("data", {})}
    return bool(kinds & {"image/png", METRICS})
