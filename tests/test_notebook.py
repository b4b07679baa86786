"""Metrics shown with their tolerance, and the comparison of two runs."""

from __future__ import annotations

import json
import math

import IPython
import numpy as np
import pandas as pd
import pytest
import torch

from elfw_helpers.notebook import METRICS_MIME, compare_payloads, read_metrics, show_metrics, show_table
from elfw_helpers.utils.errors import ElfwError


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What is displayed, as if in a notebook."""
    bundles: list[dict] = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: object())
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: bundles.append(bundle))
    return bundles


def make_payload(displayed: list[dict], atol=0.02, **metrics) -> dict:
    """Return the payload of some metrics after a round trip through JSON, as a notebook stores it."""
    show_metrics("model", atol=atol, **metrics)
    return json.loads(json.dumps(displayed[-1][METRICS_MIME], allow_nan=False))


def test_text_names_value_and_tolerance(displayed):
    show_metrics("model", atol=0.02, accuracy=14 / 15, accuracy_interval=(0.8412, 0.974), images=60)
    assert displayed[0]["text/plain"].splitlines() == [
        "model",
        "  accuracy            0.933            checked within ± 0.02",
        "  accuracy_interval   [0.841, 0.974]   checked within ± 0.02",
        "  images              60               checked exactly",
    ]


def test_outside_a_notebook_it_prints(capsys):
    show_metrics(atol=0.1, loss=0.25)
    assert capsys.readouterr().out == "  loss   0.25   checked within ± 0.1\n"


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


def test_a_tolerance_for_all_leaves_whole_numbers_exact(displayed):
    tolerances = [column["atol"] for column in make_payload(displayed, atol=5, a=1.0, b=2)["columns"]]
    assert tolerances == [5, 0]


def test_a_mapping_leaves_all_others_exact(displayed):
    payload = make_payload(displayed, atol={"b": 5}, a=1.0, b=2)
    assert [column["atol"] for column in payload["columns"]] == [0, 5]


@pytest.mark.parametrize(
    ("atol", "metrics", "message"),
    [
        ({"acuracy": 0.1}, {"accuracy": 0.5}, "'acuracy', which is none of accuracy"),
        ({"name": 0.1}, {"name": "x"}, "name is text"),
        (-1, {"loss": 0.5}, "at least 0"),
        (math.nan, {"loss": 0.5}, "at least 0"),
        (0.1, {"loss": math.inf}, "loss is inf"),
        (0.1, {"losses": [0.1, 0.2, 0.3]}, r"\(low, high\) pair"),
        (0.1, {"pair": ("a", "b")}, r"\(low, high\) pair"),
        (0.1, {"model": object()}, "cannot be checked"),
    ],
)
def test_what_cannot_be_checked_is_refused(atol, metrics, message):
    with pytest.raises(ElfwError, match=message):
        show_metrics(atol=atol, **metrics)


def test_without_any_metric_words_say_so(displayed, capsys):
    show_metrics("Linear head", atol=0.1)
    assert capsys.readouterr().out == "Linear head: nothing was measured\n" and not displayed


def test_within_tolerance_nothing_differs(displayed):
    stored = make_payload(displayed, a=0.5, b=(0.4, 0.6), c=math.nan, d="x")
    assert compare_payloads(stored, make_payload(displayed, a=0.52, b=(0.38, 0.6), c=math.nan, d="x")) == []


def test_a_difference_names_stored_now_difference_and_allowed(displayed):
    stored, now = make_payload(displayed, a=0.9, b=0.5), make_payload(displayed, a=0.85, b=0.5)
    assert compare_payloads(stored, now) == [
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
        ({"a": 0.5}, {"a": 0.5, "atol": 0.03}, "a 0.5 0.5 tolerance 0.02, now 0.03"),
    ],
)
def test_every_kind_of_difference_is_said(displayed, stored, now, said):
    lines = compare_payloads(make_payload(displayed, **stored), make_payload(displayed, **now))
    assert [" ".join(line.split()) for line in lines[2:]] == [said]


def test_a_changed_title_is_a_difference(displayed):
    stored = make_payload(displayed, a=1)
    assert "another" in compare_payloads(stored, {**stored, "title": "another"})[2]


def make_table(**changes) -> pd.DataFrame:
    columns = {"lr": [1e-4, 5e-4], "runs": [1, 2], "loss": [0.12345, math.nan], "who": ["a", "b"], **changes}
    return pd.DataFrame(columns, index=pd.Index([1, 2], name="run"))


def test_table_is_pandas_with_the_tolerances_below(displayed):
    show_table(make_table(), title="grid", atol={"loss": 0.01})
    assert [line.rstrip() for line in displayed[0]["text/plain"].splitlines()] == [
        "grid",
        "         lr runs   loss who",
        "run",
        "1    0.0001    1  0.123   a",
        "2    0.0005    2    nan   b",
        "checked exactly: lr, runs, who",
        "checked within ± 0.01: loss",
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
    show_table(make_table(), atol={"loss": 0.01})
    show_table(make_table(**changes), atol={"loss": 0.01})
    stored, now = (bundle[METRICS_MIME] for bundle in displayed)
    assert [line.split("   ")[0].strip() for line in compare_payloads(stored, now)[2:]] == said


def test_rows_that_share_a_name_are_all_compared(displayed):
    for values in ([0.1, 0.2], [0.1, 0.9]):
        show_table(pd.DataFrame({"loss": values}, index=["a", "a"]), atol=0.01)
    assert "0.9" in "".join(compare_payloads(*(bundle[METRICS_MIME] for bundle in displayed)))


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(ElfwError, match="two columns of one name"):
        show_table(pd.DataFrame([[1, 2]], columns=["a", "a"]), atol=0)
