"""What may be skipped: a user's machine needs no sandbox and no browser, that of .ci/run needs both."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SANDBOX = "course/grading/test_hostile.py"
BROWSER = "deployment/test_apps_in_a_browser.py::test_the_mask_fades_with_the_slider_and_can_be_kept"


@pytest.mark.parametrize(
    ("tests", "all_of_them", "code"), [([SANDBOX], "", 0), ([SANDBOX, BROWSER], "1", 1)], ids=["user", "ci"]
)
def test_what_lacks_a_program_is_named_and_fails_only_where_all_is_to_be_tested(
    tmp_path, tests, all_of_them, code
):
    here = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--color=no"]
    finished = subprocess.run(
        [*command, *(str(here / name) for name in tests)],
        env={**os.environ, "PATH": str(tmp_path), "ELFW_TEST_ALL": all_of_them},
        cwd=here.parent,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert finished.returncode == code, finished.stdout + finished.stderr
    for program in ("bubblewrap", "chromium")[: len(tests)]:
        assert f"sudo apt install {program}" in finished.stdout


@pytest.mark.parametrize("there", [(), ("bwrap",), ("bwrap", "chromium")], ids=len)
def test_ci_installs_what_is_missing_where_it_may_and_tests_all(tmp_path, there):
    shutil.copytree(Path(__file__).parents[1] / ".ci", tmp_path / "project" / ".ci")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("apt-get", "make", *there):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" $ELFW_TEST_ALL\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    for name in ("bash", "dirname"):
        (programs / name).symlink_to(shutil.which(name))
    run = [programs / "bash", tmp_path / "project" / ".ci" / "run"]
    said = subprocess.run(run, env={"PATH": str(programs)}, capture_output=True, encoding="utf-8", check=True)
    *installed, last = said.stdout.splitlines()
    assert last == "make test 1"
    wanted = os.geteuid() == 0 and len(there) < 2
    assert any("install" in line and "bubblewrap chromium" in line for line in installed) == wanted
