"""The device that networks run on: layout and copies, exact arithmetic and evaluation mode there, and advice
when memory is full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from textwrap import shorten
from traceback import clear_frames

import torch
from torch import Tensor, nn

from elfw_helpers.utils.errors import TrainingError


def best_device() -> str:
    """Return "cuda" where a GPU can be used, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def layout_of(device: torch.device) -> torch.memory_format:
    """Return how the images of a batch lie in memory, which decides it for all layers that follow."""
    # A CPU's convolutions are faster on channels last, a GPU's deterministic float32 ones on channels first.
    return torch.contiguous_format if device.type == "cuda" else torch.channels_last


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU to a device, without waiting until a GPU has it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Keep a network in evaluation mode for a while; each module returns to the mode it was in."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, was_training in training.items():
            module.training = was_training


def compute_logits(network: Callable[[Tensor], Tensor], inputs: Tensor, precision: torch.dtype) -> Tensor:
    """Return a network's logits, float32, computed in float32 or by mixed precision.

    Args:
        precision: torch.float32, or torch.bfloat16 for automatic mixed precision: weights, sums of losses and
            steps stay float32, and torch computes convolutions and matrix products in bfloat16.

    Source: Micikevicius et al. (2018), https://arxiv.org/abs/1710.03740; bfloat16 has float32's range, so the
    loss need not be scaled.
    """
    mixed, kind = precision == torch.bfloat16, inputs.device.type
    # The cache of rounded weights would outlive the step that changes them.
    with torch.autocast(kind, torch.bfloat16, enabled=mixed, cache_enabled=False):
        return network(inputs).float()


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Compute float32 in float32, and with the same GPU kernels in every run, for a while.

    Training and prediction both compute inside it, so that they get the same numbers. Of mixed precision,
    only what `compute_logits` is asked for remains.
    """
    matmul = torch.backends.cuda.matmul
    try:
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        restore = partial(torch.set_float32_matmul_precision, precision)
    except RuntimeError:
        # Somebody has set torch's newer switches, beside which it refuses to read the older one.
        restore = partial(setattr, matmul, "fp32_precision", matmul.fp32_precision)
        matmul.fp32_precision = "ieee"
    cudnn = torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False, allow_tf32=False)
    try:
        with cudnn, torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        restore()


@contextmanager
def memory_advice(batch_size: int) -> Iterator[None]:
    """Raise TrainingError with advice where memory, a GPU's or the machine's, runs out.

    Args:
        batch_size: how many samples go through the network at once.
    """
    try:
        yield
        return
    except (MemoryError, RuntimeError) as error:
        full = isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError))
        # On the CPU torch has no class of error for full memory, only a message.
        if not full and "DefaultCPUAllocator" not in str(error):
            raise
        reason = shorten(str(error), 100, placeholder=" ...") or "out of memory"
        # What the failed step has left in its variables would fill the memory of the next attempt.
        clear_frames(error.__traceback__)
    smaller = "a smaller one (halve batch_size), smaller images" if batch_size > 1 else "smaller images"
    raise TrainingError(
        f"not enough memory for a batch of {batch_size} ({reason}). Take {smaller} or a smaller network, "
        "close other programs on the GPU, or compute with device='cpu'"
    ) from None
