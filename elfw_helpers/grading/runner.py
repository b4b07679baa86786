"""Runs a submission's code, inside the sandbox: what it is told to, one request at a time.

It knows no expected value and no points; whatever a student's code does to it, it does to itself.
Requests come on the first descriptor, answers go out by the second; what is printed goes to the third.
"""

import builtins
import os
import random
import resource
import sys
import types
from json.encoder import encode_basestring_ascii as quote

__builtins__ = dict(vars(builtins))  # see encode.py

from elfw_helpers.grading.encode import Encoder
from elfw_helpers.grading.magics import compile_cell

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
        self.names = {"__name__": "__main__", "__builtins__": builtins}
        self.base = {}
        self.encoder = None
        self.builtins, self.set_recursion_limit = dict(vars(builtins)), sys.setrecursionlimit
        # Functions of C: those of Python call builtins that a student may have replaced.
        self.seeds = [super(random.Random, random._inst).seed]

    def set_up(self, code):
        """Run the key's own code, and keep what must not be changed by a student's."""
        exec(compile(code, "<setup>", "exec"), self.names)
        self.base = {**self.names, "__builtins__": dict(vars(builtins))}
        self.encoder = Encoder()
        if numpy := sys.modules.get("numpy"):
            self.seeds.append(numpy.random.mtrand._rand.seed)
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)
            self.seeds.append(torch.default_generator.manual_seed)
        pretend_notebook(self.names)

    def start_afresh(self):
        """Set the seeds, and undo what earlier code did to Python itself: it is to lose its own only."""
        vars(builtins).update(self.builtins)
        self.set_recursion_limit(1000)
        for seed in self.seeds:
            seed(0)

    def run_cell(self, source):
        """Run a cell of the submission."""
        self.start_afresh()
        exec(compile_cell(source), self.names)

    def probe(self, name, given, call, inputs):
        """Return the encoded value of an expression about a student's name, or None without that name."""
        if name not in self.names:
            return None
        self.start_afresh()
        # Not the student's own names: one of them may be called `torch`, or `sum`.
        scope = {**self.base, name: self.names[name]}
        if inputs:
            scope["hidden"] = load_arrays(inputs)
        exec(compile(given, "<given>", "exec"), scope)
        return self.encoder.encode(eval(compile(call, "<probe>", "eval"), scope))


def load_arrays(content):
    """Return the arrays of an .npz as tensors where torch is loaded, or as NumPy's."""
    import io

    import numpy

    torch = sys.modules.get("torch")
    with numpy.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) if torch else arrays[name] for name in arrays.files}


def pretend_notebook(names):
    """Offer what a cell expects of Jupyter or Colab, doing nothing or printing."""

    class Shell:
        def __getattr__(self, name):
            return lambda *arguments, **options: None

    names["display"] = lambda *values, **options: print(*values)
    names["get_ipython"] = Shell
    colab = types.ModuleType("google.colab")
    for name in ("drive", "files", "userdata", "output"):
        setattr(colab, name, Shell())
        sys.modules[f"google.colab.{name}"] = getattr(colab, name)
    sys.modules["google.colab"] = colab


def limit_resources(user, memory, processes):
    """Become an unprivileged user, if root, and bound what one process can take; all for good."""
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    limits = {
        "CORE": 0,
        "CPU": 3600,  # should a container outlive its grader
        "DATA": 2 * memory,  # in between two looks of the watchdog, which knows the limit on all processes
        "FSIZE": 64 << 20,
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
        "NOFILE": 256,
        "STACK": 64 << 20,
    }
    if processes:
        limits["NPROC"] = processes
    for name, limit in limits.items():
        hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))


def serve(channel, runner):
    """Do what is asked until there are no more requests."""
    own_process, get_process, leave = os.getpid(), os.getpid, os._exit
    while request := channel.receive():
        verb, secret, parts = request
        kind, content = "done", '""'
        try:
            if verb == "probe":
                name, given, call = [part.decode() for part in parts[:3]]
                value = runner.probe(name, given, call, parts[3])
                kind, content = ("undefined", '""') if value is None else ("value", value)
            else:
                (runner.set_up if verb == "setup" else runner.run_cell)(parts[0].decode())
        except MemoryError:
            kind = "memory"
        except BaseException as error:
            kind, content = "raised", quote(KNOWN_ERRORS.get(type(error), "another error"))
            if verb == "setup":
                content = quote(f"{type(error).__name__}: {error}"[:500])
        if get_process() != own_process:
            leave(0)  # a fork made by the student's code, which must not answer a second time
        channel.answer(secret, kind, content)


if __name__ == "__main__":
    limit_resources(*(int(argument) for argument in sys.argv[1:]))
    sys.argv = [""]
    serve(Channel(), Runner())
