"""Runs that come with the course: what a notebook needs of an earlier one, where that was not executed.

Each is a JSON file in `data/runs/`, whose name holds a fingerprint of all that decides it: network, settings,
labels, code. Pictures are compared by their brightness: another decoder of JPEG changes their last bits, and
results by far less than chance does. For that reason versions and the device do not count here; they do for
runs in the build folder, which are looked for first.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from elfw_helpers.data.batches import Batches
from elfw_helpers.training.loop import History, fit
from elfw_helpers.training.losses import Loss
from elfw_helpers.training.search import (
    REPORT_GRID,
    Setting,
    expand_grid,
    find_files,
    make_table,
    read_history,
    search_settings,
)
from elfw_helpers.utils.errors import TrainingError
from elfw_helpers.utils.files import write_atomically
from elfw_helpers.utils.paths import shipped_runs

# Their modules, and the network's, turn batches into runs. What the batches hold is compared itself.
DECIDING = (Batches, Loss, fit, search_settings)
# How far the brightness of two decoders' pictures may differ, in levels of grey.
SAME_BRIGHTNESS = 2


def recall_grid_search(
    make_model: Callable[[], nn.Module],
    train: Batches,
    validation: Batches,
    epochs: int,
    *,
    out: str | Path,
    seed: int = 0,
    grid: Mapping[str, Sequence[float]] = REPORT_GRID,
) -> pd.DataFrame:
    """Return the table of a grid search that an earlier notebook made, and print where it is from.

    From `out` if all runs are stored there; else as shipped with the course, if those are of this network,
    data, settings and code. If not, they are trained now. See `search_settings` for arguments and table.
    """
    settings = expand_grid(grid)
    search = {"make_model": make_model, "train": train, "validation": validation}
    search |= {"settings": settings, "seed": seed}
    files = find_files(**search, out=out, strategy="auto")[2]
    complete = partial(search_settings, **search, epochs=epochs, out=out)
    if all(len(read_history(file)) >= epochs for file in files):
        print(f"The {len(settings)} runs are stored on this machine, by an earlier notebook or start.")
        return complete()
    try:
        histories, made = read_shipped(describe_search(**search, epochs=epochs), (train, validation))
    except TrainingError as error:
        print(f"The {len(settings)} runs are trained now: {error}.")
        return complete()
    print(f"The {len(settings)} runs come with the course ({made}): same network, settings, data and code.")
    return make_table(settings, histories, epochs, [""] * len(settings))


def describe_search(
    make_model: Callable[[], nn.Module],
    train: Batches,
    validation: Batches,
    settings: Sequence[Setting],
    seed: int,
    epochs: int,
) -> dict[str, Any]:
    """Return all that decides a search but the pictures, as JSON holds it."""
    both = (train, validation)
    return {
        "network": [getattr(make_model, name, "") for name in ("__module__", "__qualname__")],
        "settings": [{name: float(value) for name, value in setting.items()} for setting in settings],
        "epochs": epochs,
        "seeds": [seed, train.shuffle_seed],
        "batches": [[part.batch_size, str(part.precision), part.augment is None] for part in both],
        "labels": [make_fingerprint(str(part.targets.tolist())) for part in both],
        "code": make_fingerprint("".join(map(write_module, (*DECIDING, make_model)))),
    }


def write_module(defined: Any) -> str:
    """Write the code of the module that defines something; nothing where that is not of this package."""
    module = inspect.getmodule(defined)
    ours = module is not None and module.__name__.partition(".")[0] == __name__.partition(".")[0]
    return write_tree(ast.parse(inspect.getsource(module))) if ours else ""


def write_tree(node: Any) -> str:
    """Write a syntax tree without documentation, on all versions of Python alike; `ast.dump` does not."""
    if isinstance(node, list):
        return "".join(map(write_tree, node))
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return ""
    # Newer versions have more fields; in older code they are empty.
    fields = [name + write_tree(value) for name, value in ast.iter_fields(node) if value not in (None, [])]
    return f"({type(node).__name__} {' '.join(fields)})"


def make_fingerprint(text: str) -> str:
    """Return 16 hexadecimal digits, on every machine the same for the same text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def measure_brightness(parts: Sequence[Batches]) -> list[int]:
    """Return the mean of each image's pixels, and of each part's normalisation mean and deviation, 0..255."""
    means = [part.images.float().mean((1, 2, 3)) for part in parts]
    scales = [255 * scale.flatten() for part in parts for scale in (part.mean, part.std)]
    return torch.cat([*means, *scales]).round().int().tolist()


def read_shipped(run: Mapping[str, Any], parts: Sequence[Batches]) -> tuple[list[History], str]:
    """Return the histories of a run that ships, and when and with what it was made.

    Args:
        run: what `describe_search` returns.
        parts: the batches of which it is.

    Raises:
        TrainingError: no run that ships is this one; says why not.
    """
    reasons = []
    for file in sorted(shipped_runs().glob("grid_search_*.json")):
        try:
            shipped = json.loads(file.read_text(encoding="utf-8"))
            histories = [History(**history) for history in shipped["histories"]]
            values = np.array([list(vars(history).values()) for history in histories])
            expected = (len(shipped["run"]["settings"]), len(vars(History())), shipped["run"]["epochs"])
            if values.shape != expected or not np.isfinite(values).all():
                raise ValueError(f"finite values {list(expected)} expected")
            made = ", ".join(shipped["made"])
            others = [name for name in run if shipped["run"][name] != run[name]]
            # Only for the same labels: other pictures may be too many to look at all of them.
            if not others and are_close(measure_brightness(parts), shipped["brightness"]):
                return histories, made
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reasons.append(f"{file.name} is damaged ({error!r}; git restores it)")
        else:
            reasons.append(f"{file.name} was made with other {' and '.join(others) or 'pictures'}")
    raise TrainingError("; ".join(reasons) or f"there is none in {shipped_runs()}")


def are_close(first: Sequence[int], second: Sequence[int]) -> bool:
    """Say whether two lists of brightness are of the same pictures."""
    return len(first) == len(second) and int(np.abs(np.subtract(first, second)).max()) <= SAME_BRIGHTNESS


def write_shipped(
    run: Mapping[str, Any], parts: Sequence[Batches], histories: Sequence[History], device: str
) -> Path:
    """Write a run that ships, in place of those before it, and return its file."""
    date = datetime.now(timezone.utc).date().isoformat()
    made = [date, f"Python {platform.python_version()}", f"torch {torch.__version__}", device]
    content = {"made": made, "run": run, "brightness": measure_brightness(parts)}
    content["histories"] = [asdict(history) for history in histories]
    folder = shipped_runs()
    folder.mkdir(exist_ok=True)
    file = folder / f"grid_search_{make_fingerprint(json.dumps(run, sort_keys=True))}.json"
    write_atomically(file, f"{json.dumps(content)}\n".encode())
    for old in folder.glob("grid_search_*.json"):
        if old != file:
            old.unlink()
    return file
