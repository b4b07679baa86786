"""`elfw doctor` names each lack and the command that mends it; its exit code says if the course will run."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from elfw_course import doctor
from elfw_course.cli import main
from elfw_course.grading.sandbox import ADD_PROFILE, NoSandbox, Sandbox
from elfw_course.student import PLACEHOLDER
from elfw_helpers.utils.paths import project_folder
from tests.faces import write_face

PYPROJECT = """
[project]
dependencies = ["numpy>=1.26", "tomli>=2.0; python_version < '3.1'"]
[project.optional-dependencies]
deploy = ["httpx>=0.25"]
cluster = ["dask>=2024.8"]
lab = ["elfw-helpers[deploy]", "jupyterlab>=4.1"]
[project.urls]
repository = "https://github.com/some-school/faces"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small course that lacks nothing."""
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_primer.ipynb").write_text("{}", encoding="utf-8")
    for number in range(3):
        write_face(tmp_path / "faces_here", f"face{number}", number, number)
    weights = tmp_path / "data" / "weights"
    weights.mkdir(parents=True)
    (weights / "unet.safetensors").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (weights / "SHA256SUMS").write_text(f"{digest}  unet.safetensors\n", encoding="utf-8")
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("ELFW_DATA", str(tmp_path / "faces_here"))
    monkeypatch.setattr(doctor, "project_folder", lambda: tmp_path)
    monkeypatch.setattr(doctor, "find_chromium", lambda: "/usr/bin/chromium")
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 0.1, 0.1), raising=False)
    monkeypatch.setattr("elfw_course.grading.sandbox.choose_sandbox", lambda unsandboxed: BUBBLEWRAP)
    monkeypatch.setattr(doctor, "try_import", lambda sandbox, package: None)
    return tmp_path


BUBBLEWRAP = Sandbox("bubblewrap", ())


def read_rows(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return what the table says of each thing, with its state before it and the command after an arrow."""
    rows: dict[str, str] = {}
    what = ""
    for line in capsys.readouterr().out.splitlines():
        if not line:
            break
        name = line[5:14].strip() if not line.startswith("     ") else ""
        what = name or what
        rows[what] = " ".join(filter(None, (rows.get(what), line[:5].strip(), line[14:].strip())))
    return rows


