"""The device that networks run on, and how they compute there: exactly, in evaluation mode, within memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from textwrap import shorten
from traceback import clear_frames

import torch
from torch import nn

from elfw_helpers.utils.errors import TrainingError


def best_device() -> str:
    """Return "cuda" where a GPU can be used, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Keep a network in evaluation mode for a while; each module returns to the mode it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Have float32 be float32, and a GPU take the same kernels in every run, for a while.

    Whatever trains a network or asks one computes inside it, so that both get the same numbers.
    """
    restore = multiply_exactly()
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False, allow_tf32=False):
            yield
    finally:
        restore()


def multiply_exactly() -> Callable[[], None]:
    """Have matrices of float32 multiplied in float32; return what makes it as before."""
    try:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        return partial(torch.set_float32_matmul_precision, before)
    except RuntimeError:
        # Somebody has set torch's newer switches, beside which it refuses to read the older one.
        matmul = torch.backends.cuda.matmul
        restore = partial(setattr, matmul, "fp32_precision", matmul.fp32_precision)
        matmul.fp32_precision = "ieee"
        return restore


@contextmanager
def memory_advice(batch_size: int) -> Iterator[None]:
    """Say what to do where memory, a GPU's or the machine's, runs out.

    Args:
        batch_size: how many samples go through the network at once.

    Raises:
        TrainingError: memory ran out.
    """
    try:
        yield
        return
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        reason = shorten(str(error), 100, placeholder=" ...") or "out of memory"
        # What the failed step has left in its variables would fill the memory of the next attempt.
        clear_frames(error.__traceback__)
    advice = (
        "Take a smaller one (halve batch_size), smaller images or a smaller network"
        if batch_size > 1
        else "Take smaller images or a smaller network"
    )
    raise TrainingError(
        f"not enough memory for a batch of {batch_size} ({reason}). {advice}, close other programs on the "
        "GPU, or compute with device='cpu'"
    ) from None


def ran_out_of_memory(error: Exception) -> bool:
    """Say whether an error is that of a full memory; on the CPU torch has no type for it, only words."""
    kinds = (torch.cuda.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or "DefaultCPUAllocator" in str(error)
