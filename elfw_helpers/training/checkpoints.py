"""Checkpoints: training saved after every epoch, so that a kill at any moment loses at most one epoch.

A checkpoint is one file: tensors as safetensors (no pickle: loading one runs no code), and in its header the
history and a checksum of both. It is replaced in one step, so it is always complete, also where two processes
save the same run: the next epoch goes on from whichever was saved last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from elfw_helpers.utils.errors import TrainingError
from elfw_helpers.utils.files import write_atomically
from elfw_helpers.utils.fingerprints import fingerprint

CHECKPOINT = "checkpoint.safetensors"


class TrainingState:
    """The tensors that training continues from: weights, the optimizer's, and the best weights so far."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer):
        self.model, self.optimizer = model, optimizer
        self.best: dict[str, Tensor] = {}

    def keep_best(self) -> None:
        """Remember the present weights as the best."""
        self.best = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def restore_best(self) -> None:
        """Give the model the best weights, if any were kept."""
        if self.best:
            self.model.load_state_dict(self.best)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything under names `model.*` and `best.*`, and of the optimizer such as `exp_avg.*`."""
        named = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        named |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    named[f"{key}.{name}"] = value
        return {name: tensor.detach().contiguous() for name, tensor in named.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take everything back from what `tensors` returned, on the model's device."""
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = tensor
        self.model.load_state_dict(groups.pop("model"))
        device = next(self.model.parameters()).device
        self.best = {name: tensor.to(device) for name, tensor in groups.pop("best").items()}
        parameters = dict(self.model.named_parameters())
        for key, values in groups.items():
            for name, tensor in values.items():
                # Adam counts its steps on the CPU.
                place = "cpu" if key == "step" else device
                self.optimizer.state[parameters[name]][key] = tensor.to(place)


def name_epochs(run: Path, rates: Sequence[float]) -> Path:
    """Return where a run is stored when it has gone through epochs with these learning rates."""
    return run.with_name(fingerprint(run.name, list(rates)))


def find_start(run: Path, rates: Sequence[float]) -> Path:
    """Return where the longest beginning of a run is stored: its own folder, or that of a shorter run.

    A shorter run keeps its folder, for its best epoch may be another one than the longer run's.
    """
    folders = [name_epochs(run, rates[:epochs]) for epochs in range(len(rates), -1, -1)]
    return next((folder for folder in folders if (folder / CHECKPOINT).exists()), folders[0])


def save_checkpoint(folder: Path, state: TrainingState, history: dict[str, list[float]]) -> None:
    """Save a training state and its history in place of the epoch before."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.cpu() for name, tensor in state.tensors().items()}
    written = json.dumps(history)
    header = {"history": written, "sha256": hash_content(written, tensors)}
    write_atomically(folder / CHECKPOINT, save(tensors, header))


def load_checkpoint(
    folder: Path, state: TrainingState, history: dict[str, list[float]]
) -> dict[str, list[float]]:
    """Restore a training state and return its history, or return `history` if none was saved.

    Raises:
        TrainingError: the checkpoint is damaged.
    """
    file = folder / CHECKPOINT
    if not file.exists():
        return history
    with damage_advice(folder):
        with safe_open(file, "pt") as stored:
            header = stored.metadata()
            # A copy: the file will be replaced by the next epoch's.
            tensors = {name: stored.get_tensor(name).clone() for name in stored.keys()}  # noqa: SIM118
        if hash_content(header["history"], tensors) != header["sha256"]:
            raise ValueError(f"{file.name} is not the file that was saved")
        state.restore(tensors)
        return json.loads(header["history"])


def read_checkpoint_history(file: Path) -> dict[str, Any]:
    """Return the history of a checkpoint's file without its tensors; TrainingError where it is damaged."""
    with damage_advice(file.parent), safe_open(file, "pt") as stored:
        return json.loads(stored.metadata()["history"])


def hash_content(history: str, tensors: dict[str, Tensor]) -> str:
    """Return a checksum of what a checkpoint holds; the tensors are on the CPU."""
    checksum = hashlib.sha256(history.encode())
    for name, tensor in sorted(tensors.items()):
        checksum.update(name.encode())
        checksum.update(tensor.flatten().view(torch.uint8).numpy())
    return checksum.hexdigest()


@contextmanager
def damage_advice(place: Path, kind: str = "folder") -> Iterator[None]:
    """Raise TrainingError with advice where what is stored of a run, a folder or file, cannot be read."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise TrainingError(f"the run stored in {place} is damaged ({error}). Delete that {kind}") from error
