"""Cells of IPython as plain Python: shell commands and magics are left out; runs inside the sandbox."""

import builtins
import re

__builtins__ = dict(vars(builtins))  # see encode.py

# `%%time` and its like run the Python below them; after any other, such as `%%bash`, comes no Python.
TRANSPARENT = re.compile(r"%%(?:time|timeit|capture|prun)\b")
MAGIC_LINE = re.compile(r"^([ \t]*)(?:[!%].*|\?+\w.*|[\w.]+\?+[ \t]*)$", re.MULTILINE)
MAGIC_VALUE = re.compile(r"^([ \t]*[\w., ]+= *)[!%].*$", re.MULTILINE)


def compile_cell(source):
    """Return the code of a cell; lines that only IPython understands do nothing, or give None.

    Raises:
        SyntaxError: it is no Python even so.
    """
    try:
        return compile(source, "<cell>", "exec")
    except SyntaxError:
        return compile(strip_magics(source), "<cell>", "exec")


def strip_magics(source):
    """Return the source of a cell without magics and shell commands."""
    if source.lstrip().startswith("%%"):
        first, _, source = source.lstrip().partition("\n")
        if not TRANSPARENT.match(first):
            return ""
    source = re.sub(r"\\\n", " ", source) if re.search(r"^[ \t]*[!%].*\\\n", source, re.MULTILINE) else source
    return MAGIC_VALUE.sub(r"\1None", MAGIC_LINE.sub(r"\1pass", source))
