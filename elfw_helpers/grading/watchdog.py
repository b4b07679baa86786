"""Looking at a tree of processes: what memory it holds, how many they are, and ending all of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


def descendants(process: int) -> list[int]:
    """Return the processes below one, parents first; orphans are below the first of their namespace."""
    found, look = [], [process]
    while look:
        try:
            tasks = list(Path(f"/proc/{look.pop()}/task").iterdir())
            children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:  # it ended in between
            continue
        found += children
        look += children
    return found


def resident_memory(process: int) -> int:
    """Return the bytes a process has in memory, shared ones in full: quick to ask, and never too little."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE
    return 0


def proportional_memory(process: int) -> int:
    """Return the bytes a process holds; of memory that n processes share, each is charged the n-th part.

    A process that hides its memory map is charged all it has in memory.
    """
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return resident_memory(process)


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process with all below it, and wait until they are gone."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()
    # The first below bubblewrap is the first of a namespace: with it, the kernel ends all of that namespace.
    for one in descendants(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    # Bubblewrap itself then ends by itself; killed, it would leave a dead child that nobody asks after.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
