"""Metrics and figures shown, and the comparison of two runs."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import types

import IPython
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from elfw_course.student import student_version
from elfw_helpers import notebook
from elfw_helpers.notebook import (
    METRICS_MIME,
    check_exercise,
    compare_payloads,
    read_measured,
    read_metrics,
    save_figure,
    show_metrics,
    show_table,
)
from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.files import explain_error


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What is displayed, as if in a notebook."""
    bundles: list[dict] = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: object())
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: bundles.append(bundle))
    return bundles


def make_payload(displayed: list[dict], **metrics) -> dict:
    """Return the payload of some metrics after a round trip through JSON, as a notebook stores it."""
    show_metrics("model", **metrics)
    return json.loads(json.dumps(displayed[-1][METRICS_MIME], allow_nan=False))


def test_text_names_values(displayed):
    show_metrics("model", accuracy=14 / 15, accuracy_interval=(0.8412, 0.974), images=60, loss=0.00012345)
    assert displayed[0]["text/plain"].splitlines() == [
        "model",
        "  accuracy            0.933",
        "  accuracy_interval   [0.841, 0.974]",
        "  images              60",
        "  loss                0.000123",
    ]


def test_outside_a_notebook_it_prints(capsys):
    show_metrics(loss=0.25)
    assert capsys.readouterr().out == "  loss   0.250\n"


def test_scalars_of_numpy_and_torch_become_plain(displayed):
    payload = make_payload(
        displayed,
        a=np.float32(0.5),
        b=torch.tensor(3),
        c=np.bool_(True),
        d=np.array([0.25, 0.5]),
        e=math.nan,
        f=torch.tensor([0.0, math.nan]),
        g="text",
    )
    assert read_metrics(payload) == {
        "a": 0.5, "b": 3, "c": True, "d": [0.25, 0.5], "e": None, "f": [0.0, None], "g": "text",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("atol", "allowed"),
    [(5, {"a": True, "b": False, "c": True}), ({"b": 5}, {"a": False, "b": True, "c": False})],
    ids=["a number leaves whole numbers exact", "a mapping leaves all others exact"],
)
def test_tolerances(displayed, atol, allowed):
    stored = make_payload(displayed, a=1.0, b=2, c=(0.5, 0.75))
    for name, changed in (("a", {"a": 2.0}), ("b", {"b": 3}), ("c", {"c": (0.5, 1.0)})):
        now = make_payload(displayed, **{"a": 1.0, "b": 2, "c": (0.5, 0.75), **changed})
        assert (compare_payloads(stored, now, atol) == []) == allowed[name]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"loss": math.inf}, "loss is inf"),
        ({"losses": [0.1, 0.2, 0.3]}, r"\(low, high\) pair"),
        ({"pair": ("a", "b")}, r"\(low, high\) pair"),
        ({"model": object()}, "cannot be checked"),
    ],
)
def test_what_cannot_be_checked_is_refused(metrics, message):
    with pytest.raises(ElfwError, match=message):
        show_metrics(**metrics)


def test_without_any_metric_words_say_so(displayed, capsys):
    show_metrics("Linear head")
    assert capsys.readouterr().out == "Linear head: nothing was measured\n" and not displayed


def test_within_tolerance_nothing_differs(displayed):
    stored = make_payload(displayed, a=0.5, b=(0.4, 0.6), c=math.nan, d="x")
    assert (
        compare_payloads(stored, make_payload(displayed, a=0.52, b=(0.38, 0.6), c=math.nan, d="x"), 0.02)
        == []
    )


def test_a_difference_names_stored_now_difference_and_allowed(displayed):
    stored, now = make_payload(displayed, a=0.9, b=0.5), make_payload(displayed, a=0.85, b=0.5)
    assert compare_payloads(stored, now, 0.02) == [
        "Metrics differ: model",
        "  name   stored   now    difference   allowed",
        "  a      0.9      0.85   -0.05        0.02",
    ]


@pytest.mark.parametrize(
    ("stored", "now", "said"),
    [
        ({"a": 1}, {"a": 2}, "a 1 2 +1 0"),
        ({"a": "x"}, {"a": "y"}, "a x y 0"),
        ({"a": True}, {"a": 1}, "a True 1 0"),
        ({"a": 0.5}, {"a": math.nan}, "a 0.5 nan 0.02"),
        ({"a": (0.1, 0.5)}, {"a": (0.1, 0.6)}, "a, high 0.5 0.6 +0.1 0.02"),
        ({"a": 0.5, "b": 1}, {"a": 0.5}, "b 1 - missing"),
        ({"a": 0.5}, {"a": 0.5, "b": 1}, "b - 1 new"),
    ],
)
def test_every_kind_of_difference_is_said(displayed, stored, now, said):
    lines = compare_payloads(make_payload(displayed, **stored), make_payload(displayed, **now), 0.02)
    assert [" ".join(line.split()) for line in lines[2:]] == [said]


def test_a_changed_title_is_a_difference(displayed):
    stored = make_payload(displayed, a=1)
    assert "another" in compare_payloads(stored, {**stored, "title": "another"})[2]


def make_table(**changes) -> pd.DataFrame:
    columns = {"lr": [1e-4, 5e-4], "runs": [1, 2], "loss": [0.12345, math.nan], "who": ["a", "b"], **changes}
    return pd.DataFrame(columns, index=pd.Index([1, 2], name="run"))


