"""What a worker of a cluster must have to compute what the client would, and how it is asked."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from distributed import Worker, get_worker

from elfw_helpers.utils.errors import DataError, ElfwError
from elfw_helpers.utils.files import require_writable
from elfw_helpers.utils.paths import data_folder, project_folder

# What decides results: these packages' versions, and these files of the course.
PACKAGES = (
    *("torch", "torchvision", "numpy", "pillow", "scipy", "scikit-learn", "pandas", "timm"),
    *("joblib", "dask", "distributed"),
)
FILES = (
    "elfw_helpers/**/*.py",
    "elfw_course/**/*.py",
    "data/weights/*.safetensors",
    "data/rendered_faces.zip",
)


class Needs(NamedTuple):
    """What a worker must have to compute what this process would.

    Attributes:
        facts: names and versions of packages, names and checksums of the course's files.
        marks: a file in each folder that all workers must share with this process.
        data: the folder in $ELFW_DATA and its content, as `describe_folder` says it; None without one.
        prepare: what else a worker does before its first job.
    """

    facts: tuple[tuple[str, str], ...]
    marks: tuple[Path, ...]
    data: tuple[Path, str] | None
    prepare: Callable[[], object] | None


@functools.cache
def describe_course() -> tuple[tuple[str, str], ...]:
    """Return names and versions of packages, names and checksums of the course's files.

    Looked up once per process: a file that is changed later is not the code that runs here.
    """
    facts = {"Python": platform.python_version()}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            facts[package] = importlib.metadata.version(package)
    root = project_folder()
    for pattern in FILES:
        for file in sorted(root.glob(pattern)):
            facts[file.relative_to(root).as_posix()] = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    return tuple(facts.items())


def describe_data() -> tuple[Path, str] | None:
    """Return the folder in $ELFW_DATA and its content; None where the course's own faces are used."""
    return (data_folder(), describe_folder(data_folder())) if os.environ.get("ELFW_DATA") else None


def describe_folder(folder: Path) -> str:
    """Return a checksum of the names in a folder, of none where it cannot be read."""
    names = []
    with suppress(OSError):
        names = sorted(os.listdir(folder))
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def list_faults(needs: Needs, dask_worker: Worker) -> list[str]:
    """Return what keeps this worker, which Dask names so, from computing what the client would."""
    here = dict(describe_course())
    wanted = dict(needs.facts)
    faults = [
        f"{name} is {here.get(name, 'absent')}, not {wanted.get(name, 'absent')}"
        for name in {**wanted, **here}
        if here.get(name) != wanted.get(name)
    ]
    faults[3:] = [f"{len(faults) - 3} more such differences"] if len(faults) > 3 else []
    if dask_worker.state.nthreads != 1:
        # Jobs set torch's random numbers and threads, which all threads of a process share.
        faults.append("it has several threads: start it with --nthreads 1")
    if needs.data and describe_folder(needs.data[0]) != needs.data[1]:
        faults.append(f"the data folder {needs.data[0]} is not there, or is another: mount yours there")
    for step in (*(functools.partial(use_folder, mark) for mark in needs.marks), needs.prepare):
        try:
            if step:
                step()
        except ElfwError as error:
            faults.append(str(error))
    return faults


def use_folder(mark: Path) -> None:
    """Prove that this worker can write into the folder that holds a mark; else raise DataError."""
    if not mark.exists():
        cure = "Let the worker's machine mount it"
        raise DataError(mark.parent, "is not there, or is not the same storage", cure)
    require_writable(mark.parent)


@functools.lru_cache(1)
def prepare_worker(needs: Needs) -> None:
    """Check this worker, which may have joined after the others were checked."""
    faults = list_faults(needs, get_worker())
    if faults:
        raise ElfwError(f"the worker {get_worker().address} cannot take part: {'; '.join(faults)}")
