"""Executes notebooks with the Python of this environment, several at once, and shows how far they are."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from elfw_course.order import find_ready, sort_longest_chain_first
from elfw_helpers.utils.errors import ElfwError

ERROR_LINES = 12
# How often progress is shown, and how late Ctrl-C is noticed on Windows.
POLL_SECONDS = 0.5


class NotebookFailed(ElfwError):
    """A notebook stopped at an error; the message names the cell and shows the last `lines` of the error."""

    def __init__(self, execution: Execution, reason: str, lines: Sequence[str]):
        self.where = f"code cell {execution.cell} of {execution.cells}"
        self.reason = reason
        super().__init__("\n    ".join([f"{execution.path.name} stopped in {self.where}:", *lines]))


class ThisInterpreter(AsyncKernelManager):
    """Starts kernels with the interpreter that runs us, whatever kernels a user has registered."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """Ipykernel's own specification, which names `sys.executable`."""
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


class Execution:
    """The execution of one notebook: by a kernel of its own, in a thread of its own.

    Attributes:
        notebook: its cells, executed in place. After an error or an interrupt, the outputs up to there.
        path: of its file, whose folder is the kernel's working folder.
        cell, cells: the code cell that is being executed, counted from 1, and how many there are.
        seconds: taken in all, with the start of the kernel; 0 before the end.
        failure: why it stopped before its last cell, or None.
    """

    def __init__(self, notebook: NotebookNode, path: Path):
        codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for cell in codes:
            cell.outputs, cell.execution_count = [], None
        self.notebook, self.path, self.name = notebook, path, path.stem
        self.cell, self.cells = 0, sum(bool(cell.source.strip()) for cell in codes)
        self.seconds, self.failure = 0.0, None
        self._interrupts, self._loop = 0, None

    def run(self, environment: dict[str, str]) -> None:
        """Execute all cells.

        Args:
            environment: the kernel's environment variables.
        """
        start = time.monotonic()
        try:
            asyncio.run(self._execute(environment))
        except CellExecutionError as error:
            plain = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback)
            lines = [line for line in plain.splitlines() if line.strip(" -")]
            reason = f"{error.ename}: {error.evalue}".splitlines()[0]
            self.failure = NotebookFailed(self, reason, lines[-ERROR_LINES:])
        except RuntimeError as error:
            reason = f"The kernel died, most often because the machine ran out of memory ({error})."
            self.failure = NotebookFailed(self, reason, [reason])
        except asyncio.CancelledError:
            self.failure = NotebookFailed(self, "interrupted", [])
        finally:
            self.seconds = time.monotonic() - start

    def interrupt(self) -> None:
        """Interrupt the running cell, from any thread; a second time, stop at once."""
        self._interrupts += 1
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._on_interrupt)

    async def _execute(self, environment: dict[str, str]) -> None:
        """Have a client execute the notebook."""
        client = NotebookClient(
            self.notebook,
            timeout=None,
            record_timing=False,
            # A progress bar writes hundreds of states; only its last one belongs on the page.
            coalesce_streams=True,
            store_widget_state=False,
            kernel_name="python3",
            kernel_manager_class=ThisInterpreter,
            # Its warnings, such as of unencrypted loopback sockets, would break up the line of progress.
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            resources={"metadata": {"path": str(self.path.parent)}},
        )
        client.on_cell_execute = self._advance
        self._client, self._task = client, asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if not self._interrupts:
            await client.async_execute(env=environment)

    def _advance(self, **_: object) -> None:
        """Note that the next cell begins; nbclient calls it with the cell."""
        if self._interrupts:  # between two cells
            self._task.cancel()
        self.cell += 1

    def _on_interrupt(self) -> None:
        """Do what `interrupt` asks, in the thread of the loop."""
        if self._interrupts == 1 and self.cell:
            self._interrupting = asyncio.ensure_future(self._client.km.interrupt_kernel())
        else:
            self._task.cancel()


class Progress:
    """On a terminal a line, kept up to date, of all that runs; elsewhere a line at start and end of each."""

    def __init__(self) -> None:
        self._live, self._start = sys.stdout.isatty(), time.monotonic()

    def started(self, execution: Execution) -> None:
        """Say that a notebook begins."""
        if not self._live:
            print(f"{execution.name}  {execution.cells} cells ...", flush=True)

    def show(self, running: Iterable[Execution]) -> None:
        """Show how far those are that run."""
        running = list(running)
        if self._live and running:
            parts = [f"{one.name} {one.cell}/{one.cells}" for one in running]
            line = "  ".join([format_duration(time.monotonic() - self._start), *parts])
            self._write(line[: shutil.get_terminal_size().columns - 1])

    def ended(self, execution: Execution) -> None:
        """Say how a notebook ended."""
        cells = f"{execution.cells} cells"
        if execution.failure:
            cells = f"stopped in cell {execution.cell}/{execution.cells}"
        self._write(f"{execution.name}  {cells}  {format_duration(execution.seconds)}\n")

    def _write(self, text: str) -> None:
        # On a terminal: back to the line's start, and erase what the last text leaves behind.
        print(f"\r\x1b[K{text}" if self._live else text, end="", flush=True)


def execute_side_by_side(
    executions: Sequence[Execution], at_once: int, environment: dict[str, str]
) -> Iterator[Execution]:
    """Execute notebooks, so many at once, and yield each when it has ended, well or not.

    Whoever stops asking for more stops those that still run.

    Args:
        environment: the kernels' environment variables.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; all kernels are stopped, the outputs up to there are kept.
    """
    # Windows has two kinds of event loop, and only this one can watch the kernel's sockets.
    windows_policy = getattr(asyncio, "WindowsSelectorEventLoopPolicy", None)
    if windows_policy:
        asyncio.set_event_loop_policy(windows_policy())
    waiting = {execution.name: execution for execution in executions}
    running: dict[Future, Execution] = {}
    ended: list[Execution] = []
    progress = Progress()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            while waiting or running or ended:
                ready = find_ready(sort_longest_chain_first(waiting), (one.name for one in running.values()))
                for name in ready[: at_once - len(running)]:
                    execution = waiting.pop(name)
                    progress.started(execution)
                    running[pool.submit(execution.run, environment)] = execution
                # Only now: what the caller does with it takes time, and the cores have work again.
                yield from ended
                ended.clear()
                progress.show(running.values())
                for future in wait(running, POLL_SECONDS, FIRST_COMPLETED).done:
                    ended.append(running.pop(future))
                    future.result()  # raises what is no notebook's error
                    progress.ended(ended[-1])
        finally:
            _stop(running)


def _stop(running: dict[Future, Execution]) -> None:
    """Stop what still runs, and wait for its end; after Ctrl-C, do not wait for the answer of cells."""
    while not all(future.done() for future in running):
        for execution in running.values():
            execution.interrupt()
        try:
            # In pieces: on Windows, nothing interrupts a wait.
            while wait(running, POLL_SECONDS).not_done:
                pass
        except KeyboardInterrupt:
            continue


def format_duration(seconds: float) -> str:
    """Write seconds as 0:41, 12:05 or 1:00:09."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