def test_table_is_pandas(displayed):
    show_table(make_table(), "grid")
    assert [line.rstrip() for line in displayed[0]["text/plain"].splitlines()] == [
        "grid",
        "           lr runs   loss who",
        "run",
        "1    0.000100    1  0.123   a",
        "2    0.000500    2    nan   b",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": [0.13, math.nan]}, []),
        ({"loss": [0.2, math.nan]}, ["loss, row 1"]),
        ({"lr": [1e-4, 6e-4]}, ["lr, row 2"]),
        ({"who": ["a", "c"]}, ["who, row 2"]),
        ({"more": [1, 2]}, ["more, row 1", "more, row 2"]),
    ],
)
def test_tables_compare_by_cell(displayed, changes, said):
    show_table(make_table())
    show_table(make_table(**changes))
    stored, now = (bundle[METRICS_MIME] for bundle in displayed)
    assert [
        line.split("   ")[0].strip() for line in compare_payloads(stored, now, {"loss": 0.01})[2:]
    ] == said


def test_rows_that_share_a_name_are_all_compared(displayed):
    for values in ([0.1, 0.2], [0.1, 0.9]):
        show_table(pd.DataFrame({"loss": values}, index=["a", "a"]))
    assert "0.9" in "".join(compare_payloads(*(bundle[METRICS_MIME] for bundle in displayed)))


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(ElfwError, match="two columns of one name"):
        show_table(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_a_figure_is_shown_once_and_saved_with_its_alt_text(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path))
    figure, _ = plt.subplots()
    monkeypatch.setattr(IPython, "get_ipython", lambda: object())
    monkeypatch.setattr(
        "IPython.display.display", lambda figure, metadata: shown.append((figure.number, metadata))
    )
    save_figure(figure, "09_line", alt="A line that rises")
    assert shown == [(figure.number, {"image/png": {"alt": "A line that rises"}})]
    assert not plt.fignum_exists(figure.number)
    with Image.open(tmp_path / "figures" / "09_line.png") as picture:
        assert picture.text["Description"] == "A line that rises"


def test_measured_numbers_are_read_and_their_lack_says_what_to_do(monkeypatch, tmp_path):
    assert read_measured("masks_on_photos")["efficient_unet"]["all photos"]["masks"]["images"] == 700
    monkeypatch.setattr(notebook, "measured_file", lambda benchmark: tmp_path / f"{benchmark}.json")
    for content in (None, "no JSON", "[]", "{}"):
        if content is not None:
            (tmp_path / "gap.json").write_text(content, "utf-8")
        with pytest.raises(ElfwError, match=r"gap.json: no stored results .*benchmarks/gap.py --real"):
            read_measured("gap")


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """A Colab whose Drive is mounted in tmp_path, and the module that mounts it."""
    colab, mounting = types.ModuleType("google.colab"), types.ModuleType("google.colab.drive")
    mounting.mount = lambda place: (tmp_path / "drive" / "MyDrive").mkdir(parents=True)
    colab.drive = mounting
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    monkeypatch.setitem(sys.modules, "google.colab.drive", mounting)
    monkeypatch.setattr(notebook, "DRIVE_BUILD", tmp_path / "drive" / "MyDrive" / "elfw-course" / "build")
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path / "here"))
    return mounting


def test_results_are_kept_on_drive(drive, tmp_path, capsys):
    notebook.keep_on_drive()
    assert notebook.build_folder() == tmp_path / "drive" / "MyDrive" / "elfw-course" / "build"
    assert capsys.readouterr().out.startswith(f"Results go to {notebook.build_folder()}")


def test_without_drive_or_colab_a_sentence_says_so(drive, tmp_path, capsys, monkeypatch):
    def refuse(place):
        raise ValueError("mount failed")

    drive.mount = refuse
    notebook.keep_on_drive()
    said = capsys.readouterr().out
    assert said == (
        f"Google Drive was not mounted (mount failed). Results stay in {tmp_path / 'here'}, "
        "and are lost when Colab disconnects.\n"
    )
    monkeypatch.setitem(sys.modules, "google.colab", None)
    notebook.keep_on_drive()
    assert capsys.readouterr().out == f"This is not Colab. Results stay in {tmp_path / 'here'}.\n"
    assert notebook.build_folder() == tmp_path / "here"


def test_full_drive_is_told_before_any_training(drive, tmp_path, capsys, monkeypatch):
    def fill(folder):
        raise explain_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), folder)

    monkeypatch.setattr(notebook, "require_writable", fill)
    notebook.keep_on_drive()
    said = capsys.readouterr().out
    assert "The disk is full: free some space" in said and f"Results stay in {tmp_path / 'here'}" in said
    assert notebook.build_folder() == tmp_path / "here"


def run_check(source: str, capsys) -> str:
    """Return what a check prints, as the students' copies have it."""
    check = student_version(
        new_notebook(cells=[new_code_cell(f"# check: halve\n{source}")]), "01.ipynb"
    ).cells[0]
    exec(compile(check.source, "<check>", "exec"), {})
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("print('well done')", "well done"),
        ("assert 1 == 2, 'one is not two'", "halve is not right yet: one is not two"),
        ("raise NotImplementedError('write double')", "double is not written yet"),
    ],
)
def test_a_check_says_in_a_sentence_where_its_exercise_is_not_solved(source, said, capsys):
    out = run_check(f"{source}\nif True:\n    pass", capsys)
    assert out.startswith(said) and out.count("\n") == 1


def test_an_assert_without_words_is_shown(capsys):
    source = "# check: halve\nwith check_exercise('halve'):\n    assert len('halve') == 4"
    shell = InteractiveShell()
    shell.user_ns["check_exercise"] = check_exercise
    shell.run_cell(source).raise_error()
    assert capsys.readouterr().out == "halve is not right yet: this does not hold: assert len('halve') == 4\n"


@pytest.mark.parametrize("error", [TypeError("write halve"), NotImplementedError("no such kernel")])
def test_what_else_goes_wrong_in_a_check_keeps_its_traceback(error):
    with pytest.raises(type(error)), check_exercise("halve"):
        raise error
