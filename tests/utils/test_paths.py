"""The folders of the project, and what a sparse clone left out of them."""

import os
import shutil
import subprocess

import pytest

from elfw_helpers.utils import paths
from elfw_helpers.utils.errors import ElfwError


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A sparse clone without blobs, as the setup cell makes it on Colab, and the repository it comes from."""
    if not shutil.which("git"):
        pytest.skip("sparse clones are not tested without git: install it")
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    origin, cloned = tmp_path / "origin", tmp_path / "clone"
    weights = "data/weights/a_rendered.safetensors"
    for name in (weights, "data/weights/SHA256SUMS", "data/measured/b.json", "data/runs/c.json"):
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_text(name, encoding="utf-8")
    git = ["git", "-C", str(origin), "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for command in (
        [*git, "init", "--quiet"],
        [*git, "config", "uploadpack.allowFilter", "true"],
        [*git, "config", "uploadpack.allowAnySHA1InWant", "true"],
        [*git, "add", "--all"],
        [*git, "commit", "--quiet", "--no-gpg-sign", "--message", "All"],
        ["git", "clone", "--quiet", "--filter=blob:none", "--sparse", origin.as_uri(), str(cloned)],
        ["git", "-C", str(cloned), "sparse-checkout", "set", "--no-cone", "/README.md"],
    ):
        subprocess.run(command, check=True)
    monkeypatch.setattr(paths, "project_folder", lambda: cloned)
    return cloned


def test_what_a_sparse_clone_left_out_is_fetched_when_it_is_asked_for(clone):
    assert not (clone / "data").exists()
    file = paths.rendered_weights("a")
    assert file.read_text(encoding="utf-8") == "data/weights/a_rendered.safetensors"
    assert sorted(path.name for path in (clone / "data").iterdir()) == ["weights"]
    assert file.with_name("SHA256SUMS").is_file()
    assert paths.measured_file("b").is_file()
    assert (paths.shipped_runs() / "c.json").is_file()


def test_without_a_connection_it_says_what_could_not_be_fetched(clone):
    shutil.rmtree(clone.parent / "origin")
    with pytest.raises(ElfwError) as stopped:
        paths.rendered_weights("a")
    assert f"{clone / 'data' / 'weights' / 'a_rendered.safetensors'} could not be fetched" in str(
        stopped.value
    )
    assert "Check the connection" in str(stopped.value)


def test_a_whole_checkout_is_never_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "project_folder", lambda: tmp_path)
    monkeypatch.setattr(subprocess, "run", None)
    assert not paths.rendered_weights("a").exists()
    assert list(tmp_path.iterdir()) == []
