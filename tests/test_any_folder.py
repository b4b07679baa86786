"""All notebooks run to their end on folders of many kinds, with words where a lesson has nothing to show.

The cells of a notebook are run in this process, as a kernel would run them, on a few small faces; a
training lasts one epoch, of many seeds there are two, and what is timed is timed three times. Each folder,
unusual in several ways, is a class, so that `--dist loadscope` runs two at once.
"""

from __future__ import annotations

import gc
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import dask.distributed
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from dask.distributed import LocalCluster
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image
from torch.nn.functional import one_hot
from traitlets.config import Config

from elfw_course.student import list_notebooks
from elfw_helpers import notebook, training
from elfw_helpers.augmentation import augment_folder
from elfw_helpers.data.images import read_mask
from elfw_helpers.data.labels import ATTRIBUTES
from elfw_helpers.training import loop, search, segmentation
from elfw_helpers.utils.memory import return_freed_memory
from elfw_helpers.utils.paths import build_folder, embedded_faces, project_folder

NOTEBOOKS = list_notebooks(project_folder() / "notebooks")
EMBEDDED = embedded_faces()


def choose_faces(hair: int = 12, spectacles: int = 6, cap: int = 6, photos: int = 2) -> dict[str, str]:
    """Return the attributes of so many of the embedded faces, by name; so many photos of a person at most."""
    wanted = dict(zip(ATTRIBUTES, (hair, spectacles, cap), strict=True))
    chosen, taken = {}, {}
    for line in (EMBEDDED / "labels.txt").read_text(encoding="utf-8").splitlines():
        name, attribute = line.split()
        person = name[:-5]
        if wanted[attribute] and taken.get(person, 0) < photos:
            wanted[attribute] -= 1
            taken[person] = taken.get(person, 0) + 1
            chosen[name] = attribute
    return chosen


def write_faces(
    folder: Path, chosen: dict[str, str], size: Callable[[int], tuple[int, int]] = lambda _: (64, 64)
) -> None:
    """Write faces/, labels/ and labels.txt; `size` says a face's width and height by its place."""
    for kind in ("faces", "labels"):
        (folder / kind).mkdir(parents=True)
    for place, name in enumerate(chosen):
        face = Image.open(EMBEDDED / "faces" / f"{name}.jpg")
        face.resize(size(place)).save(folder / "faces" / f"{name}.jpg")
        mask = Image.open(EMBEDDED / "labels" / f"{name}.png").convert("RGB")
        mask.resize(size(place), Image.Resampling.NEAREST).save(folder / "labels" / f"{name}.png")
    write_labels(folder, chosen)


def write_labels(folder: Path, chosen: dict[str, str]) -> None:
    """Write labels.txt."""
    (folder / "labels.txt").write_text(
        "".join(f"{name} {attribute}\n" for name, attribute in chosen.items()), encoding="utf-8"
    )


def write_split(folder: Path, names: Sequence[str], test: int) -> None:
    """Write the frozen lists: the first names for the test, four for validation, the rest for training."""
    parts = {"test": names[:test], "validation": names[test : test + 4], "train": names[test + 4 :]}
    for split, part in parts.items():
        (folder / f"{split}.txt").write_text("\n".join(part), encoding="utf-8")


def run_here(function, jobs, *_):
    """Do a search's runs in this process: a worker takes seconds to start."""
    return enumerate(map(function, jobs))


def run_cells(path: Path) -> None:
    """Run the code cells of a notebook one after the other; the first error is raised."""
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    try:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                source = cell.source
                # The first seed and the last.
                source = re.sub(r"(?<=\bseed in )(tqdm\()?range\((\d+)\)", r"\1range(0, \2, \2 - 1)", source)
                if "nbval-ignore-output" in cell.metadata.get("tags", []):
                    source = re.sub(r"\brange\(\d{2,}\)", "range(3)", source)
                shell.run_cell(source).raise_error()
                plt.close("all")
    finally:
        InteractiveShell.clear_instance()
        # A kernel of its own would have ended here, and its memory with it.
        gc.collect()
        gc.freeze()  # what is left are modules, which the next collection need not go through again
        return_freed_memory()


