"""Renders the faces that experiments are judged on: `python grading/make_faces.py` writes them here.

faces.npz is for the sandbox: `train_images`, `train_labels` and `train_masks` to train with, and `images` to
answer. faces_truth.npz and masks_truth.npz hold the answers. The people in them are in no other set: a set's
seed decides them, and those below are used nowhere else.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from elfw_helpers.data.datasets import FaceFolder, FaceTensors
from elfw_helpers.rendering.folder import render_folder

SIZE = 32  # pixels
TRAINING, HIDDEN = (600, 1701), (300, 1702)  # number of faces, seed of the set


def render_tensors(count: int, seed: int) -> FaceTensors:
    """Render faces, and return them at SIZE x SIZE pixels."""
    with tempfile.TemporaryDirectory() as folder:
        render_folder(Path(folder) / "faces", count=count, seed=seed, size=128)
        return FaceFolder(Path(folder) / "faces").preload(size=SIZE)


def main() -> None:
    """Write the three files."""
    folder = Path(__file__).parent
    training, hidden = render_tensors(*TRAINING), render_tensors(*HIDDEN)
    np.savez_compressed(
        folder / "faces.npz",
        train_images=training.images.numpy(),
        train_labels=training.attributes.numpy(),
        train_masks=training.masks.numpy(),
        images=hidden.images.numpy(),
    )
    np.savez_compressed(folder / "faces_truth.npz", truth=hidden.attributes.numpy())
    np.savez_compressed(folder / "masks_truth.npz", truth=hidden.masks.numpy())


if __name__ == "__main__":
    main()
