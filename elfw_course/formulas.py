"""Formulas for web pages: LaTeX becomes MathML, which browsers draw by themselves, without a network."""

from __future__ import annotations

import re
from html import escape, unescape

from latex2mathml.converter import convert

# $$...$$ or $...$ in HTML; what stands in <code> or <pre> is no formula.
IN_HTML = re.compile(
    r"(?P<kept><(?P<tag>code|pre)\b.*?</(?P=tag)>)"
    r"|(?<!\\)\$\$(?P<block>[^$]+)\$\$"
    r"|(?<![\\$])\$(?P<inline>[^$]+)(?<!\\)\$",
    re.DOTALL,
)
# As TeX does, a function's name keeps a distance from what follows, unless that is a bracket or a sign.
FUNCTION = re.compile(r"(<mi>(?:exp|ln|log)</mi>)(?=<m[^o])")


def format_formula(latex: str, block: bool = False) -> str:
    """Return a formula as MathML, or its LaTeX as code where it cannot be read.

    Args:
        latex: without the dollars around it.
        block: on a line of its own.
    """
    try:
        formula = convert(latex.strip(), display="block" if block else "inline")
    except Exception:  # latex2mathml's errors have no class in common, and some are Python's own
        return f'<code class="unread-formula">{escape(latex)}</code>'
    return FUNCTION.sub(r'\1<mspace width="0.17em" />', formula)


def format_formulas(html: str) -> str:
    """Replace the formulas between dollars in HTML by MathML."""

    def replace(found: re.Match[str]) -> str:
        if found["kept"]:
            return found["kept"]
        return format_formula(unescape(found["block"] or found["inline"]), block=bool(found["block"]))

    return IN_HTML.sub(replace, html)
