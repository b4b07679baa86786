"""What enters the sandbox is `inside/` and `elfw_helpers`: no submission finds the judge or a key.

Nor does what runs the sandbox, which may be another machine, get an expected value.
"""

from __future__ import annotations

import ast
import json
import os
import pickle
import pickletools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from elfw_course.grading.batch import digest_grader, grade_folder
from elfw_course.grading.inside import runner
from elfw_course.grading.sandbox import INSIDE, container_command, find_exposed_copies, visible_paths
from elfw_helpers.utils import parallel
from elfw_helpers.utils.paths import project_folder
from tests.course.grading.hostile.submissions import honest_cells, notebook, write_key
from tests.course.grading.sandboxes import needs_sandbox

HIDDEN = ("grading.judge", "grading.key", "grading.batch", "grading.run", "student", "cli", "weights")
# Runs beside the grader: what a submission can import, open or write, asked inside of it.
ASK = """
import json, sys
from elfw_course.grading.sandbox import choose_sandbox
from elfw_course.grading.session import Session
with Session(choose_sandbox(False), 0, 400 << 20) as session:
    session.ask("setup", [b""], 60)
    session.ask("open", [sys.argv[1].encode(), b""], 60)
    session.ask("statement", [b"0"], 60)
    print(json.dumps(session.ask("probe", [b"look", b"", sys.argv[2].encode(), b""], 60)))
"""
LOOK = """
def look(modules, paths):
    import glob, importlib, os, sys
    found = []
    for name in modules:
        try:
            found.append(importlib.import_module(name).__name__)
        except ImportError:
            pass
    places = [f"{place}/elfw_course" for place in sys.path]
    names = ("*.py", "grading/*.py", "weights/*.py")
    paths = [*paths, *(f"{place}/{name}" for place in places for name in names)]
    found += [path for pattern in paths for path in glob.glob(pattern)]
    for place in filter(os.path.isdir, [*places, *(f"{place}/grading" for place in places)]):
        try:
            open(f"{place}/judge.py", "w").close()
            found.append(f"could write into {place}")
        except OSError:
            pass
    return found
"""


def look_inside(python: str, folder: Path, *more: str) -> tuple[list[str], list[str]]:
    """Return what of the hidden things a submission finds, and what of the things that it may use.

    Args:
        python: the interpreter that grades.
        folder: that the two packages lie in.
        more: patterns of further files that must not be found.
    """
    modules = [f"elfw_course.{name}" for name in HIDDEN]
    paths = [str(project_folder() / place / "*") for place in ("grading", "notebooks", "tests")]
    paths += more
    environment = {"PYTHONPATH": str(folder), "PATH": os.environ["PATH"]}
    answers = []
    for call in (f"look({modules}, {paths})", f"look(['elfw_helpers', '{runner.__name__}'], [])"):
        command = [python, "-c", ASK, LOOK, call]
        said = subprocess.run(command, env=environment, cwd="/", capture_output=True, encoding="utf-8")
        assert said.returncode == 0, said.stderr
        kind, (_, found) = json.loads(said.stdout)
        assert kind == "value", said.stdout
        answers.append([text for _, text in found])
    return answers[0], answers[1]


@needs_sandbox
def test_a_checkout_shows_no_judge():
    assert look_inside(sys.executable, project_folder()) == ([], ["elfw_helpers", runner.__name__])


