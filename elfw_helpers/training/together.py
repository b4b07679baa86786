"""Many settings trained at once: one network per setting, all of them one batched model over shared batches.

On a GPU, a small network's step takes as long as starting its kernels does; batched, one start serves all.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy, pad

from elfw_helpers.data.batches import Batches
from elfw_helpers.training.checkpoints import (
    CHECKPOINT,
    load_checkpoint,
    read_checkpoint_history,
    save_checkpoint,
)
from elfw_helpers.training.loop import (
    History,
    count_correct,
    fit,
    keep_freed_memory,
    refuse_losses,
    refuse_validation,
    show_bar,
)
from elfw_helpers.utils.device import exact_arithmetic, memory_advice
from elfw_helpers.utils.errors import TrainingError
from elfw_helpers.utils.fingerprints import fingerprint

# What may differ between networks trained together, and what `fit` takes where a setting does not say.
NAMES = ("lr", "momentum", "weight_decay")
DEFAULTS = {name: inspect.signature(fit).parameters[name].default for name in NAMES}


class PatchConv2d(nn.Conv2d):
    """The same as Conv2d, computed as one matrix product per image: of the weights and all patches.

    Batched over networks that becomes many small products, side by side; a convolution becomes groups, whose
    deterministic float32 kernels leave most of a GPU idle.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what Conv2d returns for inputs [B, C, H, W]."""
        (rows, columns), (down, right) = self.padding, self.stride
        patches = pad(inputs, (columns, columns, rows, rows))
        patches = patches.unfold(2, self.kernel_size[0], down).unfold(3, self.kernel_size[1], right)
        height, width = patches.shape[2:4]
        patches = patches.permute(0, 1, 4, 5, 2, 3).reshape(len(inputs), -1, height * width)
        # A product of the whole batch would make the gradient one long sum, which few of a GPU's cores share.
        outputs = self.weight.flatten(1).expand(len(inputs), -1, -1) @ patches
        if self.bias is not None:
            outputs = outputs + self.bias[:, None]
        return outputs.view(len(inputs), -1, height, width)

    @staticmethod
    def replaces(module: nn.Module) -> bool:
        """Say whether a module is a convolution that this class computes."""
        return (
            type(module) is nn.Conv2d
            and module.groups == 1
            and module.dilation == (1, 1)
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        )


def prepare_for_gpu(model: nn.Module) -> None:
    """Let a model's convolutions be products of patches, in place; not the first, whose inputs all share."""
    for module in [*filter(PatchConv2d.replaces, model.modules())][1:]:
        module.__class__ = PatchConv2d


