"""The errors this package raises on purpose: each says what was found and what to do about it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path


class ElfwError(Exception):
    """Base of every error raised on purpose; the command line prints it without a traceback."""


class DataError(ElfwError, ValueError):
    """Something is wrong with a file or folder of faces.

    Args:
        file: the file or folder it was found in.
        found: what was found there.
        fix: what to do about it.
        line: line number in `file`, from 1, where that makes sense.
    """

    def __init__(self, file: str | Path, found: str, fix: str, line: int | None = None):
        self.file, self.found, self.fix, self.line = Path(file), found, fix, line
        place = f"{file}, line {line}" if line else str(file)
        super().__init__(f"{place}: {found}. {fix}")

    def __reduce__(self) -> tuple:
        """Return how pickle makes it again: it may be raised in another process."""
        return type(self), (self.file, self.found, self.fix, self.line)


class PhotoWarning(UserWarning):
    """A photo was read or predicted, with something that its user should know."""


class WeightsError(ElfwError, RuntimeError):
    """Pre-trained weights cannot be had, or are not what their name promises."""


class TrainingError(ElfwError, RuntimeError):
    """Training cannot go on, or a checkpoint does not belong to the run that asks for it."""


class MissingPackage(ElfwError, ImportError):
    """A package is not installed that only some of the course's commands need."""


def require_deployment(*packages: str) -> None:
    """Import packages of the extra `deploy`, or raise MissingPackage with the command that installs them."""
    require_extra("deploy", "To deploy", *packages)


def require_cluster() -> None:
    """Import Dask's package of the extra `cluster`, or raise MissingPackage."""
    require_extra("cluster", "To compute on a cluster", "distributed")


def require_extra(extra: str, purpose: str, *packages: str) -> None:
    """Import packages of an extra, or raise MissingPackage with the command that installs them."""
    try:
        for package in packages:
            import_module(package)
    except ImportError as error:
        raise MissingPackage(f'{error}. {purpose}, do: pip install "elfw-helpers[{extra}]"') from None
