"""Who may run now on this machine: each submission under a number of its own, and some alone.

What is claimed is the name of a socket (the abstract ones of unix(7)). The kernel gives it to one process of
the machine, and takes it back when that process is gone, however it ended.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

MOST_NUMBERS = 500  # of all graders on this machine
LOOK_EVERY = 0.05  # seconds

Found = TypeVar("Found")


class Stopped(Exception):
    """The batch is being interrupted."""


@contextlib.contextmanager
def take_turn(batch: str, alone: bool, is_stopped: Callable[[], bool]) -> Iterator[int]:
    """Wait for a turn, and yield a number that no other submission on this machine has until the end.

    Args:
        batch: a name that only submissions of the same batch have.
        alone: wait until no other submission of the batch runs on this machine, and let none begin.
        is_stopped: whether to give up.

    Raises:
        Stopped: it was so before the turn came.
    """
    with contextlib.ExitStack() as claims:
        # One at a time: whoever waits to be alone would never be, if others began meanwhile.
        door = claims.enter_context(_wait_for(lambda: claim(f"{batch}-door"), is_stopped))
        if alone:
            _wait_for(lambda: not is_running(batch), is_stopped)
        number, claimed = _wait_for(claim_number, is_stopped)
        claims.enter_context(claimed)
        claims.enter_context(_wait_for(lambda: claim(f"{batch}-runs-{number}"), is_stopped))
        if not alone:
            door.close()
        yield number


def claim_number() -> tuple[int, socket.socket] | None:
    """Return the first free number and what holds it, or None: users and containers are named by numbers."""
    tried = ((number, claim(str(number))) for number in range(MOST_NUMBERS))
    return next(((number, claimed) for number, claimed in tried if claimed), None)


def claim(name: str) -> socket.socket | None:
    """Return what holds a name on this machine until it is closed, or None if another has it."""
    claimed = socket.socket(socket.AF_UNIX)
    try:
        claimed.bind(f"\0elfw-grading-{name}")
    except OSError:
        claimed.close()
        return None
    return claimed


def is_running(batch: str) -> bool:
    """Say whether a submission of a batch runs on this machine."""
    return f"@elfw-grading-{batch}-runs-" in Path("/proc/net/unix").read_text(
        encoding="utf-8", errors="replace"
    )


def _wait_for(find: Callable[[], Found | None], is_stopped: Callable[[], bool]) -> Found:
    """Return what is found as soon as something is."""
    while not (found := find()):
        if is_stopped():
            raise Stopped
        time.sleep(LOOK_EVERY)
    return found
