"""Checkpoints: training saved after every epoch, so that a kill at any moment loses at most one epoch.

A checkpoint is two files: tensors in `epoch_NNNN.safetensors` (no pickle: loading one runs no code), and
`progress.json`, which names that file with its checksum. The JSON is replaced last and in one step, so
it always names tensors that are complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from elfw_helpers.utils.errors import TrainingError
from elfw_helpers.utils.files import write_atomically
from elfw_helpers.utils.fingerprints import fingerprint

PROGRESS = "progress.json"


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
    return next((folder for folder in folders if (folder / PROGRESS).exists()), folders[0])


def save_checkpoint(folder: Path, state: TrainingState, history: dict[str, list[float]]) -> None:
    """Save a training state and its history, then delete the epoch before."""
    folder.mkdir(parents=True, exist_ok=True)
    content = save(state.tensors())
    tensors = folder / f"epoch_{len(history['train_loss']):04d}.safetensors"
    write_atomically(tensors, content)
    progress = {"tensors": tensors.name, "sha256": hashlib.sha256(content).hexdigest(), "history": history}
    write_atomically(folder / PROGRESS, json.dumps(progress, indent=1).encode())
    for other in folder.glob("epoch_*.safetensors"):
        if other != tensors:
            other.unlink()


def load_checkpoint(
    folder: Path, state: TrainingState, history: dict[str, list[float]]
) -> dict[str, list[float]]:
    """Restore a training state and return its history, or return `history` if none was saved.

    Raises:
        TrainingError: the checkpoint is damaged.
    """
    if not (folder / PROGRESS).exists():
        return history
    progress = read_progress(folder)
    with damage_advice(folder):
        # A bare name: a path in a tampered file must not lead out of the folder.
        content = (folder / Path(progress["tensors"]).name).read_bytes()
        if hashlib.sha256(content).hexdigest() != progress["sha256"]:
            raise ValueError(f"{progress['tensors']} is not the file that was saved")
        state.restore(load(content))
        return progress["history"]


def read_progress(folder: Path) -> dict[str, Any]:
    """Return what a checkpoint's `progress.json` says, or raise TrainingError where it is damaged."""
    with damage_advice(folder):
        progress = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        return {name: progress[name] for name in ("tensors", "sha256", "history")}


@contextmanager
def damage_advice(place: Path, kind: str = "folder") -> Iterator[None]:
    """Raise TrainingError with advice where what is stored of a run, a folder or file, cannot be read."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise TrainingError(f"the run stored in {place} is damaged ({error}). Delete that {kind}") from error
