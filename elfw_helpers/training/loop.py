"""One training loop for the whole course: seeded, resumable, the same on CPU and GPU."""

from __future__ import annotations

import ctypes
import functools
import math
import platform
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from elfw_helpers.data.batches import Batches
from elfw_helpers.training.checkpoints import TrainingState, load_checkpoint, save_checkpoint
from elfw_helpers.training.losses import Loss
from elfw_helpers.utils.device import exact_arithmetic, memory_advice
from elfw_helpers.utils.errors import TrainingError
from elfw_helpers.utils.fingerprints import FingerprintError, FingerprintWarning, fingerprint


@dataclass
class History:
    """What each epoch brought, first to last; validation is NaN where there was none.

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

    def append(self, train: tuple[float, float], validation: tuple[float, float]) -> None:
        """Add an epoch: (loss, accuracy) of both splits."""
        self.train_loss.append(train[0])
        self.train_accuracy.append(train[1])
        self.validation_loss.append(validation[0])
        self.validation_accuracy.append(validation[1])

    def frame(self) -> pd.DataFrame:
        """Return a row an epoch, index `epoch` from 1."""
        return pd.DataFrame(asdict(self), index=pd.RangeIndex(1, len(self) + 1, name="epoch"))


def fit(
    model: nn.Module,
    train: Batches,
    validation: Batches | None,
    epochs: int,
    *,
    lr: float = 1e-3,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    class_weights: Tensor | None = None,
    loss: str = "cross_entropy",
    schedule: Callable[[int], float] | None = None,
    patience: int | None = None,
    restore_best: bool = True,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> History:
    """Train a model by SGD, in place, on the device of the batches.

    Args:
        model: logits [B, C] from inputs [B, 3, H, W], or [B, C, H, W] for segmentation.
        train, validation: the batches; without validation nothing can be chosen or stopped by it.
        epochs: at most so many passes over `train`.
        lr, momentum, weight_decay: of `torch.optim.SGD`.
        class_weights: float [C], weight of each class in the cross-entropy, validation's too.
        loss: "cross_entropy", or for masks also "dice" or "cross_entropy+dice".
        schedule: factor on `lr` by 0-based epoch.
        patience: stop after so many epochs without a lower validation loss.
        restore_best: leave the model with the weights of the lowest validation loss, not the last.
        seed: of whatever is random inside the model (the batches have a seed of their own).
        checkpoint: a folder. Each distinct run (settings, data, initial weights, code) gets a folder of
            its own in it, saved after every epoch: a run that was cut off goes on bit for bit where it
            stopped, a finished one is loaded, and another setting starts another run.
        progress: show a bar on stderr.

    Raises:
        TrainingError: the loss is unknown, or not finite in training or validation, a checkpoint is damaged,
            or there is not enough memory.

    Warns:
        FingerprintWarning: nothing is stored, for something that decides the run cannot be looked into.
    """
    keep_freed_memory()
    # 1 and 1.0 are the same run.
    lr, momentum, weight_decay = float(lr), float(momentum), float(weight_decay)
    rates = [float(lr * (schedule(epoch) if schedule else 1.0)) for epoch in range(epochs)]
    with exact_arithmetic(), memory_advice(max(part.batch_size for part in (train, validation) if part)):
        model.to(train.device)
        terms = Loss(loss, class_weights, train.device)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
        state, history = TrainingState(model, optimizer), History()
        settings = [rates, momentum, weight_decay, class_weights, loss, patience, seed]
        folder = name_run(checkpoint, fit, model, train, validation, settings)
        if folder:
            history = History(**load_checkpoint(folder, state, asdict(history)))
        with tqdm(total=epochs, initial=len(history), unit="epoch", disable=not progress, delay=1) as bar:
            while len(history) < epochs and not is_stale(history, patience):
                epoch = len(history)
                optimizer.param_groups[0]["lr"] = rates[epoch]
                trained = train_epoch(model, train, optimizer, terms, epoch, seed)
                checked = check_epoch(model, validation, terms, epoch, rates[epoch])
                history.append(trained, checked)
                if history.best_epoch == epoch:
                    state.keep_best()
                if folder:
                    save_checkpoint(folder, state, asdict(history))
                bar.update()
                bar.set_postfix(train=f"{trained[0]:.3f}", validation=f"{checked[0]:.3f}", refresh=False)
    if restore_best:
        state.restore_best()
    return history


def name_run(folder: str | Path | None, *depends_on: Any) -> Path | None:
    """Return where in a folder a run is stored, under a name for all that it depends on.

    Returns:
        None without a folder, or where something it depends on cannot be looked into.

    Warns:
        FingerprintWarning: what cannot.
    """
    try:
        return None if folder is None else Path(folder) / fingerprint(*depends_on)
    except FingerprintError as error:
        text = f"nothing of this is stored, and it starts from the beginning the next time: {error}"
        warnings.warn(text, FingerprintWarning, stacklevel=3)
        return None


def is_stale(history: History, patience: int | None) -> bool:
    """Say whether the validation loss has not fallen for `patience` epochs."""
    return (
        patience is not None
        and history.best_epoch is not None
        and len(history) - 1 - history.best_epoch >= patience
    )


def train_epoch(
    model: nn.Module, batches: Batches, optimizer: torch.optim.Optimizer, loss: Loss, epoch: int, seed: int
) -> tuple[float, float]:
    """Make one pass over the batches; return mean loss and accuracy, as they were on the way.

    What is random inside the model depends on seed and epoch; the caller's random numbers are left alone.

    Raises:
        TrainingError: a loss was not finite; names epoch, step and learning rate.
    """
    with torch.random.fork_rng(devices=[batches.device] if batches.device.type == "cuda" else []):
        torch.manual_seed(1_000_003 * seed + epoch)
        sums, counts, accuracy = take_steps(model, batches, optimizer, loss, epoch)
    check_finite(sums.sum(0), epoch, optimizer.param_groups[0]["lr"])
    return (sums.sum(1) / counts.sum(1)).sum().item(), accuracy


def take_steps(
    model: nn.Module, batches: Batches, optimizer: torch.optim.Optimizer, loss: Loss, epoch: int
) -> tuple[Tensor, Tensor, float]:
    """Take a step a batch; return the loss's sums and counts, [terms, steps] each, and the accuracy."""
    model.train()
    sums, counts, total = [], [], 0
    correct = torch.zeros((), dtype=torch.int64, device=batches.device)
    for inputs, targets in batches.epoch(epoch):
        counts.append(loss.count(targets))
        optimizer.zero_grad(set_to_none=True)
        logits = answer(model, inputs)
        batch_sums = loss.add_up(logits, targets)
        (batch_sums / counts[-1]).sum().backward()
        optimizer.step()
        # Nothing is read back to the CPU until the epoch ends: that would make a GPU wait at every step.
        sums.append(batch_sums.detach())
        correct += count_right(logits.detach(), targets)
        total += targets.numel()
    return torch.stack(sums, 1), torch.stack(counts, 1), correct.item() / total


