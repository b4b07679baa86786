"""Executes one notebook with the Python of this environment, and shows a line of progress."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from elfw_helpers.utils.errors import ElfwError

ERROR_LINES = 12


class NotebookFailed(ElfwError):
    """A notebook stopped at an error; the message names the cell and shows the last `lines` of the error."""

    def __init__(self, notebook: str, progress: ProgressLine, reason: str, lines: Sequence[str]):
        self.where = f"code cell {progress.cell} of {progress.cells}"
        self.reason, self.seconds = reason, progress.seconds
        super().__init__("\n    ".join([f"{notebook} stopped in {self.where}:", *lines]))


class ThisInterpreter(AsyncKernelManager):
    """Starts kernels with the interpreter that runs us, whatever kernels a user has registered."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """Ipykernel's own specification, which names `sys.executable`."""
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


class ProgressLine:
    """`NAME  cell 7/23  0:41`, kept up to date on a terminal; elsewhere a line at start and end."""

    def __init__(self, name: str, cells: int):
        self.name, self.cells, self.cell = name, cells, 0
        self._live = sys.stdout.isatty()
        self._done = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> ProgressLine:
        self._start = time.monotonic()
        if self._live:
            self._ticker.start()
        else:
            print(f"{self.name}  {self.cells} cells ...", flush=True)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._done.set()
        if self._live:
            self._ticker.join()
        state = f"stopped in cell {self.cell}/{self.cells}" if kind else f"{self.cells} cells"
        self._write(f"{self.name}  {state}  {format_duration(self.seconds)}\n")

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def advance(self, **_: object) -> None:
        """Note that the next cell begins; nbclient calls it with the cell."""
        self.cell += 1

    def _tick(self) -> None:
        while not self._done.is_set():
            self._write(f"{self.name}  cell {self.cell}/{self.cells}  {format_duration(self.seconds)}")
            self._done.wait(0.5)

    def _write(self, text: str) -> None:
        # On a terminal: back to the line's start, and erase what the last text leaves behind.
        print(f"\r\x1b[K{text}" if self._live else text, end="", flush=True)


def execute_notebook(notebook: NotebookNode, path: Path, environment: dict[str, str]) -> float:
    """Execute all cells of a notebook in place; outputs of an earlier run are removed first.

    Args:
        notebook: what to execute. After an error or an interrupt it holds the outputs up to there.
        path: of its file, whose folder is the kernel's working folder.
        environment: the kernel's environment variables.

    Returns:
        Seconds taken, with the start of the kernel.

    Raises:
        NotebookFailed: a cell raised an error, or the kernel died.
        KeyboardInterrupt: Ctrl-C was pressed; the kernel is stopped.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in cells:
        cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=None,
        record_timing=False,
        # A progress bar writes hundreds of states; only its last one belongs on the page.
        coalesce_streams=True,
        store_widget_state=False,
        kernel_name="python3",
        kernel_manager_class=ThisInterpreter,
        # Its warnings, such as of unencrypted loopback sockets, would break up the progress line.
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    with ProgressLine(path.stem, sum(bool(cell.source.strip()) for cell in cells)) as progress:
        client.on_cell_execute = progress.advance
        try:
            _run_interruptibly(client, progress, environment)
        except CellExecutionError as error:
            plain = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback)
            lines = [line for line in plain.splitlines() if line.strip(" -")]
            reason = f"{error.ename}: {error.evalue}".splitlines()[0]
            raise NotebookFailed(path.name, progress, reason, lines[-ERROR_LINES:]) from None
        except RuntimeError as error:
            reason = f"The kernel died, most often because the machine ran out of memory ({error})."
            raise NotebookFailed(path.name, progress, reason, [reason]) from None
    return progress.seconds


def format_duration(seconds: float) -> str:
    """Write seconds as 0:41, 12:05 or 1:00:09."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _run_interruptibly(client: NotebookClient, progress: ProgressLine, environment: dict[str, str]) -> None:
    """Run a client to its end; Ctrl-C interrupts the running cell, a second one stops at once."""
    interrupts = 0

    async def run() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def interrupt() -> None:
            nonlocal interrupts
            interrupts += 1
            if interrupts == 1 and progress.cell:
                asyncio.ensure_future(client.km.interrupt_kernel())
            else:
                task.cancel()

        with _handle_ctrl_c(loop, interrupt):
            await client.async_execute(env=environment)

    # Windows has two kinds of event loop, and only this one can watch the kernel's sockets.
    windows_policy = getattr(asyncio, "WindowsSelectorEventLoopPolicy", None)
    if windows_policy:
        asyncio.set_event_loop_policy(windows_policy())
    try:
        asyncio.run(run())
    except (Exception, asyncio.CancelledError):
        if interrupts:
            raise KeyboardInterrupt from None
        raise


@contextmanager
def _handle_ctrl_c(loop: asyncio.AbstractEventLoop, interrupt: Callable[[], None]) -> Iterator[None]:
    """Have Ctrl-C call `interrupt` in the loop; nbclient would kill the kernel, which looks like a crash."""
    before = signal.getsignal(signal.SIGINT)

    def set_handler() -> None:
        try:
            loop.add_signal_handler(signal.SIGINT, interrupt)
        except NotImplementedError:  # Windows: its loops know no signals
            signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(interrupt))

    # Once nbclient has set its own.
    loop.call_soon(set_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
