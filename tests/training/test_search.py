import errno
import json
import math
import multiprocessing
import os
import threading
import time

import pandas as pd
import pytest
import torch
from torch import nn

from elfw_helpers.training import loop as training
from elfw_helpers.training import search
from elfw_helpers.training.search import (
    REPORT_GRID,
    best_setting,
    grid_search,
    search_settings,
)
from elfw_helpers.utils.errors import TrainingError
from elfw_helpers.utils.fingerprints import FingerprintWarning
from elfw_helpers.utils.parallel import run_parallel
from tests.training.test_loop import make_batches, make_model, watch_epochs

GRID = {"lr": (0.01, 0.05), "momentum": (0.0, 0.9)}


def run(out, **options):
    options = {"grid": GRID, "workers": 2, **options}
    return grid_search(make_model, make_batches(), make_batches(seed=1), 2, out=out, **options)


def test_report_s_grid_has_18_settings():
    assert math.prod(map(len, REPORT_GRID.values())) == 18


def test_a_row_a_combination_in_the_grid_s_order_whatever_the_number_of_workers(tmp_path):
    table = run(tmp_path / "two")
    assert table[["lr", "momentum"]].to_numpy().tolist() == [
        [0.01, 0.0],
        [0.01, 0.9],
        [0.05, 0.0],
        [0.05, 0.9],
    ]
    assert table["best_validation_loss"].nunique() == 4
    pd.testing.assert_frame_equal(run(tmp_path / "one", workers=1), table)


def test_interrupted_search_repeats_no_run(tmp_path, monkeypatch):
    table = run(tmp_path)
    stored = sorted(tmp_path.glob("*.json"))
    assert len(stored) == 4
    stored[1].unlink()
    stamps = {file: file.stat().st_mtime_ns for file in stored if file.exists()}
    started = []
    original = search.run_parallel

    def watched(function, jobs, *where):
        started.extend(jobs)
        return original(function, jobs, *where)

    monkeypatch.setattr(search, "run_parallel", watched)
    pd.testing.assert_frame_equal(run(tmp_path), table)
    assert len(started) == 1
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps


def test_fit_goes_on_from_a_run_of_the_search(tmp_path, monkeypatch):
    run(tmp_path, seed=1, workers=1)
    epochs = watch_epochs(monkeypatch)
    torch.manual_seed(1)
    history = training.fit(
        make_model(),
        make_batches(),
        make_batches(seed=1),
        3,
        lr=0.01,
        momentum=0.9,
        seed=1,
        checkpoint=tmp_path,
    )
    assert epochs == [2] and len(history) == 3


def test_a_damaged_file_of_a_run_is_named(tmp_path):
    run(tmp_path)
    file = next(tmp_path.glob("*.json"))
    file.write_text(file.read_text("utf-8")[:-10], "utf-8")
    with pytest.raises(TrainingError, match=f"{file.name} is damaged.*Delete that file"):
        run(tmp_path)


def test_other_data_or_another_seed_is_another_search(tmp_path):
    grid = {"lr": (0.01,)}
    run(tmp_path, grid=grid)
    run(tmp_path, grid=grid, seed=1)
    grid_search(make_model, make_batches(seed=5), make_batches(seed=1), 2, out=tmp_path, grid=grid)
    assert len(list(tmp_path.glob("*.json"))) == 3


class Moody(nn.Linear):
    """A layer that breaks in validation once its weights have grown."""

    def forward(self, inputs):
        broken = not self.training and self.weight.abs().max() > 1
        return super().forward(inputs) * (math.nan if broken else 1)


def make_moody():
    return nn.Sequential(nn.Flatten(), Moody(192, 3))


def make_linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 3))


class Failing(nn.Sequential):
    """A network that fails in training as many do: no memory, or shapes that do not fit."""

    def forward(self, inputs):
        raise self.error


@pytest.fixture
def epochs(monkeypatch):
    """The epochs that runs of seed 1 train, from 0."""
    return watch_epochs(monkeypatch)


@pytest.fixture
def workers(monkeypatch):
    """Have jobs done here, which takes no time to start; returns how many workers were asked for."""
    asked = []

    def run_here(function, jobs, workers, *cluster):
        asked.append(workers)
        return enumerate(map(function, jobs))

    monkeypatch.setattr(search, "run_parallel", run_here)
    return asked


def test_failed_runs_are_marked_stop_no_other_and_are_tried_again(tmp_path, workers):
    table = run(tmp_path, grid={"lr": (1e20, 0.01)})
    assert "Lower the learning rate" in table["error"][0] and table["error"][1] == ""
    assert math.isnan(table["best_validation_loss"][0])
    assert best_setting(table, ["lr"]) == {"lr": 0.01}
    assert len(list(tmp_path.glob("*.json"))) == 1
    with pytest.raises(TrainingError, match="every run failed"):
        best_setting(table.head(1), ["lr"])
    with pytest.raises(TrainingError, match="every run failed, the first by: the loss is .* learning rate"):
        run(tmp_path, grid={"lr": (1e20, 1e21)})


