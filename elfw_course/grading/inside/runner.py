"""Runs a submission's code inside the sandbox, one request at a time.

It knows no expected value and no points; whatever a student's code does to it, it does to itself.
Requests come on the first descriptor, answers go out by the second; what is printed goes to the third.
"""

import __future__

import ast
import builtins
import contextlib
import functools
import inspect
import linecache
import operator
import os
import random
import resource
import symtable
import sys
import types
from json.encoder import encode_basestring_ascii as quote

__builtins__ = dict(vars(builtins))  # see encode.py

from elfw_course.grading.inside.encode import Encoder, read_parents
from elfw_course.grading.inside.magics import FUNCTIONS, WORD, Shell, parse_cell

FEATURES = (getattr(__future__, name) for name in __future__.all_feature_names)
FUTURE = functools.reduce(operator.or_, (feature.compiler_flag for feature in FEATURES))
DEFINES = (*FUNCTIONS, ast.Import, ast.ImportFrom)
MOST_RECURSION = 30_000
MOST_NAMES = 500  # of one cell
KNOWN_ERRORS = {
    kind: kind.__name__
    for kind in vars(builtins).values()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}


class Channel:
    """Requests and answers, on descriptors that a student's code is not told of."""

    def __init__(self):
        # The functions are kept: a student's code may replace those of the module.
        self.read, self.write = os.read, os.write
        self.requests, self.answers = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)

    def receive(self):
        """Return (what to do, the request's secret, its parts as bytes), or None at the end."""
        header = b""
        while not header.endswith(b"\n"):
            byte = self.read(self.requests, 1)
            if not byte:
                return None
            header += byte
        verb, secret, *sizes = header.decode().split()
        return verb, secret, [self._read_all(int(size)) for size in sizes]

    def answer(self, secret, kind, content='""'):
        """Send an answer; it begins a new line, whatever a student's code has written before it."""
        text = f'\n{{"secret":"{secret}","kind":"{kind}","content":{content}}}\n'.encode()
        while text:
            text = text[self.write(self.answers, text) :]

    def _read_all(self, size):
        parts = []
        while size:
            part = self.read(self.requests, min(size, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class Runner:
    """The student's names, and what is done with them."""

    def __init__(self):
        # What a cell defines belongs to the module `__main__`, where pickle and torch look for it.
        self.main = types.ModuleType("__main__")
        self.names = vars(self.main)
        self.names["__builtins__"] = builtins
        self.base, self.kept = {}, {}
        self.encoder = None
        self.cells, self.codes, self.last = 0, [], ""
        self.loop, self.awaits = None, False
        self.flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self.builtins = dict(vars(builtins))
        self.recursion_limit, self.set_recursion_limit = sys.getrecursionlimit, sys.setrecursionlimit
        # Functions of C: those of Python call builtins that a student may have replaced.
        self.seeds = [super(random.Random, random._inst).seed]

    def answer(self, verb, parts):
        """Do what is asked; return the answer as JSON, or None."""
        if verb == "probe":
            return self.probe(*(part.decode() for part in parts[:3]), parts[3])
        texts = [part.decode() for part in parts]
        if verb == "names":
            return read_names(texts[0], set(texts[1].split()))
        methods = {"setup": self.set_up, "open": self.open_cell, "statement": self.run_statement}
        return methods[verb](*texts)

    def set_up(self, code, lecture="", colab=""):
        """Run the lecture's code and the key's own, and keep what must not be changed by a student's.

        With any text for `colab`, Colab's modules are there, as for a student who worked on Colab.
        """
        remember_source("<lecture>", lecture)
        for statement in ast.parse(lecture).body:
            # One that needs a variable of the lecture's fails, and the others may do without it.
            with contextlib.suppress(Exception):
                exec(compile(ast.Module([statement], []), "<lecture>", "exec"), self.names)
        exec(compile(code, "<setup>", "exec"), self.names)
        self.base = {**self.names, "__builtins__": dict(vars(builtins))}
        self.encoder = Encoder()
        if numpy := sys.modules.get("numpy"):
            self.seeds.append(numpy.random.mtrand._rand.seed)
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)
            self.seeds.append(torch.default_generator.manual_seed)
        pretend_notebook(self.names, colab)
        self.shell = self.names["get_ipython"]

    def reset(self):
        """Set the seeds, and undo what earlier code did to Python itself, so that it harms only itself."""
        vars(builtins).update(self.builtins)
        self.set_recursion_limit(max(1000, min(self.recursion_limit(), MOST_RECURSION)))
        for seed in self.seeds:
            seed(0)

    def open_cell(self, source, given=""):
        """Take a cell to run; return what each of its statements is: "definition", "assignment" or "trial".

        Of a check that the student changed, the given lines, asserts and bare expressions are not run.
        """
        self.reset()
        self.cells += 1
        statements, text = parse_cell(source)
        if given:
            known = {ast.dump(statement) for statement in list_checked(parse_cell(given)[0])}
            statements = list_checked(statements)
            statements = [one for one in statements if not isinstance(one, (ast.Assert, ast.Expr))]
            statements = [one for one in statements if ast.dump(one) not in known]
        name = f"<cell {self.cells}>"
        remember_source(name, text)
        self.codes = [self._compile(statement, name) for statement in statements]
        codes = [code for code in self.codes if isinstance(code, types.CodeType)]
        self.awaits = any(code.co_flags & inspect.CO_COROUTINE for code in codes)
        return write_list(quote(describe_statement(statement)) for statement in statements)

    def _compile(self, statement, name):
        """Return the code of a statement, or its error; `from __future__` holds for all that follows."""
        is_value = isinstance(statement, ast.Expr)
        tree = ast.Expression(statement.value) if is_value else ast.Module([statement], [])
        try:
            code = compile(tree, name, "eval" if is_value else "exec", self.flags, dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            return error
        self.flags |= code.co_flags & FUTURE
        return code

    def run_statement(self, place):
        """Run one statement of the cell that was taken last."""
        code = self.codes[int(place)]
        if not isinstance(code, types.CodeType):
            raise code
        self.names["get_ipython"] = self.shell
        value = self._run_on_loop(code) if self.awaits else eval(code, self.names)
        # As in Jupyter, `_` is the last value, unless a student uses that name.
        if value is not None and self.names.get("_") is self.last:
            self.names["_"] = self.last = value

    def _run_on_loop(self, code):
        """Run a statement where an event loop runs, as it does in Jupyter; return its value."""
        import asyncio

        async def run():
            value = eval(code, self.names)
            return await value if code.co_flags & inspect.CO_COROUTINE else value

        self.loop = self.loop or asyncio.new_event_loop()
        return self.loop.run_until_complete(run())

    def probe(self, name, given, call, inputs):
        """Return the encoded value of an expression about a student's name, or None without that name."""
        if name not in self.kept and name not in self.names:
            return None
        self.reset()
        # Asked again later, it is about what the name stood for the first time.
        self.kept.setdefault(name, self.names.get(name))
        # Not the student's own names: one of them may be called `torch`, or `sum`.
        scope = {**self.base, name: self.kept[name]}
        if inputs:
            scope["hidden"] = load_arrays(inputs)
        exec(compile(given, "<given>", "exec"), scope)
        return self.encoder.encode(eval(compile(call, "<probe>", "eval"), scope))


def list_checked(statements):
    """Return the statements of a check, with those inside of its `with check_exercise(...)` in its place."""
    listed = []
    for one in statements:
        match one:
            case ast.With([ast.withitem(ast.Call(ast.Name("check_exercise")))], body):
                listed += body
            case _:
                listed.append(one)
    return listed


def error_name(kind):
    """Return an error's name; of a library's error, that of Python's error on which it is built."""
    name = next(KNOWN_ERRORS[parent] for parent in read_parents(kind) if parent in KNOWN_ERRORS)
    return name if kind in KNOWN_ERRORS or name not in ("Exception", "BaseException") else "another error"


def describe_statement(statement):
    """Return what is lost without a statement: a "definition", an "assignment" or a mere "trial".

    What an `if`, `with`, `try` or loop does inside counts; what a function does when it is called does not.
    """
    nodes, kind = [statement], "trial"
    for node in nodes:  # which grows
        if isinstance(node, DEFINES):
            return "definition"
        if isinstance(getattr(node, "ctx", None), ast.Store):
            kind = "assignment"
        if not isinstance(node, (ast.Lambda, ast.comprehension)):
            nodes += ast.iter_child_nodes(node)
    return kind


def remember_source(name, text):
    """Keep code where `inspect` and torch.jit.script look for the source of what it defines."""
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)


def read_names(source, wanted):
    """Return the names of a cell: those that it makes at its outermost level, reads, and mentions.

    Each is a list; of the last, the wanted ones. Words in strings count, because magics hold code, but
    not those of docstrings, which are prose. Code that cannot be parsed has no names.
    """
    try:
        statements, text = parse_cell(source)
        made, read = find_names(statements, text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return "[[],[],[]]"
    mentioned = (read | words_in_strings(statements)) & wanted
    kinds = (sorted(names)[:MOST_NAMES] for names in (made - find_stubs(statements), read - made, mentioned))
    return write_list(write_list(map(quote, names)) for names in kinds)


def find_names(statements, text):
    """Return the names that some code makes at its outermost level, and all global ones that it reads."""
    nodes = list(ast.walk(ast.Module(statements, [])))
    named = {(getattr(node, "asname", None) or getattr(node, "name", None)) for node in nodes}
    names = [node for node in nodes if isinstance(node, ast.Name)]
    stored = {name.partition(".")[0] for name in named if isinstance(name, str)}
    stored |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    try:
        scopes = [symtable.symtable(text, "<cell>", "exec")]
    except SyntaxError:  # Python 3.14 knows no `await` here: all names then, of functions too
        return stored, {node.id for node in names if isinstance(node.ctx, ast.Load)}
    outer, read = scopes[0].get_symbols(), set()
    made = {symbol.get_name() for symbol in outer if symbol.is_assigned() or symbol.is_imported()}
    for scope in scopes:  # which grows
        scopes += scope.get_children()
        found = [symbol for symbol in scope.get_symbols() if symbol.is_global()]
        read |= {symbol.get_name() for symbol in found if symbol.is_referenced()}
        made |= {symbol.get_name() for symbol in found if symbol.is_assigned()}
    return made & stored, read  # to symtable, `del x` makes x


def find_stubs(statements):
    """Return the names of functions that do no more than raise NotImplementedError."""
    last = {one.name: one for one in statements if isinstance(one, FUNCTIONS)}
    return {name for name, one in last.items() if is_stub(one.body)}


def is_stub(body):
    """Say whether the body of a function only raises NotImplementedError, below a docstring at most."""
    match body:
        case [ast.Raise(exc=error)] | [ast.Expr(ast.Constant()), ast.Raise(exc=error)]:
            error = error.func if isinstance(error, ast.Call) else error
            return isinstance(error, ast.Name) and error.id == "NotImplementedError"
    return False


def words_in_strings(statements):
    """Return the words of all strings of some code but docstrings."""
    nodes = list(ast.walk(ast.Module(statements, [])))
    prose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    strings = [node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return {word for node in strings if id(node) not in prose for word in WORD.findall(node.value)}


def write_list(texts):
    """Return JSON texts as the text of a list."""
    return f"[{','.join(texts)}]"


def load_arrays(content):
    """Return the arrays of an .npz as tensors where torch is loaded, or as NumPy's."""
    import io

    import numpy

    torch = sys.modules.get("torch")
    with numpy.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) if torch else arrays[name] for name in arrays.files}


def pretend_notebook(names, colab=""):
    """Offer what a cell expects of Jupyter, or of Colab, doing no more than is harmless."""
    shell = Shell(names)
    names["display"] = shell.display
    names["get_ipython"] = lambda: shell
    names.update(In=[""], Out={}, _="")
    if not colab:
        return  # or a notebook that asks where it runs would be told: on Colab
    module = sys.modules["google.colab"] = types.ModuleType("google.colab")
    for name in ("drive", "files", "userdata", "output"):
        setattr(module, name, shell)
        sys.modules[f"google.colab.{name}"] = shell


def limit_resources(user, memory, processes):
    """Become an unprivileged user, if root, and bound what one process can take; all for good."""
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    limits = {"CORE": 0, "MEMLOCK": 0, "MSGQUEUE": 0, "NOFILE": 256, "FSIZE": 64 << 20, "STACK": 64 << 20}
    limits["CPU"] = 3600  # should a container outlive its grader
    limits["DATA"] = 2 * memory  # between two looks of the watchdog, which knows the limit on all processes
    if processes:
        limits["NPROC"] = processes
    for name, limit in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))


def serve(channel, runner):
    """Do what is asked until there are no more requests."""
    own_process, get_process, leave = os.getpid(), os.getpid, os._exit
    while request := channel.receive():
        verb, secret, parts = request
        try:
            content = runner.answer(verb, parts)
            kind = "done" if verb != "probe" else "undefined" if content is None else "value"
            content = content or '""'
        except MemoryError:
            kind, content = "memory", '""'
        except BaseException as error:
            kind, content = "raised", quote(error_name(type(error)))
            if verb == "setup":
                content = quote(f"{type(error).__name__}: {error}"[:500])
        if get_process() != own_process:
            leave(0)  # a fork made by the student's code, which must not answer a second time
        channel.answer(secret, kind, content)


if __name__ == "__main__":
    limit_resources(*(int(argument) for argument in sys.argv[1:]))
    sys.argv = [""]
    one = Runner()
    sys.modules["__main__"] = one.main
    serve(Channel(), one)
