"""One training loop for the whole course: seeded, resumable, the same on CPU and GPU."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import math
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from elfw_helpers.batches import Batches
from elfw_helpers.checkpoints import TrainingState, load_checkpoint, save_checkpoint
from elfw_helpers.device import best_device as best_device  # for those who train
from elfw_helpers.errors import TrainingError
from elfw_helpers.losses import Loss
from elfw_helpers.memory import Part, Portions


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

    A batch too large for the GPU's memory is cut into halves, and the gradients are added up.

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
        TrainingError: the loss is unknown or not finite, a checkpoint is damaged, or there is not even
            memory for one sample.

    Warns:
        OutOfMemoryWarning: a batch did not fit into the GPU's memory.
    """
    keep_freed_memory()
    rates = [lr * (schedule(epoch) if schedule else 1.0) for epoch in range(epochs)]
    model.to(train.device)
    terms, portions = Loss(loss, class_weights, train.device), Portions()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    state, history, folder = TrainingState(model, optimizer), History(), None
    if checkpoint is not None:
        weights = None if class_weights is None else class_weights.tolist()
        settings = [rates, momentum, weight_decay, weights, loss, patience, seed]
        folder = Path(checkpoint) / fingerprint_run(model, train, validation, settings)
        history = History(**load_checkpoint(folder, state, asdict(history)))
    bar = tqdm(total=epochs, initial=len(history), unit="epoch", disable=not progress, delay=1)
    # On a GPU: the same kernels in every run, and float32 that is float32.
    exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False, allow_tf32=False)
    with bar, exact:
        while len(history) < epochs and not is_stale(history, patience):
            epoch = len(history)
            optimizer.param_groups[0]["lr"] = rates[epoch]
            with torch.random.fork_rng(devices=[train.device] if train.device.type == "cuda" else []):
                torch.manual_seed(1_000_003 * seed + epoch)
                trained = train_epoch(model, train, optimizer, terms, portions, epoch)
            checked = (math.nan, math.nan)
            if validation is not None:
                checked = measure(model, validation, terms, portions)
            history.append(trained, checked)
            if history.best_epoch == epoch:
                state.keep_best()
            if folder is not None:
                save_checkpoint(folder, state, asdict(history))
            bar.update()
            bar.set_postfix(train=f"{trained[0]:.3f}", validation=f"{checked[0]:.3f}", refresh=False)
    if restore_best:
        state.restore_best()
    return history


def is_stale(history: History, patience: int | None) -> bool:
    """Say whether the validation loss has not fallen for `patience` epochs."""
    return (
        patience is not None
        and history.best_epoch is not None
        and len(history) - 1 - history.best_epoch >= patience
    )


def train_epoch(
    model: nn.Module,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    portions: Portions,
    epoch: int,
) -> tuple[float, float]:
    """Make one pass over the batches; return mean loss and accuracy, as they were on the way.

    Raises:
        TrainingError: a loss was not finite; names epoch, step and learning rate.
    """
    model.train()
    # A model may know a cheaper way to the same logits and gradients.
    forward = getattr(model, "training_forward", model)
    sums, counts, correct, total = [], [], torch.zeros((), device=batches.device), 0
    for inputs, targets in batches.epoch(epoch):
        counts.append(loss.count(targets))
        accumulate = partial(accumulate_gradients, forward, optimizer, loss, counts[-1])
        batch_sums, batch_correct = portions.run(accumulate, inputs, targets)
        optimizer.step()
        # Nothing is read back to the CPU until the epoch ends: that would make a GPU wait at every step.
        sums.append(batch_sums)
        correct += batch_correct
        total += targets.numel()
    sums = torch.stack(sums, 1)
    check_finite(sums.sum(0), epoch, optimizer.param_groups[0]["lr"])
    return (sums.sum(1) / torch.stack(counts, 1).sum(1)).sum().item(), correct.item() / total


