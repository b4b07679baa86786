"""Submissions that try to break the grader, cheat it, or are merely odd; and what each must be given.

`write_all` writes them as files. `CASES` says for each its status and the points of its three exercises.
Those of `BROKEN_FILES` are no notebooks at all.
"""

# Code in text is easier to follow on one line, however long.
# ruff: noqa: E501

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

SIZE = "def conv_output_size(size, kernel_size, stride, padding):\n    return (size + 2 * padding - kernel_size) // stride + 1"
PROBABILITY = "def probability_from_loss(loss):\n    return math.exp(-loss)"
RUNS = "def count_runs(grid):\n    return math.prod(len(values) for values in grid.values())"
HONEST = {"conv_output_size": SIZE, "probability_from_loss": PROBABILITY, "count_runs": RUNS}
FULL, NOT_SIZE, NOTHING = (3, 2, 2), (0, 2, 2), (0, 0, 0)
# A function that gives the right answer only where something forbidden worked.
IF_IT_WORKED = """
def conv_output_size(size, kernel_size, stride, padding):
    return (size + 2 * padding - kernel_size) // stride + 1 if worked else -1
"""


@dataclass
class Case:
    """A submission, by what differs from an honest one.

    Attributes:
        size: the cell of the exercise conv_output_size, without its first line.
        points: what the three exercises must be given.
        status: what the status must be.
        flag: what one of the flags must hold, if anything.
        before, after: cells that the student added before and after the exercises.
    """

    size: str = SIZE
    points: tuple[int, int, int] = FULL
    status: str = "graded"
    flag: str = ""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    cells: list[dict] | None = field(default=None, repr=False)  # instead of all of the above
    more: dict = field(default_factory=dict)  # of the notebook's own fields


def attack(code: str, points=NOT_SIZE, status="graded", flag="", **more) -> Case:
    """Return a case whose first exercise runs some code, then defines what is right if `worked`."""
    return Case(f"worked = False\n{code}\n{IF_IT_WORKED}", points, status, flag, **more)


def dies(size: str, flag: str = "conv_output_size: ") -> Case:
    """Return a case whose first exercise ends the run."""
    return Case(size, NOT_SIZE, "graded in part", flag)


def costs_a_part(size: str, flag: str) -> Case:
    """Return a case whose first exercise loses the statement that ends the run, and no more."""
    return Case(
        size, status="graded in part", flag=f"conv_output_size: a part of its cell {flag} and was left out"
    )


def in_function(code: str) -> str:
    """Return an exercise that runs some code when it is probed."""
    lines = "".join(f"    {line}\n" for line in code.splitlines())
    return f"def conv_output_size(size, kernel_size, stride, padding):\n{lines}"


def code_cell(source: str, **fields) -> dict:
    """Return a code cell as JSON."""
    return {
        "cell_type": "code",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
        "source": source,
        **fields,
    }


def text_cell(source: str) -> dict:
    """Return a text cell as JSON."""
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def marked(name: str, source: str, **fields) -> dict:
    """Return the cell of an exercise."""
    return code_cell(f"# exercise: {name}\n{source}", **fields)


def honest_cells(**sources: str) -> list[dict]:
    """Return the cells of the three exercises, with some replaced, each followed by its check."""
    cells = []
    for name, source in (HONEST | sources).items():
        cells += [marked(name, source), code_cell(f"# check: {name}\nassert {name}\nprint('well done')")]
    return cells


def notebook(cells: list[dict], **more) -> dict:
    """Return a notebook as JSON, without ids."""
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells, **more}


def released() -> dict:
    """Return the notebook that students were given."""
    stubs = {
        name: source.partition("\n")[0]
        + f'\n    # your code here\n    raise NotImplementedError("write {name}")'
        for name, source in HONEST.items()
    }
    cells = [text_cell("# A course"), code_cell("import math\nimport os\n\nfaces = os.listdir('.')")]
    cells += honest_cells(**stubs)
    for place, cell in enumerate(cells):
        cell["id"] = f"cell-{place}"
    return notebook(cells, nbformat_minor=5)


