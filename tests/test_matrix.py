"""The matrix goes on after a failure, and its table tells what failed from what is not here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from elfw_course.student import tomllib
from elfw_helpers.utils.paths import project_folder

SCRIPT = project_folder() / ".ci" / "matrix.py"
# Makes environments whose Python only prints, has no Python 3.14, and cannot install for 3.13.
FALSE_UV = """#!{python}
import pathlib, sys
call = sys.argv[1:]
if call[0] == "venv":
    if "3.14" in call:
        sys.exit("No interpreter found for Python 3.14")
    python = pathlib.Path(call[-1], "bin", "python")
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\\n" + {pytest!r})
    python.chmod(0o755)
elif "lowest-direct" in call:
    print("lowest asked for")
elif "/3.13/" in call[call.index("--python") + 1]:
    print("  × No solution found\\n  ╰─▶ torch has no wheels for this Python", file=sys.stderr)
    sys.exit(1)
"""
FALSE_PYTEST = """\
case "$*" in
  *version*) echo torch 2.7.0 ;;
  *) echo "1 failed, 2 passed in 3.00s"; case "$0" in */3.12/*) exit 1 ;; esac ;;
esac
"""


def run_matrix(folder: Path, *arguments: str, uv: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a copy of the script in a folder of its own, with a uv that only pretends."""
    script = folder / ".ci" / "matrix.py"
    script.parent.mkdir()
    script.write_text(SCRIPT.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "bin").mkdir()
    if uv:
        (folder / "bin" / "uv").write_text(
            FALSE_UV.format(python=sys.executable, pytest=FALSE_PYTEST), encoding="utf-8"
        )
        (folder / "bin" / "uv").chmod(0o755)
    environment = os.environ | {"PATH": f"{folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"}
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)


@pytest.mark.skipif(os.name == "nt", reason="a program of POSIX")
def test_each_case_has_its_row_and_a_failure_stops_none(tmp_path):
    done = run_matrix(tmp_path)
    assert done.returncode == 1 and done.stderr == ""
    rows = dict(line.split(" | ", 1) for line in done.stdout.splitlines() if line.startswith("| 3."))
    assert rows["| 3.10-lowest"].startswith("passed | 1 failed, 2 passed in 3.00s | torch 2.7.0 | 0")
    assert rows["| 3.12"].startswith("FAILED | 1 failed, 2 passed")
    assert rows["| 3.13"].startswith("FAILED | cannot be installed: torch has no wheels for this Python")
    assert rows["| 3.14"].startswith("not run | no Python 3.14 here")
    assert len(rows) == 6 and not list((tmp_path / ".matrix").iterdir())


@pytest.mark.skipif(os.name == "nt", reason="a program of POSIX")
@pytest.mark.parametrize(
    ("arguments", "uv", "said"), [(["3.9"], True, "no case '3.9'"), ([], False, "pip install uv")]
)
def test_a_wrong_call_and_a_missing_uv_are_said(tmp_path, arguments, uv, said):
    done = run_matrix(tmp_path, *arguments, uv=uv)
    assert done.returncode == 2 and said in done.stderr


def test_the_workflow_has_the_same_cases_from_the_oldest_python_on():
    text = (project_folder() / ".github" / "workflows" / "matrix.yml").read_text(encoding="utf-8")
    cases = yaml.safe_load(text)["jobs"]["matrix"]["strategy"]["matrix"]["case"]
    assert f"CASES = {tuple(cases)!r}".replace("'", '"') in SCRIPT.read_text(encoding="utf-8")
    project = tomllib.loads((project_folder() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={cases[0].removesuffix('-lowest')}"
