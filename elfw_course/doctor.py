"""`elfw doctor`: will the course run here? Says what is there, and for each lack the command that mends it.

Every package is imported where it is needed: a missing one is a line of the table, never a traceback.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from textwrap import indent
from typing import TYPE_CHECKING

from elfw_course.browser import find_chromium
from elfw_helpers import __version__
from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.files import explain_error, require_writable
from elfw_helpers.utils.paths import build_folder, data_folder, project_folder

if TYPE_CHECKING:
    from elfw_course.grading.sandbox import Sandbox

# What stops the course, what is good to know or only some commands need, and what is well.
STOP, NOTE, FINE = "STOP", "note", "ok"
SHOWN = ("torch", "torchvision", "numpy", "pillow", "scikit-learn", "matplotlib", "jupyterlab", "gradio")
# A run of all notebooks writes some 300 MB into the build folder.
LEAST_FREE = 1 << 30
# Of the load per core; from here on, training takes clearly longer than the notebooks say.
BUSY = 0.5
NOT_SEEN = "What `pip install --user` or PYTHONPATH brings is not seen in the sandbox (grading/README.md)"
# Asked of PyPI on 2026-11-27 by `pip install --dry-run --platform`, for torch 2.7 and newer.
TORCH_WHEELS = (
    "If pip finds no torch: there is none for Intel Macs, Windows on ARM, 32-bit systems and Alpine Linux. "
    "Open the notebooks on Colab"
)


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        state: STOP, NOTE or FINE.
        found: what was found, or what is missing.
        mend: the command that mends it, or in words what to do; empty where nothing is missing.
    """

    state: str
    found: str
    mend: str = ""


def examine() -> int:
    """Print one line for everything looked at, each as soon as it is known, and what it means.

    Returns:
        Exit code: 0 if the course will run, 1 if not. What only some commands need does not count.
    """
    stopped = False
    for what, look in CHECKS.items():
        for finding in look_safely(look):
            print(f"{finding.state:<4} {what:<9} {finding.found}", flush=True)
            if finding.mend:
                print(indent(finding.mend, " " * 15 + "-> "), flush=True)
            stopped |= finding.state == STOP
            what = ""
    print(
        "\nThe course will not run yet: mend what is marked STOP, then call `elfw doctor` again."
        if stopped
        else "\nThe course will run."
    )
    return int(stopped)


