"""Whether this machine has a sandbox to run strangers' code in."""

from __future__ import annotations

import json

import pytest

from elfw_course.grading.inside.runner import Runner
from elfw_course.grading.sandbox import choose_sandbox
from elfw_course.grading.session import Session
from elfw_helpers.utils.errors import ElfwError


def explain_lack() -> str:
    """Return why there is none that starts, "" where there is one."""
    try:
        choose_sandbox(unsandboxed=False)
    except ElfwError as error:
        why = [line for line in str(error).splitlines() if "does not start" in line]
        return " ".join(["the sandbox is not tested without bubblewrap: sudo apt install bubblewrap", *why])
    return ""


LACK = explain_lack()
SANDBOXED = not LACK
needs_sandbox = pytest.mark.skipif(not SANDBOXED, reason=LACK)


def run_cell(runner: Runner, source: str) -> None:
    """Run a cell in this process, statement by statement, as far as it goes."""
    for place in range(len(json.loads(runner.open_cell(source)))):
        runner.run_statement(place)


def ask_for_cell(session: Session, source: str, seconds: float = 30) -> tuple[str, str]:
    """Run a cell in a session, statement by statement; return the answer to the last."""
    _, kinds = session.ask("open", [source.encode(), b""], seconds)
    return [session.ask("statement", [str(place).encode()], seconds) for place in range(len(kinds))][-1]
