"""A notebook alone on Google Colab, played offline: its first cell fetches the course and installs it.

Colab is a fresh virtual environment that sees our packages as its own, but for elfw_helpers, and imports
`google.colab` at the start. GitHub is a bare repository of the working tree as it is now.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

from elfw_helpers.address import stored_repository
from elfw_helpers.device import GPU_ADVICE
from elfw_helpers.paths import project_folder

ROOT = project_folder()
# Instead of the notebook's lessons: what they all begin with.
LOAD_FACES = """
from elfw_helpers.datasets import FaceFolder
from elfw_helpers.paths import data_folder
print(len(FaceFolder(data_folder())), "faces in", data_folder(), "on", device)
"""

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="there is no git")


@dataclass(frozen=True)
class Colab:
    """A stand-in for Colab's machine."""

    folder: Path  # where notebooks work, empty
    python: Path  # the interpreter
    packages: Path  # what is installed with pip goes here; Colab's own packages lie elsewhere

    def environment(self, github: Path) -> dict[str, str]:
        """Return the environment variables under which the folder `github` answers for GitHub."""
        ours = ("ELFW_", "GIT_", "PYTHON")
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            "CUDA_VISIBLE_DEVICES": "",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{github.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": f"https://github.com/{stored_repository(ROOT)}",
            # pip must not look for setuptools on the net; its spelling of "no build isolation" is 0.
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_NO_INDEX": "1",
        }

    def run(self, github: Path) -> str:
        """Run the first cell of notebook 03, load the faces, and return all that was printed."""
        lesson = nbformat.read(ROOT / "notebooks" / "03_overfit_one_sample.ipynb", as_version=4)
        setup = next(cell for cell in lesson.cells if cell.cell_type == "code")
        notebook = new_notebook(cells=[new_code_cell(source) for source in (setup.source, LOAD_FACES)])
        resources = {"metadata": {"path": str(self.folder)}}
        NotebookClient(notebook, timeout=120, kernel_name="colab", resources=resources).execute(
            env=self.environment(github)
        )
        return "".join(output.get("text", "") for cell in notebook.cells for output in cell.outputs)


@pytest.fixture
def colab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Colab:
    """A Colab on which nothing of the course is installed."""
    venv = tmp_path / "venv"
    # Without pip: Colab brings its own, as one of its packages.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    packages = next((venv / "lib").glob("python*/site-packages"))
    own = tmp_path / "own"
    (own / "google" / "colab").mkdir(parents=True)
    (own / "google" / "colab" / "__init__.py").touch()
    installed = Path(sysconfig.get_path("purelib"))
    # `google` is a folder that packages share: Colab's own lies in it beside them.
    for entry in (*installed.iterdir(), *installed.glob("google/*")):
        if "elfw_helpers" not in entry.name and entry.name != "google":
            (own / entry.relative_to(installed)).symlink_to(entry)
    (packages / "colab.pth").write_text(f"{own}\nimport google.colab\n")
    write_kernel(tmp_path / "jupyter" / "kernels" / "colab", venv / "bin" / "python")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    (tmp_path / "content").mkdir()
    return Colab(tmp_path / "content", venv / "bin" / "python", packages)


def write_kernel(folder: Path, python: Path) -> None:
    """Tell Jupyter how to start a kernel of this interpreter."""
    start = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    folder.mkdir(parents=True)
    specification = {"argv": start, "display_name": "Colab", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(specification))


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare repository that holds the working tree as it is now, committed or not."""
    bare = tmp_path / "github"
    # Under a git hook they name the repository itself, whose index must stay as it is.
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    git = ["git", "-c", "core.compression=0", "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    git += ["--git-dir", str(bare), "--work-tree", str(ROOT)]
    subprocess.run(["git", "init", "--quiet", "--bare", bare], check=True)
    subprocess.run([*git, "add", "--all"], check=True, cwd=ROOT)
    commit = [*git, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "--message", "As it is now"]
    subprocess.run(commit, check=True, cwd=ROOT)
    return bare


def test_first_cell_fetches_and_installs_the_course_and_leaves_colabs_packages(colab, github):
    missing = [colab.python, "-c", "import google.colab, numpy; import elfw_helpers"]
    environment = colab.environment(github)
    before = subprocess.run(missing, cwd=colab.folder, env=environment, capture_output=True, text=True)
    assert "No module named 'elfw_helpers'" in before.stderr

    printed = colab.run(github)

    clone = colab.folder / "elfw-course"
    assert f"2280 faces in {clone / 'data' / 'rendered_faces'} on cpu\n" in printed
    assert GPU_ADVICE in printed and "Runtime -> Change runtime type -> GPU" in GPU_ADVICE
    assert "ERROR" not in printed
    installed = {path.name for path in colab.packages.iterdir()}
    assert any(name.startswith("elfw_helpers-") for name in installed)
    assert not any(name.startswith(("torch", "numpy")) for name in installed)


def test_clone_that_fails_says_why_and_what_to_do(colab, tmp_path):
    with pytest.raises(CellExecutionError) as stopped:
        colab.run(tmp_path / "nowhere")
    assert stopped.value.ename == "ConnectionError"
    said = stopped.value.evalue
    assert "could not be fetched" in said
    assert f"fatal: '{tmp_path / 'nowhere'}' does not appear to be a git repository" in said
    assert "Check the connection and run this cell again" in said and "Tell your instructor" in said
    assert list(colab.folder.iterdir()) == []