class Stack:
    """Networks of one architecture, one a row: of a matrix of weights, one of momentum, one of best weights.

    Args:
        model: the network that all start as; parameters that need no gradient are shared.
        settings: lr, momentum and weight_decay of each network, float64 [S, 3].
        device: where the rows are.
    """

    def __init__(self, model: nn.Module, settings: Tensor, device: torch.device):
        self.model, self.settings = model.to(device), settings
        trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.shapes = {name: weight.shape for name, weight in trained.items()}
        row = torch.cat([weight.detach().flatten() for weight in trained.values()])
        self.weights = row.repeat(len(settings), 1).requires_grad_()
        self.momentum, self.best = torch.zeros_like(self.weights), self.weights.detach().clone()
        self.lowest = torch.full((len(settings),), torch.inf, dtype=torch.float64, device=device)
        self.rates, self.decelerations, self.decays = settings.to(row)[:, :, None].unbind(1)

    def unpack(self, row: Tensor) -> dict[str, Tensor]:
        """Return a row's weights by the names of the model's parameters."""
        parts = row.split([shape.numel() for shape in self.shapes.values()])
        return {
            name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def measure(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each network's summed cross-entropy over a batch and its right answers, [S] each."""

        # Grouped convolutions, which this becomes, are slower in the layout that is faster for one network.
        inputs = inputs.contiguous()

        def measure_one(row: Tensor) -> tuple[Tensor, Tensor]:
            logits = functional_call(self.model, self.unpack(row), (inputs,))
            return cross_entropy(logits, targets, reduction="sum"), count_correct(logits, targets)

        return vmap(measure_one)(self.weights)

    def train_epoch(self, batches: Batches, epoch: int) -> tuple[Tensor, Tensor]:
        """Take a step per batch, as `torch.optim.SGD` does; return sums [steps, S] and right answers [S]."""
        self.model.train()
        sums, correct = [], []
        for inputs, targets in batches.epoch(epoch):
            batch_sums, batch_correct = self.measure(inputs, targets)
            # Of the sum over the networks each has its own gradient: no row depends on another.
            (gradient,) = torch.autograd.grad(batch_sums.sum() / targets.numel(), self.weights)
            with torch.no_grad():
                gradient.addcmul_(self.decays, self.weights)
                self.momentum.mul_(self.decelerations).add_(gradient)
                self.weights.addcmul_(self.rates, self.momentum, value=-1)
            sums.append(batch_sums.detach())
            correct.append(batch_correct)
        return torch.stack(sums), torch.stack(correct).sum(0)

    @torch.no_grad()
    def validate(self, batches: Batches) -> tuple[Tensor, Tensor]:
        """Return mean loss and accuracy of each network, [S] each, and keep the weights of a lowest loss."""
        self.model.eval()
        measured = [self.measure(*batch) for batch in batches]
        sums, correct = (torch.stack(parts).double().sum(0) for parts in zip(*measured, strict=True))
        losses = sums / batches.targets.numel()
        better = losses < self.lowest
        self.lowest = torch.where(better, losses, self.lowest)
        self.best = torch.where(better[:, None], self.weights, self.best)
        return losses, correct / batches.targets.numel()

    def tensors(self) -> dict[str, Tensor]:
        """Return all that training continues from."""
        names = ("settings", "weights", "momentum", "best", "lowest")
        return {name: getattr(self, name).detach() for name in names}

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` returned, of a stack with the same settings, or more."""
        rows = find_places(self.settings.tolist(), tensors["settings"].tolist())
        for name in ("weights", "momentum", "best", "lowest"):
            getattr(self, name).copy_(tensors[name][rows])


def train_together(
    model: nn.Module,
    settings: Sequence[dict[str, float]],
    epochs: int,
    train: Batches,
    validation: Batches,
    folder: Path | None,
) -> list[tuple[History, str]]:
    """Train a copy of a model with each of the settings, as `fit` would one by one.

    Sums are added up in another order, so the last bits differ. Within an epoch nothing waits for a GPU.

    Args:
        model: what `check_batchable` lets pass; its weights are left as they are.
        settings: lr, momentum and weight_decay by name, or some of them.
        folder: the state is saved there after every epoch; one that holds these settings is continued.

    Returns:
        Of each setting its history and "", or an empty history and why it failed: a network whose loss is
        not finite does not stop the others.

    Raises:
        TrainingError: a checkpoint is damaged, or there is not enough memory.
    """
    keep_freed_memory()
    chosen = complete(settings)
    with exact_arithmetic(), memory_advice(max(train.batch_size, validation.batch_size)):
        model = copy.deepcopy(model)
        if train.device.type == "cuda":
            prepare_for_gpu(model)
        stack = Stack(model, torch.tensor(chosen, dtype=torch.float64), train.device)
        history, errors = resume(stack, folder, epochs)
        with show_bar(epochs, done=len(history)) as bar:
            for epoch in range(len(history), epochs):
                sums, correct = stack.train_epoch(train, epoch)
                trained = sums.sum(0) / train.targets.numel(), correct / train.targets.numel()
                measured = (*trained, *stack.validate(validation))
                history.append(*torch.stack([part.double() for part in measured]).tolist())
                found = explain_failures(sums.cpu(), history.validation_loss[-1], epoch, chosen)
                errors = [before or now for before, now in zip(errors, found, strict=True)]
                if folder:
                    state = {"settings": chosen, "errors": errors, **asdict(history)}
                    save_checkpoint(folder / fingerprint(chosen), stack, state)
                bar.update()
                if all(errors):
                    break
    return [
        (History() if error else take_network(history, place), error) for place, error in enumerate(errors)
    ]


def complete(settings: Sequence[dict[str, float]]) -> list[list[float]]:
    """Return lr, momentum and weight_decay of each setting, `fit`'s where it does not say."""
    return [[float(setting.get(name, default)) for name, default in DEFAULTS.items()] for setting in settings]


def check_batchable(model: nn.Module, settings: Sequence[dict[str, float]], batches: Batches) -> None:
    """Raise TrainingError where a model, or a setting, cannot be trained together with others.

    It is tried on one batch, with a copy of the model.
    """
    reason = ""
    if unknown := sorted(set().union(*settings) - set(DEFAULTS)):
        reason = f"{unknown[0]!r} is none of {', '.join(DEFAULTS)}"
    elif batches.precision != torch.float32:
        # torch's automatic casts do not reach convolutions that are batched.
        reason = f"they compute in {batches.precision}, which works in float32 alone"
    elif not any(weight.requires_grad for weight in model.parameters()):
        reason = "none of its weights is trained"
    else:
        stack = Stack(model, torch.tensor(complete(settings[:1])), batches.device)
        before = [buffer.clone() for buffer in model.train().buffers()]
        try:
            stack.measure(*next(iter(batches)))
            if not all(map(torch.equal, before, model.buffers())):
                reason = "training changes its buffers, as batch normalisation does"
        except (RuntimeError, ValueError) as error:
            # Dropout, batch statistics, a branch that asks for a value: torch says which in its first line.
            reason = str(error).partition("\n")[0]
    if reason:
        fix = "Take strategy='one by one'"
        raise TrainingError(f"these runs cannot be trained together ({reason}). {fix}")


def explain_failures(
    sums: Tensor, checked: Sequence[float], epoch: int, settings: Sequence[Sequence[float]]
) -> list[str]:
    """Return what `fit` would say of each network after an epoch: why it failed, or "".

    Args:
        sums: the loss of each batch, [steps, S], on the CPU.
        checked: validation losses.
    """
    reasons = []
    for losses, value, (rate, *_) in zip(sums.unbind(1), checked, settings, strict=True):
        try:
            refuse_losses(losses, epoch, rate)
            refuse_validation(value, epoch, rate)
            reasons.append("")
        except TrainingError as error:
            reasons.append(str(error))
    return reasons


def take_network(history: History, place: int) -> History:
    """Return one network's history; in `history` each value is a list, one number per network."""
    return History(*([values[place] for values in series] for series in vars(history).values()))


def resume(stack: Stack, folder: Path | None, epochs: int) -> tuple[History, list[str]]:
    """Continue what is stored of these settings, maybe among others: the longest that is not too long.

    Returns:
        The history so far, and the reasons of those that failed; nothing of both where none is stored.
    """
    chosen = stack.settings.tolist()
    starts: dict[int, Path] = {}
    for file in folder.glob(f"*/{CHECKPOINT}") if folder else ():
        known = read_checkpoint_history(file)
        if all(setting in known["settings"] for setting in chosen) and len(known["train_loss"]) <= epochs:
            starts[len(known["train_loss"])] = file.parent
    if not starts:
        return History(), [""] * len(chosen)
    known = load_checkpoint(starts[max(starts)], stack, {})
    places = find_places(chosen, known.pop("settings"))
    errors = known.pop("errors")
    series = ([[values[place] for place in places] for values in series] for series in known.values())
    return History(*series), [errors[place] for place in places]


def find_places(settings: list[list[float]], among: list[list[float]]) -> list[int]:
    """Return where each of the settings stands among others."""
    return [among.index(setting) for setting in settings]
