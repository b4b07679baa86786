"""Every text that is read or written names its encoding: Windows' own is another than Linux'."""

import ast
from collections.abc import Iterator

import pytest

from elfw_helpers.utils.paths import project_folder

# Where the encoding would stand among the arguments.
ENCODING_AT = {"read_text": 0, "write_text": 1}
# Their `open` is for no text.
NO_TEXT = {"Image", "os", "webbrowser"}


def is_binary(call: ast.Call) -> bool:
    """Say whether a call names a mode for bytes."""
    named = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    modes = [value.value for value in [*call.args, *named] if isinstance(value, ast.Constant)]
    return any(isinstance(mode, str) and len(mode) <= 3 and "b" in mode for mode in modes)


def is_text(call: ast.Call) -> bool:
    """Say whether a call reads or writes text in an encoding that it does not name."""
    keywords = {keyword.arg for keyword in call.keywords}
    if keywords & {"encoding", None}:
        return False
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ENCODING_AT:
        return len(call.args) <= ENCODING_AT[name]
    if name in ("open", "fdopen"):
        owner = getattr(getattr(call.func, "value", None), "id", "")
        return not is_binary(call) and (name, owner) not in {("open", one) for one in NO_TEXT}
    return bool(keywords & {"text", "universal_newlines"}) and name in ("run", "Popen", "check_output")


def find_unnamed(source: str) -> Iterator[int]:
    """Yield the lines of calls that leave the encoding to the machine."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and is_text(node):
            yield node.lineno


@pytest.mark.parametrize("folder", ["elfw_helpers", "benchmarks", "tests"])
def test_every_text_names_its_encoding(folder):
    unnamed = [
        f"{path.relative_to(project_folder())}:{line}"
        for path in sorted((project_folder() / folder).rglob("*.py"))
        for line in find_unnamed(path.read_text(encoding="utf-8"))
    ]
    assert unnamed == []


def test_the_search_finds_what_it_is_for():
    unnamed = "a.read_text()", "a.write_text('')", "open(a)", "a.open('a')", "run(a, text=True)"
    named = "a.read_text('utf-8')", "open(a, 'rb')", "a.open('w', encoding='utf-8')", "Image.open(a)"
    assert list(find_unnamed("\n".join(unnamed))) == [1, 2, 3, 4, 5]
    assert list(find_unnamed("\n".join(named))) == []
