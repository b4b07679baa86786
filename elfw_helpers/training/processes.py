"""The processes that train together: how they meet, what they add up, and how they end.

torchrun starts them, on one machine or several, and tells each its number in environment variables. Without
torchrun there is one. https://docs.pytorch.org/docs/stable/elastic/run.html
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.functional import batch_norm
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode

from elfw_helpers.utils.device import best_device
from elfw_helpers.utils.errors import TrainingError

# How long the processes wait for one another: at the start, while a node decodes its faces, in a step, and
# for the answer whether another has said already why all end.
MEET, DECODE, STEP, ASK = (timedelta(seconds=seconds) for seconds in (120, 86_400, 600, 5))
LOST = (
    "the training has stopped: one of its {count} processes has ended or cannot be reached, or torchrun was "
    "told to stop. Every finished epoch is kept: give the same command again, with --resume"
)
# Of prctl (man 2 prctl).
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Processes:
    """The processes that train together, as one of them sees them.

    Attributes:
        rank: the number of this one, from 0.
        count: how many there are, on all nodes.
        device: what this one computes on.
        store: a dictionary that all share, kept by torchrun; None for a single process.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"
    store: dist.Store | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def share(self, samples: int) -> slice:
        """Return which of a batch's samples are this process's; the shares differ by one at most."""
        return slice(*(part * samples // self.count for part in (self.rank, self.rank + 1)))

    def add_up(self, numbers: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes, which all get."""
        total = numbers.clone()
        if self.count > 1:
            dist.all_reduce(total)
        return total

    def exchange(self, name: str, facts: dict[str, Any], patience: timedelta) -> list[dict[str, Any]]:
        """Return the facts (for JSON) that each process gives under a name, with its `host`, by rank.

        Raises:
            TrainingError: not all have given theirs in time; names who is missing.
        """
        facts = {"host": socket.gethostname(), **facts}
        if self.count == 1:
            return [facts]
        keys = [f"{name} {rank}" for rank in range(self.count)]
        self.store.set(keys[self.rank], json.dumps(facts))
        try:
            self.store.wait(keys, patience)
        except RuntimeError as error:
            missing = ", ".join(str(rank) for rank, key in enumerate(keys) if not self.store.check([key]))
            found = f"of {self.count} processes, number {missing} has not come in "
            fix = "Start the same torchrun command, with the same --nnodes, on every node"
            raise TrainingError(f"{found}{patience.total_seconds():g} seconds. {fix}") from error
        return [json.loads(self.store.get(key)) for key in keys]

    def require_same(self, name: str, facts: dict[str, Any], patience: timedelta) -> None:
        """Raise TrainingError unless all processes give the same facts; names the first that differs."""
        first, *others = self.exchange(name, facts, patience)
        for rank, other in enumerate(others, 1):
            differing = [fact for fact in facts if other[fact] != first[fact]]
            if differing:
                places = f"process {rank} on {other['host']} and process 0 on {first['host']}"
                fix = "Give all nodes the same command, faces, packages and version of the course"
                raise TrainingError(f"{places} differ in {', '.join(differing)}. {fix}")

    def connect(self, network: nn.Module) -> nn.Module:
        """Return a network that learns with its copies in other processes; itself if there are none."""
        if self.count == 1:
            return network
        backend = "nccl" if self.device.startswith("cuda") else "gloo"
        dist.init_process_group(
            backend, store=self.store, rank=self.rank, world_size=self.count, timeout=STEP
        )
        connected = DistributedDataParallel(network)
        connected.register_comm_hook(None, add_up_gradients)
        return connected

    def send_from_first(self, value: Any) -> Any:
        """Return, in all processes, the value that the first one gives."""
        values = [value if self.is_first else None]
        if self.count > 1:
            dist.broadcast_object_list(values)
        return values[0]

    def share_statistics(self):
        """Return a context in which batch normalisation is over the batches of all processes together."""
        return nullcontext() if self.count == 1 else SharedStatistics()


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Meet the other processes that torchrun has started; whatever ends one of them ends all.

    Only the first prints, but for the reason of an end, which whoever is the first to end says.

    Raises:
        TrainingError: not all have come, they differ in device, or one has ended.
        SystemExit: another process has said already why all end.
    """
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1:
        yield Processes(device=best_device())
        return
    store, last_words = open_store(), open_store()
    last_words.set_timeout(ASK)
    end_when_told(last_words, count)
    try:
        with ExitStack() as stack:
            processes = Processes(int(os.environ["RANK"]), count, choose_device(), store)
            if not processes.is_first:
                nothing = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
                stack.enter_context(redirect_stdout(nothing))
                stack.enter_context(redirect_stderr(nothing))
            processes.require_same("device", {"device": processes.device.partition(":")[0]}, MEET)
            yield processes
            dist.destroy_process_group()
    except (Exception, KeyboardInterrupt) as error:
        if not is_first_to_end(last_words):
            raise SystemExit(1) from error
        if is_lost(error):
            raise TrainingError(LOST.format(count=count)) from error
        raise


def open_store() -> dist.Store:
    """Return a new connection to the dictionary that torchrun keeps for all processes."""
    try:
        store, _, _ = next(rendezvous("env://", timeout=MEET))
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        reason = str(error).partition("\n")[0]
        fix = "Start it by torchrun, with an address and a free port that all nodes reach"
        raise TrainingError(f"the processes cannot meet at {place} ({reason}). {fix}") from error
    return store


def choose_device() -> str:
    """Return this process's own GPU, or "cpu" where there is none; TrainingError where GPUs are too few."""
    if not torch.cuda.is_available():
        return "cpu"
    number, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if number >= gpus:
        found = f"{os.environ['LOCAL_WORLD_SIZE']} processes were started on {socket.gethostname()}"
        raise TrainingError(f"{found}, which has {gpus} GPUs. Give torchrun --nproc-per-node {gpus}")
    torch.cuda.set_device(number)
    return f"cuda:{number}"


def end_when_told(last_words: dist.Store, count: int) -> None:
    """End at once on SIGTERM, which torchrun sends to those that are left, and when torchrun itself ends.

    A thread waits for it: the main thread may be inside a step that waits for a process that is gone.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda number, frame: None)

    def wait() -> None:
        while os.read(reading, 1) != bytes([signal.SIGTERM]):
            pass
        if is_first_to_end(last_words):
            print(f"elfw: {LOST.format(count=count)}", file=sys.__stderr__, flush=True)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def is_first_to_end(last_words: dist.Store) -> bool:
    """Say whether no other process has asked this before; if nobody can know, one per node says yes."""
    with suppress(RuntimeError):
        return last_words.add("ended", 1) == 1
    return os.environ.get("LOCAL_RANK") == "0"


def add_up_gradients(state, bucket):
    """Return (as torch's Future) the sum of the processes' gradients, where torch would take their mean.

    The loss of a share is divided by the count of the whole batch, so its gradients are parts of a sum.
    """
    # Without annotations: torch compares them with types, and here they are words.
    added = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
    return added.then(lambda done: done.value()[0])


def is_lost(error: BaseException) -> bool:
    """Say whether an error is that of a connection to another process; gloo has no class of its own."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


class SharedStatistics(TorchFunctionMode):
    """Lets every batch normalisation, of whichever class, take its statistics over all processes.

    `torch.nn.SyncBatchNorm` runs on GPUs alone, and timm's layers need another one.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """Compute what torch was asked for, batch normalisation in our way."""
        return (normalise if function is batch_norm else function)(*args, **(kwargs or {}))


class AddUp(torch.autograd.Function):
    """The sum of a tensor over all processes; each process's part gets the gradients of all."""

    @staticmethod
    def forward(context: Any, numbers: Tensor) -> Tensor:
        """Return the sum."""
        total = numbers.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Return the summed gradient."""
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def normalise(
    inputs: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor,
    bias: Tensor,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Return what `torch.nn.functional.batch_norm` returns, in training over the batches of all processes.

    Source: Ioffe and Szegedy (2015), https://arxiv.org/abs/1502.03167, algorithm 1.

    Args:
        inputs: float32 [B, C, H, W], this process's share, which may be empty.
    """
    if not training:
        return batch_norm(inputs, running_mean, running_var, weight, bias, False, momentum, eps)
    variance, mean = measure_share(inputs)
    # In float64, where squares of means far from zero lose nothing when they are subtracted again.
    mean, variance = mean.double(), variance.double()
    count = torch.full((1,), inputs[:, 0].numel(), dtype=torch.float64, device=inputs.device)
    sums = AddUp.apply(torch.cat([count * mean, count * (variance + mean.square()), count]))
    mean, square = (sums[:-1] / sums[-1]).chunk(2)
    variance, count = square - mean.square(), sums[-1].detach()
    with torch.no_grad():
        running_mean.lerp_(mean.to(running_mean), momentum)
        running_var.lerp_((variance * count / (count - 1)).to(running_var), momentum)
    scale = weight * (variance + eps).rsqrt()
    mean, scale, bias = (numbers.to(inputs).view(1, -1, 1, 1) for numbers in (mean, scale, bias))
    return (inputs - mean) * scale + bias


def measure_share(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return variance and mean of each channel, [C] each; of no inputs 0."""
    if len(inputs) == 0:
        nothing = inputs.sum((0, 2, 3))
        return nothing, nothing
    return torch.var_mean(inputs, (0, 2, 3), correction=0)
