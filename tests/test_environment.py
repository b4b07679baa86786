"""environment.yml and pyproject.toml promise the same packages within the same bounds."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
# What a package is called on conda-forge, where that differs from PyPI.
PYPI_NAMES = {"pytorch": "torch"}


def split_bound(requirement: str) -> tuple[str, str]:
    name, bound = re.match(r"([A-Za-z0-9_.-]+?)\s*([<>=!~].*)?$", requirement).groups()
    return PYPI_NAMES.get(name, name), bound or ""


def conda_packages() -> dict[str, str]:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    plain = [entry for entry in listed if isinstance(entry, str) and entry != "pip"]
    return dict(split_bound(entry) for entry in plain + pip if entry != "-e .")


def pyproject_packages() -> dict[str, str]:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML reader of its own")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = project["dependencies"] + project["optional-dependencies"]["dev"]
    return {"python": project["requires-python"], **dict(split_bound(entry) for entry in required)}


def test_same_packages_within_the_same_bounds():
    assert conda_packages() == pyproject_packages()


def test_lower_bounds_only_but_for_nbval():
    bounds = pyproject_packages()
    assert bounds.pop("nbval") == "==0.11.*"
    assert all(re.fullmatch(r">=[\d.]+", bound) for bound in bounds.values()), bounds


def test_every_package_the_course_promises_is_there():
    promised = {"torch", "torchvision", "jupyterlab", "matplotlib", "seaborn", "pandas", "scikit-learn"}
    assert promised | {"torchsummary", "nbval"} <= set(conda_packages())
