"""What every notebook begins and ends with: device, folders, checks of the data, figures, checked numbers.

`show_metrics` and `show_table` display plain text for the reader and, under a MIME type of our own, the same
numbers for the nbval plugin, which compares a fresh run with the stored one by `compare_payloads`. How far
two runs may differ stands in the cell's metadata, for the plugin alone. A payload is
`{"title", "rows", "columns"}`; each column is `{"name", "values"}` and has one value per row. Single metrics
are columns of one row, and their `rows` is null.
"""

from __future__ import annotations

import json
import math
import numbers
import os
import platform
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elfw_helpers.utils.errors import DataError, ElfwError
from elfw_helpers.utils.files import require_writable
from elfw_helpers.utils.paths import build_folder, data_folder, figure_folder, measured_file

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = [
    "build_folder",
    "check_exercise",
    "choose_device",
    "data_folder",
    "keep_on_drive",
    "read_measured",
    "require_data",
    "save_figure",
    "show_metrics",
    "show_table",
]

GPU_ADVICE = "No GPU: the CPU will do. To get one: Runtime -> Change runtime type -> GPU, then start again."
DRIVE = Path("/content/drive")
DRIVE_BUILD = DRIVE / "MyDrive" / "elfw-course" / "build"
# What the function of an exercise raises until it is written.
UNWRITTEN = re.compile(r"write (\w+)")
METRICS_MIME = "application/vnd.elfw.metrics+json"
# Where the largest number of a column is smaller, three decimals would leave less than two digits.
SMALLEST_IN_DECIMALS = 0.01

Tolerance = float | Mapping[str, float]
Payload = dict[str, Any]
# JSON has no NaN, so None stands for it; a pair is an interval.
Value = None | bool | str | int | float | list[int | float | None]


def choose_device() -> str:
    """Print the versions and the device, and let torch use no more threads than there are cores for it.

    torch does not know a container's quota, its share of the machine's time. On Colab without a GPU, a second
    line says how to get one.

    Returns:
        The device for networks: "cuda" where a GPU can be used, else "cpu".
    """
    import joblib
    import torch

    from elfw_helpers.utils.device import best_device

    torch.set_num_threads(min(torch.get_num_threads(), joblib.cpu_count()))
    device = best_device()
    gpu = f" ({torch.cuda.get_device_name(device)})" if device == "cuda" else ""
    print(f"Python {platform.python_version()}, torch {torch.__version__}, device {device}{gpu}")
    if device == "cpu" and "google.colab" in sys.modules:
        print(GPU_ADVICE)
    return device


def keep_on_drive() -> None:
    """Keep finished training runs and all else in the build folder on Google Drive: Colab's disk is not kept.

    Without Colab, without Drive, or with a full Drive, a sentence says so, and nothing changes.
    """
    here = f"Results stay in {build_folder()}"
    try:
        from google.colab import drive
    except ImportError:
        print(f"This is not Colab. {here}.")
        return
    try:
        drive.mount(str(DRIVE))
        require_writable(DRIVE_BUILD)
    except DataError as error:
        print(f"{error}. {here}, and are lost when Colab disconnects.")
    except Exception as error:  # whatever Colab raises when its user says no
        print(f"Google Drive was not mounted ({error}). {here}, and are lost when Colab disconnects.")
    else:
        os.environ["ELFW_BUILD"] = str(DRIVE_BUILD)
        print(f"Results go to {build_folder()}, and are found again when you run this line again.")


