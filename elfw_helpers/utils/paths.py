"""The folders of the project: faces, the weights of the course, and what notebooks write."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from elfw_helpers.utils.errors import ElfwError

# The course has a trained network of these: `load_model` and the commands take their names.
SHIPPED = ("efficient_unet", "efficient_attributes", "mini_network", "resnet18")
MODELS_BY_NAME = f"Models by name: {', '.join(SHIPPED)}"


def project_folder() -> Path:
    """Return the root of the checkout that the package was installed from."""
    return Path(__file__).resolve().parents[2]


def data_folder() -> Path:
    """Return the faces to work on: `$ELFW_DATA`, or the embedded rendered faces."""
    chosen = os.environ.get("ELFW_DATA")
    return Path(chosen).expanduser().resolve() if chosen else embedded_faces()


def embedded_faces() -> Path:
    """Return the folder of the course's rendered faces; its first use unpacks them from their archive.

    They lie beside the archive, or in the build folder where nothing can be written beside it.

    Raises:
        DataError: they cannot be unpacked.
    """
    # Not above: what never looks at the faces, such as `elfw --help`, starts faster.
    from elfw_helpers.utils.archive import is_stamped, list_archive, unpack_once

    archive = embedded_archive()
    beside = archive.with_suffix("")
    if os.access(archive.parent, os.W_OK) or is_stamped(beside, list_archive(archive)):
        return unpack_once(archive, beside)
    return unpack_once(archive, build_folder() / beside.name)


def embedded_archive() -> Path:
    """Return the archive of the course's rendered faces."""
    return project_folder() / "data" / "rendered_faces.zip"


def rendered_weights(network: str) -> Path:
    """Return the course's file of a network's weights, trained on rendered faces."""
    file = project_folder() / "data" / "weights" / f"{network}_rendered.safetensors"
    fetch_left_out(project_folder(), file, file.with_name("SHA256SUMS"))
    return file


def shipped_runs() -> Path:
    """Return the folder of training runs that come with the course (`elfw_helpers.training.shipped`)."""
    folder = project_folder() / "data" / "runs"
    fetch_left_out(project_folder(), folder)
    return folder


def measured_file(benchmark: str) -> Path:
    """Return the file of what a benchmark measured on photos, for notebooks: numbers, never a photo."""
    file = project_folder() / "data" / "measured" / f"{benchmark}.json"
    fetch_left_out(project_folder(), file)
    return file


def fetch_left_out(project: Path, *files: Path) -> None:
    """Fetch files that a sparse clone left out, such as the one that notebooks make on Colab.

    Args:
        project: a checkout; only a sparse one is changed.
        files: files or folders in it; those that are there stay as they are.

    Raises:
        ElfwError: they cannot be fetched.
    """
    missing = [file for file in files if not file.exists()]
    if not missing or not (project / ".git" / "info" / "sparse-checkout").is_file():
        return
    patterns = [f"/{file.relative_to(project).as_posix()}" for file in missing]
    git = ["git", "-C", str(project), "sparse-checkout", "add", *patterns]
    done = subprocess.run(git, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        cure = "Check the connection, and that the disk is not full; then run the cell again"
        raise ElfwError(f"{missing[0]} could not be fetched: {done.stderr.strip()}. {cure}")


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
