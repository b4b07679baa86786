"""pytest plugin on top of nbval: metrics within tolerance, claims that hold, notebooks that were really run.

A cell's metadata say what its metrics are held to:

    "elfw": {"atol": 0.05, "claims": {"the claim in words": "shown['title']['metric'] > 0.9"}}

`atol` is that of `compare_payloads`. A claim is a Python expression over `shown[title][metric]`, or for a
table `shown[title][column][row]`, which has to be true of the fresh run.

Loaded by `-p elfw_course.nbval_plugin` (pyproject.toml). It works on nbval's own objects through pytest's
hooks: nbval 0.11 asks a notebook's `skip_compare` what not to compare and a cell's `compare_outputs` whether
stored and fresh outputs agree; its kernel's `execute_cell_input` sends a cell, `await_reply` waits for it and
`get_message` receives it. On several processes, pytest-xdist's scheduler hands out notebooks in the order of
`elfw_course.order`.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from pathlib import Path
from queue import Empty

import pytest
from nbformat import NotebookNode
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError
from xdist.scheduler import LoadScopeScheduling

from elfw_course.order import find_ready, sort_longest_chain_first
from elfw_course.student import WIDGET_MIME
from elfw_helpers.notebook import METRICS_MIME, Tolerance, compare_payloads, find_payloads

# Drawn differently by every version of a library, or for the eye only; nbval itself leaves png and jpeg out.
NOT_COMPARED = ("image/svg+xml", "text/html", "stderr")
# How long a kernel may have been dead before its cell fails.
POLL_SECONDS = 1.0
SLOW_FIRST = "slow_first"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the project name files of tests that would otherwise be the last to end."""
    parser.addini(SLOW_FIRST, "files of tests to hand out before others: they take longest", type="args")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to spread the cells of one notebook over processes: each would lack the cells before it."""
    spread = getattr(config.option, "dist", "no") not in ("no", "loadscope", "loadfile")
    if config.getoption("nbval", False) and spread and not hasattr(config, "workerinput"):
        raise pytest.UsageError("Notebooks on several processes need --dist loadscope beside -n.")


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling | None:
    """Hand out notebooks, and other tests in the same run, as NotebooksFirst says."""
    return NotebooksFirst(config, log) if config.getoption("nbval", False) else None


class NotebooksFirst(LoadScopeScheduling):
    """Hands out notebooks, each after those that it needs, and then everything else, what is slow first."""

    def _assign_work_unit(self, node: object) -> None:
        """Put the scope that is next to the front of the queue, from where xdist takes it."""
        self.workqueue.move_to_end(self._choose_scope(node), last=False)
        super()._assign_work_unit(node)

    def _choose_scope(self, node: object) -> str:
        """Return a notebook that needs none of the unfinished ones, else other tests, else what there is.

        What the same process has to finish before counts as finished.
        """
        waiting = {Path(scope).stem: scope for scope in self.workqueue if scope.endswith(".ipynb")}
        running = [
            Path(scope).stem
            for other, scopes in self.assigned_work.items()
            for scope, items in scopes.items()
            if other is not node and not all(items.values())
        ]
        notebooks = sort_longest_chain_first(waiting)
        ready = find_ready(notebooks, running)
        if ready:
            return waiting[ready[0]]
        slow = self.config.getini(SLOW_FIRST)
        others = [scope for scope in self.workqueue if scope not in waiting.values()]
        others.sort(key=lambda scope: scope.partition("::")[0] not in slow)
        return others[0] if others else waiting[notebooks[0]]


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Tell nbval which kinds of output not to compare."""
    if isinstance(collector, IPyNbFile):
        collector.skip_compare += NOT_COMPARED


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let a notebook's cell compare metrics within tolerance before nbval compares everything else."""
    if isinstance(item, IPyNbCell):
        compare_rest = item.compare_outputs

        def compare_outputs(now: list[NotebookNode], stored: list[NotebookNode]) -> bool:
            held_to = item.cell.metadata.get("elfw", {})
            differences = compare_metrics(stored, now, held_to.get("atol", 0))
            if differences:
                differences.append("If the new values are right: make refresh")
            differences += find_broken_claims(now, held_to.get("claims", {}))
            if differences:
                item.comparison_traceback = differences
                return False
            return compare_rest(_drop_metrics_and_widgets(now), _drop_metrics_and_widgets(stored))

        item.compare_outputs = compare_outputs


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a cell whose kernel died, one that stopped, and one not stored as a run from top to bottom."""
    if not isinstance(item, IPyNbCell):
        return (yield)
    _watch_kernel(item)
    reply = _run_as_jupyter(item)
    result = yield
    # Only now: the cells that follow need this one to have run.
    complaint = find_complaint(item, reply)
    if complaint:
        raise NbCellError(item.cell_num, complaint, item.cell.source)
    return result


def compare_metrics(stored: list[NotebookNode], now: list[NotebookNode], atol: Tolerance) -> list[str]:
    """Compare the metrics among a cell's outputs, in order; return lines that say what differs.

    A tolerance that fits nothing would check nothing, so it is a difference too.
    """
    before, after = find_payloads(stored), find_payloads(now)
    if len(before) != len(after):
        titles = ", ".join(str(payload["title"]) for payload in before or after)
        return [f"Metrics differ in number: {len(before)} stored, {len(after)} now ({titles})"]
    columns = {column["name"] for payload in after for column in payload["columns"]}
    unknown = sorted(set(atol) - columns) if isinstance(atol, Mapping) else []
    lines = [f"The cell's metadata have a tolerance for {name}, which it does not show" for name in unknown]
    pairs = zip(before, after, strict=True)
    return lines + [line for old, new in pairs for line in compare_payloads(old, new, atol)]


def find_broken_claims(outputs: list[NotebookNode], claims: Mapping[str, str]) -> list[str]:
    """Return a line for each claim that does not hold of the metrics among a cell's outputs.

    Args:
        outputs: of the fresh run.
        claims: expressions, as the module's docstring says, by the claim in words. They are the author's.
    """
    shown: dict[str | None, dict] = {}
    for payload in find_payloads(outputs):
        rows = payload["rows"]
        shown[payload["title"]] = {
            column["name"]: column["values"][0]
            if rows is None
            else dict(zip(rows, column["values"], strict=True))
            for column in payload["columns"]
        }
    lines = []
    for words, expression in claims.items():
        try:
            broken = None if eval(expression, {"shown": shown}) else "is false"
        except Exception as error:
            broken = f"raises {error!r}"
        if broken:
            lines.append(f"The notebook claims: {words}. But {expression} {broken}.")
    return lines


def find_complaint(item: IPyNbCell, reply: dict) -> str | None:
    """Say what shows that a cell stopped, or that it is not stored from one run from top to bottom.

    Args:
        item: the cell, just run.
        reply: the kernel's. An unknown magic stops a cell without an error among its outputs.
    """
    may_raise, count = item.options["check_exception"], item.cell.execution_count
    if not may_raise and reply.get("status") == "error":
        return f"This cell stopped before its end: {reply['ename']}: {reply['evalue']}"
    if item.cell.source.strip():
        # An empty cell has no execution count.
        code = [cell for cell in item.parent.nb.cells if cell.cell_type == "code"]
        expected = sum(bool(cell.source.strip()) for cell in code[: item.cell_num + 1])
        if count is None:
            return "This cell was never executed: run `make refresh`"
        if count != expected:
            return (
                f"This cell was executed out of order: it is stored as [{count}] and would be [{expected}] "
                "in a run from top to bottom. Run `make refresh`"
            )
    if not may_raise and any(output.output_type == "error" for output in item.cell.outputs):
        return "The stored outputs hold an error. Mend the cell and run `make refresh`"
    return None


def _drop_metrics_and_widgets(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Leave out metrics, compared already, and widgets, whose plain text is a progress bar's."""
    return [output for output in outputs if not {METRICS_MIME, WIDGET_MIME} & set(output.get("data", {}))]


