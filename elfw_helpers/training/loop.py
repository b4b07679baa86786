"""The training loop of the whole course, seeded and resumable, and predictions batch by batch."""

from __future__ import annotations

import ctypes
import functools
import math
import multiprocessing
import platform
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from elfw_helpers.data.batches import Batches
from elfw_helpers.training.checkpoints import (
    TrainingState,
    find_start,
    load_checkpoint,
    name_epochs,
    save_checkpoint,
)
from elfw_helpers.training.losses import Loss
from elfw_helpers.utils.device import compute_logits, exact_arithmetic, memory_advice
from elfw_helpers.utils.errors import TrainingError
from elfw_helpers.utils.fingerprints import FingerprintError, FingerprintWarning, fingerprint


@dataclass
class History:
    """Loss and accuracy of each epoch, first to last; validation is NaN where there was none.

    Losses are means over all samples: cross-entropy in nats (weighted by class where weights were given),
    Dice from 0 to 1, both together as their sum. The accuracy of masks is that of their pixels.
    """

    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.train_loss)

    @property
    def best_epoch(self) -> int | None:
        """The 0-based epoch of the lowest validation loss, the first of equals; None without validation."""
        known = [epoch for epoch, loss in enumerate(self.validation_loss) if not math.isnan(loss)]
        return min(known, key=self.validation_loss.__getitem__, default=None)

    def append(self, *values: float) -> None:
        """Add an epoch: its values in the order of the attributes."""
        for series, value in zip(vars(self).values(), values, strict=True):
            series.append(value)

    def first(self, epochs: int) -> History:
        """Return the history of the first epochs; a longer run has gone through the same ones."""
        return History(*(series[:epochs] for series in vars(self).values()))

    def frame(self) -> pd.DataFrame:
        """Return one row per epoch, index `epoch` from 1."""
        return pd.DataFrame(asdict(self), index=pd.RangeIndex(1, len(self) + 1, name="epoch"))


def fit(
    model: nn.Module,
    train: Batches,
    validation: Batches | None,
    epochs: int,
    *,
    lr: float | Sequence[float] = 1e-3,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    loss: str | Loss = "cross_entropy",
    seed: int = 0,
    checkpoint: str | Path | None = None,
) -> History:
    """Train a model by SGD, in place, on the device of the batches and in their precision.

    Of all epochs, the model keeps the weights of the lowest validation loss; without validation, the last.

    Args:
        model: logits [B, C] from inputs [B, 3, H, W], or [B, C, H, W] for segmentation.
        train, validation: the batches; validation may be None.
        epochs: number of passes over `train`.
        lr: learning rate, one number or one per epoch.
        momentum, weight_decay: of `torch.optim.SGD`.
        loss: "cross_entropy", or for masks also "dice" or "cross_entropy+dice"; a `Loss` adds class weights.
        seed: of whatever is random inside the model (the batches have their own seed).
        checkpoint: a folder. Each distinct run (settings, data, initial weights, code) gets its own
            folder in it, saved after every epoch: an interrupted run continues bit for bit where it
            stopped, a finished one is loaded, one of more epochs continues a shorter one with the same
            learning rates, and another setting starts another run.

    Raises:
        TrainingError: the loss is unknown, or not finite in training or validation, `lr` or `epochs` cannot
            be or do not fit, a checkpoint is damaged, or there is not enough memory.

    Warns:
        FingerprintWarning: nothing is stored, because something that decides the run cannot be inspected.
    """
    keep_freed_memory()
    rates = rate_per_epoch(lr, epochs)
    # 1 and 1.0 are the same run.
    momentum, weight_decay = float(momentum), float(weight_decay)
    loss = (loss if isinstance(loss, Loss) else Loss(loss)).to(train.device)
    with exact_arithmetic(), memory_advice(max(part.batch_size for part in (train, validation) if part)):
        model.to(train.device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=momentum, weight_decay=weight_decay)
        state, history = TrainingState(model, optimizer), History()
        settings = [momentum, weight_decay, loss, seed]
        run = name_run(checkpoint, fit, model, train, validation, settings)
        if run:
            history = History(**load_checkpoint(find_start(run, rates), state, asdict(history)))
        with show_bar(epochs, done=len(history)) as bar:
            for epoch in range(len(history), epochs):
                optimizer.param_groups[0]["lr"] = rates[epoch]
                trained = train_epoch(model, train, optimizer, loss, epoch, seed)
                checked = validate_epoch(model, validation, loss, epoch, rates[epoch])
                history.append(*trained, *checked)
                if history.best_epoch == epoch:
                    state.keep_best()
                if run:
                    save_checkpoint(name_epochs(run, rates), state, asdict(history))
                bar.update()
                show_losses(bar, trained[0], checked[0])
    state.restore_best()
    return history


