"""The order in which notebooks are executed, side by side, so that none computes what another does."""

from __future__ import annotations

from collections.abc import Iterable

# What a notebook loads from build/, others have computed: it waits for their end. Where they failed, or were
# not executed, it takes what ships (data/runs), or computes that itself.
NEEDS = {
    "05_evaluation": {"04_grid_search"},
}
# They measure what all cores do together, which another notebook beside them would slow.
ALONE = {"11_scaling_out"}


def sort_longest_chain_first(names: Iterable[str]) -> list[str]:
    """Sort notebooks: first those for which the longest chain of others waits, then by name."""
    return sorted(names, key=lambda name: (-_chain_length(name), name))


def find_ready(waiting: Iterable[str], running: Iterable[str]) -> list[str]:
    """Return those of the waiting notebooks that may start, in their order.

    A notebook waits for those that it needs, and one that has to be alone for all others.
    """
    waiting = list(waiting)
    unfinished = {*waiting, *running}
    return [
        name
        for name in waiting
        if not NEEDS.get(name, set()) & unfinished and (name not in ALONE or unfinished == {name})
    ]


def _chain_length(name: str) -> int:
    """Return the number of notebooks in the longest chain that starts with this one."""
    return 1 + max((_chain_length(later) for later, needed in NEEDS.items() if name in needed), default=0)
