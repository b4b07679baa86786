"""The pytest plugin, on small notebooks with outputs stored by hand and another pytest that runs them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from elfw_course import order
from elfw_course.nbval_plugin import NotebooksFirst
from elfw_helpers.notebook import METRICS_MIME

# The cell timeout of the runs below: a dead kernel must be noticed long before.
CELL_TIMEOUT = 60


@dataclass(frozen=True)
class Verdict:
    """What pytest said of one cell."""

    failure: str  # empty when it passed
    seconds: float


def store_metrics(accuracy: float) -> list:
    """Return the stored output of `show_metrics`."""
    columns = [{"name": "accuracy", "values": [accuracy]}]
    payload = {"title": "model", "rows": None, "columns": columns}
    return [new_output("display_data", {METRICS_MIME: payload, "text/plain": "as it was"})]


def store_text(text: str, name: str = "stdout") -> list:
    """Return stored text output."""
    return [new_output("stream", name=name, text=text)]


def store_rich(kind: str, text: str) -> list:
    """Return a stored display of one MIME type beside its plain text."""
    return [new_output("display_data", {kind: text, "text/plain": "same"})]


def display(kind: str, text: str) -> str:
    """Return the source of a cell that displays what `store_rich` stores."""
    bundle = {kind: text, "text/plain": "same"}
    return f"from IPython.display import display\ndisplay({bundle!r}, raw=True)"


SHOW = "from elfw_helpers.notebook import show_metrics\nshow_metrics('model', accuracy=0.9)"
ACCURACY = "shown['model']['accuracy']"
WIDGET = "application/vnd.jupyter.widget-view+json"
RESULT = [new_output("execute_result", {"text/plain": "1"}, execution_count=1)]
RAISED = [new_output("error", ename="ValueError", evalue="x", traceback=[])]

TOLERANT = {"elfw": {"atol": 0.02}}


def claim(words: str, expression: str) -> dict:
    """Return a cell's metadata with a claim."""
    return {"elfw": {"claims": {words: expression}}}


