"""Whether this machine has a sandbox to run strangers' code in."""

from __future__ import annotations

import pytest

from elfw_helpers.errors import ElfwError
from elfw_helpers.grading.sandbox import choose_sandbox


def has_sandbox() -> bool:
    """Say whether there is one that starts."""
    try:
        choose_sandbox(unsandboxed=False)
    except ElfwError:
        return False
    return True


SANDBOXED = has_sandbox()
needs_sandbox = pytest.mark.skipif(
    not SANDBOXED, reason="the sandbox is not tested without bubblewrap: sudo apt install bubblewrap"
)
