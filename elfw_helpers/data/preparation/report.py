"""What `elfw prepare` tells of its work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from elfw_helpers.data.labels import ATTRIBUTES, PIXEL_CLASSES

# Of the problems, the remarks and the photos left out, at most this many are named, each.
MOST_NAMED = 20


@dataclass
class Prepared:
    """What was made of an export.

    Attributes:
        attributes: class index by name of each face.
        told: of how many faces the source says the attribute; the rule gave the others theirs.
        drawn: number of masks that show each class, by class id.
        ignored: number of shapes left out, by class name, because the file of classes says so.
        unused: number of photos by tag or flag that names no attribute.
        unannotated: the photos without a shape, which were left out.
        left_out: what is wrong with the others that were left out.
        remarks: what a person should look at.
    """

    attributes: dict[str, int] = field(default_factory=dict)
    told: int = 0
    drawn: Counter[int] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    unannotated: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def describe_problems(source: Path, out: Path, problems: Sequence[str]) -> str:
    """Return what is wrong with an export, as one text."""
    one = len(problems) == 1
    lines = [f"{source}: {len(problems)} problem{'' if one else 's'}, and {out} was not written"]
    lines.extend(list_first(problems))
    lines.append(f"Mend {'it' if one else 'them'}, and give the same command again: it goes on from here.")
    work = out.with_name(f"{out.name}.unfinished")
    if work.exists():
        lines.append(f"What is done lies in {work} until then; if you do not go on, delete it.")
    lines.append("Or add --leave-out, to leave out the photos with which something is wrong.")
    return "\n".join(lines)


def describe_prepared(prepared: Prepared, out: Path) -> str:
    """Return what was made of an export, as text: counts, then what was left out and what to look at."""
    counts = Counter(prepared.attributes.values())
    count = len(prepared.attributes)
    lines = [f"{out}: {count} face{'' if count == 1 else 's'} with masks"]
    shown = (f"{name} {prepared.drawn[number]}" for number, name in enumerate(PIXEL_CLASSES))
    lines.append(f"  masks with  {', '.join(shown)}")
    shown = (f"{name} {counts[number]}" for number, name in enumerate(ATTRIBUTES))
    by_rule = len(prepared.attributes) - prepared.told
    told = f"({prepared.told} as told, {by_rule} by the rule from the mask)"
    lines.append(f"  attributes  {', '.join(shown)} {told}")
    for lead, found in (("ignored", prepared.ignored), ("unused tags", prepared.unused)):
        if found:
            lines.append(f"  {lead:<11} {', '.join(f'{name!r} {count}' for name, count in found.items())}")
    titles = {
        "left out, without a shape": prepared.unannotated,
        "left out, for what is wrong": prepared.left_out,
    }
    for title, found in (titles | {"to look at": prepared.remarks}).items():
        if found:
            lines += [f"{title}: {len(found)}", *list_first(found)]
    # Names that are not valid Unicode, as old archives leave them, would stop the printing.
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()


def list_first(found: Sequence[str]) -> list[str]:
    """Return a line for each of the first that were found, and the number of the others."""
    lines = [f"  - {one}" for one in found[:MOST_NAMED]]
    return lines + ([f"  - and {len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else [])
