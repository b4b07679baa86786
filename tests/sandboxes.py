"""Whether this machine has a sandbox to run strangers' code in."""

from __future__ import annotations

import pytest

from elfw_helpers.errors import ElfwError
from elfw_helpers.grading.sandbox import choose_sandbox


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
