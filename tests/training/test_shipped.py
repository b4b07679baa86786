"""Runs that come with the course: taken for the same search, and for no other one."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import torch

from elfw_helpers.training import shipped
from elfw_helpers.training.search import expand_grid, find_files, grid_search, read_history
from elfw_helpers.training.shipped import describe_search, recall_grid_search, write_shipped, write_tree
from elfw_helpers.utils.paths import project_folder
from tests.training.test_loop import make_batches, make_model

GRID = {"lr": (0.01, 0.05), "momentum": (0.0, 0.9)}
COMES, STORED, NOW = (
    "4 runs come with the course",
    "4 runs are stored on this machine",
    "4 runs are trained now",
)


def recall(out, train=None, epochs=2, **options) -> pd.DataFrame:
    """Recall the search that the fixture ships, or a changed one."""
    options = {"grid": GRID, "seed": 0, **options}
    validation = make_batches(seed=1)
    return recall_grid_search(make_model, train or make_batches(), validation, epochs, out=out, **options)


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> tuple[pd.DataFrame, Path]:
    """The table of a search, and the folder with what is stored of it and what ships."""
    folder = tmp_path_factory.mktemp("searched")
    data = {"make_model": make_model, "train": make_batches(), "validation": make_batches(seed=1)}
    table = grid_search(**data, epochs=2, grid=GRID, out=folder / "made", workers=1)
    run = {**data, "settings": expand_grid(GRID), "seed": 0}
    files = find_files(**run, out=folder / "made", strategy="auto")[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipped, "shipped_runs", lambda: folder / "shipped")
        parts = data["train"], data["validation"]
        write_shipped(describe_search(**run, epochs=2), parts, [read_history(file) for file in files], "cpu")
    return table, folder


@pytest.fixture
def table(searched, tmp_path, monkeypatch) -> pd.DataFrame:
    """The table of a search that ships in this test."""
    shutil.copytree(searched[1], tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(shipped, "shipped_runs", lambda: tmp_path / "shipped")
    return searched[0]


@pytest.fixture
def trained(monkeypatch) -> list[dict]:
    """The arguments of the searches that are trained, instead of training them."""
    calls: list[dict] = []
    monkeypatch.setattr(shipped, "search_settings", lambda **arguments: calls.append(arguments))
    return calls


def test_what_ships_is_taken_without_training_and_leaves_no_trace(table, trained, tmp_path, capsys):
    pd.testing.assert_frame_equal(recall(tmp_path / "mine"), table)
    assert COMES in capsys.readouterr().out and not trained
    # Else a notebook that teaches the search would find it done.
    assert not list((tmp_path / "mine").glob("*"))


def test_what_is_stored_on_the_machine_comes_first(table, tmp_path, capsys):
    pd.testing.assert_frame_equal(recall(tmp_path / "made"), table)
    assert STORED in capsys.readouterr().out


def test_another_decoder_s_pictures_are_the_same(table, trained, tmp_path, capsys):
    train = make_batches()
    train._images = (train.images.int() + 1).clamp(0, 255).to(torch.uint8)
    recall(tmp_path / "mine", train)
    assert COMES in capsys.readouterr().out


def darken(batches):
    batches._images = batches.images // 2
    return batches


def relabel(batches):
    batches._targets = batches.targets.flip(0)
    return batches


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"epochs": 1}, "epochs"),
        ({"seed": 1}, "seeds"),
        ({"grid": {**GRID, "momentum": (0.0, 0.8)}}, "settings"),
        ({"train": darken}, "pictures"),
        ({"train": relabel}, "labels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_search_is_trained_and_says_why(change, reason, table, trained, tmp_path, capsys):
    if "train" in change:
        change = {"train": change["train"](make_batches())}
    recall(tmp_path / "mine", **change)
    said = capsys.readouterr().out
    assert NOW in said and f"was made with other {reason}." in said and len(trained) == 1


@pytest.mark.parametrize("cut", [lambda text: text[:-20], lambda text: text.replace("histories", "h")])
def test_a_damaged_file_is_said_so_and_not_taken(cut, table, trained, tmp_path, capsys):
    file = next((tmp_path / "shipped").iterdir())
    file.write_text(cut(file.read_text(encoding="utf-8")), encoding="utf-8")
    recall(tmp_path / "mine")
    assert f"{file.name} is damaged" in capsys.readouterr().out and len(trained) == 1


@pytest.mark.parametrize("value", [float("nan"), None, "0.5"])
def test_a_value_that_is_no_finite_number_is_damage(value, table, tmp_path, trained, capsys):
    file = next((tmp_path / "shipped").iterdir())
    content = json.loads(file.read_text(encoding="utf-8"))
    content["histories"][0]["validation_loss"][0] = value
    file.write_text(json.dumps(content), encoding="utf-8")
    recall(tmp_path / "mine")
    assert "is damaged" in capsys.readouterr().out


def test_a_network_of_one_s_own_is_another_one(table, trained, tmp_path, capsys):
    recall_grid_search(
        lambda: make_model(), make_batches(), make_batches(seed=1), 2, out=tmp_path / "mine", grid=GRID
    )
    assert "was made with other network." in capsys.readouterr().out and trained


def test_where_nothing_ships_it_is_trained(table, trained, tmp_path, capsys):
    next((tmp_path / "shipped").iterdir()).unlink()
    recall(tmp_path / "mine")
    assert f"{NOW}: there is none in" in capsys.readouterr().out


def test_code_counts_and_its_documentation_does_not():
    plain, documented, other = map(
        ast.parse,
        (
            "def f(x):\n    return x + 1",
            'def f(x):\n    """Add."""\n    return x + 1  # one',
            "def f(x):\n    return x + 2",
        ),
    )
    assert write_tree(plain) == write_tree(documented) != write_tree(other)


def test_code_is_written_alike_on_all_versions_of_python():
    returned = "body(Return value(Name id'x' ctx(Load )))"
    function = f"(FunctionDef name'f' args(arguments args(arg arg'x')) {returned})"
    assert write_tree(ast.parse("def f(x):\n    return x")) == f"(Module body{function})"


def test_notebook_05_opened_alone_finds_the_grid_of_the_repository(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path))
    monkeypatch.delenv("ELFW_DATA", raising=False)
    path = next((project_folder() / "notebooks").glob("05_*.ipynb"))
    sources = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    place = next(place for place, source in enumerate(sources) if "recall_grid_search(" in source)
    names: dict = {"device": "cpu", "torch": torch}
    for source in sources[2 : place + 1]:
        if "save_figure" not in source:
            exec(source, names)
    said = capsys.readouterr().out
    assert "The 18 runs come with the course" in said, f"{said}\nrun `elfw store-runs`"
    assert names["setting"]["lr"] == 0.001 and names["setting"]["momentum"] == 0.95
