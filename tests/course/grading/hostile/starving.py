"""Submissions that take what nobody counts, freeze who reads them, or live at the cost of those beside them."""

# Code in text is easier to follow on one line, however long.
# ruff: noqa: E501

from __future__ import annotations

import json
from pathlib import Path

from tests.course.grading.hostile.submissions import (
    IF_IT_WORKED,
    NOT_SIZE,
    NOTHING,
    SIZE,
    Case,
    attack,
    case_notebook,
    dies,
    in_function,
    marked,
    write_key,
)

CALL = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"


def denied(call: str) -> Case:
    """Return a case that makes a call of the C library and is right where it is refused, as by a filter."""
    return Case(f"{CALL}worked = libc.{call} == -1 and ctypes.get_errno() == 1\n{IF_IT_WORKED}")


def forges(content: str) -> Case:
    """Return a case in which every answer is some text, whatever it was asked."""
    code = (
        "import sys\nsys.modules['elfw_course.grading.inside.encode'].Encoder.encode = lambda self, value: "
    )
    return Case(code + content + "\n" + SIZE, NOTHING)


CASES: dict[str, Case] = {
    "honest": Case(),
    "honest too": Case(),
    # Answers that were to keep the judge busy.
    "sides of 309 digits": forges("""'["array","x",[' + ','.join(['1e308'] * 6000) + '],[]]'"""),
    "sides of 18 digits": forges("""'["array","x",[' + ','.join(['9' * 18] * 64) + '],[]]'"""),
    "keys that collide": forges("""'["dict",[' + ','.join(f'[["int",{n * (2**61 - 1)}],["int",1]]' for n in range(50000)) + ']]'"""),
    "thousands of digits": forges("""'["list",[' + ','.join(['["int",' + '7' * 4000 + ']'] * 500) + ']]'"""),
    "one long number": forges("""'["int",' + '7' * 10**6 + ']'"""),
    "one long fraction": forges("""'["float","0x' + '7' * 10**6 + 'p0"]'"""),
    "answers inside answers": forges("""'["list",[' * 90000 + ']]' * 90000"""),
    # What is denied, for nobody counts it or a course has no use for it.
    "semaphores": denied("semget(0, 32000, 0o1600)"),
    "messages": denied("msgget(0, 0o1600)"),
    "shared segments": denied("shmget(0, 1 << 20, 0o1600)"),
    "queues": denied("mq_open(b'/x', 0o102, 0o600, None)"),
    "locked pages": denied("mlockall(0)"),  # no flag, for which the kernel itself has another error
    "watches of files": denied("inotify_init()"),
    "looks into its parent": denied("process_vm_readv(1, None, 0, None, 0, 0)"),
    "asynchronous files": denied(
        "syscall(206 if __import__('platform').machine() == 'x86_64' else 0, 1000, ctypes.byref(ctypes.c_ulong(0)))"
    ),
    "sockets of all kinds": attack(
        "import socket\nfor family in (2, 10, 16, 17, 38, 40):\n    for kind in (1, 2, 3):\n"
        "        try: socket.socket(family, kind); worked = True\n        except OSError: pass"
    ),
    "larger buffers": attack(
        "import socket\ntry: socket.socketpair()[0].setsockopt(1, 7, 1 << 20); worked = True\nexcept OSError: pass"
    ),
    "terminals": attack("import os\ntry: os.openpty(); worked = True\nexcept OSError: pass"),
    "asyncio": Case(f"import asyncio\nasyncio.run(asyncio.sleep(.01))\n{SIZE}"),
    # What is counted, though it is not in the memory of any process.
    "empty files": dies("import os\nfor n in range(10**6): os.mknod(f'/tmp/{n}')", "MB of memory"),
    "links": dies("import os\nos.mknod('/tmp/x')\nfor n in range(10**6): os.link('/tmp/x', f'/tmp/{n}')", "MB of memory"),
    "socket buffers": dies(
        "import socket\npairs = [socket.socketpair() for _ in range(110)]\nfor pair in pairs:\n    pair[0].setblocking(False)\n"
        "    try:\n        while True: pair[0].send(bytes(1 << 16))\n    except BlockingIOError: pass\nimport time; time.sleep(5)",
        "MB of memory",
    ),
    "tables of memory": dies(
        "import mmap\nmaps = [mmap.mmap(-1, 1 << 36, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, mmap.PROT_READ) for _ in range(9)]\n"
        "for one in maps:\n    for place in range(0, 1 << 36, 1 << 21): one[place]",
        "MB of memory",
    ),
    "dropped and kept": dies(
        "import mmap\nmaps = []\nfor _ in range(30):\n    maps.append(mmap.mmap(-1, 4 << 20))\n    maps[-1].write(bytes(4 << 20))\n"
        "    maps[-1].madvise(mmap.MADV_DONTNEED)\nimport time; time.sleep(5)",
        "MB of memory",
    ),
    # Time.
    "busy forks": dies(
        "import os, time\nfor _ in range(28):\n    if os.fork() == 0:\n        os.setsid()\n        while True: pass\ntime.sleep(60)",
        "took too long",
    ),
    "forks that nobody counts": dies(
        "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True:\n    if os.fork() == 0:\n"
        "        end = time.time() + .2\n        while time.time() < end: pass\n        os._exit(0)\n    time.sleep(.1)",
        "took too long",
    ),
    "many threads": Case(
        "import threading\nfor _ in range(70):\n    try: threading.Thread(target=threading.Event().wait, args=(.2,), daemon=True).start()\n"
        f"    except RuntimeError: break\n{SIZE}"
    ),
    "three endless loops": Case(
        points=NOTHING, status="graded in part", flag="count_runs: took too long",
        cells=[marked(name, f"def {name}(*values):\n    while True: pass") for name in
               ("conv_output_size", "probability_from_loss", "count_runs")],
    ),
    # Reading hidden inputs by the names of errors.
    "tells by errors": Case(
        "import builtins\nERRORS = []\nfor kind in vars(builtins).values():\n"
        "    if isinstance(kind, type) and issubclass(kind, Exception):\n        try: kind(); ERRORS.append(kind)\n        except TypeError: pass\n"
        + in_function("raise ERRORS[size % len(ERRORS)]()"), NOT_SIZE,
    ),
}  # fmt: skip


def write_starving(root: Path) -> tuple[Path, Path]:
    """Write the submissions of CASES, and a key of small limits; return the key and their folder."""
    key, folder = write_key(root), root / "submissions"
    small = (
        key.read_text(encoding="utf-8")
        .replace("own_seconds = 4", "own_seconds = 0.5")
        .replace("seconds = 3", "seconds = 1")
    )
    key.write_text(small.replace("memory_mb = 250", "memory_mb = 40"), encoding="utf-8")
    folder.mkdir()
    for name, case in CASES.items():
        (folder / f"{name}.ipynb").write_text(json.dumps(case_notebook(case)), encoding="utf-8")
    return key, folder
