"""`elfw store-runs`: stores the runs of one notebook that another loads where it is opened alone."""

from __future__ import annotations

from pathlib import Path

from elfw_helpers.data.batches import SplitBatches, channel_statistics, split_batches
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.models.classification import mini_network
from elfw_helpers.training.search import REPORT_GRID, expand_grid, find_files, read_history, search_settings
from elfw_helpers.training.shipped import describe_search, write_shipped
from elfw_helpers.utils.paths import data_folder

# The notebook whose grid it is, and its settings; notebook 05 asks for the same.
NOTEBOOK = "04_grid_search"
EPOCHS, SIZE, SEED = 5, 64, 0


def write_shipped_runs(build: Path) -> Path:
    """Write notebook 04's grid into data/runs/, from a build folder; what that lacks is trained first.

    Returns:
        The file.
    """
    batches = make_batches()
    search = {"make_model": mini_network, "train": batches.train, "validation": batches.validation}
    search |= {"settings": expand_grid(REPORT_GRID), "seed": SEED}
    stored = {"out": build / "grid", "strategy": "one by one"}
    search_settings(**search, **stored, epochs=EPOCHS)
    # Some of them went on to more epochs.
    histories = [read_history(file).first(EPOCHS) for file in find_files(**search, **stored)[2]]
    parts = batches.train, batches.validation
    return write_shipped(describe_search(**search, epochs=EPOCHS), parts, histories, device="cpu")


def make_batches() -> SplitBatches:
    """Return the batches of notebooks 04 and 05, on the CPU."""
    faces = FaceFolder(data_folder())
    tensors, split = faces.preload(size=SIZE), faces.split(seed=SEED)
    mean, std = channel_statistics(tensors.images[split.train])
    return split_batches(tensors, split, mean=mean, std=std)