@pytest.fixture(scope="session")
def build(tmp_path_factory) -> Path:
    """The folder that notebooks write to, one for all; the exported networks are those of this project."""
    folder, exported = tmp_path_factory.mktemp("build"), build_folder() / "onnx"
    exported.mkdir(parents=True, exist_ok=True)
    (folder / "onnx").symlink_to(exported, target_is_directory=True)
    return folder


@pytest.fixture
def short_cuts(monkeypatch):
    """Training lasts one epoch and is not stored; figures are drawn and not saved."""
    fit = loop.fit

    def fit_briefly(model, train, validation, epochs, lr=1e-3, **options):
        rates = np.ravel(lr)[:1]
        return fit(model, train, validation, min(epochs, 1), lr=rates, **{**options, "checkpoint": None})

    for module in (training, loop, search, segmentation):
        monkeypatch.setattr(module, "fit", fit_briefly)
    monkeypatch.setattr(search, "run_parallel", run_here)
    # Workers that are threads of this process; a process takes seconds to start.
    monkeypatch.setattr(dask.distributed, "LocalCluster", partial(LocalCluster, processes=False))
    monkeypatch.setattr(notebook, "save_figure", lambda figure, name, alt: figure.canvas.draw())


class AnyFolder:
    """The tests of one folder, which a subclass makes."""

    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory) -> Path:
        """The folder of faces."""
        folder = tmp_path_factory.mktemp("any") / "faces of mine"
        self.make(folder)
        return folder

    def make(self, folder: Path) -> None:
        """Write the folder of faces."""
        raise NotImplementedError

    @pytest.fixture
    def answers(self, monkeypatch) -> None:
        """What networks answer; a subclass may put other answers in place."""

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
    def test_notebook_runs_to_its_end(self, path, folder, build, short_cuts, answers, tmp_path, monkeypatch):
        monkeypatch.setenv("ELFW_DATA", str(folder))
        monkeypatch.setenv("ELFW_BUILD", str(build))
        monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        # Gradio names uploads after their content: in one folder, two runs at once delete each other's.
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
        monkeypatch.chdir(path.parent)
        monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # a shell puts its own there
        run_cells(path)


class TestGreyPhotosOfMixedSizesWithoutMasks(AnyFolder):
    def make(self, folder):
        write_faces(folder, choose_faces(), size=lambda place: (48 + 8 * (place % 4), 48 + 8 * (place % 3)))
        shutil.rmtree(folder / "labels")
        for file in (folder / "faces").iterdir():
            Image.open(file).convert("L").save(file)


class TestTwoClassesByIdOnePhotoEachAndOneClassInTest(AnyFolder):
    def make(self, folder):
        chosen = choose_faces(hair=18, spectacles=6, cap=0, photos=1)
        write_faces(folder, chosen)
        write_labels(folder, {name: str(1 + ATTRIBUTES.index(chosen[name])) for name in chosen})
        for file in (folder / "labels").iterdir():
            Image.fromarray(read_mask(file)).save(file)
        write_split(folder, sorted(chosen, key=lambda name: chosen[name] == "spectacles"), test=4)


class TestAugmentedFolderWithoutLabelsFileAndAllAnswersRight(AnyFolder):
    def make(self, folder):
        write_faces(folder.with_name("source"), choose_faces())
        augment_folder(folder.with_name("source"), folder, count=24)
        (folder / "labels.txt").unlink()
        # The upper bound of 7 right of 7 is 1, and comes out of the formula a hair below it.
        write_split(folder, sorted(path.stem for path in (folder / "faces").iterdir()), test=7)

    @pytest.fixture
    def answers(self, monkeypatch):
        monkeypatch.setattr(training, "predict_logits", lambda _, batches: 50.0 * one_hot(batches.targets, 3))
        monkeypatch.setattr(training, "predict_masks", lambda _, batches: batches.targets.to(torch.uint8))


@pytest.mark.real_faces
class TestRealPhotos(AnyFolder):
    @pytest.fixture(scope="class")
    def folder(self, real_faces, tmp_path_factory):
        folder = tmp_path_factory.mktemp("real")
        for kind in ("faces", "labels"):
            (folder / kind).mkdir()
            for file in sorted((real_faces / kind).iterdir())[:80:2]:
                shutil.copyfile(file, folder / kind / file.name)
        return folder