# name: (source, stored outputs, tags or metadata, text of the expected failure or None)
CELLS = {
    "metrics within tolerance": (SHOW, store_metrics(0.91), TOLERANT, None),
    "metrics beyond tolerance": (SHOW, store_metrics(0.95), TOLERANT, "0.95     0.9   -0.05        0.02"),
    "a claim that holds": (SHOW, store_metrics(0.9), claim("good", f"{ACCURACY} > 0.8"), None),
    "a claim that does not": (SHOW, store_metrics(0.9), claim("best", f"{ACCURACY} > 1"), "claims: best."),
    "a claim about nothing": (SHOW, store_metrics(0.9), claim("x", "shown['y']"), "KeyError('y')"),
    "a tolerance for nothing": (SHOW, store_metrics(0.9), {"elfw": {"atol": {"acuracy": 1}}}, "for acuracy"),
    "no metrics any more": ("pass", store_metrics(0.9), [], "1 stored, 0 now"),
    "new metrics": (SHOW, [], [], "0 stored, 1 now"),
    "another picture": (display("image/png", "bmV3"), store_rich("image/png", "b2xk"), [], None),
    "another drawing": (display("image/svg+xml", "<b/>"), store_rich("image/svg+xml", "<a/>"), [], None),
    "other HTML": (display("text/html", "new"), store_rich("text/html", "old"), [], None),
    "other Markdown": (display("text/markdown", "new"), store_rich("text/markdown", "old"), [], "differ"),
    "a progress bar": (display(WIDGET, "new") + "\nprint(1)", store_text("1\n"), [], None),
    "other stderr": ("import sys\nprint('new', file=sys.stderr)", store_text("old", "stderr"), [], None),
    "other stdout": ("print('new')", store_text("old\n"), [], "Cell outputs differ"),
    "other result": ("2", RESULT, [], "Cell outputs differ"),
    "value kept quiet": ("2;", [], [], None),
    "value kept quiet, with a comment": ("2;  # two", [], [], None),
    "semicolon in a comment": ("1  # one; done;", RESULT, [], None),
    "semicolon that ends a text": ('x = """one;\ntwo;"""\nx[0] == "o" and 1', RESULT, [], None),
    "text of a semicolon": ("';'", [new_output("execute_result", {"text/plain": "';'"})], [], None),
    "semicolon of another language": ("%%bash\necho hi;", store_text("hi\n"), [], None),
    "semicolon of another language, wrong": ("%%bash\necho hi;", store_text("ho\n"), [], "differ"),
    "semicolon of a command": ("!echo hi;", store_text("hi\r\n"), [], None),
    "timed, kept quiet": ("%%capture\nprint(1);", [], [], None),
    "the value before": ("2\n", [new_output("execute_result", {"text/plain": "2"})], [], None),
    "its underscore": ("_ - 1", RESULT, [], None),
    "unknown magic": ("%matplotlb inline\nassert False", [], [], "UsageError: Line magic"),
    "unknown magic, as stored": ("%nope", store_text("UsageError", "stderr"), [], "before its end"),
    "unknown magic in the middle": ("y = 1\n%nope 1\ny = 2", [], [], "`%nope` not found"),
    "unknown magic that is assigned": ("y = %nope 1", [], [], "`%nope` not found"),
    "unknown magic, outputs ignored": ("%nope", [], ["nbval-ignore-output"], "`%nope` not found"),
    "unknown magic, meant": ("%nope", [], ["raises-exception"], None),
    "unknown cell magic": ("%%nope\nx", [], [], "UsageError: Cell magic `%%nope` not found"),
    "wrong use of a magic": ("%timeit -q", [], [], None),
    "a known magic": ("%matplotlib inline\n1", RESULT, [], None),
    "other stdout, ignored": ("print('new')", store_text("old\n"), ["nbval-ignore-output"], None),
    "stored error": ("pass", RAISED, ["nbval-ignore-output"], "The stored outputs hold an error"),
    "stored error, meant": ("raise ValueError('x')", RAISED, ["raises-exception"], None),
}  # fmt: skip