def read_measured(benchmark: str) -> dict[str, Any]:
    """Return what a benchmark measured on photos, which the course may not show: the `results` of its file.

    Args:
        benchmark: name of its script in benchmarks/, such as "masks_on_photos".

    Raises:
        ElfwError: there is no such file, or it holds no results.
    """
    file = measured_file(benchmark)
    try:
        return json.loads(file.read_text(encoding="utf-8"))["results"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        cure = f"Restore it by git, or make it: python benchmarks/{benchmark}.py --real FOLDER --store"
        raise ElfwError(f"{file}: no stored results ({error!r}). {cure}") from None


def show_metrics(title: str | None = None, **metrics: Any) -> None:
    """Show numbers, which `make test` compares with those of a fresh run.

    Args:
        title: what was measured, for instance the model; a titled accuracy joins the closing table.
        metrics: ints, floats (NaN too), strings, booleans or (low, high) pairs; numpy's and torch's
            scalars are welcome. Without any, words say so: a folder may have nothing to measure.

    Raises:
        ElfwError: a value of another kind.
    """
    if not metrics:
        print(f"{title or 'Metrics'}: nothing was measured")
        return
    payload = _make_payload(title, None, {name: [value] for name, value in metrics.items()})
    lines = [(column["name"], *_format_column(column["values"])) for column in payload["columns"]]
    _display(payload, align_columns(lines))


def show_table(frame: pandas.DataFrame, title: str | None = None) -> None:
    """Show a table, which `make test` compares with that of a fresh run.

    Args:
        frame: the table, of values as in `show_metrics`; its index is compared too.
        title: what the table holds.

    Raises:
        ElfwError: a value of another kind, or two columns of one name.
    """
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        raise ElfwError(f"The table has two columns of one name among {names}. Rename one.")
    values = {str(name): list(frame[name]) for name in frame}
    payload = _make_payload(title, [str(row) for row in frame.index], values)
    cells = {column["name"]: _format_column(column["values"]) for column in payload["columns"]}
    _display(payload, [type(frame)(cells, index=frame.index).to_string()])


def compare_payloads(stored: Payload, now: Payload, atol: Tolerance = 0) -> list[str]:
    """Compare the metrics of two runs.

    Args:
        stored, now: payloads of `show_metrics` or `show_table`.
        atol: largest absolute difference allowed. A number holds for every float and interval, and whole
            numbers are exact; a mapping holds for the names in it, and all others are exact.

    Returns:
        Lines that say what differs, the first a heading; empty when nothing does.
    """
    before, after = _flatten(stored, atol), _flatten(now, atol)
    differences = [
        line
        for name in [*before, *(name for name in after if name not in before)]
        if (line := _describe_difference(name, before.get(name), after.get(name)))
    ]
    if stored.get("title") != now.get("title"):
        differences.insert(0, ("title", str(stored.get("title")), str(now.get("title")), "", ""))
    if not differences:
        return []
    header = ("name", "stored", "now", "difference", "allowed")
    return [f"Metrics differ: {stored.get('title') or 'untitled'}", *align_columns([header, *differences])]


def find_payloads(outputs: Sequence[Mapping[str, Any]]) -> list[Payload]:
    """Return the payloads of metrics and tables among a cell's outputs."""
    return [output["data"][METRICS_MIME] for output in outputs if METRICS_MIME in output.get("data", {})]


def read_metrics(payload: Payload) -> dict[str, Value]:
    """Return the values of a `show_metrics` payload by name (NaN is None); empty for a table."""
    if payload["rows"] is not None:
        return {}
    return {column["name"]: column["values"][0] for column in payload["columns"]}


def _plain_value(name: str, value: Any) -> Value:
    """Turn a value, its numpy or torch scalar, or a pair of them into what JSON can hold."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, Sequence) or getattr(value, "ndim", 0) == 1:
        ends = [_plain_value(name, end) for end in value]
        if len(ends) == 2 and not any(isinstance(end, bool | str | list) for end in ends):
            return ends
    elif callable(getattr(value, "item", None)) and getattr(value, "ndim", 0) == 0:
        return _plain_value(name, value.item())
    elif isinstance(value, numbers.Integral):
        return int(value)
    elif value is None or (isinstance(value, numbers.Real) and not math.isinf(value)):
        return None if value is None or math.isnan(value) else float(value)
    raise ElfwError(
        f"{name} is {value!r}, which cannot be checked. Give a finite number or NaN, a string, a boolean, "
        "or a (low, high) pair of numbers."
    )


def _make_payload(title: str | None, rows: list[str] | None, values: dict[str, list]) -> Payload:
    """Arrange values as the module's docstring says."""
    columns = [
        {"name": name, "values": [_plain_value(name, value) for value in column]}
        for name, column in values.items()
    ]
    return {"title": title, "rows": rows, "columns": columns}


def _format_column(values: list[Value]) -> list[str]:
    """Write the values of a column alike: three decimals, or three digits where all are small."""
    floats = [
        number
        for value in values
        for number in (value if isinstance(value, list) else [value])
        if isinstance(number, float) and number
    ]
    kind = "#.3g" if floats and max(map(abs, floats)) < SMALLEST_IN_DECIMALS else ".3f"
    return [_format_value(value, kind) for value in values]


def _format_value(value: Value, kind: str) -> str:
    """Write a value, floats in a kind of format such as ".3f"."""
    if isinstance(value, list):
        return f"[{', '.join(_format_value(end, kind) for end in value)}]"
    if value is None:
        return "nan"
    return f"{value:{kind}}" if isinstance(value, float) else str(value)


def align_columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Pad the cells of equally long rows to columns, indented by two."""
    padded = []
    for column in zip(*rows, strict=True):
        width = max(map(len, column))
        padded.append([cell.ljust(width) for cell in column])
    return ["  " + "   ".join(row).rstrip() for row in zip(*padded, strict=True)]


def _display(payload: Payload, lines: list[str]) -> None:
    """Display in a notebook; print anywhere else."""
    text = "\n".join([payload["title"], *lines] if payload["title"] else lines)
    if _find_ipython() is None:
        print(text)
    else:
        from IPython.display import display

        display({METRICS_MIME: payload, "text/plain": text}, raw=True)


def _find_ipython() -> Any:
    """Return the IPython that this runs in, or None; without an import, it cannot be running."""
    return sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None


def _flatten(payload: Payload, atol: Tolerance) -> dict[str, tuple[Value, float]]:
    """Return (value, tolerance) of every single number, by a name that says where it is."""
    rows = payload["rows"]
    flat: dict[str, tuple[Value, float]] = {}
    for column in payload["columns"]:
        tolerance = _find_tolerance(column, atol)
        for position, value in enumerate(column["values"]):
            name = column["name"] if rows is None else f"{column['name']}, row {rows[position]}"
            # Rows may share their name, as the rows of two concatenated tables do.
            name = f"{name} ({position})" if name in flat else name
            if isinstance(value, list):
                flat[f"{name}, low"], flat[f"{name}, high"] = ((end, tolerance) for end in value)
            else:
                flat[name] = (value, tolerance)
    return flat


def _find_tolerance(column: Payload, atol: Tolerance) -> float:
    """Return what `compare_payloads` allows a column."""
    if isinstance(atol, Mapping):
        return atol.get(column["name"], 0)
    # It holds for floats, NaN and intervals.
    return atol if any(isinstance(value, float | list | None) for value in column["values"]) else 0


def _describe_difference(
    name: str, stored: tuple[Value, float] | None, now: tuple[Value, float] | None
) -> tuple[str, ...] | None:
    """Return a row (name, stored, now, difference, allowed), or None where two runs agree."""
    shown = (name, *("-" if entry is None else _format_value(entry[0], ".6g") for entry in (stored, now)))
    if stored is None or now is None:
        return (*shown, "new" if stored is None else "missing", "")
    (before, tolerance), (after, _) = stored, now
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in (before, after)):
        difference = after - before
        # A tiny excess over the tolerance is the rounding of the subtraction.
        agree, difference = abs(difference) <= tolerance * (1 + 1e-9), f"{difference:+.3g}"
    else:
        agree, difference = type(before) is type(after) and before == after, ""
    return None if agree else (*shown, difference, f"{tolerance:g}")


def require_data(found: bool, needed: str) -> None:
    """Go on where a lesson finds what it needs; else say what is missing, and pass over the cells below.

    For the end of a cell, because what follows in the same cell is executed all the same.

    Args:
        found: whether the folder has it.
        needed: by the lesson, for the reader: "masks: a file in labels/ for each photo".

    Raises:
        ElfwError: it is not found, and there are no cells: this is not IPython.
    """
    if found:
        return
    words = f"{data_folder().name} has nothing to show here. This lesson needs {needed}."
    ipython = _find_ipython()
    if ipython is None:
        raise ElfwError(words)
    print(words)
    print("The cells below are passed over. Set ELFW_DATA to another folder, and restart the kernel.")
    ipython.input_transformers_cleanup.append(lambda _: [f"print({'Passed over: needs ' + needed!r})\n"])


@contextmanager
def check_exercise(name: str) -> Iterator[None]:
    """Run the check of an exercise; if it is not solved yet, say so in a sentence, and go on.

    In the students' copies each check is inside of this, so that "Run all" reaches the exercises below. All
    other errors are the student's to read, and end in a traceback.

    Args:
        name: of the exercise.
    """
    try:
        yield
    except NotImplementedError as error:
        unwritten = UNWRITTEN.fullmatch(str(error))
        if not unwritten:
            raise
        print(f"{unwritten[1]} is not written yet. Write it in its cell, run that, and run this check again.")
    except AssertionError as error:
        failed = traceback.extract_tb(error.__traceback__)[-1].line
        print(f"{name} is not right yet: {str(error) or f'this does not hold: {failed}'}")


def save_figure(figure: Figure, name: str, *, alt: str) -> None:
    """Show a figure with its alt text, and save it as `<build>/figures/NAME.png`, wide enough for a slide.

    The alt text stands in the output's metadata, from where HTML takes it, and in the PNG's.

    Args:
        figure: any figure of `elfw_helpers.plots`; it is closed.
        name: begins with its notebook's number, such as `05_confusion_matrix`.
        alt: what is to be seen, in a sentence, for those who cannot see it.
    """
    import matplotlib.pyplot as plt

    file = figure_folder() / f"{name}.png"
    figure.savefig(file, dpi=160, bbox_inches="tight", metadata={"Description": alt})
    if _find_ipython() is not None:
        from IPython.display import display

        display(figure, metadata={"image/png": {"alt": alt}})
    plt.close(figure)  # or it would be shown once more at the end of the cell
