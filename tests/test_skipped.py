"""What may be skipped: a user's machine needs no sandbox and no browser, that of .ci/run needs both."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SANDBOX = "test_grading_hostile.py"
BROWSER = "test_app_browser.py::test_the_mask_fades_with_the_slider_and_can_be_kept"


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