def rate_per_epoch(lr: float | Sequence[float], epochs: int) -> list[float]:
    """Return the learning rate of each epoch; TrainingError for rates or epochs that cannot be."""
    if not isinstance(epochs, Integral) or epochs < 0:
        raise TrainingError(f"epochs is {epochs!r}. Give a whole number, 0 or more")
    try:
        rates = np.broadcast_to(np.asarray(lr, float), epochs).tolist()
    except (TypeError, ValueError) as error:
        raise TrainingError(
            f"lr is {lr!r} for {epochs} epochs. Give one number, or one number per epoch"
        ) from error
    if not all(0 <= rate < math.inf for rate in rates):
        raise TrainingError(f"lr is {lr!r}. Give numbers that are finite and not negative")
    return rates


def show_bar(epochs: int, done: int) -> tqdm:
    """Return a progress bar on stderr, hidden in a worker process and below a bar that is shown already."""
    hidden = multiprocessing.parent_process() is not None or bool(getattr(tqdm, "_instances", ()))
    return tqdm(total=epochs, initial=done, unit="epoch", disable=hidden, delay=1)


def show_losses(bar: tqdm, train: float, validation: float) -> None:
    """Put the losses of an epoch behind a progress bar; NaN where nothing was validated is left out."""
    losses = {"train": train, "validation": validation}
    known = {name: f"{loss:.3f}" for name, loss in losses.items() if not math.isnan(loss)}
    bar.set_postfix(known, refresh=False)


def name_run(folder: str | Path | None, *depends_on: Any) -> Path | None:
    """Return where in a folder a run is stored, under a fingerprint of all that it depends on.

    Returns:
        None without a folder, or where something it depends on cannot be inspected.

    Warns:
        FingerprintWarning: what cannot.
    """
    try:
        return None if folder is None else Path(folder) / fingerprint(*depends_on)
    except FingerprintError as error:
        text = f"nothing of this is stored, and it starts from the beginning the next time: {error}"
        warnings.warn(text, FingerprintWarning, stacklevel=3)
        return None


def train_epoch(
    model: nn.Module, batches: Batches, optimizer: torch.optim.Optimizer, loss: Loss, epoch: int, seed: int
) -> tuple[float, float]:
    """Make one pass over the batches; return mean loss and accuracy, each batch measured before its step.

    What is random inside the model depends on seed and epoch; the caller's random numbers are left alone.

    Raises:
        TrainingError: a loss was not finite; names epoch, step and learning rate.
    """
    with torch.random.fork_rng(devices=[batches.device] if batches.device.type == "cuda" else []):
        torch.manual_seed(1_000_003 * seed + epoch)
        sums, counts, accuracy = take_steps(model, batches, optimizer, loss, epoch)
    refuse_losses(sums.sum(0), epoch, optimizer.param_groups[0]["lr"])
    return (sums.sum(1) / counts.sum(1)).sum().item(), accuracy


def take_steps(
    model: nn.Module, batches: Batches, optimizer: torch.optim.Optimizer, loss: Loss, epoch: int
) -> tuple[Tensor, Tensor, float]:
    """Take one step per batch; return the loss's sums and counts, [terms, steps] each, and the accuracy."""
    model.train()
    sums, counts = [], []
    correct = torch.zeros((), dtype=torch.int64, device=batches.device)
    for inputs, targets in batches.epoch(epoch):
        counts.append(batches.add_up(loss.count(targets)))
        optimizer.zero_grad(set_to_none=True)
        logits = compute_training_logits(model, inputs, batches.precision)
        batch_sums = loss.add_up(logits, targets)
        (batch_sums / counts[-1]).sum().backward()
        optimizer.step()
        # Nothing is read back to the CPU until the epoch ends: that would make a GPU wait at every step.
        sums.append(batch_sums.detach())
        correct += count_correct(logits.detach(), targets)
    accuracy = batches.add_up(correct).item() / batches.label_count
    return batches.add_up(torch.stack(sums, 1)), torch.stack(counts, 1), accuracy


