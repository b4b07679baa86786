"""Runs all notebooks of the course: `elfw run` into the build folder, `elfw refresh` in place."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import joblib
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_notebook

from elfw_course import shipped_runs
from elfw_course.execute import Execution, NotebookFailed, execute_side_by_side, format_duration
from elfw_course.results import (
    Result,
    collect_results,
    encode_results,
    format_scores,
    format_value,
    write_results,
)
from elfw_course.student import (
    WIDGET_MIME,
    find_notebooks,
    format_notebook,
    read_repository,
    write_address,
    write_if_changed,
    write_student_copies,
)
from elfw_course.web_page import format_page, make_exporter
from elfw_helpers.data.labels import ATTRIBUTES
from elfw_helpers.notebook import align_columns
from elfw_helpers.utils.errors import DataError, ElfwError
from elfw_helpers.utils.paths import build_folder, data_folder, project_folder

HEADER = (
    "model", "notebook", "test images", "accuracy [95 %]", "majority", "balanced", "macro F1 [95 %]",
    "F1 hair", "spectacles", "cap",
)  # fmt: skip


@dataclass(frozen=True)
class NotebookRun:
    """One notebook, executed to its last cell or to an error."""

    path: Path  # of the notebook as committed
    notebook: NotebookNode  # executed
    seconds: float = 0.0  # wall clock, with the start of the kernel
    failure: str = ""  # where it failed, and by what; empty where it did not


def run_course(names: Sequence[str]) -> int:
    """Execute notebooks into the build folder, print the closing table, and keep its numbers in results.json.

    Args:
        names: such as `02_transfer_learning` or `02`; all notebooks when there are none.

    Returns:
        Exit code: 0, 1 when a notebook failed (the others are executed all the same), 130 when interrupted.

    Raises:
        ElfwError: there is no such notebook, no such folder of faces, or nothing that writes pages.
    """
    notebooks = find_notebooks(names)
    if not data_folder().is_dir():
        raise DataError(data_folder(), "no such folder", "Set ELFW_DATA to a folder in ELFW's layout.")
    # The pages are written at the end: that they cannot be is to be told before the work.
    make_exporter()
    print(f"Faces from {data_folder()}\nCopies, pages and figures go to {build_folder()}", flush=True)
    start = time.monotonic()
    try:
        runs = run_notebooks(notebooks, build_folder())
        results = collect_results((run.path.stem, run.notebook) for run in runs)
        print("\n" + describe_runs(runs, results, time.monotonic() - start))
        write_if_changed(build_folder() / "results.json", encode_results(results, data_folder().name))
    except KeyboardInterrupt:
        print("\nInterrupted. The same command again goes on with what is saved.", file=sys.stderr)
        return 130
    return 1 if any(run.failure for run in runs) else 0


def refresh_course() -> int:
    """Execute the committed notebooks in place; write what follows from them.

    That is: figures, the runs that ship, address, students' copies and the tables of both READMEs.

    Returns:
        Exit code: 0, 1 when a cell failed, 130 when interrupted; then nothing was changed.
    """
    # A wrong address is to be told before the work, not after it.
    read_repository(project_folder())
    try:
        refresh_notebooks(find_notebooks([]), project_folder() / "figures")
    except NotebookFailed as error:
        unchanged = "No notebook and no figure was changed. `make run` keeps a copy to look at."
        print(f"\n{error}\n{unchanged}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. No notebook and no figure was changed.", file=sys.stderr)
        return 130
    write_address(project_folder())
    write_results(project_folder())
    write_student_copies(project_folder() / "notebooks")
    return 0


def run_notebooks(notebooks: Sequence[Path], out: Path) -> list[NotebookRun]:
    """Execute notebooks side by side, and leave a copy with its outputs and an HTML page of each in `out`.

    Each runs on its own, so all go on after one that failed: copy and page hold what ran until there, and
    stderr says at once what happened. After Ctrl-C, too, copy and page hold what ran until there.

    Returns:
        A run for each notebook, in their order.
    """
    if any(path.parent.resolve() == out.resolve() for path in notebooks):
        raise ElfwError(f"{out} holds the notebooks themselves. Choose another ELFW_BUILD.")
    runs, unfinished = {}, {}
    for path in notebooks:
        try:
            unfinished[path] = Execution(nbformat.read(path, as_version=4), path)
        except Exception as error:  # of what is no notebook, nbformat raises errors of all kinds
            reason = str(error).partition("\n")[0]
            print(f"{path} cannot be read as a notebook: {reason}\n", file=sys.stderr)
            runs[path] = NotebookRun(path, new_notebook(), failure=f"FAILED: no notebook: {reason}")
    try:
        with closing(_execute_all(list(unfinished.values()), out)) as executed:
            for one in executed:
                copy, page = _write_copies(unfinished.pop(one.path), out)
                failure = ""
                if error := one.failure:
                    print(f"{error}\nTo look at what ran until there: {page} or {copy}\n", file=sys.stderr)
                    failure = f"FAILED in {error.where}: {error.reason}"
                runs[one.path] = NotebookRun(one.path, one.notebook, one.seconds, failure)
    finally:
        for one in unfinished.values():
            if one.cell:
                _write_copies(one, out)
    return [runs[path] for path in notebooks]


def _execute_all(executions: Sequence[Execution], build: Path) -> Iterator[Execution]:
    """Execute notebooks, one per core that this process may use, which share the cores' threads."""
    cores = joblib.cpu_count()
    at_once = max(1, min(cores, len(executions)))
    environment = {"OMP_NUM_THREADS": str(cores // at_once), **_kernel_environment(build)}
    return execute_side_by_side(executions, at_once, environment)


def _write_copies(execution: Execution, out: Path) -> tuple[Path, Path]:
    """Write an executed notebook and its page into a folder; return both files."""
    copy, page = out / execution.path.name, out / f"{execution.name}.html"
    write_if_changed(copy, format_notebook(execution.notebook))
    write_if_changed(page, format_page(execution.notebook, execution.path))
    return copy, page


def refresh_notebooks(notebooks: Sequence[Path], figures: Path) -> None:
    """Execute notebooks with nothing to load from earlier runs and, once all succeeded, replace them.

    They load from each other what `elfw_course.order` says.

    Their figures replace those of the same numbers in the folder `figures`, and the runs that ship are those
    that they made.

    Raises:
        ElfwError: ELFW_DATA is set, or an output names a folder of this machine; nothing was changed.
        NotebookFailed, KeyboardInterrupt: nothing was changed.
    """
    if os.environ.get("ELFW_DATA"):
        raise ElfwError(
            "ELFW_DATA is set, but pictures of real people must not be stored in this repository. "
            "Unset it to refresh from the embedded faces, or use `make run`, which writes into build/ only."
        )
    with tempfile.TemporaryDirectory(prefix="elfw-refresh-") as folder:
        build, refreshed = Path(folder).resolve(), {}
        executions = [Execution(nbformat.read(path, as_version=4), path) for path in notebooks]
        with closing(_execute_all(executions, build)) as executed:
            for one in executed:
                if one.failure:
                    raise one.failure
                clean_notebook(one.notebook)
                _refuse_machine_paths(one.notebook, one.path, [str(project_folder()), str(build)])
                refreshed[one.path] = format_notebook(one.notebook)
        if any(path.stem == shipped_runs.NOTEBOOK for path in notebooks):
            shipped_runs.write_shipped_runs(build)
        for path, text in refreshed.items():
            write_if_changed(path, text)
            figures.mkdir(exist_ok=True)
            for old in figures.glob(f"{path.stem[:2]}_*.png"):
                old.unlink()
            for new in (build / "figures").glob(f"{path.stem[:2]}_*.png"):
                shutil.copyfile(new, figures / new.name)


def clean_notebook(notebook: NotebookNode) -> None:
    """Remove from a notebook what differs between two runs of it, in place.

    That is: progress bars, warnings, timings, Python's version, and where printed text was cut in pieces.
    """
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata.get("language_info", {}).pop("version", None)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        kept: list[NotebookNode] = []
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr" or WIDGET_MIME in output.get("data", {}):
                continue
            if kept and output.output_type == kept[-1].output_type == "stream":
                kept[-1].text += output.text
            else:
                kept.append(output)
        if cell.cell_type == "code":
            cell.outputs = kept


def describe_runs(runs: Sequence[NotebookRun], results: Sequence[Result], seconds: float) -> str:
    """Write the closing table: results by model, minutes by notebook, what failed where, peak memory.

    Args:
        seconds: wall clock of all together; notebooks ran side by side.
    """
    rows = [
        (
            one.title,
            one.notebook[:2],
            str(one.metrics["images"]),
            *format_scores(one.metrics),
            *(format_value(one.metrics[f"f1_{name}"]) for name in ATTRIBUTES),
        )
        for one in results
    ]
    times = [(run.path.stem, format_duration(run.seconds), run.failure) for run in runs]
    times.append(("all", format_duration(seconds), ""))
    lines = [
        f"Results on {data_folder()}",
        "(majority: accuracy of always the commonest answer; balanced: mean of the classes' recalls)",
        *(align_columns([HEADER, *rows]) if rows else ["  no notebook showed any"]),
        "Time (minutes:seconds)",
        *align_columns(times),
    ]
    memory = _peak_memory()
    if memory is not None:
        lines.append(f"Peak memory of the largest process: {memory:.2f} GiB")
    return "\n".join(lines)


def _kernel_environment(build: Path) -> dict[str, str]:
    """Return the environment of a kernel; its folders are absolute, because it works in another folder."""
    environment = {**os.environ, "ELFW_BUILD": str(build.resolve())}
    return environment | ({"ELFW_DATA": str(data_folder())} if os.environ.get("ELFW_DATA") else {})


def _refuse_machine_paths(notebook: NotebookNode, path: Path, folders: Sequence[str]) -> None:
    """Raise when an output names one of the folders: it would fail and be of no use anywhere else."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            shown = [output.get("text"), *(data[kind] for kind in data if not kind.startswith("image/"))]
            named = [folder for folder in folders if folder in str(shown)]
            if named:
                raise ElfwError(
                    f"{path.name}, cell [{cell.execution_count}] shows {named[0]}, a folder of this machine. "
                    "Have it show a path relative to the project, or none. Nothing was changed."
                )


def _peak_memory() -> float | None:
    """Return the most memory, in GiB, that one of the finished child processes held; None if nobody knows."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 2**30
