"""What several test files share: a folder of faces in ELFW's layout, real photos, what may be skipped."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from elfw_helpers.labels import EYEWEAR, HAIR, SKIN, WEARABLE, encode_colours

SIDE = 32

# The tests' networks are tiny: a second thread would only wait for the first, and for the other workers'.
torch.set_num_threads(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where $ELFW_TEST_ALL is set, as in .ci/run, fail what is skipped for want of a program to install."""
    report = yield
    if report.skipped and os.environ.get("ELFW_TEST_ALL") and "apt install" in str(report.longrepr):
        report.outcome, report.longrepr = "failed", str(report.longrepr)
    return report


def paint_face(attribute: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a crude face, uint8 [32, 32, 3], and its mask, uint8 [32, 32]: enough to be told apart."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[4:12, 6:26], mask[10:28, 8:24] = HAIR, SKIN
    if attribute == 1:
        mask[14:17, 9:23] = EYEWEAR
    if attribute == 2:
        mask[2:8, 5:27] = WEARABLE
    # Coarse blotches, so that no two faces look alike even as thumbnails.
    blotches = np.random.default_rng(seed).integers(0, 100, (8, 8, 3)).repeat(4, 0).repeat(4, 1)
    return (encode_colours(mask) * 0.6 + blotches).astype(np.uint8), mask


def write_face(folder: Path, name: str, attribute: int, seed: int) -> None:
    """Write faces/NAME.png (lossless, so that tests may compare pixels) and labels/NAME.png."""
    image, mask = paint_face(attribute, seed)
    for kind, array in (("faces", image), ("labels", encode_colours(mask))):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / kind / f"{name}.png")


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