def compute_training_logits(model: nn.Module, inputs: Tensor, precision: torch.dtype) -> Tensor:
    """Return logits in training; refuse a single sample where batch normalisation needs more than one."""
    try:
        return compute_logits(model, inputs, precision)
    except ValueError as error:
        if len(inputs) > 1:
            raise
        fix = "Take batches of two or more"
        raise TrainingError(f"cannot train on one sample at a time ({error}). {fix}") from error


def count_correct(logits: Tensor, targets: Tensor) -> Tensor:
    """Return how many samples, or pixels, are classified correctly."""
    return (logits.argmax(1) == targets).sum()


def refuse_losses(losses: Tensor, epoch: int, rate: float) -> None:
    """Raise TrainingError if the loss of a step, [steps], is not finite."""
    if not losses.isfinite().all():
        step = int((~losses.isfinite()).nonzero()[0])
        raise_diverged("loss", losses[step].item(), f"at step {step + 1} of epoch {epoch + 1}", rate, "")


def refuse_validation(value: float, epoch: int, rate: float) -> None:
    """Raise TrainingError if the validation loss is not finite."""
    if not math.isfinite(value):
        raise_diverged("validation loss", value, f"after epoch {epoch + 1}", rate, " and class weights of 0")


def raise_diverged(name: str, value: float, where: str, rate: float, more: str) -> None:
    """Raise TrainingError for a loss that is not finite."""
    raise TrainingError(
        f"the {name} is {value} {where}, with learning rate {rate:g}. Lower the learning rate (a tenth, "
        f"say), or look for inputs that are not finite{more}"
    )


def validate_epoch(
    model: nn.Module, batches: Batches | None, loss: Loss, epoch: int, rate: float
) -> tuple[float, float]:
    """Return mean loss and accuracy after an epoch, (NaN, NaN) without batches; refuse a loss not finite."""
    if batches is None:
        return math.nan, math.nan
    value, accuracy = evaluate(model, batches, loss)
    refuse_validation(value, epoch, rate)
    return value, accuracy


@torch.inference_mode()
def evaluate(model: nn.Module, batches: Batches, loss: Loss) -> tuple[float, float]:
    """Return mean loss and accuracy over all samples of the batches, read back from the device once."""
    model.eval()
    sums, counts, correct = 0.0, 0.0, 0
    for inputs, targets in batches:
        logits = compute_logits(model, inputs, batches.precision)
        sums = sums + loss.add_up(logits, targets).double()
        counts = counts + loss.count(targets).double()
        correct = correct + count_correct(logits, targets)
    sums, counts, correct = map(batches.add_up, (sums, counts, correct))
    value, right = torch.stack([(sums / counts).sum(), correct.double()]).tolist()
    return value, right / batches.label_count


def predict_logits(model: nn.Module, batches: Batches) -> Tensor:
    """Return the logits of all samples, float32 [N, C], on the CPU, in the order of the batches.

    Raises:
        TrainingError: there is not enough memory.
    """
    return predict(model, batches, Tensor.float)


def predict_masks(model: nn.Module, batches: Batches) -> Tensor:
    """Return the class of every pixel of all images, uint8 [N, H, W], on the CPU, in the batches' order.

    Only one batch's logits are held at a time: those of 3,754 faces at 256 x 256 would be 7 gigabytes.

    Raises:
        TrainingError: there is not enough memory.
    """
    return predict(model, batches, lambda logits: logits.argmax(1).to(torch.uint8))


@torch.inference_mode()
def predict(model: nn.Module, batches: Batches, keep: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what `keep` makes of the logits of every batch, concatenated, on the CPU."""
    with exact_arithmetic(), memory_advice(batches.batch_size):
        model.to(batches.device).eval()
        logits = (compute_logits(model, inputs, batches.precision) for inputs, _ in batches)
        return torch.cat([keep(one).cpu() for one in logits])


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next tensor instead of giving it back to the kernel.

    A training step frees and asks again for the same few megabytes dozens of times, and the kernel fills
    fresh pages with zeros: a third of a mini network's step. M_MMAP_THRESHOLD is -3, M_TRIM_THRESHOLD -1
    (man 3 mallopt).
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(-3, 1 << 30)
        library.mallopt(-1, (1 << 31) - 1)