def _watch_kernel(item: IPyNbCell) -> None:
    """Have the wait for a cell end soon after its kernel dies; nbval alone waits out the cell timeout."""
    kernel = item.parent.kernel
    if not kernel.is_alive():
        raise NbCellError(item.cell_num, "Not run: the kernel died in a cell before", item.cell.source)
    wait_once = type(kernel).await_reply

    def await_reply(message_id: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                return wait_once(kernel, message_id, timeout=min(POLL_SECONDS, timeout))
            except Empty:
                if not kernel.is_alive():
                    reason = "The kernel died in this cell; most often the machine ran out of memory"
                    raise NbCellError(item.cell_num, reason, item.cell.source) from None
                if time.monotonic() > deadline:
                    raise

    kernel.await_reply = await_reply


def _run_as_jupyter(item: IPyNbCell) -> dict:
    """Have a cell run in the history, where IPython looks whether a `;` at its end hides the value.

    Returns a dict that will hold the kernel's reply, which nbval drops.
    """
    kernel, reply, sent = item.parent.kernel, {}, []
    receive = type(kernel).get_message

    def execute_cell_input(source: str, allow_stdin: bool) -> str:
        sent.append(kernel.kc.execute(source, allow_stdin=allow_stdin, stop_on_error=False))
        return sent[-1]

    def get_message(stream: str, timeout: float | None = None) -> dict:
        message = receive(kernel, stream, timeout)
        if message["msg_type"] == "execute_reply" and message["parent_header"].get("msg_id") in sent:
            reply.update(message["content"])
        return message

    kernel.execute_cell_input, kernel.get_message = execute_cell_input, get_message
    return reply