def test_a_run_whose_validation_diverges_is_marked_and_the_others_go_on(tmp_path, workers):
    data = make_batches(), make_batches(seed=1)
    table = grid_search(make_moody, *data, 2, out=tmp_path, grid={"lr": (10.0, 0.001)})
    assert table["error"][0].startswith("the validation loss is nan after epoch 1, with learning rate 10.")
    assert table["error"][1] == "" and table["best_epoch"][1] >= 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.cuda.OutOfMemoryError("full"), "not enough memory for a batch of 8"),
        (RuntimeError("mat1 and mat2"), "RuntimeError: mat1 and mat2"),
    ],
)
def test_any_error_of_a_run_is_that_run_s(error, reason):
    model = Failing(nn.Flatten(), nn.Linear(192, 3))
    model.error = error
    data = {"train": make_batches(), "validation": make_batches(seed=1)}
    history, found = search.train_setting({"lr": 0.01}, lambda: model, seed=0, epochs=1, **data)
    assert found.startswith(reason) and len(history) == 0


@pytest.mark.parametrize("strategy", ["one by one", "together"])
def test_a_full_disk_ends_the_search_and_names_the_file(tmp_path, monkeypatch, strategy):
    def fill(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill)
    data = make_batches(), make_batches(seed=1)
    with pytest.raises(OSError, match=f"No space left.*{tmp_path.name}"):
        grid_search(make_linear, *data, 1, out=tmp_path, grid={"lr": (0.01,)}, workers=1, strategy=strategy)


def make_hidden():
    model = make_model()
    model.lock = threading.Lock()
    return model


def test_a_search_that_cannot_be_named_is_made_and_not_stored(tmp_path, workers):
    data = make_batches(), make_batches(seed=1)
    with pytest.warns(FingerprintWarning, match="nothing of this is stored.*_thread.lock"):
        table = grid_search(make_hidden, *data, 1, out=tmp_path, grid={"lr": (0.01,)})
    assert table["error"].tolist() == [""] and list(tmp_path.iterdir()) == []


def test_as_many_workers_as_this_process_may_use(tmp_path, monkeypatch, workers):
    run(tmp_path, workers=None, grid={"lr": (0.01,)})
    assert workers == [None]
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    assert list(run_parallel(lambda job: os.getpid(), [0])) == [(0, os.getpid())]


def tell_of_itself(job):
    return torch.get_num_threads(), training.show_bar(1, done=0).disable


def test_a_worker_has_one_thread_and_shows_no_bar():
    assert dict(run_parallel(tell_of_itself, [0, 1, 2], 2)) == dict.fromkeys(range(3), (1, True))
    assert not training.show_bar(1, done=0).disable


@pytest.mark.parametrize("setting", [{"lr": 0.01}, {"wrong": 1.0}])
def test_a_run_without_a_worker_has_one_thread_too(monkeypatch, setting):
    seen, original = [], search.fit

    def watched(*arguments, **options):
        seen.append(torch.get_num_threads())
        return original(*arguments, **options)

    monkeypatch.setattr(search, "fit", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        data = {"train": make_batches(), "validation": make_batches(seed=1)}
        search.train_setting(setting, make_model, seed=0, epochs=1, **data)
        assert seen == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_interruption_keeps_finished_runs_and_leaves_no_process(tmp_path, monkeypatch):
    original, written = search.write_atomically, []

    def interrupt_after_first(path, content):
        original(path, content)
        written.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(search, "write_atomically", interrupt_after_first)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, workers=2)
    # The pool's own thread collects them too: a join here may return before it has noted their end.
    deadline = time.monotonic() + 30
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not multiprocessing.active_children()
    assert len(json.loads(written[0].read_text(encoding="utf-8"))["validation_loss"]) == 2


def test_the_precision_of_the_batches_reaches_the_workers(tmp_path):
    data = [make_batches(seed=seed, precision=torch.bfloat16) for seed in (0, 1)]
    table = search_settings(make_model, *data, 2, [{"lr": 0.01}, {"lr": 0.05}], out=tmp_path, workers=2)
    history = training.fit(search.make_seeded(make_model, 0), *data, 2, lr=0.05)
    assert table["validation_loss"].iloc[1] == history.validation_loss[-1]


def test_chosen_settings_are_the_same_runs_as_in_a_grid(tmp_path):
    table = run(tmp_path)
    chosen = [{"lr": 0.05, "momentum": 0.9}, {"lr": 0.01, "momentum": 0.0}]
    some = search_settings(make_model, make_batches(), make_batches(seed=1), 2, chosen, out=tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 4
    pd.testing.assert_frame_equal(some, table.iloc[[3, 0]].reset_index(drop=True))


def test_a_shorter_search_is_read_off_a_longer_one_and_a_longer_one_goes_on(tmp_path, workers, epochs):
    def search_for(epochs, out):
        data = make_batches(), make_batches(seed=1)
        return grid_search(make_model, *data, epochs, out=out, grid={"lr": (0.01, 0.05)}, seed=1)

    tables = {count: search_for(count, tmp_path) for count in (2, 1, 3)}
    assert epochs == [0, 1, 0, 1, 2, 2]
    for count, table in tables.items():
        pd.testing.assert_frame_equal(table, search_for(count, tmp_path / str(count)), check_exact=True)
