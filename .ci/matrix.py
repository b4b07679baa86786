"""Runs the unit tests on each Python with the newest packages, and once with the oldest of pyproject.toml.

    python .ci/matrix.py [CASE ...] [-- ARGUMENTS OF PYTEST]

`make matrix` runs all cases. A case is a Python, such as 3.12, or 3.10-lowest. What fails does not stop the
others; the table at the end says what passed, what failed, and which Python is not here.

Needs uv (https://docs.astral.sh/uv), and no package of the course. uv takes the Pythons on the path, and
downloads others where it can; pyenv's are on the path by `PYENV_VERSION=3.10.13:3.12.1 make matrix`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Not below build/, which a test of the grader's sandbox must not see there.
FOLDER = ROOT / ".matrix"
CASES = ("3.10-lowest", "3.10", "3.11", "3.12", "3.13", "3.14")
SHOWN = ("torch", "numpy", "pillow", "pandas")
TESTS = ("-n", "2", "--dist", "loadscope", "-q", "-rs")


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    case: str
    passed: bool | None  # None where there is no such Python
    words: str
    versions: str = ""
    minutes: float = 0.0


def main(arguments: Sequence[str]) -> int:
    """Run cases and print the table; return 1 if one failed, 2 if the call was wrong."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    cases, tests = arguments[:split] or CASES, arguments[split + 1 :]
    unknown = [case for case in cases if case not in CASES]
    if unknown:
        print(f"There is no case {unknown[0]!r}. There are: {', '.join(CASES)}.", file=sys.stderr)
        return 2
    if not shutil.which("uv"):
        print("The matrix needs uv: pip install uv", file=sys.stderr)
        return 2
    outcomes = []
    for case in cases:
        print(f"\n=== {case}", flush=True)
        outcomes.append(run_case(case, tests))
        print(f"=== {outcomes[-1].words}", flush=True)
    print(f"\n{describe(outcomes)}")
    return int(any(outcome.passed is False for outcome in outcomes))


def run_case(case: str, tests: Sequence[str]) -> Outcome:
    """Install a case into an environment of its own, run the tests there, and remove it."""
    python, _, kind = case.partition("-")
    folder, start = FOLDER / case, time.monotonic()
    try:
        if call("uv", "venv", "--quiet", "--clear", "--python", python, str(folder), show=True).returncode:
            return Outcome(case, None, f"no Python {python} here")
        interpreter = next(
            file for file in (folder / "bin/python", folder / "Scripts/python.exe") if file.exists()
        )
        # Compiled once, not by each of the many processes that tests start.
        options = ["--quiet", "--compile-bytecode", "--python", str(interpreter)]
        options += ["--resolution", "lowest-direct"] if kind else []
        install = call("uv", "pip", "install", *options, "-e", ".[dev]")
        if install.returncode:
            return Outcome(case, False, f"cannot be installed: {find_reason(install.stderr)}")
        environment = {name: value for name, value in os.environ.items() if name != "ELFW_DATA"}
        environment |= {"ELFW_BUILD": str(folder / "elfw_build"), "OMP_NUM_THREADS": "1"}
        run = call(str(interpreter), "-m", "pytest", *TESTS, *tests, env=environment, show=True)
        words = find_summary(run.stdout) or f"exit code {run.returncode}"
        minutes = (time.monotonic() - start) / 60
        return Outcome(case, run.returncode == 0, words, find_versions(interpreter), minutes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def call(
    *command: str, env: dict[str, str] | None = None, show: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder; its output is kept, and printed on the way if asked to."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if show:
            print(line, end="", flush=True)
    output = "".join(lines)
    return subprocess.CompletedProcess(command, process.wait(), output, output)


def find_reason(output: str) -> str:
    """Return the first line of uv's output that says why, shortened."""
    lines = [line.strip(" ×╰─▶") for line in output.splitlines() if line.strip()]
    return (lines or ["uv said nothing"])[-1][:160]


def find_summary(output: str) -> str:
    """Return pytest's last line, such as "1200 passed, 3 skipped in 200.12s", or ""."""
    found = re.findall(r"^=* ?(\d+ (?:passed|failed|error|skipped).*? in [\d.:]+ ?s)", output, re.MULTILINE)
    return found[-1] if found else ""


def find_versions(interpreter: Path) -> str:
    """Return the versions of the packages that matter most."""
    code = "import sys; from importlib.metadata import version as v; "
    code += "print(*(f'{name} {v(name)}' for name in sys.argv[1:]), sep=', ')"
    return call(str(interpreter), "-c", code, *SHOWN).stdout.strip()


def describe(outcomes: Sequence[Outcome]) -> str:
    """Return the table of all cases in Markdown."""
    states = {True: "passed", False: "FAILED", None: "not run"}
    rows = ["| case | | what pytest says | versions | minutes |", "|---|---|---|---|---|"]
    for one in outcomes:
        minutes = f"{one.minutes:.0f}" if one.minutes else ""
        rows.append(f"| {one.case} | {states[one.passed]} | {one.words} | {one.versions} | {minutes} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
