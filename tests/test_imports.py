"""What each package loads when it is imported, and that imports point downwards only, without circles."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest

from elfw_helpers.utils.paths import project_folder

HEAVY = ["torch", "torchvision", "sklearn", "pandas", "scipy", "matplotlib", "seaborn"]
HEAVY += ["gradio", "onnx", "onnxscript", "onnxruntime", "IPython"]
# scikit-learn brings the other two along.
LEARN = ("sklearn", "scipy", "pandas")
# What may be loaded, and by which imports: of a name, or of all modules of a package but its subpackages'.
# Those that may load the same share a process.
MAY_LOAD = {
    (): ["elfw_helpers.utils.files", "elfw_helpers.data.read_image", "elfw_helpers.notebook",
         "elfw_helpers.data.annotations", "elfw_helpers.data.releases",
         "elfw_helpers.notebook.show_metrics", "elfw_helpers.rendering", "elfw_course.cli"],
    ("torch",): ["elfw_helpers.utils", "elfw_helpers.data.FaceFolder", "elfw_helpers.augmentation"],
    ("torch", "scipy"): ["elfw_helpers.data"],
    ("torch", "torchvision"): ["elfw_helpers.models", "elfw_helpers.deployment"],
    ("torch", *LEARN): ["elfw_helpers.evaluation", "elfw_helpers.training"],
    ("torch", "torchvision", "matplotlib", "seaborn", "IPython", *LEARN): ["elfw_helpers.plots"],
    ("torch", "torchvision", "matplotlib", "gradio", "IPython", *LEARN): ["elfw_helpers.deployment.apps"],
}  # fmt: skip
# Each group is loaded in a process of its own, forked from one that has loaded torch if the group may.
LOAD = """
import importlib, json, os, pkgutil, sys
for may_load, targets in json.loads(sys.argv[1]):
    if "torch" in may_load:
        import torch
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0, targets
        continue
    for target in targets:
        try:
            module = importlib.import_module(target)
        except ModuleNotFoundError:
            package, name = target.rsplit(".", 1)
            getattr(importlib.import_module(package), name)
        else:
            for inner in pkgutil.iter_modules(getattr(module, "__path__", []), target + "."):
                if not inner.ispkg:
                    importlib.import_module(inner.name)
    print(json.dumps([may_load, sorted(set(sys.argv[2:]) & set(sys.modules))]), flush=True)
    os._exit(0)
"""
DOORS = "import sys, elfw_helpers, elfw_helpers.notebook\nfrom elfw_helpers import "
DOORS += "augmentation, data, deployment, models, plots, rendering, training, utils\n"
DOORS += "print(*sorted(set(sys.argv[1:]) & set(sys.modules)))"

# From the ground up: what lies on a floor imports from the floors below it, and from itself.
FLOORS = [
    ["elfw_helpers.utils"],
    ["elfw_helpers.data", "elfw_helpers.notebook"],
    ["elfw_helpers.rendering", "elfw_helpers.models"],
    ["elfw_helpers.augmentation", "elfw_helpers.evaluation"],
    ["elfw_helpers.training", "elfw_helpers.deployment", "elfw_helpers.plots"],
    ["elfw_course"],
    ["benchmarks", "tests"],
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ROOTS = ("elfw_helpers", "elfw_course", "benchmarks", "tests")


def run_python(*arguments: str) -> str:
    """Return what a fresh interpreter prints."""
    run = {"capture_output": True, "encoding": "utf-8", "check": True, "cwd": project_folder()}
    return subprocess.run([sys.executable, "-c", *arguments], **run).stdout


@pytest.fixture(scope="module")
def loaded() -> dict[tuple[str, ...], set[str]]:
    """What is loaded after the imports of each group, by what may be."""
    groups = [group for group in MAY_LOAD.items() if "gradio" not in group[0] or find_spec("gradio")]
    lines = run_python(LOAD, json.dumps(groups), *HEAVY).splitlines()
    return {tuple(may_load): set(names) for may_load, names in map(json.loads, lines)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("may_load", MAY_LOAD, ids=" ".join)
def test_an_import_loads_no_more_than_it_needs(may_load, loaded):
    if may_load not in loaded:
        pytest.skip("gradio is not installed")
    assert loaded[may_load] <= set(may_load)


def test_the_packages_themselves_load_nothing():
    assert run_python(DOORS, *HEAVY).split() == []


def setup_cell() -> str:
    """Return the first two code cells of a notebook, without magics."""
    notebook = min((project_folder() / "notebooks").glob("*.ipynb"))
    cells = nbformat.read(notebook, as_version=4).cells
    codes = [cell.source for cell in cells if cell.cell_type == "code"]
    return "\n".join(codes[:2]).replace("%pip", "pass  #")


@pytest.mark.parametrize(
    "code",
    [setup_cell(), "import elfw_course.cli, torch", "import elfw_course.nbval_plugin, torch"],
    ids=["notebook", "command", "pytest"],
)
def test_torchs_threads_soon_sleep_while_they_wait(code):
    environment = {**os.environ, "OMP_DISPLAY_ENV": "VERBOSE"}
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        environment.pop(name, None)
    run = {"capture_output": True, "encoding": "utf-8", "check": True, "cwd": project_folder()}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, **run).stderr
    # How often a thread looks again before it sleeps; where nothing is set, 300,000 times.
    counts = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", shown)
    if not counts and "OMP" in shown:
        pytest.skip("torch's threads are not GNU's here, whose waiting this looks at")
    assert counts and set(counts) == {"600"}, shown


@cache
def module_files() -> dict[str, Path]:
    """Return the Python files of the project by the names of their modules."""
    found = {}
    for path in (path for root in ROOTS for path in (project_folder() / root).rglob("*.py")):
        parts = path.relative_to(project_folder()).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def find_imports(source: str) -> Iterator[str]:
    """Yield the modules of the project that a source imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in module_files() else node.module for name in full]
        yield from (name for name in names if name in module_files())


@cache
def import_graph() -> dict[str, set[str]]:
    """Return what each module of the project imports of it."""
    return {
        module: set(find_imports(path.read_text(encoding="utf-8")))
        for module, path in module_files().items()
        if "fixtures" not in path.parts
    }


def room_of(module: str) -> str | None:
    """Return the package that FLOORS names and a module lies in; None for what holds the packages."""
    return next((room for room in FLOOR_OF if f"{module}.".startswith(f"{room}.")), None)


def test_imports_point_downwards():
    upwards = [
        f"{module} imports {other}"
        for module, imported in import_graph().items()
        for other in imported
        if (above := room_of(module)) != (below := room_of(other)) and below is not None
        if above is None or FLOOR_OF[above] <= FLOOR_OF[below]
    ]
    assert upwards == []


def test_every_module_lies_on_a_floor():
    assert [module for module in module_files() if not room_of(module)] == ["elfw_helpers"]


def test_no_module_imports_itself_by_way_of_others():
    TopologicalSorter(import_graph()).prepare()


def test_what_enters_the_sandbox_imports_nothing_of_the_judge():
    inside = "elfw_course.grading.inside"
    imported = {
        other for module, found in import_graph().items() if module.startswith(inside) for other in found
    }
    assert all(other.startswith((inside, "elfw_helpers")) for other in imported)