def accumulate_gradients(
    forward: Callable[[Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    counts: Tensor,
    parts: list[Part],
) -> tuple[Tensor, Tensor]:
    """Give the parameters the gradients of a batch's mean loss, part by part.

    The gradients are those of the whole batch, but for what the samples of a batch have to do with each
    other: batch normalisation normalises each part by itself.

    Args:
        counts: what the sums of the whole batch are divided by, [terms].
        parts: the batch, in one part or more.

    Returns:
        the loss's sums over the batch, [terms], and the number of right answers.
    """
    optimizer.zero_grad(set_to_none=True)
    sums, correct = 0, 0
    for inputs, targets in parts:
        logits = answer(forward, inputs)
        part_sums = loss.add_up(logits, targets)
        (part_sums / counts).sum().backward()
        sums, correct = sums + part_sums.detach(), correct + count_right(logits.detach(), targets)
    return sums, correct


def answer(forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Return logits in training; say what to do when a single sample is too few to normalise.

    Raises:
        TrainingError: the network pools each sample to one value and normalises it over a batch of one.
    """
    try:
        return forward(inputs)
    except ValueError as error:
        if len(inputs) > 1:
            raise
        advice = "Take batches of two or more, and smaller images where memory is short"
        raise TrainingError(f"cannot train on one sample at a time ({error}). {advice}") from error


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


def evaluate(
    model: nn.Module, batches: Batches, class_weights: Tensor | None = None, loss: str = "cross_entropy"
) -> tuple[float, float]:
    """Return mean loss and accuracy over all samples of the batches; the arguments are those of `fit`."""
    return measure(model, batches, Loss(loss, class_weights, batches.device), Portions())


@torch.inference_mode()
def measure(model: nn.Module, batches: Batches, loss: Loss, portions: Portions) -> tuple[float, float]:
    """Return mean loss and accuracy over all samples of the batches."""
    model.eval()

    def add_up(parts: list[Part]) -> list[tuple[Tensor, Tensor]]:
        answers = ((model(inputs), targets) for inputs, targets in parts)
        return [(loss.add_up(*pair), count_right(*pair)) for pair in answers]

    sums, counts, correct, total = 0.0, 0.0, 0, 0
    for inputs, targets in batches:
        for part_sums, part_correct in portions.run(add_up, inputs, targets):
            sums, correct = sums + part_sums.double().cpu(), correct + int(part_correct)
        counts, total = counts + loss.count(targets).double().cpu(), total + targets.numel()
    return (sums / counts).sum().item(), correct / total


def predict_logits(model: nn.Module, batches: Batches) -> Tensor:
    """Return the logits of all samples, float32 [N, C], on the CPU, in the order of the batches."""
    return predict(model, batches, lambda logits: logits.float())


def predict_masks(model: nn.Module, batches: Batches) -> Tensor:
    """Return the class of every pixel of all images, uint8 [N, H, W], on the CPU, in the batches' order.

    Only one batch's logits are held at a time: those of 3,754 faces at 256 x 256 would be 7 gigabytes.
    """
    return predict(model, batches, lambda logits: logits.argmax(1).to(torch.uint8))


@torch.inference_mode()
def predict(model: nn.Module, batches: Batches, keep: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what `keep` makes of every batch's logits, one after the other, on the CPU."""
    model.to(batches.device).eval()
    portions, kept = Portions(), []
    for inputs, targets in batches:
        kept += portions.run(lambda parts: [keep(model(part)).cpu() for part, _ in parts], inputs, targets)
    return torch.cat(kept)


def fingerprint_run(model: nn.Module, train: Batches, validation: Batches | None, settings: list) -> str:
    """Return 16 hexadecimal digits that are the same only for the same data, weights, settings and code."""
    digest = hashlib.sha256(fingerprint_code().encode() + str(model).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    digest.update(json.dumps(frozen).encode())
    digest.update(train.fingerprint.encode() + (validation.fingerprint if validation else "none").encode())
    digest.update(json.dumps(settings).encode())
    return digest.hexdigest()[:16]


@functools.cache
def fingerprint_code() -> str:
    """Return a checksum of the code that training depends on: results of older code are not reused."""
    package = Path(__file__).parent
    files = [package / name for name in ("batches.py", "losses.py", "memory.py", "training.py")]
    files += sorted((package / "models").glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


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