FORGED = '{"secret":"0","kind":"value","content":["int","48"]}'
CASES: dict[str, Case] = {
    # Honest, or odd without harm.
    "honest": Case(),
    "untouched": Case(points=NOTHING, cells=released()["cells"]),
    "wrong kernel": Case(more={"metadata": {"kernelspec": {"name": "julia-1.9", "language": "julia"}}}),
    "ids of another": Case(cells=[{**cell, "id": "same"} for cell in honest_cells()]),
    "shell and magics": Case(
        f"!pip install torch\n%matplotlib inline\nfiles = !ls\n%time worked = 1\n{SIZE}",
        before=("%%bash\nrm -rf /", "from google.colab import drive\ndrive.mount('/content/drive')", "math?"),
        more={"metadata": {"colab": {}}},
    ),
    "checks edited": Case(cells=[code_cell("# check: conv_output_size\nconv_output_size = None"), *honest_cells()]),
    "checks deleted": Case(cells=honest_cells()[::2]),
    "no markers": Case(cells=[code_cell(source) for source in HONEST.values()], flag="found by name"),
    "found by metadata": Case(
        cells=[code_cell(s, metadata={"nbgrader": {"grade_id": n}}) for n, s in HONEST.items()],
        flag="found by metadata",
    ),
    "format 3": Case(
        cells=[], more={"nbformat": 3, "worksheets": [{"cells": [
            {"cell_type": "code", "input": cell["source"], "outputs": []} for cell in honest_cells()
        ]}]},
    ),
    "malformed cells": Case(
        cells=[None, 7, [], {}, {"cell_type": 3, "source": 4}, {"cell_type": "code", "source": [1, "x = 1\n"]},
               {"cell_type": "code", "source": "x", "metadata": [], "outputs": "no"}, *honest_cells()],
    ),
    "millions of blank lines": Case(cells=[
        *honest_cells(), text_cell("\n" * 5_000_000), code_cell(" \n" * 500_000), code_cell('"' * 999_999), text_cell("def " * 10**6)
    ]),
    "millions of words": Case(cells=[*honest_cells(), code_cell("y = '" + "x " * 500_000 + "'"), code_cell("# exercise" * 99_999)]),
    "lone surrogate": Case(cells=[*honest_cells(), code_cell("x = '\ud800'"), text_cell("\udfff")]),
    "all in one cell": Case(cells=[code_cell("\n".join(f"# exercise: {n}\n{s}" for n, s in HONEST.items()))]),
    "own helper": Case("def conv_output_size(*numbers):\n    return helper(*numbers)",
                       before=(SIZE.replace("conv_output_size", "helper"),)),
    "lecture's variable above": Case(
        f"print(faces, shape)\n{SIZE}", flag="conv_output_size: its cell raised NameError (not defined here: faces, shape)",
        before=("print(tensors)\ndef helper(x): return x",),
    ),
    "helper below": Case(SIZE.replace("(size +", "whole(size +"), flag="conv_output_size: needs what a cell further down makes",
                         after=("def whole(number):\n    return int(number)",)),
    "import below": Case(SIZE.replace("return (", "return operator.index("), flag="further down", after=("import operator",)),
    "definition below a trial": Case("print(3)", flag="found by name", cells=[
        marked("conv_output_size", "# below"), code_cell(SIZE), *honest_cells()[1:]]),
    "edited stub above its answer": Case(flag="conv_output_size: found by name", cells=[
        *honest_cells(conv_output_size="# below\ndef conv_output_size(*numbers):\n    raise NotImplementedError"), code_cell(SIZE)]),
    "guarded import and function in the check": Case(flag="conv_output_size: found in a check", cells=[
        marked("conv_output_size", "..."), code_cell("# check: conv_output_size\ntry:\n    import math as m\nexcept ImportError: pass\n"
        "if True:\n    def conv_output_size(size, kernel_size, stride, padding):\n"
        "        return m.floor((size + 2 * padding - kernel_size) / stride + 1)\nassert conv_output_size"), *honest_cells()[2:]]),
    "trial below the definition": Case(cells=[honest_cells()[0], marked("conv_output_size", "print(conv_output_size(9, 3, 1, 1))"),
                                              *honest_cells()[1:]], flag="2 cells, the last that defines it counts"),
    "draft in comments below": Case(cells=[honest_cells()[0], marked("conv_output_size", "# def conv_output_size(): ..."),
                                           *honest_cells()[1:]], flag="2 cells, the last that defines it counts"),
    "solution in the check": Case(cells=[
        released()["cells"][2], code_cell(f"# check: conv_output_size\n{SIZE}\nassert conv_output_size"), *honest_cells()[2:]],
        flag="conv_output_size: found in a check"),
    "magics that matter": Case(
        "%%time\n%env ROOM=1\nfrom helper import whole\none = !echo $ROOM\n"
        + SIZE.replace("(size +", "whole(size +").replace("+ 1", "+ int(one[0])"),
        before=("%%writefile helper.py\nwhole = 0", "%%writefile -a helper.py\ndef whole(number):\n    return number"),
    ),
    "await": Case("import asyncio\nasync def work(): return 1\ntask = asyncio.create_task(work())\none = await task\n"
                  + SIZE.replace("+ 1", "+ one")),
    "annotations of the future": Case(SIZE.replace("size,", "size: Pixels,", 1), before=("from __future__ import annotations",)),
    "newer Python": Case(f"{SIZE}\nexcept:", NOT_SIZE, flag="the notebook was written with Python 3.99.1",
                         more={"metadata": {"language_info": {"name": "python", "version": "3.99.1"}}}),
    "scratch reuses the name": Case(after=("conv_output_size = conv_output_size(64, 3, 1, 1)",)),
    # Mistakes.
    "duplicate, last wrong": Case(points=NOT_SIZE, flag="2 cells, the last one counts",
                                  cells=[*honest_cells(), marked("conv_output_size", in_function("return 0"))]),
    "duplicate, last right": Case(flag="2 cells, the last one counts",
                                  cells=[marked("conv_output_size", in_function("return 0")), *honest_cells()]),
    "attempt beside the stub": Case(cells=[*released()["cells"][2:4], code_cell(SIZE), *honest_cells()[2:]],
                                    flag="found by name"),
    "missing exercise": Case(cells=honest_cells()[2:], points=NOT_SIZE, flag="conv_output_size: not found"),
    "renamed function": Case(SIZE.replace("conv_output_size", "conv_size"), NOT_SIZE, flag="does not define it"),
    "in a text cell": Case(cells=[text_cell(SIZE), *honest_cells()[2:]], points=NOT_SIZE, flag="code in a text cell"),
    "syntax error": Case(SIZE.replace("return", "retrun ("), NOT_SIZE, flag="its cell raised SyntaxError"),
    "asks for input": Case(in_function("return int(input())"), NOT_SIZE),
    "not a number": Case(cells=honest_cells(probability_from_loss="def probability_from_loss(loss):\n    return math.nan"),
                         points=(3, 0, 2)),
    "text for a number": Case(in_function("return '48'"), NOT_SIZE),
    "bool for an int": Case(cells=honest_cells(count_runs="def count_runs(grid):\n    return True"), points=(3, 2, 0)),
    "partly right": Case(in_function("return size if stride == 1 else size // stride"), (2, 2, 2)),
    "shadowed builtins": Case(f"sum = abs = type = print = list = None\n{SIZE}", before=("int = float = str = 0",)),
    "another course": Case(cells=[code_cell("print('hello')")], points=NOTHING, status="no exercise found"),
    # Ending or holding up the run.
    "infinite loop": dies(in_function("while True: pass"), "took too long"),
    "infinite loop in the cell": costs_a_part(f"{SIZE}\nwhile True: pass", "took too long"),
    "infinite loop above": costs_a_part(f"while True: pass\n{SIZE}", "took too long"),
    "slow cells above a helper": Case(
        SIZE.replace("(size +", "whole(size +"), status="graded in part", flag="added or changed cell: took too long",
        before=("x = list(iter(int, 1))", "while True: pass", "def whole(number):\n    return number"),
    ),
    "infinite loops in added cells": Case(
        status="graded in part", flag="added or changed cell: took too long", after=("while True: pass", "x = list(iter(int, 1))"),
    ),
    "swallows interrupts": dies(
        "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        pass", "took too long"
    ),
    "sleeps in added cells": Case(status="graded in part", flag="added or changed cell: took too long",
                                  after=("import time; time.sleep(10000)",)),
    "exits": dies(in_function("os._exit(0)"), "ended its process"),
    "two exit, a cell before a check": Case(points=(0, 0, 2), status="graded in part", flag="ended its process", cells=[
        marked("conv_output_size", "import os\n" + in_function("os._exit(0)")), code_cell("x = 1"),
        code_cell("# check: conv_output_size\nassert conv_output_size\nprint('well done')"),
        *honest_cells(probability_from_loss="def probability_from_loss(loss):\n    os._exit(0)")[2:]]),
    "raises SystemExit": Case(in_function("raise SystemExit"), NOT_SIZE),
    "segfault": dies("import ctypes\nctypes.string_at(0)", "ended its process"),
    "kills its runner": dies("import os, signal\nfor p in (os.getpid(), os.getppid()): os.kill(p, 9)", "ended its"),
    "kills everybody": attack("import os\nfor p in (-1, 1):\n    try: os.kill(p, 9)\n    except OSError: pass\nworked = True", FULL),
    "closes all descriptors": costs_a_part(f"import os\nos.closerange(0, 256)\n{SIZE}", "ended its process"),
    "exits later": Case(status="graded in part", flag="a part of its cell ended its process and was left out",
                        cells=honest_cells(
                            conv_output_size=f"import os, threading\nthreading.Timer(1, os._exit, (0,)).start()\n{SIZE}",
                            probability_from_loss=f"import time; time.sleep(1.4)\n{PROBABILITY}",
                            count_runs=f"import time; time.sleep(1.4)\n{RUNS}")),
    # Taking more than its share.
    "memory hog": dies("hog = []\nwhile True: hog.append(bytearray(1 << 20))", "MB of memory"),
    "memory at once": dies("hog = bytearray(1 << 40)", "ran out of memory"),
    "memory of nobody": attack(
        "import ctypes\nhandle = ctypes.CDLL(None, use_errno=True).memfd_create(b'x', 0)\nworked = handle >= 0"
    ),
    "shared memory hog": dies(
        "import mmap\nhogs = []\nwhile True:\n    hogs.append(mmap.mmap(-1, 1 << 24)); hogs[-1].write(bytes(1 << 24))",
        "MB of memory",
    ),
    "fork bomb": Case("import os\nwhile True:\n    os.fork()", NOT_SIZE, flag="its cell raised BlockingIOError"),
    "stubborn fork bomb": dies("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", "processes"),
    "plain fork": Case(f"import os\nos.fork()\n{SIZE}"),
    "daemon": Case("import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
                   f"        os.execv('/usr/bin/sleep', ['elfw-hostile-daemon', '1000'])\n    os._exit(0)\n{SIZE}"),
    "1 GB of output": dies("for _ in range(1024): print('x' * (1 << 20))", "printed more than"),
    "1 GB to stderr": dies("import os\nfor _ in range(1024): os.write(2, b'x' * (1 << 20))", "printed more than"),
    "floods every descriptor": dies(
        "import os\nwhile True:\n    for fd in range(3, 12):\n        try: os.write(fd, b'x' * 65536)\n        except OSError: pass",
        "printed more than",
    ),
    "600 MB of files": Case(f"{SIZE}\nfor n in range(60): open(f'/tmp/{{n}}', 'wb').write(bytes(10 << 20))",
                            flag="its cell raised OSError"),
    "600 MB in shared memory": Case(f"{SIZE}\nfor n in range(60): open(f'/dev/shm/{{n}}', 'wb').write(bytes(10 << 20))",
                                    flag="its cell raised OSError"),
    "huge list": Case(in_function("return list(range(10**6))"), NOT_SIZE),
    "huge number": Case(in_function("return 1 << 10**7"), NOT_SIZE),
    "endless nesting": Case(in_function("x = []\nx.append(x)\nreturn x"), NOT_SIZE),
    # Doing harm.
    "deletes files": attack(
        "import elfw_helpers, os, shutil, sys\nplaces = [os.path.dirname(elfw_helpers.__file__), sys.prefix + '/bin', FOLDER]\n"
        "for place in places: shutil.rmtree(place, ignore_errors=True)\nworked = not os.path.exists(places[0])"
    ),
    "writes everywhere": attack(
        "import os, elfw_helpers, sys\nfor place in ('/x', '/usr/x', '/etc/x', '/dev/x', sys.prefix + '/x',"
        " os.path.dirname(elfw_helpers.__file__) + '/x'):\n    try: open(place, 'w'); worked = True\n"
        "    except OSError: pass"
    ),
    "reads the key": attack(
        "import elfw_helpers, os\nproject = os.path.dirname(os.path.dirname(elfw_helpers.__file__))\n"
        "beside = [os.path.join(project, name) for name in ('grading', 'notebooks', 'tests', 'build', '.git')]\n"
        "worked = any(map(os.path.exists, [KEY, *beside])) or not os.path.exists(project + '/data')"
    ),
    "reads other submissions": attack("import os\nworked = os.path.exists(FOLDER)"),
    "reads the environment": attack("import os\nworked = 'ELFW_HOSTILE_SECRET' in os.environ"),
    "looks at other processes": attack(
        "import os\nworked = sum(name.isdigit() for name in os.listdir('/proc')) > 3"
    ),
    "network": attack(
        "import socket\nfor place in (('127.0.0.1', PORT), ('8.8.8.8', 53), ('deb.debian.org', 80)):\n"
        "    try: socket.create_connection(place, 1); worked = True\n    except OSError: pass"
    ),
    "becomes root": attack("import os\ntry: os.setuid(0); worked = True\nexcept OSError: pass"),
    "mounts": attack(
        "import ctypes\nlibc = ctypes.CDLL(None)\n"
        "worked = libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0 or libc.unshare(0x10000000) == 0"
    ),
    "root of its own": attack(
        "import ctypes, os, platform\nlibc, number = ctypes.CDLL(None), {'x86_64': 56}.get(platform.machine(), 220)\n"
        "pid = libc.syscall(number, 0x10000000 | 17, 0, 0, 0, 0)\nif pid == 0: os._exit(0)\nworked = pid > 0"
    ),
    "threads": Case(f"import threading\nthread = threading.Thread(target=print)\nthread.start()\nthread.join()\n{SIZE}"),
    "traces its parent": attack("import ctypes\nworked = ctypes.CDLL(None).ptrace(16, 1, None, None) == 0"),
    # Cheating.
    "always equal": Case(
        "class Yes:\n    __eq__ = __ge__ = __le__ = lambda *_: True\n    __hash__ = lambda _: 48\n"
        "    __class__ = int\n    __int__ = __index__ = lambda _: 48\n" + in_function("return Yes()"), NOT_SIZE
    ),
    "equal number": Case(
        "class Yes(int):\n    __eq__ = lambda *_: True\n    __hash__ = int.__hash__\n" + in_function("return Yes(48)"), NOT_SIZE
    ),
    "metaclass": Case(
        "class Meta(type):\n    __eq__ = lambda *_: True\n    __hash__ = lambda _: hash(int)\n"
        "class Yes(metaclass=Meta): pass\n" + in_function("return Yes()"), NOT_SIZE
    ),
    "patched builtins": Case(
        "import builtins, json, math, sys\nbuiltins.abs = lambda x: 0\nbuiltins.type = lambda x: int\n"
        "builtins.isinstance = lambda *x: True\njson.dumps = lambda *x, **k: '48'\njson.loads = None\n"
        "json.JSONEncoder.encode = json.JSONEncoder.default = lambda *x: '48'\nsys.excepthook = None\n"
        + in_function("return -1"), NOT_SIZE
    ),
    "no builtins": Case("import builtins\nvars(builtins).clear()\n" + in_function("return -1"), NOT_SIZE),
    "stops itself": dies("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "took too long"),
    "no recursion": Case("import sys\nsys.setrecursionlimit(10)\n" + SIZE, flag=""),
    "patched showtraceback": Case(
        "try:\n    from IPython.core.interactiveshell import InteractiveShell\n"
        "    InteractiveShell.showtraceback = lambda *x, **k: None\nexcept ImportError: pass\n" + in_function("return -1"),
        NOT_SIZE,
    ),
    "patched os": dies(
        "import os\nos.write = os.read = os.getpid = lambda *x: 0\nos._exit = print\n" + in_function("os.abort()"),
        "ended its process",
    ),
    "forges answers": Case(
        f"import os, re, sys\nFORGED = '\\n' + {FORGED!r} + '\\n'\n"
        "for fd in range(1, 64):\n    try: os.write(fd, FORGED.encode() * 100)\n    except OSError: pass\n"
        + in_function("for fd in range(1, 64):\n    try: os.write(fd, FORGED.encode())\n    except OSError: pass\nreturn -1"),
        NOT_SIZE,
    ),
    "right once": Case("calls = []\n" + in_function(
        "calls.append(size)\nreturn (size + 2 * padding - kernel_size) // stride + 1 if len(calls) == 1 else -1"), (1, 2, 2)),
    "calls its probes ten times": Case(
        "import sys\n" + in_function(
            "if sys._getframe(1).f_code.co_filename == '<probe>':\n"
            "    for _ in range(9): eval(sys._getframe(1).f_code, sys._getframe(1).f_globals)\nreturn -1"), NOT_SIZE),
    "tells what it was asked": Case(
        "seen = []\n" + in_function("seen.append(size)\nreturn (size + 2 * padding - kernel_size) // stride + 1"),
        cells=[*honest_cells(conv_output_size="seen = []\n" + in_function(
            "seen.append(size)\nraise type(str(size), (Exception,), {})(size)")),
            code_cell("print('SEEN', seen)\nraise ValueError(seen)")], points=NOT_SIZE),
    "looks for expected values": attack(
        "import gc, sys\nworked = any(isinstance(o, dict) and ('expect' in o or 'points' in o) for o in gc.get_objects())"
    ),
}  # fmt: skip

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
SCRIPTED = notebook([
    marked("conv_output_size", f"{SIZE}  # {SCRIPT}", outputs=[
        {"output_type": "display_data", "metadata": {}, "data": {"text/html": SCRIPT, "text/plain": SCRIPT}},
        {"output_type": "display_data", "metadata": {}, "data": {"image/svg+xml": SCRIPT, "image/png": SCRIPT}},
        {"output_type": "stream", "name": "stdout", "text": [SCRIPT, 3]}, 7, None,
    ]),
    *honest_cells()[2:],
])  # fmt: skip

BROKEN_FILES: dict[str, tuple[bytes, str]] = {
    "truncated": (json.dumps(notebook(honest_cells())).encode()[:-400], "not JSON"),
    "html": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
    "empty": (b"", "an empty file"),
    "blank": (b" \n", "an empty file"),
    "a list": (b"[]", "not a notebook"),
    "a number": (b"7", "not a notebook"),
    "an object": (b'{"cells": {"a": 1}, "nbformat": 4}', "not a notebook"),
    "no cells": (b'{"cells": "none", "nbformat": 4}', "not a notebook"),
    "deeply nested": (b"[" * 100_000 + b"]" * 100_000, "nested more deeply"),
    "nested cells": (b'{"cells": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested more deeply"),
    "very deeply nested": (b"[" * 10_000_000, "nested or split up"),
    "binary": (bytes(range(256)) * 64, "not text in UTF-8"),
    "large number": (b'{"cells": [], "nbformat": ' + b"9" * 10_000 + b"}", "not JSON"),
    "too large": (b" " * (65 << 20), "larger than 64 MB. Clear its outputs"),
    "many parts": (
        b'{"cells": [], "x": [' + b"1," * 3_000_000 + b"1]}",
        "split up more than .* Clear its outputs",
    ),
    "too much code": (
        json.dumps(notebook([code_cell("x" * (1 << 20) + "x")])).encode(),
        "more than 1 MB of code",
    ),
    "too much code in all": (
        json.dumps(notebook([code_cell("x" * (1 << 20))] * 5)).encode(),
        "more than 4 MB of code",
    ),
    "too many cells": (json.dumps(notebook([code_cell("x")] * 1001)).encode(), "more than 1000 cells"),
}


def case_notebook(case: Case) -> dict:
    """Return a case as a notebook's JSON."""
    cells = case.cells
    if cells is None:
        added = [[code_cell(source) for source in some] for some in (case.before, case.after)]
        cells = [*added[0], *honest_cells(conv_output_size=case.size), *added[1]]
    return notebook(cells, **case.more) if case.more.get("nbformat") != 3 else case.more


def write_case(folder: Path, name: str, words: dict[str, str]) -> Path:
    """Write one of CASES; `words` are names in it and what they stand for: FOLDER, KEY, PORT."""
    text = json.dumps(case_notebook(CASES[name]))
    for word, value in words.items():
        text = text.replace(word, value)
    path = folder / f"{name}.ipynb"
    path.write_text(text, encoding="utf-8")
    return path


def write_oddities(folder: Path) -> dict[str, tuple[str, int]]:
    """Write what is odd as a file; return the status and total that each must be given, by student."""
    honest = json.dumps(notebook(honest_cells()))
    for name, (content, _) in BROKEN_FILES.items():
        (folder / f"{name}.ipynb").write_bytes(content)
    expected = {name: (f"unreadable: {problem}", 0) for name, (_, problem) in BROKEN_FILES.items()}
    (folder / "link.ipynb").symlink_to("/etc/passwd")
    (folder / "link to a folder").symlink_to(folder.parent)
    (folder / "a folder.ipynb").mkdir()
    os.mkfifo(folder / "pipe.ipynb")
    expected |= {"link": ("unreadable: a symbolic link", 0), "a folder": ("unreadable: a folder", 0)}
    expected |= {"pipe": ("unreadable: not a regular file", 0)}
    for name in (
        "=cmd|' -C calc'!A0",
        "@SUM(1)",
        "new\nline",
        "x" * 240,
        "ann/03",
        "bob/03",
        "a folder.ipynb/in",
    ):
        path = folder / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_text(honest, encoding="utf-8")
        expected[name] = ("graded", 7)
    (folder / "script.ipynb").write_text(json.dumps(SCRIPTED), encoding="utf-8")
    Path(os.fsdecode(os.fsencode(folder) + b"/no\xfftext.ipynb")).write_text(honest, encoding="utf-8")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "ann-checkpoint.ipynb").write_text(honest, encoding="utf-8")
    (folder / "._ann.ipynb").write_bytes(b"\0\5\26\7")
    return expected | {"script": ("graded", 7), "no\\xfftext": ("graded", 7)}


def write_key(folder: Path) -> Path:
    """Write the answer key and its notebook; return the key."""
    (folder / "course.ipynb").write_text(json.dumps(released()), encoding="utf-8")
    key = folder / "key.toml"
    key.write_bytes((Path(__file__).parent / "key.toml").read_bytes())
    return key
