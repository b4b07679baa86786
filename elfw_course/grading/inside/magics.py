"""Parses cells as IPython does, and does what is harmless of their magics; runs inside the sandbox."""

import ast
import builtins
import contextlib
import importlib
import os
import re
import types

__builtins__ = dict(vars(builtins))  # see encode.py

PARSE = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
# Their body is Python that runs among the student's names; the body of others, such as `%%bash`, is not.
TRANSPARENT = {"time", "timeit", "capture", "prun", "memit"}
OPTIONS = re.compile(r"^\s*(?:-[nrpsTDl]\s*\S+\s+|--?\w[\w-]*\s+)*")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
WORD = re.compile(r"[^\W\d]\w*")
SHELL_SECONDS = 2
# What IPython rewrites: magics, shell commands and help; a line that begins like a call without brackets;
# prompts; a cell that is indented as a whole. It reads token by token, and on Python 3.12.1 a line of a
# million quotes takes 20 seconds so (on 3.11 and 3.13 less than one).
OF_IPYTHON = re.compile(r"[%!?]|^[ \t]*[,;/]|>>>|\.\.\.|In \[|\A(?:[ \t]*\n)*[ \t]", re.MULTILINE)


def parse_cell(source):
    """Return the statements of a cell, and the text that their line numbers are of.

    Magics and shell commands become calls of `get_ipython()`, by IPython's own rewriting of text.

    Raises:
        SyntaxError: it is no Python even so.
    """
    try:
        return parse(source).body, source
    except (SyntaxError, ValueError) as error:
        if not OF_IPYTHON.search(source):
            raise error if isinstance(error, SyntaxError) else SyntaxError(str(error)) from None
        # Imported late, because it takes half a second and most cells are plain Python.
        from IPython.core.inputtransformer2 import TransformerManager

        text = TransformerManager().transform_cell(source)
        try:
            statements = parse(text).body
        except ValueError:  # a null character
            raise SyntaxError(str(error)) from None
    name, line, body = _read_cell_magic(statements)
    if name not in TRANSPARENT:
        return statements, text
    statements, text = parse_cell(body)
    target = OPTIONS.sub("", f"{line} ").strip()
    if name == "capture" and target.isidentifier():
        statements = [*parse(f"{target} = get_ipython().capture()").body, *statements]
    return statements, text


def parse(text):
    """Return the syntax tree of Python that may await outside of functions."""
    return compile(text, "<cell>", "exec", PARSE, dont_inherit=True)


def _read_cell_magic(statements):
    """Return name, line and body of the magic that is all of a cell, or three times None."""
    match statements:
        case [
            ast.Expr(
                ast.Call(
                    ast.Attribute(attr="run_cell_magic"),
                    [ast.Constant(str(name)), ast.Constant(str(line)), ast.Constant(str(body))],
                )
            )
        ]:
            return name, line, body
    return None, None, None


class OutputLines(list):
    """What a shell command printed, by lines; IPython's `SList`."""

    l = list = property(list)  # noqa: E741
    n = nlstr = property("\n".join)
    s = spstr = property(" ".join)


class Shell:
    """What `get_ipython()` returns: the magics that change a student's names or files; others do nothing."""

    def __init__(self, names):
        self.user_ns = names

    def __getattr__(self, name):
        return lambda *arguments, **options: None

    def run_line_magic(self, magic_name, line="", *_, **__):
        """Do what `%magic_name line` does, where that is useful here."""
        if magic_name in TRANSPARENT:
            return self.run_code(OPTIONS.sub("", line))
        if magic_name == "run":
            return self._run_file(line.split())
        if magic_name in ("env", "set_env"):
            return _set_variable(line.strip())
        if magic_name in ("sx", "system"):
            return self.getoutput(line)
        if magic_name == "cd":
            with contextlib.suppress(OSError):
                os.chdir(os.path.expanduser(line.strip().strip("'\"") or "~"))
        return os.getcwd() if magic_name == "pwd" else None

    def run_cell_magic(self, magic_name, line="", cell=""):
        """Do what `%%magic_name line` does with a cell."""
        if magic_name in TRANSPARENT:
            return self.run_code(cell)
        if magic_name in ("writefile", "file"):
            *options, path = line.split()
            path = os.path.expanduser(path.strip("'\""))
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)  # `!mkdir` has done nothing
            with open(path, "a" if "-a" in options else "w", encoding="utf-8") as stream:
                stream.write(cell)
            importlib.invalidate_caches()
        return None

    def magic(self, line):
        """Do what `%line` does; an older name."""
        name, _, rest = line.lstrip("%").partition(" ")
        return self.run_line_magic(name, rest)

    def run_code(self, code):
        """Run code among the student's names; return the value of a single expression."""
        try:
            return eval(compile(code.strip(), "<magic>", "eval"), self.user_ns)
        except SyntaxError:
            exec(compile(code, "<magic>", "exec"), self.user_ns)

    def _run_file(self, words):
        """Do what `%run` does with a file of Python; its arguments are left out."""
        path = next((os.path.expanduser(word.strip("'\"")) for word in words if not word.startswith("-")), "")
        with open(path if path.endswith(".py") else f"{path}.py", encoding="utf-8") as stream:
            self.run_code(stream.read())

    def getoutput(self, command, *_, **__):
        """Return what a shell command prints: somebody asks for its value, so it is run, for a moment."""
        import subprocess

        from IPython.utils.text import DollarFormatter

        with contextlib.suppress(Exception):  # as in IPython: what cannot be filled in is the shell's
            command = DollarFormatter().vformat(command, [], self.user_ns)
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        try:
            done = subprocess.run(["/bin/sh", "-c", command], timeout=SHELL_SECONDS, **options)
        except (subprocess.TimeoutExpired, OSError):
            return OutputLines()
        return OutputLines(done.stdout.decode("utf-8", "replace").splitlines())

    def capture(self):
        """Return what `%%capture NAME` makes, empty."""
        return types.SimpleNamespace(stdout="", stderr="", outputs=[], show=lambda: None)


def _set_variable(line):
    """Do what `%env line` does: show environment variables, or set one."""
    name, found, value = re.match(r"(\w*)\s*(=?|\s)\s*(.*)", line, re.DOTALL).groups()
    if value or found == "=":
        os.environ[name] = value
        return None
    return os.environ.get(name) if name else dict(os.environ)
