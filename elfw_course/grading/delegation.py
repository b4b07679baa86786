"""Flags answers that call a function of the course, or a package that the key rules out."""

from __future__ import annotations

import ast
import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from elfw_course.grading.inside.magics import FUNCTIONS
from elfw_course.grading.key import Key

COURSE = "elfw_helpers"
MOST_CODE = 200_000  # characters of all cells together; what students write has some thousands
DEEPEST = 8  # dots of a name
LONGEST = 200  # characters of an imported name, and of what a flag names
# With its continued lines. [ \t], never \s: over many blank lines, that would take for ever. So would
# IPython's reading, which starts again after every magic: more than a minute for 300 of them in 120 KB.
MAGIC = re.compile(r"^([ \t]*)(?:[%!]|\w[\w, \t]*=[ \t]*[%!])(?:.*\\\n)*.*$", re.MULTILINE)
# Code that has its own variables.
SCOPES = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)

# A slip such as "\d" is the student's; the instructor need not read a warning about it.
warnings.filterwarnings("ignore", category=SyntaxWarning, module="a submission")


def flag_delegations(key: Key, sources: Collection[str], lecture: Iterable[str]) -> list[str]:
    """Return a flag for each exercise whose answer uses a function of the course, or a package ruled out.

    The names that an exercise's definition reads are followed through the student's own functions and
    variables. Constants of the course, in capitals, may be used, and so may what its functions returned.
    The student's cells are parsed, and never run; of the lecture's cells, a submission may use the imports.
    """
    if sum(map(len, sources)) > MOST_CODE:
        return ["too much code to see whose functions it uses"]
    trees, given = list(filter(None, map(_parse, sources))), filter(None, map(_parse, lecture))
    origins, definitions = _find_imports([*given, *trees]), _find_definitions(trees)
    flags = []
    for exercise in key.exercises:
        packages = {COURSE, *exercise.without} - set(exercise.may_use)
        used = sorted(
            name
            for name in _follow_names(exercise.name, definitions, origins)
            if name.partition(".")[0] in packages and not name.rpartition(".")[2].isupper()
        )
        if used:
            flags.append(f"{exercise.name}: uses {', '.join(used[:3])[:LONGEST]}")
    return flags


def _parse(source: str) -> ast.Module | None:
    """Return the syntax tree of a cell, without its magics; None if it is not Python."""
    for text in (source, MAGIC.sub(r"\1pass", source)):
        try:
            return ast.parse(text, "a submission")
        except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
            continue
    return None


def _find_imports(trees: Iterable[ast.Module]) -> dict[str, str]:
    """Return what each imported name stands for, a dotted name; of two, the last."""
    origins = {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                origins[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                package = alias.name.partition(".")[0]
                origins[alias.asname or package] = alias.name if alias.asname else package
    return {name: origin for name, origin in origins.items() if len(origin) <= LONGEST}


def _find_definitions(trees: Iterable[ast.Module]) -> dict[str, list[ast.stmt]]:
    """Return the outermost statements that make each name, imports aside."""
    definitions = defaultdict(list)
    for statement in (statement for tree in trees for statement in tree.body):
        # The variables of a function are its own.
        nodes = [statement] if isinstance(statement, FUNCTIONS) else list(ast.walk(statement))
        made = {node.name for node in nodes if isinstance(node, FUNCTIONS)}
        made |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        for name in made:
            definitions[name].append(statement)
    return definitions


def _follow_names(answer: str, definitions: dict[str, list[ast.stmt]], origins: dict[str, str]) -> set[str]:
    """Return the dotted names of all imported things that an answer leads to."""
    used, entered, waiting = set(), set(), {answer}
    while waiting:
        dotted = waiting.pop()
        first, dot, rest = dotted.partition(".")
        if first in origins and first not in definitions:
            used.add(f"{origins[first]}{dot}{rest}")
        elif first not in entered:
            new = {first, *definitions[first]} - entered
            entered |= new
            for statement in new - {first}:
                made_by = set() if first == answer else _find_makers(statement, definitions)
                waiting |= set(_read_names(statement)) - made_by
    return used


def _find_makers(statement: ast.stmt, definitions: Collection[str]) -> set[str]:
    """Return the imported function that only made a variable, as in `device = choose_device()`."""
    value = getattr(statement, "value", None)
    called = _read_names(value.func) if isinstance(value, ast.Call) else ()
    return {name for name in called if name.partition(".")[0] not in definitions}


def _read_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that code reads from outside, dotted as far as they are; annotations aside."""
    waiting: list[tuple[ast.AST, tuple[set[str], ...]]] = [(tree, ())]
    while waiting:
        node, bound = waiting.pop()
        attributes = []
        while isinstance(node, ast.Attribute) and len(attributes) < DEEPEST:
            attributes.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load) and not any(node.id in names for names in bound):
                yield ".".join([node.id, *reversed(attributes)])
            continue
        inner = bound
        if isinstance(node, SCOPES) and len(bound) < DEEPEST:
            inner = (*bound, _find_bound(node))
        for field, value in ast.iter_fields(node):
            if field not in ("annotation", "returns"):
                # Decorators and defaults are evaluated outside of their function.
                names = bound if field in ("decorator_list", "args") else inner
                values = value if isinstance(value, list) else [value]
                waiting += [(one, names) for one in values if isinstance(one, ast.AST)]


def _find_bound(scope: ast.AST) -> set[str]:
    """Return the variables of a function, lambda or comprehension: arguments, and what it assigns."""
    bound, outer, waiting = set(), set(), list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            outer.update(node.names)
        elif isinstance(node, FUNCTIONS):
            bound.add(node.name)
        if not isinstance(node, (*SCOPES, ast.ClassDef)):
            waiting += ast.iter_child_nodes(node)
    return bound - outer