@pytest.fixture
def installed(tmp_path) -> Path:
    """A virtual environment whose site-packages hold copies of the two packages, and more behind them.

    Its Python is reached by a link to the program, and by one to the folder, as some installers lay them.
    """
    (tmp_path / "base").symlink_to(sys.base_prefix)
    link = tmp_path / "python"
    link.symlink_to(tmp_path / "base" / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")
    subprocess.run([link, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    for name in ("elfw_helpers", "elfw_course"):
        shutil.copytree(project_folder() / name, packages / name)
    others = [place for place in sys.path if place.endswith("site-packages")]
    (packages / "others.pth").write_text("\n".join(others), encoding="utf-8")
    return packages


@needs_sandbox
def test_an_installed_course_shows_no_judge(installed):
    # The grader needs the packages of this environment; inside, they are not there, nor asked for.
    python = str(installed.parents[2] / "bin" / "python")
    assert (installed / "elfw_course" / "grading" / "judge.py").is_file()
    hidden, shown = look_inside(python, installed)
    assert (hidden, shown[-1:]) == ([], [runner.__name__])


@needs_sandbox
def test_a_second_copy_in_site_packages_is_covered_and_not_run(installed):
    (installed / "elfw_course" / "grading" / "inside" / "runner.py").write_text("1 / 0", encoding="utf-8")
    python = str(installed.parents[2] / "bin" / "python")
    hidden, shown = look_inside(python, project_folder())
    assert (hidden, shown[-1:]) == ([], [runner.__name__])


def test_a_copy_that_is_visible_by_a_link_is_covered_under_that_name(tmp_path, monkeypatch):
    copy = tmp_path / "real" / "lib" / "elfw_course"
    copy.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.syspath_prepend(copy.parent)
    assert find_exposed_copies([tmp_path / "link"]) == [tmp_path / "link" / "lib" / "elfw_course"]
    assert find_exposed_copies([tmp_path / "other"]) == []


def test_copies_in_another_pythons_packages_are_covered(tmp_path):
    """A virtual environment's base Python is visible inside, and its packages are not in `sys.path`."""
    copies = [
        tmp_path / "lib" / "python3.11" / "site-packages" / "elfw_course",
        tmp_path / "local" / "lib" / "python3.11" / "dist-packages" / "elfw_helpers" / "grading",
    ]
    for copy in copies:
        copy.mkdir(parents=True)
    assert find_exposed_copies([tmp_path]) == copies


@needs_sandbox
def test_the_compiled_judge_of_an_earlier_release_is_covered(installed):
    former = installed / "elfw_helpers" / "grading" / "__pycache__"
    former.mkdir(parents=True)
    (former / "compare.cpython-311.pyc").write_bytes(b"the judge")
    python = str(installed.parents[2] / "bin" / "python")
    hidden, _ = look_inside(python, installed, str(former / "*"))
    assert hidden == []


def test_containers_cover_the_course_where_it_lies_in_what_is_visible(programs_of_nobody):
    command = container_command("docker", "name", (project_folder(),), 1 << 30)
    covered = project_folder() / "elfw_course"
    assert f"--tmpfs={covered}:rw,size=64k,mode=0755" in command
    assert command[command.index(f"{INSIDE}:{INSIDE}:ro") - 1] == "--volume"
    assert not any(
        "--tmpfs" in one and "elfw" in one for one in container_command("docker", "name", visible_paths(), 1)
    )


@pytest.fixture
def programs_of_nobody(monkeypatch):
    """No engine is asked whether it has the empty image."""
    monkeypatch.setattr("elfw_course.grading.sandbox._empty_image", lambda engine: "empty")


def test_what_runs_inside_imports_nothing_of_the_course_from_outside():
    files = sorted(INSIDE.rglob("*.py"))
    assert {path.name for path in files} >= {"runner.py", "encode.py", "magics.py"}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path.name}: a relative import"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                is_course = name.split(".")[0] == "elfw_course"
                assert not is_course or name.startswith("elfw_course.grading.inside."), (path.name, name)


def test_stored_grades_are_old_once_what_runs_inside_has_changed(monkeypatch):
    before, read = digest_grader(), Path.read_bytes
    for name in ("runner.py", "encode.py", "magics.py", "judge.py", "student.py"):
        changed = lambda path, name=name: read(path) + b"#" * (path.name == name)  # noqa: E731
        monkeypatch.setattr(Path, "read_bytes", changed)
        assert digest_grader() != before, name


def test_what_runs_submissions_is_told_no_expected_value(tmp_path, monkeypatch):
    key, sent, run_parallel = write_key(tmp_path), [], parallel.run_parallel
    text = key.read_text(encoding="utf-8").replace("expect = 48", "expect = [481516, 2.342]\natol = 0.0815")
    text = text.replace(
        "expect = 15", 'truth = "truth.npz"\nmeasure = "accuracy"\nat_least = 0.75\nmargin = 0.03'
    )
    key.write_text(text.replace("expect = 24", 'expect = "the right text"'), encoding="utf-8")
    np.savez(tmp_path / "truth.npz", truth=np.array([623, 624]))
    (tmp_path / "submissions").mkdir()
    (tmp_path / "submissions" / "ann.ipynb").write_text(
        json.dumps(notebook(honest_cells())), encoding="utf-8"
    )

    def listen(function, jobs, *more, **options):
        jobs = list(jobs)
        sent.extend([pickle.dumps(one) for one in (function, *jobs)])
        return run_parallel(function, jobs, *more, **options)

    monkeypatch.setattr(parallel, "run_parallel", listen)
    assert grade_folder(str(key), tmp_path / "submissions", tmp_path / "out", unsandboxed=True) == 0
    told = [value for content in sent for _, value, _ in pickletools.genops(content)]
    assert len(sent) == 2 and "conv_output_size(48, 3, 1, 1)" in told, "what is asked"
    kept = {481516, 2.342, 0.0815, 0.75, 0.03, 623, 624, "the right text", "keeps the size"}
    assert not kept.intersection(value for value in told if isinstance(value, (float, int)))
    words = [*map(str, kept), "grading.key", "judge"]
    assert not [text for text in told if isinstance(text, str) and any(word in text for word in words)]
