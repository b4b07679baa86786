"""The folders of the project: faces, the weights of the course, and what notebooks write."""

from __future__ import annotations

import os
from pathlib import Path


def project_folder() -> Path:
    """Return the root of the checkout that the package was installed from."""
    return Path(__file__).resolve().parents[2]


def data_folder() -> Path:
    """Return the faces to work on: `$ELFW_DATA`, or the embedded rendered faces."""
    chosen = os.environ.get("ELFW_DATA")
    return Path(chosen).expanduser().resolve() if chosen else project_folder() / "data" / "rendered_faces"


def rendered_weights(network: str) -> Path:
    """Return the course's file of a network's weights, trained on rendered faces."""
    return project_folder() / "data" / "weights" / f"{network}_rendered.safetensors"


def shipped_runs() -> Path:
    """Return the folder of training runs that come with the course (`elfw_helpers.training.shipped`)."""
    return project_folder() / "data" / "runs"


def measured_file(benchmark: str) -> Path:
    """Return the file of what a benchmark measured on photos, for notebooks: numbers, never a photo."""
    return project_folder() / "data" / "measured" / f"{benchmark}.json"


def build_folder() -> Path:
    """Return the folder for everything that can be made again: `$ELFW_BUILD`, or `build/`. Creates it."""
    folder = Path(os.environ.get("ELFW_BUILD") or project_folder() / "build").expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def figure_folder() -> Path:
    """Return the folder that notebooks save their figures in, inside the build folder. Creates it."""
    folder = build_folder() / "figures"
    folder.mkdir(exist_ok=True)
    return folder