def write_notebook(path: Path, cells: list) -> None:
    """Write a notebook of code cells."""
    nbformat.write(new_notebook(cells=cells), path)


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run pytest on the notebooks of a folder as the project does."""
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "elfw_course.nbval_plugin", "--nbval", "--color=no"]
    command += ["--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT}", "--junitxml=report.xml"]
    options = {"capture_output": True, "encoding": "utf-8", "check": False}
    return subprocess.run([*command, *arguments], cwd=folder, **options)


def read_verdicts(folder: Path) -> dict[str, list[Verdict]]:
    """Return the verdicts of the last run by notebook, in the order of the cells."""
    verdicts: dict[str, list[Verdict]] = {}
    for case in ElementTree.parse(folder / "report.xml").iter("testcase"):
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        verdict = Verdict("" if bad is None else bad.text or "", float(case.get("time")))
        verdicts.setdefault(case.get("classname").split(".")[0], []).append(verdict)
    return verdicts


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Verdict]]:
    """The verdicts on three notebooks: of CELLS, of cells that were not run in order, with a dying kernel."""
    folder = tmp_path_factory.mktemp("notebooks")
    write_notebook(
        folder / "compared.ipynb",
        [
            new_code_cell(
                source,
                outputs=outputs,
                execution_count=count,
                metadata=marks if isinstance(marks, dict) else {"tags": marks},
            )
            for count, (source, outputs, marks, _) in enumerate(CELLS.values(), 1)
        ],
    )
    counts = {"a = 1": 1, "": None, "a += 1": 2, "a += 2": None, "a += 3": 7, "assert a == 7": 5}
    write_notebook(
        folder / "stale.ipynb", [new_code_cell(source, execution_count=n) for source, n in counts.items()]
    )
    dying = ["pass", "import os; os._exit(1)", "import time; time.sleep(30)"]
    write_notebook(
        folder / "dying.ipynb",
        [new_code_cell(source, execution_count=n) for n, source in enumerate(dying, 1)],
    )
    finished = run_pytest(folder)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert "warning" not in finished.stdout, finished.stdout
    return read_verdicts(folder)


@pytest.mark.parametrize("name", CELLS)
def test_cell_is_compared_as_its_kind_asks(verdicts, name):
    failure, expected = verdicts["compared"][list(CELLS).index(name)].failure, CELLS[name][3]
    assert expected in failure if expected else failure == ""


def test_notebook_that_was_not_run_from_top_to_bottom_fails_at_the_cell(verdicts):
    said = [verdict.failure for verdict in verdicts["stale"]]
    assert [bool(failure) for failure in said] == [False, False, False, True, True, False]
    assert "never executed: run `make refresh`" in said[3]
    assert "stored as [7] and would be [4]" in said[4]


def test_dead_kernel_fails_at_once_and_so_do_the_cells_after_it(verdicts):
    before, dead, after = verdicts["dying"]
    assert before.failure == ""
    assert "The kernel died in this cell" in dead.failure
    assert dead.seconds < CELL_TIMEOUT / 4
    assert "Not run: the kernel died in a cell before" in after.failure
    assert after.seconds < CELL_TIMEOUT / 4


def test_works_on_two_processes_beside_other_tests(tmp_path):
    for name in ("02_transfer_learning", "05_evaluation"):
        cells = [new_code_cell("a = 1", execution_count=1), new_code_cell("assert a == 1", execution_count=2)]
        write_notebook(tmp_path / f"{name}.ipynb", cells)
    (tmp_path / "test_other.py").write_text("def test_it(): pass\n", encoding="utf-8")
    finished = run_pytest(tmp_path, "-n", "2", "--dist", "loadscope")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    ran = {name: len(cells) for name, cells in read_verdicts(tmp_path).items()}
    assert ran == {"02_transfer_learning": 2, "05_evaluation": 2, "test_other": 1}


def test_notebooks_are_handed_out_first_and_after_those_that_they_need(monkeypatch):
    needs = {"05_evaluation": {"02_transfer_learning", "04_grid_search"}}
    monkeypatch.setattr(order, "NEEDS", needs)
    names = ("01_preprocessing", "02_transfer_learning", "04_grid_search", "05_evaluation")
    scopes = [f"notebooks/{name}.ipynb" for name in names]
    queue = NotebooksFirst.__new__(NotebooksFirst)
    queue.config = SimpleNamespace(getini={"slow_first": ["tests/test_slow.py"]}.get)
    others = ["tests/test_one.py", "tests/test_two.py", "tests/test_slow.py::TestIt"]
    queue.workqueue = dict.fromkeys([*others, *scopes])
    queue.assigned_work = {"first": {}, "second": {}}

    def hand_out(node: str, *, ended: bool = False) -> str:
        scope = queue._choose_scope(node)
        del queue.workqueue[scope]
        queue.assigned_work[node][scope] = {"Cell 0": True, "Cell 1": ended}
        return Path(scope.partition("::")[0]).stem

    assert [hand_out("first", ended=True), hand_out("second")] == ["02_transfer_learning", "04_grid_search"]
    assert hand_out("first") == "01_preprocessing"
    assert [hand_out("first") for _ in others] == ["test_slow", "test_one", "test_two"]
    # Where 04 is to end before it, or nothing else is left.
    assert queue._choose_scope("second") == scopes[3]
    assert queue._choose_scope("first") == scopes[3]


def test_cells_of_a_notebook_are_not_spread_over_processes(tmp_path):
    finished = run_pytest(tmp_path, "-n", "2")
    assert finished.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--dist loadscope" in finished.stderr
