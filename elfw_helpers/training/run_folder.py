"""The folder of one training. torch is not loaded here: a folder that cannot be used is told at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import hold_lock, require_writable

RUN, LOCK = "run.json", ".lock"


def check_folder(out: Path, resume: bool) -> None:
    """Raise DataError unless a folder can be written, and is new, or that of a run to resume."""
    found = {path.name for path in out.iterdir()} - {LOCK} if out.is_dir() else set()
    if resume and RUN not in found:
        raise DataError(out, "holds no run to go on with", "Check the name, or start one without --resume")
    if found and not resume:
        what = "holds a run already" if RUN in found else "is not empty"
        fix = "Go on with it by --resume, or name a new folder" if RUN in found else "Name a new folder"
        raise DataError(out, what, fix)
    require_writable(out)


@contextmanager
def hold_folder(out: Path, resume: bool) -> Iterator[None]:
    """Keep other trainings out of a folder; raise DataError unless it is new, or that of a run to resume."""
    check_folder(out, resume)
    fix = "Wait until it has ended, or name another folder"
    with hold_lock(out / LOCK, DataError(out, "another training is writing into it", fix)):
        yield
