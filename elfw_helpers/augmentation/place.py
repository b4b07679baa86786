"""Where augmented faces may be written. torch is not loaded here: a place that cannot be is told at once."""

from __future__ import annotations

from pathlib import Path

from elfw_helpers.data.layout import MANIFEST, read_origins
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import require_creatable


def check_place(source: Path, out: Path, replace: bool) -> None:
    """Raise DataError unless the folder can be written, and is new or an augmented one to be replaced.

    Args:
        source: the folder of the source faces.
        out: the folder for the augmented ones.
        replace: delete the augmented folder that is there already.
    """
    source, out = source.resolve(), out.resolve()
    if out == source or out in source.parents or source in out.parents:
        raise DataError(out, "is the folder of the source faces, or in it", "Name a folder beside it")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        if not out.is_dir() or not (out / MANIFEST).exists():
            raise DataError(out, "it is there already, and not made by `elfw augment`", "Name another folder")
        read_origins(out)
        if not replace:
            raise DataError(out, "it holds augmented faces already", "Add --replace, or name another folder")
    # The faces are written beside it first.
    require_creatable(out.parent)
