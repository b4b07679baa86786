"""What the benchmarks share: measuring in turns, printing, storing figures with machine, date and versions.

A figure is measured in several rounds, and what is compared is measured in turns within one run: other work
on the machine then slows all alike. `--store` writes `benchmarks/results/NAME.json`, from which the README's
table of performance is made (`elfw results`); without it a script only prints.
"""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import joblib

RESULTS = Path(__file__).parent / "results"
ROUNDS = 5


@dataclass(frozen=True)
class Figure:
    """One thing measured, a value per round.

    Attributes:
        what: such as "mini network, 64 px: fit".
        values: one per round.
        unit: such as "images/s"; empty for a ratio.
        note: a condition that a reader must know, in a few words.
        headline: whether the project's README shows it.
    """

    what: str
    values: Sequence[float]
    unit: str = ""
    note: str = ""
    headline: bool = False

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.values)


def measure_in_turns(
    measures: Mapping[str, Callable[[], float]], rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """Call each of the measures once per round, in turns; return the values of each, a list per name."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            values[name].append(measure())
    return values


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratio of two measures round by round: both were measured beside the same other work."""
    return [one / other for one, other in zip(above, below, strict=True)]


def describe_machine() -> str:
    """Return processor, cores that this process may use, and the GPU where there is one."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{joblib.cpu_count()} cores of {names[0] if names else platform.machine()}{gpu}"


def store_results(file: Path, results: Mapping[str, object]) -> None:
    """Write what a benchmark on photos found to a file beside it, with machine, date and torch's version."""
    setup = {"machine": describe_machine(), "date": datetime.now(timezone.utc).date().isoformat()}
    content = json.dumps(setup | {"torch": version("torch"), "results": results}, indent=1)
    file.write_text(f"{content}\n", encoding="utf-8")


def report(name: str, figures: Iterable[Figure], *, store: bool, packages: Sequence[str] = ()) -> None:
    """Print figures, and with `store` write them to `benchmarks/results/NAME.json`.

    Args:
        packages: distributions beyond torch, torchvision and numpy whose versions decide the figures.
    """
    figures = list(figures)
    width = max(len(figure.what) for figure in figures)
    for figure in figures:
        spread = f"[{min(figure.values):.4g}, {max(figure.values):.4g}]"
        print(f"  {figure.what:<{width}}  {figure.median:9.4g} {spread:<20} {figure.unit}  {figure.note}")
    if store:
        store_figures(name, figures, packages)


def store_figures(name: str, figures: Iterable[Figure], packages: Sequence[str] = ()) -> None:
    """Write figures to `benchmarks/results/NAME.json`, with machine, date and versions; see `report`."""
    content = {
        "machine": describe_machine(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in ("torch", "torchvision", "numpy", *packages)},
        "figures": [asdict(figure) for figure in figures],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