def hide_packages(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have no version of some packages, and let nothing import them."""
    known = importlib.metadata.version

    def version(name: str) -> str:
        if name in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def test_a_course_that_lacks_nothing_will_run(project, capsys):
    assert main(["doctor"]) == 0
    said = capsys.readouterr()
    assert said.out.endswith("\nThe course will run.\n") and said.err == ""
    assert {line[:5].strip() for line in said.out.splitlines()[:-2]} == {"ok"}
    for words in (
        "torch ", f"Python {sys.version_info[0]}.", "1 notebook in", "thread",
        "templates are there", "3 faces ($ELFW_DATA), 3",
        "1 file, as their checksums say", "GiB free", "/usr/bin/chromium", "some-school/faces",
        "bubblewrap, and torch can be imported in it",
    ):  # fmt: skip
        assert words in said.out, words


def test_a_missing_package_stops_the_course_and_one_for_the_lab_alone_does_not(project, monkeypatch, capsys):
    hide_packages(monkeypatch, "jupyterlab")
    assert main(["doctor"]) == 0
    assert f"note missing: jupyterlab -> {doctor.install_command()}" in read_rows(capsys)["packages"]
    hide_packages(monkeypatch, "httpx")
    assert main(["doctor"]) == 1
    assert read_rows(capsys)["packages"].startswith("STOP missing: httpx -> ")


def test_missing_templates_of_pages_stop_the_course(project, monkeypatch, capsys):
    monkeypatch.setattr("nbconvert.exporters.templateexporter.jupyter_path", lambda *_: [])
    assert main(["doctor"]) == 1
    row = read_rows(capsys)["pages"]
    assert row.startswith("STOP nbconvert's page templates are not in ")
    assert " so no page can be written. Do: " in row and row.endswith("--no-deps nbconvert")


def test_a_package_that_is_too_old_is_named_with_the_bound(project, capsys):
    text = PYPROJECT.replace("numpy>=1.26", "numpy>=1000,<1001")
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    assert main(["doctor"]) == 1
    assert (
        f"STOP numpy is {importlib.metadata.version('numpy')}, not <1001,>=1000"
        in read_rows(capsys)["packages"]
    )


def test_without_torch_and_numpy_all_else_is_still_told(project, monkeypatch, capsys):
    text = PYPROJECT.replace("numpy>=1.26", 'numpy>=1.26", "torch>=2.7')
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    hide_packages(monkeypatch, "torch", "joblib")
    assert main(["doctor"]) == 1
    rows = read_rows(capsys)
    assert "missing: torch" in rows["packages"] and "none for Intel Macs" in rows["packages"]
    assert rows["device"].startswith("STOP cannot be told without a package (")
    assert rows["address"] == "ok https://github.com/some-school/faces"


def test_it_starts_where_none_of_the_large_packages_can_be_imported():
    hidden = ("torch", "numpy", "PIL", "joblib", "scipy", "pandas", "nbformat", "gradio", "packaging")
    script = f"import sys; sys.modules.update(dict.fromkeys({hidden!r}))\n"
    script += "from elfw_course import cli, doctor\n"
    script += "doctor.try_import = lambda *_: None\nsys.exit(cli.main(['doctor']))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "mend what is marked STOP" in done.stdout and "address" in done.stdout


def break_data(project: Path, monkeypatch) -> None:
    (project / "faces_here" / "labels" / "face1.png").unlink()


def hide_data(project: Path, monkeypatch) -> None:
    shutil.rmtree(project / "faces_here")


def break_weights(project: Path, monkeypatch) -> None:
    (project / "data" / "weights" / "unet.safetensors").write_bytes(b"abd")


def hide_weights(project: Path, monkeypatch) -> None:
    (project / "data" / "weights" / "unet.safetensors").unlink()


def hide_sums(project: Path, monkeypatch) -> None:
    (project / "data" / "weights" / "SHA256SUMS").unlink()


def fill_disk(project: Path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1000))


def block_build(project: Path, monkeypatch) -> None:
    (project / "build").write_text("a file", encoding="utf-8")


def hide_notebooks(project: Path, monkeypatch) -> None:
    shutil.rmtree(project / "notebooks")


def spoil_address(project: Path, monkeypatch) -> None:
    text = PYPROJECT.replace("https://github.com", "https://gitlab.com")
    (project / "pyproject.toml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "row", "words"),
    [
        (break_data, "data", "STOP {}/faces_here/faces/face1.png: image without a mask"),
        (break_data, "data", "-> elfw check {}/faces_here"),
        (hide_data, "data", "no such folder. Name a folder in ELFW's layout"),
        (break_weights, "weights", "STOP unet.safetensors is damaged -> git -C {} checkout -- data/weights"),
        (hide_weights, "weights", "unet.safetensors is missing -> git"),
        (hide_sums, "weights", "STOP {}/data/weights/SHA256SUMS: No such file"),
        (fill_disk, "disk", "STOP 0.0 GiB free for {}/build; 1 GiB are needed -> export ELFW_BUILD="),
        (block_build, "disk", "A file stands where a folder is needed"),
        (
            hide_notebooks,
            "course",
            "STOP no notebooks in {}: elfw was installed without them -> In the clone",
        ),
        (spoil_address, "address", "is no address of a repository"),
    ],
)
def test_what_stops_the_course_is_named_with_what_mends_it(project, monkeypatch, capsys, damage, row, words):
    damage(project, monkeypatch)
    assert main(["doctor"]) == 1
    assert words.format(project) in read_rows(capsys)[row]


def refuse(unsandboxed: bool) -> None:
    raise NoSandbox("bubblewrap is here, but does not start", ADD_PROFILE)


@pytest.mark.parametrize(
    ("name", "value", "row", "words"),
    [
        ("elfw_course.doctor.find_chromium", lambda: None, "browser", "note no Chromium"),
        (
            "elfw_course.grading.sandbox.choose_sandbox",
            refuse,
            "sandbox",
            "not start; `elfw grade`, for instructors, refuses",
        ),
        (
            "elfw_course.grading.sandbox.choose_sandbox",
            refuse,
            "sandbox",
            "-> sudo systemctl reload apparmor",
        ),
        (
            "elfw_course.doctor.try_import",
            lambda *_: "ImportError: no",
            "sandbox",
            "imported (ImportError: no)",
        ),
        ("os.getloadavg", lambda: (99.0, 1, 1), "load", "note busy (load 99.0"),
    ],
)
def test_what_only_some_commands_need_stops_nothing(project, monkeypatch, capsys, name, value, row, words):
    monkeypatch.setattr(name, value, raising=False)
    assert main(["doctor"]) == 0
    assert words in read_rows(capsys)[row]


@pytest.mark.skipif(sys.platform == "win32", reason="processes of POSIX")
@pytest.mark.parametrize("name", ["json", "no_such_module"])
def test_what_is_not_seen_in_a_sandbox_is_told(name):
    problem = doctor.try_import(Sandbox("unsandboxed", ()), name)
    assert problem is None if name == "json" else "No module named 'no_such_module'" in problem


def test_a_placeholder_is_called_one(project, capsys):
    text = PYPROJECT.replace("some-school/faces", PLACEHOLDER)
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    assert main(["doctor"]) == 0
    assert (
        "note no address yet: instructors, see docs/instructors.md -> elfw address"
        in read_rows(capsys)["address"]
    )


def test_other_systems_have_no_sandbox_and_no_load(project, monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "getloadavg")
    assert main(["doctor"]) == 0
    rows = read_rows(capsys)
    assert (
        rows["sandbox"].startswith("note only Linux has one")
        and rows["load"] == "ok not known on this system"
    )


def test_the_course_itself_has_what_the_table_reads(monkeypatch):
    assert (project_folder() / "data" / "weights" / "SHA256SUMS").exists()
    assert all(finding.state == doctor.FINE for finding in doctor.look_at_weights())
