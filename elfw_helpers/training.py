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
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from elfw_helpers.batches import Batches
from elfw_helpers.checkpoints import TrainingState, load_checkpoint, save_checkpoint
from elfw_helpers.errors import TrainingError


@dataclass
class History:
    """What each epoch brought, first to last; validation is NaN where there was none.

    Losses are means over all samples (weighted by class where weights were given), in nats.
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
    schedule: Callable[[int], float] | None = None,
    patience: int | None = None,
    restore_best: bool = True,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> History:
    """Train a model by SGD on cross-entropy, in place, on the device of the batches.

    Args:
        model: logits [B, C] from inputs [B, 3, H, W], or [B, C, H, W] for segmentation.
        train, validation: the batches; without validation nothing can be chosen or stopped by it.
        epochs: at most so many passes over `train`.
        lr, momentum, weight_decay: of `torch.optim.SGD`.
        class_weights: float [C], weight of each class in the training loss (and in validation's).
        schedule: factor on `lr` by 0-based epoch.
        patience: stop after so many epochs without a lower validation loss.
        restore_best: leave the model with the weights of the lowest validation loss, not the last.
        seed: of whatever is random inside the model (the batches have a seed of their own).
        checkpoint: a folder. Each distinct run (settings, data, initial weights, code) gets a folder of
            its own in it, saved after every epoch: a run that was cut off goes on bit for bit where it
            stopped, a finished one is loaded, and another setting starts another run.
        progress: show a bar on stderr.

    Raises:
        TrainingError: the loss is not finite, or a checkpoint is damaged.
    """
    keep_freed_memory()
    rates = [lr * (schedule(epoch) if schedule else 1.0) for epoch in range(epochs)]
    model.to(train.device)
    weights = None if class_weights is None else class_weights.to(train.device, torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    state, history, folder = TrainingState(model, optimizer), History(), None
    if checkpoint is not None:
        settings = [rates, momentum, weight_decay, weights if weights is None else weights.tolist(), patience]
        folder = Path(checkpoint) / fingerprint_run(model, train, validation, [*settings, seed])
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
                trained = train_epoch(model, train, optimizer, weights, epoch)
            checked = (math.nan, math.nan) if validation is None else evaluate(model, validation, weights)
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
    model: nn.Module, batches: Batches, optimizer: torch.optim.Optimizer, weights: Tensor | None, epoch: int
) -> tuple[float, float]:
    """Make one pass over the batches; return mean loss and accuracy, as they were on the way.

    Raises:
        TrainingError: a loss was not finite; names epoch, step and learning rate.
    """
    model.train()
    # A model may know a cheaper way to the same logits and gradients.
    forward = getattr(model, "training_forward", model)
    losses, normalizers, correct, total = [], [], torch.zeros((), device=batches.device), 0
    for inputs, targets in batches.epoch(epoch):
        logits = forward(inputs)
        loss, normalizer = sum_losses(logits, targets, weights)
        optimizer.zero_grad(set_to_none=True)
        (loss / normalizer).backward()
        optimizer.step()
        # Nothing is read back to the CPU until the epoch ends: that would make a GPU wait at every step.
        losses.append(loss.detach())
        normalizers.append(normalizer)
        correct += (logits.detach().argmax(1) == targets).sum()
        total += targets.numel()
    losses = torch.stack(losses)
    if not losses.isfinite().all():
        step = int((~losses.isfinite()).nonzero()[0]) + 1
        rate = optimizer.param_groups[0]["lr"]
        raise TrainingError(
            f"the loss is {losses[step - 1].item()} at step {step} of epoch {epoch + 1}, with learning rate "
            f"{rate:g}. Lower the learning rate (a tenth, say), or look for inputs that are not finite"
        )
    return (losses.sum() / torch.stack(normalizers).sum()).item(), correct.item() / total


def sum_losses(logits: Tensor, targets: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the summed cross-entropy of a batch, and what to divide it by for the (weighted) mean."""
    loss = cross_entropy(logits, targets, weight=weights, reduction="sum")
    count = torch.tensor(float(targets.numel()), device=targets.device)
    return loss, count if weights is None else weights[targets].sum()


@torch.inference_mode()
def evaluate(model: nn.Module, batches: Batches, class_weights: Tensor | None = None) -> tuple[float, float]:
    """Return mean loss (nats, weighted by class if asked) and accuracy over all samples of the batches."""
    model.eval()
    loss, normalizer, correct, total = 0.0, 0.0, 0, 0
    for inputs, targets in batches:
        logits = model(inputs)
        batch_loss, batch_normalizer = sum_losses(logits, targets, class_weights)
        loss, normalizer = loss + batch_loss.item(), normalizer + batch_normalizer.item()
        correct, total = correct + int((logits.argmax(1) == targets).sum()), total + targets.numel()
    return loss / normalizer, correct / total


@torch.inference_mode()
def predict_logits(model: nn.Module, batches: Batches) -> Tensor:
    """Return the logits of all samples, float32 [N, C], on the CPU, in the order of the batches."""
    model.to(batches.device).eval()
    return torch.cat([model(inputs).float().cpu() for inputs, _ in batches])


def best_device() -> str:
    """Return "cuda" where a GPU can be used, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


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
    files = [package / name for name in ("batches.py", "models.py", "training.py")]
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
