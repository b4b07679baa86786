import json
import math
import multiprocessing
import time

import pandas as pd
import pytest
from test_training import make_batches, make_model

from elfw_helpers import search
from elfw_helpers.errors import TrainingError
from elfw_helpers.search import REPORT_GRID, best_setting, grid_search, sample_settings, search_settings

GRID = {"lr": (0.01, 0.05), "momentum": (0.0, 0.9)}


def run(out, **options):
    options = {"grid": GRID, "workers": 2, "progress": False, **options}
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
    original = search.run_jobs

    def watched(function, shared, jobs, *options):
        started.extend(jobs)
        return original(function, shared, jobs, *options)

    monkeypatch.setattr(search, "run_jobs", watched)
    pd.testing.assert_frame_equal(run(tmp_path), table)
    assert len(started) == 1
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps


def test_other_data_or_another_seed_is_another_search(tmp_path):
    grid = {"lr": (0.01,)}
    run(tmp_path, grid=grid)
    run(tmp_path, grid=grid, seed=1)
    grid_search(
        make_model, make_batches(seed=5), make_batches(seed=1), 2, out=tmp_path, grid=grid, progress=False
    )
    assert len(list(tmp_path.iterdir())) == 3


def test_failed_run_is_recorded_and_stops_no_other(tmp_path):
    table = run(tmp_path, grid={"lr": (1e20, 0.01)})
    assert "Lower the learning rate" in table["error"][0] and table["error"][1] == ""
    assert math.isnan(table["best_validation_loss"][0])
    assert best_setting(table, ["lr"]) == {"lr": 0.01}
    with pytest.raises(TrainingError, match="every run failed"):
        best_setting(table.head(1), ["lr"])


def test_interruption_keeps_finished_runs_and_leaves_no_process(tmp_path, monkeypatch):
    original, written = search.write_atomically, []

    def interrupt_after_first(path, content):
        original(path, content)
        written.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(search, "write_atomically", interrupt_after_first)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, workers=1)
    # The pool's own thread collects them too: a join here may return before it has noted their end.
    deadline = time.monotonic() + 30
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not multiprocessing.active_children()
    assert json.loads(written[0].read_text())["error"] == ""


def test_chosen_settings_are_the_same_runs_as_in_a_grid(tmp_path):
    table = run(tmp_path)
    chosen = [{"lr": 0.05, "momentum": 0.9}, {"lr": 0.01, "momentum": 0.0}]
    some = search_settings(
        make_model, make_batches(), make_batches(seed=1), 2, chosen, out=tmp_path, progress=False
    )
    assert len(list(tmp_path.glob("*.json"))) == 4
    pd.testing.assert_frame_equal(some, table.iloc[[3, 0]].reset_index(drop=True))


def test_sampled_settings_fill_their_ranges_evenly_in_the_logarithm():
    ranges = {"lr": (1e-4, 1e-2), "momentum": (0.9, 0.9)}
    drawn = pd.DataFrame(sample_settings(ranges, 2000, seed=3))
    assert drawn["lr"].between(*ranges["lr"]).all()
    assert abs((drawn["lr"] < 1e-3).mean() - 0.5) < 0.05
    assert drawn["momentum"].round(12).unique().tolist() == [0.9]
    assert sample_settings(ranges, 5, seed=3) == drawn[:5].to_dict("records")
    assert sample_settings(ranges, 5, seed=4) != drawn[:5].to_dict("records")