def answer(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return logits in training; say what to do when a single sample is too few to normalise.

    Raises:
        TrainingError: the network pools each sample to one value and normalises it over a batch of one.
    """
    try:
        return model(inputs)
    except ValueError as error:
        if len(inputs) > 1:
            raise
        fix = "Take batches of two or more"
        raise TrainingError(f"cannot train on one sample at a time ({error}). {fix}") from error


def count_right(logits: Tensor, targets: Tensor) -> Tensor:
    """Return how many samples, or pixels, get their class."""
    return (logits.argmax(1) == targets).sum()


def check_finite(losses: Tensor, epoch: int, rate: float) -> None:
    """Raise TrainingError at the first step whose loss is not finite; losses is [steps]."""
    if not losses.isfinite().all():
        step = int((~losses.isfinite()).nonzero()[0]) + 1
        raise TrainingError(
            f"the loss is {losses[step - 1].item()} at step {step} of epoch {epoch + 1}, with learning rate "
            f"{rate:g}. Lower the learning rate (a tenth, say), or look for inputs that are not finite"
        )


def check_epoch(
    model: nn.Module, batches: Batches | None, loss: Loss, epoch: int, rate: float
) -> tuple[float, float]:
    """Return mean loss and accuracy after an epoch; (NaN, NaN) without batches to measure them on.

    Raises:
        TrainingError: the loss is not finite; names epoch and learning rate.
    """
    if batches is None:
        return math.nan, math.nan
    value, accuracy = measure(model, batches, loss)
    if not math.isfinite(value):
        raise TrainingError(
            f"the validation loss is {value} after epoch {epoch + 1}, with learning rate {rate:g}. Lower the "
            "learning rate (a tenth, say), or look for inputs that are not finite and class weights of 0"
        )
    return value, accuracy


def evaluate(
    model: nn.Module, batches: Batches, class_weights: Tensor | None = None, loss: str = "cross_entropy"
) -> tuple[float, float]:
    """Return mean loss and accuracy over all samples of the batches; the arguments are those of `fit`.

    Raises:
        TrainingError: there is no such loss, or not enough memory.
    """
    with exact_arithmetic(), memory_advice(batches.batch_size):
        return measure(model, batches, Loss(loss, class_weights, batches.device))


@torch.inference_mode()
def measure(model: nn.Module, batches: Batches, loss: Loss) -> tuple[float, float]:
    """Return mean loss and accuracy over all samples of the batches."""
    model.eval()
    sums, counts, correct, total = 0.0, 0.0, 0, 0
    for inputs, targets in batches:
        logits = model(inputs)
        sums = sums + loss.add_up(logits, targets).double().cpu()
        counts = counts + loss.count(targets).double().cpu()
        correct, total = correct + int(count_right(logits, targets)), total + targets.numel()
    return (sums / counts).sum().item(), correct / total


def predict_logits(model: nn.Module, batches: Batches) -> Tensor:
    """Return the logits of all samples, float32 [N, C], on the CPU, in the order of the batches.

    Raises:
        TrainingError: there is not enough memory.
    """
    return predict(model, batches, lambda logits: logits.float())


def predict_masks(model: nn.Module, batches: Batches) -> Tensor:
    """Return the class of every pixel of all images, uint8 [N, H, W], on the CPU, in the batches' order.

    Only one batch's logits are held at a time: those of 3,754 faces at 256 x 256 would be 7 gigabytes.

    Raises:
        TrainingError: there is not enough memory.
    """
    return predict(model, batches, lambda logits: logits.argmax(1).to(torch.uint8))


@torch.inference_mode()
def predict(model: nn.Module, batches: Batches, keep: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what `keep` makes of every batch's logits, one after the other, on the CPU."""
    with exact_arithmetic(), memory_advice(batches.batch_size):
        model.to(batches.device).eval()
        return torch.cat([keep(model(inputs)).cpu() for inputs, _ in batches])


@functools.cache
def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next tensor instead of handing it back to the kernel.

    A training step frees and asks again for the same few megabytes dozens of times. Fresh pages from the
    kernel are filled with zeros at each first touch, which took a third of a mini network's step. Only
    glibc has the switches (M_TRIM_THRESHOLD -1, M_MMAP_THRESHOLD -3; man 3 mallopt); elsewhere nothing
    happens.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(-3, 1 << 30)
        library.mallopt(-1, (1 << 31) - 1)