def look_safely(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield what a check finds, and what stopped it as a finding."""
    try:
        yield from look()
    except ElfwError as error:  # before ImportError: a MissingPackage is both, and says itself what to do
        yield Finding(STOP, str(error))
    except ImportError as error:
        yield Finding(STOP, f"cannot be told without a package ({error})", install_command())
    except OSError as error:
        yield Finding(STOP, str(explain_error(error)))


def install_command() -> str:
    """Return the command that installs what notebooks need into this Python."""
    python = shlex.quote(sys.executable) if os.name == "posix" else f'"{sys.executable}"'
    return f'{python} -m pip install -e "{project_folder()}[lab]"'


def look_at_versions() -> Iterator[Finding]:
    """Find the versions of the course, of Python and of the packages that matter most."""
    system = f"{platform.system()} {platform.machine()}"
    yield Finding(FINE, f"course {__version__}, Python {platform.python_version()}, {system}")
    installed = [f"{name} {version}" for name in SHOWN if (version := find_version(name))]
    if installed:
        yield Finding(FINE, ", ".join(installed))


def find_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def look_at_packages() -> Iterator[Finding]:
    """Compare what is installed with pyproject.toml: its dependencies, and the extras that notebooks need."""
    from elfw_course.student import tomllib

    text = (project_folder() / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    needed = find_lacks(project["dependencies"] + extras["deploy"] + extras["cluster"])
    wanted = find_lacks(extras["lab"])
    if needed:
        hint = [TORCH_WHEELS] if "torch" in needed else []
        yield Finding(STOP, describe_lacks(needed), "\n".join([install_command(), *hint]))
    if wanted:
        yield Finding(NOTE, describe_lacks(wanted), install_command())
    if not needed and not wanted:
        yield Finding(FINE, "all that the notebooks need, within pyproject.toml's bounds")


def find_lacks(requirements: list[str]) -> dict[str, str]:
    """Return what is wrong with each requirement that is not met, by package; "" where it is missing."""
    from packaging.requirements import Requirement

    lacks = {}
    for requirement in map(Requirement, requirements):
        if requirement.name == "elfw-helpers" or (requirement.marker and not requirement.marker.evaluate()):
            continue
        version = find_version(requirement.name)
        if version is None:
            lacks[requirement.name] = ""
        elif not requirement.specifier.contains(version, prereleases=True):
            lacks[requirement.name] = f"{requirement.name} is {version}, not {requirement.specifier}"
    return lacks


def describe_lacks(lacks: dict[str, str]) -> str:
    """Return what `find_lacks` found in one line."""
    missing = ", ".join(name for name, wrong in lacks.items() if not wrong)
    return "; ".join(filter(None, [missing and f"missing: {missing}", *lacks.values()]))


def look_at_course() -> Iterator[Finding]:
    """Find the notebooks: without them, the package was installed without its checkout."""
    from elfw_course.student import list_notebooks

    notebooks = list_notebooks(project_folder() / "notebooks")
    if notebooks:
        yield Finding(FINE, f"{count(len(notebooks), 'notebook')} in {project_folder()}")
    else:
        mend = f'In the clone of the course: {sys.executable} -m pip install -e ".[lab]"'
        yield Finding(STOP, f"no notebooks in {project_folder()}: elfw was installed without them", mend)


def look_at_pages() -> Iterator[Finding]:
    """Find nbconvert's page templates, for `elfw run` writes a page of each notebook."""
    from elfw_course.web_page import make_exporter

    make_exporter()
    yield Finding(FINE, "nbconvert's templates are there")


def look_at_device() -> Iterator[Finding]:
    """Find the device that networks run on, its threads, and whether other programs keep it busy."""
    import joblib
    import torch

    from elfw_helpers.utils.device import best_device

    device = best_device()
    name = torch.cuda.get_device_name(device) if device == "cuda" else "the CPU will do"
    cores = joblib.cpu_count()
    threads = min(torch.get_num_threads(), cores)
    yield Finding(FINE, f"{device} ({name}), {count(threads, 'thread')} on {count(cores, 'core')}")


def look_at_load() -> Iterator[Finding]:
    """Find whether other programs keep the cores busy; Windows does not tell."""
    if not hasattr(os, "getloadavg"):
        yield Finding(FINE, "not known on this system")
        return
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < BUSY * cores:
        yield Finding(FINE, f"not busy (load {load:.1f} on {count(cores, 'core')})")
    else:
        found = f"busy (load {load:.1f} on {count(cores, 'core')}): training takes longer than notebooks say"
        yield Finding(NOTE, found, "Close other programs. To see them: top")


def look_at_data() -> Iterator[Finding]:
    """Find the faces, and whether images, masks, labels and splits fit each other; nothing is decoded."""
    from elfw_helpers.data.layout import scan_folder

    layout = scan_folder(data_folder())
    whose = "$ELFW_DATA" if os.environ.get("ELFW_DATA") else "rendered"
    found = f"{len(layout.images)} faces ({whose}), {len(layout.masks)} masks"
    check = f"elfw check {shlex.quote(str(layout.root))}"
    if layout.problems:
        more = f" (the first of {len(layout.problems)} problems)" if len(layout.problems) > 1 else ""
        yield Finding(STOP, f"{layout.problems[0]}{more}", check)
    else:
        yield Finding(FINE, f"{found}, all in pairs; `{check}` reads each")


def look_at_weights() -> Iterator[Finding]:
    """Compare the shipped weights with their checksums."""
    folder = project_folder() / "data" / "weights"
    wrong = []
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    for promised, name in (line.split(maxsplit=1) for line in lines):
        file = folder / name
        if not file.exists():
            wrong.append(f"{name} is missing")
        elif hashlib.sha256(file.read_bytes()).hexdigest() != promised:
            wrong.append(f"{name} is damaged")
    if wrong:
        mend = f"git -C {shlex.quote(str(project_folder()))} checkout -- data/weights"
        yield Finding(STOP, ", ".join(wrong), mend)
    else:
        yield Finding(FINE, f"{count(len(lines), 'file')}, as their checksums say")


def look_at_disk() -> Iterator[Finding]:
    """Find the free space for what notebooks write, and prove that they can write."""
    choose = "export ELFW_BUILD=/a/folder/on/another/disk (Windows: set ELFW_BUILD=...)"
    try:
        folder = build_folder()
        require_writable(folder)
    except (OSError, ElfwError) as error:
        yield Finding(STOP, str(explain_error(error) if isinstance(error, OSError) else error), choose)
        return
    free = shutil.disk_usage(folder).free
    found = f"{free / 2**30:.1f} GiB free for {folder}"
    if free < LEAST_FREE:
        yield Finding(STOP, f"{found}; {LEAST_FREE / 2**30:.0f} GiB are needed", choose)
    else:
        yield Finding(FINE, found)


def look_at_browser() -> Iterator[Finding]:
    """Find the Chromium that the tests of the apps and `elfw picture-apps` need."""
    found = find_chromium()
    if found:
        yield Finding(FINE, found)
    else:
        words = "no Chromium: the tests of the apps and of the site are skipped; notebooks need none"
        yield Finding(NOTE, words, "sudo apt install chromium" if is_linux() else "Install Chrome")


def look_at_sandbox() -> Iterator[Finding]:
    """Find what `elfw grade` runs submissions in, and whether torch, which they need, is seen in it."""
    if not is_linux():
        yield Finding(
            NOTE, "only Linux has one: `elfw grade` is for instructors and needs it", "wsl --install"
        )
        return
    from elfw_course.grading.sandbox import NoSandbox, choose_sandbox

    try:
        sandbox = choose_sandbox(unsandboxed=False)
    except NoSandbox as error:
        yield Finding(NOTE, f"{error.found}; `elfw grade`, for instructors, refuses", error.mend)
        return
    problem = try_import(sandbox, "torch")
    if problem:
        found = f"{sandbox.name}, in which torch cannot be imported ({problem}): no submission would run"
        yield Finding(NOTE, found, f"{install_command()}\n{NOT_SEEN}")
    else:
        yield Finding(FINE, f"{sandbox.name}, and torch can be imported in it")


def try_import(sandbox: Sandbox, package: str) -> str | None:
    """Return what keeps a package from being imported in a sandbox; None if nothing does."""
    from elfw_course.grading.key import MEMORY_MB
    from elfw_course.grading.run import SETUP_SECONDS
    from elfw_course.grading.session import RunEnded, Session
    from elfw_course.grading.turns import take_turn

    with (
        take_turn("doctor", alone=False, is_stopped=lambda: False) as number,
        Session(sandbox, number, MEMORY_MB << 20) as session,
    ):
        try:
            kind, content = session.ask("setup", [f"import {package}".encode()], SETUP_SECONDS)
        except RunEnded as error:
            return f"it {error}. {session.printed.decode('utf-8', 'replace').strip()}"
    return None if kind == "done" else str(content or kind)


def look_at_address() -> Iterator[Finding]:
    """Find whether the course has an address, which badges and the setup cells on Colab need."""
    from elfw_course.student import is_placeholder, read_repository

    repository = read_repository(project_folder())
    if is_placeholder(repository):
        words = "no address yet: instructors, see docs/instructors.md"
        yield Finding(NOTE, words, "elfw address https://github.com/OWNER/NAME")
    else:
        yield Finding(FINE, f"https://github.com/{repository}")


def count(number: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def is_linux() -> bool:
    """Say whether this is Linux."""
    return sys.platform.startswith("linux")


CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "versions": look_at_versions,
    "packages": look_at_packages,
    "course": look_at_course,
    "pages": look_at_pages,
    "device": look_at_device,
    "load": look_at_load,
    "data": look_at_data,
    "weights": look_at_weights,
    "disk": look_at_disk,
    "browser": look_at_browser,
    "sandbox": look_at_sandbox,
    "address": look_at_address,
}
