"""What several test files share: a folder of faces in ELFW's layout, real photos, what may be skipped."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
import torch

from tests.faces import write_face

# The tests' networks are tiny: a second thread would only wait for the first, and for the other workers'.
torch.set_num_threads(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where $ELFW_TEST_ALL is set, as in .ci/run, fail what is skipped for want of a program to install."""
    report = yield
    if report.skipped and os.environ.get("ELFW_TEST_ALL") and "apt install" in str(report.longrepr):
        report.outcome, report.longrepr = "failed", str(report.longrepr)
    return report


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty images of thirty people, two each: 36 hair, 12 spectacles, 12 cap."""
    for person in range(30):
        attribute = (0, 1, 0, 2, 0)[person % 5]
        for photo in (1, 2):
            write_face(
                tmp_path / "set", f"Some_Person{person:02d}_{photo:04d}", attribute, 100 * person + photo
            )
    return tmp_path / "set"


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """The folder of real photos, or a skip that says how to name one."""
    named = os.environ.get("ELFW_REAL_FACES")
    if not named:
        pytest.skip("real photos are not tested: set ELFW_REAL_FACES to a folder of them in ELFW's layout")
    return Path(named)
