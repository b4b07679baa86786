"""Asks one runner in its sandbox, and ends it when it takes too much time or memory, or prints too much."""

from __future__ import annotations

import json
import math
import os
import secrets
import selectors
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from elfw_course.grading.sandbox import MOST_PROCESSES, Sandbox
from elfw_course.grading.turns import Stopped
from elfw_course.grading.watchdog import (
    Clock,
    proportional_memory,
    resident_and_peak,
    shared_memory,
    unmapped_memory,
)

LOOK_EVERY = 0.05  # seconds
PATIENCE = 6  # how many times its seconds a request may take by the clock, when it has to wait for its turn
CROWDED_SECONDS = 1
MOST_PRINTED = 20 << 20  # bytes, and as many of answers
# Of an answer, more than the encoder ever writes: brackets and commas, and the digits of an int.
MOST_PARTS = 1_000_000
MOST_DIGITS = 1300
UNREADABLE = ("value", ["unreadable"])
KEPT = 2000  # bytes of what was printed first: where a sandbox that does not start says why
ENDED = "ended its process"
TOO_LONG = "took too long"


class RunEnded(Exception):
    """The runner is gone, or has to be ended; the message says why."""

    waited = False  # for its turn, up to the limit: then the runner is not to blame


class Session:
    """A runner in its sandbox, from its start to its end; a context manager.

    It may hold `memory` bytes. `job` is its number among those at the same time. `is_stopped` says if the
    batch is being interrupted.
    """

    def __init__(
        self, sandbox: Sandbox, job: int, memory: int, is_stopped: Callable[[], bool] = lambda: False
    ):
        self.memory, self._is_stopped = memory, is_stopped
        self.peak = 0  # bytes, the most that its processes held together
        self.printed = b""  # the beginning of what was printed
        self.probed = False  # whether a probe was sent in: from then on its code may know hidden inputs
        self.last = math.inf  # what `used` may not go beyond, whatever a request is given
        self._sizes = {"printed": 0, "answered": 0}
        self._sandbox, self._job = sandbox, job
        self._process = sandbox.start(job, memory)
        self._answers: list[bytes] = []
        self._clock = Clock(self._process.pid, 2 * LOOK_EVERY)
        self._started = self._looked = time.monotonic()
        self._most, self._addresses, self._uncrowded = 0, 0, 0.0
        self._overdue = 0.0  # seconds that its processes used beyond what they were given
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ, "answered")
        self._selector.register(self._process.stderr, selectors.EVENT_READ, "printed")
        os.set_blocking(self._process.stdin.fileno(), False)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        self._sandbox.end(self._process, self._job)

    @property
    def used(self) -> float:
        """Seconds that its processes have used so far, at the end of the last request; see `Clock`."""
        return self._clock.used

    @property
    def spent(self) -> float:
        """Seconds that it has cost so far: those used, or a share of those by the clock if that is more.

        What was used after time was up does not count: the grader came too late to end it.
        """
        return max(self.used - self._overdue, (time.monotonic() - self._started) / PATIENCE)

    def ask(self, verb: str, parts: Sequence[bytes], seconds: float) -> tuple[str, Any]:
        """Send a request and return the kind and content of the first answer that knows its secret.

        Args:
            verb: "names", "setup", "open", "statement" or "probe".
            parts: what the runner's method of that verb takes.
            seconds: that its processes may use until the answer; without any, nothing is sent.

        Raises:
            RunEnded: the process ended, took too long, held too much or printed too much.
            Stopped: the batch is being interrupted.
        """
        seconds = min(seconds, self.last - self.used)
        if seconds <= 0:  # an answer that comes at once would do without any
            raise RunEnded(TOO_LONG)
        secret = secrets.token_hex(16)
        header = " ".join([verb, secret, *(str(len(part)) for part in parts)])
        unsent = memoryview(header.encode() + b"\n" + b"".join(parts))
        self.probed = self.probed or verb == "probe"
        last, deadline = self.used + seconds, time.monotonic() + PATIENCE * seconds
        while True:
            unsent = self._send(unsent)
            self._read(LOOK_EVERY if not unsent else 0.001)
            if max(self._sizes.values()) > MOST_PRINTED:
                raise RunEnded(f"printed more than {MOST_PRINTED >> 20} MB")
            answer = self._find_answer(secret)
            self._watch(bool(answer))
            if answer:
                return answer
            if self._is_stopped():
                raise Stopped
            if self.used > last or time.monotonic() > deadline:
                ended = RunEnded(TOO_LONG)
                ended.waited = self.used <= last
                self._overdue = max(0.0, self.used - last)
                raise ended

    def _send(self, unsent: memoryview) -> memoryview:
        """Write what fits into the pipe, and return the rest."""
        try:
            return unsent[os.write(self._process.stdin.fileno(), unsent) :] if unsent else unsent
        except BlockingIOError:
            return unsent
        except BrokenPipeError:
            self._end()

    def _end(self) -> NoReturn:
        """Take what was printed before the end, which may say why, and raise."""
        for _ in range(20):
            if not self._selector.get_map():
                break
            self._read(0.02)
        raise RunEnded(ENDED)

    def _read(self, seconds: float) -> None:
        """Wait at most `seconds`, and read once from each pipe that has something, or has ended."""
        for ready, _ in self._selector.select(seconds):
            content = os.read(ready.fd, 1 << 16)
            if not content:
                self._selector.unregister(ready.fileobj)
            elif ready.data == "answered":
                self._answers.append(content)
            elif len(self.printed) < KEPT:
                self.printed += content[: KEPT - len(self.printed)]
            self._sizes[ready.data] += len(content)

    def _find_answer(self, secret: str) -> tuple[str, Any] | None:
        """Return the first whole line that is an answer to this request; lines before it are dropped."""
        # Joined when a line has ended: a flood without an end costs no more than keeping it.
        if not self._answers or b"\n" not in self._answers[-1]:
            return None
        *lines, rest = b"".join(self._answers).split(b"\n")
        self._answers = [rest]
        return next((answer for line in lines if (answer := _read_answer(line, secret))), None)

    def _watch(self, now: bool) -> None:
        """Look at the processes, every now and then, or now."""
        elapsed = time.monotonic() - self._looked
        if elapsed < LOOK_EVERY and not now:
            return
        self._looked += elapsed
        processes = self._clock.look(elapsed)
        self._check_memory(processes)
        if now:
            return
        if self._process.poll() is not None:
            self._end()
        # A fork bomb that meets its limit soon falls apart; one that does not would slow down the other jobs.
        if len(processes) <= MOST_PROCESSES // 2:
            self._uncrowded = self.used
        if self.used - self._uncrowded > CROWDED_SECONDS:
            raise RunEnded(f"went on with more than {MOST_PROCESSES // 2} processes")

    def _check_memory(self, processes: Sequence[int]) -> None:
        """Note what memory the processes hold, and raise when it is too much."""
        sizes = [resident_and_peak(process) for process in processes]
        beside = unmapped_memory(processes[1], self._sandbox.in_memory) if len(processes) > 1 else 0
        resident, most, addresses = map(sum, zip(*sizes, strict=True))
        resident, most = resident + beside, most + beside
        # Asking for more takes milliseconds, so it is asked for when there is news.
        if most < 1.1 * self._most and addresses < 1.1 * self._addresses and resident < self.memory:
            return
        self._most, self._addresses = most, addresses
        shared: dict[str, int] = {}
        for process in processes:
            shared |= shared_memory(process)
        held = sum(map(proportional_memory, processes)) + sum(shared.values()) + beside
        # Between two looks a process may have held more than at either: the kernel keeps count.
        self.peak = max(self.peak, held + most - resident)
        if held > self.memory:
            raise RunEnded(f"took more than {self.memory >> 20} MB of memory")


def _read_answer(line: bytes, secret: str) -> tuple[str, Any] | None:
    """Return the kind and content of a line that knows the secret, or None for any other.

    Who knows the secret has been asked: what it says instead of an answer is a wrong one.
    """
    if secret.encode() not in line:
        return None
    if sum(map(line.count, (b"[", b"{", b","))) > MOST_PARTS:
        return UNREADABLE
    try:
        answer = json.loads(line, parse_int=_read_int)
        if answer["secret"] == secret and isinstance(answer["kind"], str):
            return answer["kind"], answer["content"]
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    return UNREADABLE


def _read_int(digits: str) -> int:
    """Return an int, unless it has more digits than the encoder writes: reading takes their square."""
    if len(digits) > MOST_DIGITS:
        raise ValueError
    return int(digits)
