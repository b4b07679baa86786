"""Watches a tree of processes: measures its time and memory, counts its processes, and ends them all."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")  # a second
# Bytes of the kernel's that are charged for an empty file with its name, and for a socket's full buffer.
FILE_BYTES = 1536
SOCKET_BYTES = 212_992
RUNNING = "RD"  # states of a thread that runs, waits for a processor or for a disk


class Clock:
    """The time that a tree of processes has used.

    It is that of the processor, of processes that have ended too, and the time in which none of them wanted
    to run (asleep, or stopped). Time in which they only waited for their turn, or for a disk, does not count.
    One look adds at most `longest` seconds of sleep: the grader itself may have waited for its turn.
    """

    def __init__(self, process: int, longest: float):
        self.used = 0.0  # seconds, at the last look
        self._process, self._longest = process, longest
        self._ticks, self._seen = 0, {}

    def look(self, elapsed: float) -> list[int]:
        """Bring `used` up to date, `elapsed` seconds after the last look; return the tree's processes."""
        processes = [self._process, *descendants(self._process)]
        ticks, awake = 0, False
        for process in processes:
            state, start, own, reaped = _read_times(process)
            # Two sums, because each misses some: children that live too briefly to be seen are in what their
            # parents have reaped; those that nobody reaps have been seen.
            self._seen[process, start] = own
            ticks += own + reaped
            awake = awake or state in RUNNING or _has_thread_awake(process)
        ticks = max(ticks, sum(self._seen.values()), self._ticks)
        if ticks > self._ticks:
            self.used += (ticks - self._ticks) / TICKS
            self._ticks = ticks
        elif not awake:
            self.used += min(elapsed, self._longest)
        return processes


def _read_times(process: int) -> tuple[str, int, int, int]:
    """Return a process's state, start, and ticks of the processor: its own, and of children that it reaped.

    Source: proc_pid_stat(5).
    """
    with contextlib.suppress(OSError):
        fields = _read_stat(Path(f"/proc/{process}/stat"))
        user, system, user_reaped, system_reaped = map(int, fields[11:15])
        return fields[0], int(fields[19]), user + system, user_reaped + system_reaped
    return "X", 0, 0, 0


def _read_stat(path: Path) -> list[str]:
    """Return the fields behind a program's name, which is in brackets and may hold anything."""
    return _read(path).rpartition(")")[2].split()


def _read(path: Path) -> str:
    """Return the text of a file of the kernel's."""
    return path.read_text(errors="replace", encoding="utf-8")


def _has_thread_awake(process: int) -> bool:
    """Say whether a thread of a process runs or waits to."""
    for stat in Path(f"/proc/{process}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            if _read_stat(stat)[0] in RUNNING:
                return True
    return False


def descendants(process: int) -> list[int]:
    """Return the processes below one, parents first; orphans are below the first of their namespace."""
    found, look = [], [process]
    while look:
        try:
            tasks = list(Path(f"/proc/{look.pop()}/task").iterdir())
            children = [int(child) for task in tasks for child in _read(task / "children").split()]
        except OSError:  # it ended in between
            continue
        found += children
        look += children
    return found


def resident_memory(process: int) -> int:
    """Return the bytes a process has in memory or swapped out, shared ones in full: never too little."""
    return resident_and_peak(process)[0]


def resident_and_peak(process: int) -> tuple[int, int, int]:
    """Return the bytes a process has in memory or swapped out, the most it ever had, and all its addresses.

    The kernel's tables of its memory count: of memory that is only read, there may be nothing but them.
    """
    sizes = _read_sizes(process, "status", ("VmHWM", "VmRSS", "VmPTE", "VmSwap", "VmSize"))
    beside = sizes["VmPTE"] + sizes["VmSwap"]
    return sizes["VmRSS"] + beside, sizes["VmHWM"] + beside, sizes["VmSize"]


def proportional_memory(process: int) -> int:
    """Return the bytes a process holds; of memory that n processes share, each is charged the n-th part.

    Files in memory and what `shared_memory` finds are left out. A process that hides its memory map is
    charged all it has in memory.
    """
    sizes = _read_sizes(process, "smaps_rollup", ("Rss", "Pss", "Pss_Shmem", "Swap", "SwapPss"))
    counted_elsewhere = sizes["Rss"] + sizes["Swap"] - sizes["Pss"] - sizes["SwapPss"] + sizes["Pss_Shmem"]
    return max(resident_memory(process) - counted_elsewhere, 0)


def shared_memory(process: int) -> dict[str, int]:
    """Return the bytes of memory that a process made to be shared, by the number of that memory.

    They are charged in full: what a process has dropped of it (`MADV_DONTNEED`) is in memory still.
    """
    sizes: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in _read(Path(f"/proc/{process}/maps")).splitlines():
            if "/dev/zero" in line:
                addresses, rights, _, _, number, *_ = line.split()
                start, end = (int(address, 16) for address in addresses.split("-"))
                if rights.endswith("s"):
                    sizes[number] = sizes.get(number, 0) + end - start
    return sizes


def _read_sizes(process: int, file: str, names: Sequence[str]) -> dict[str, int]:
    """Return sizes of a process in bytes, 0 where it does not show them; source: proc(5)."""
    sizes = dict.fromkeys(names, 0)
    with contextlib.suppress(OSError):
        for line in _read(Path(f"/proc/{process}/{file}")).splitlines():
            name, _, value = line.partition(":")
            if name in sizes:
                sizes[name] = int(value.split()[0]) << 10
    return sizes


def unmapped_memory(process: int, folders: tuple[str, ...]) -> int:
    """Return the bytes that no process shows: files in memory, empty ones too, and the buffers of sockets.

    `process` is the first of its namespaces. Of `folders`, those count where it has a file system of its own.
    """
    held = 0
    for folder in folders:
        with contextlib.suppress(OSError):
            inside = f"/proc/{process}/root{folder}"
            if os.stat(inside).st_dev != os.stat(folder).st_dev:
                files = os.statvfs(inside)
                held += (files.f_blocks - files.f_bfree) * files.f_frsize
                held += max(files.f_files - files.f_ffree, 0) * FILE_BYTES
    with contextlib.suppress(OSError, ValueError, IndexError):
        if os.stat(f"/proc/{process}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino:
            held += int(_read(Path(f"/proc/{process}/net/sockstat")).split()[2]) * SOCKET_BYTES
    return held


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process with all below it, and wait until they are gone."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()
    # The first below bubblewrap is the first of a namespace: with it, the kernel ends all of that namespace.
    for one in descendants(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    # Bubblewrap itself then ends by itself; killed, it would leave a dead child process behind.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
