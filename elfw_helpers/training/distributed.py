"""Training in one process or in many: each holds the whole network and works on its share of every batch.

One or many processes see the same batches and take the same steps, up to the rounding of sums that are added
up in another order. Alone, it is `fit` bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from elfw_helpers.augmentation.transforms import change_colours, draw_affine_maps, draw_colours, warp_batch
from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches
from elfw_helpers.training.checkpoints import TrainingState, load_checkpoint, save_checkpoint
from elfw_helpers.training.loop import History, keep_freed_memory, show_losses, train_epoch, validate_epoch
from elfw_helpers.training.losses import Loss
from elfw_helpers.training.processes import Processes
from elfw_helpers.training.segmentation import SegmentationRecipe
from elfw_helpers.utils.device import exact_arithmetic, layout_of, memory_advice, send
from elfw_helpers.utils.memory import RELEASE_AFTER, release_pages


class BatchShares(Batches):
    """The batches that `Batches` makes with `augment_batch`, of which each process makes its share alone.

    Each draws the order and the changes of whole batches, from the same seed, and applies its part of them. A
    share is empty where a batch has fewer samples than there are processes.

    Args:
        images, targets, chosen: as in `Batches`; they stay where they are, such as in mapped files.
        processes: whose shares these are; they are made on its device.
        batch_size: samples in a batch, of all processes together.
        training: whether they are shuffled and changed.
        seed: of the order and the changes.
    """

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        chosen: Tensor,
        processes: Processes,
        batch_size: int,
        *,
        training: bool = False,
        seed: int = 0,
    ):
        options = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "batch_size": batch_size, "chosen": chosen}
        super().__init__(images, targets, shuffle_seed=seed if training else None, **options)
        self.processes, self._device = processes, torch.device(processes.device)
        self.mean, self.std = self.mean.to(self._device), self.std.to(self._device)

    @property
    def device(self) -> torch.device:
        """Where the shares are made."""
        return self._device

    def add_up(self, numbers: Tensor) -> Tensor:
        """Return the sum of what each process has counted in its shares."""
        return self.processes.add_up(numbers)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this process's shares of the batches of one epoch."""
        training = self.shuffle_seed is not None
        generator = torch.Generator().manual_seed(1_000_003 * (self.shuffle_seed or 0) + number)
        order = torch.randperm(self.count, generator=generator) if training else torch.arange(self.count)
        every = max(1, RELEASE_AFTER // (self.batch_size * self._images[:1].nbytes))
        for step, batch in enumerate(self._cut(self._chosen[order])):
            if step % every == 0:
                release_pages(self._images)
                release_pages(self._targets)
            share = self.processes.share(len(batch))
            inputs = send(self._images[batch[share]], self.device).permute(0, 3, 1, 2)
            inputs = inputs.to(torch.float32, memory_format=layout_of(self.device)).div_(255)
            targets = send(self._targets[batch[share]], self.device).long()
            if training:
                inputs, targets = augment_share(inputs, targets, generator, share, len(batch))
            yield inputs.sub_(self.mean).div_(self.std), targets


def augment_share(
    inputs: Tensor, targets: Tensor, generator: torch.Generator, share: slice, count: int
) -> tuple[Tensor, Tensor]:
    """Change a share of a batch of `count` samples as `augment_batch` would change it in the whole batch."""
    maps, colours = draw_affine_maps(count, generator)[share], draw_colours(count, generator)[share]
    if len(inputs) == 0:  # torch does not warp nothing
        return inputs, targets
    inputs, targets = warp_batch(inputs, targets, maps)
    return change_colours(inputs, colours), targets


def fit_shares(
    network: nn.Module,
    train: BatchShares,
    validation: BatchShares,
    recipe: SegmentationRecipe,
    class_weights: Tensor,
    folder: Path,
) -> History:
    """Train a network by a recipe in all processes, in place, up to its best epoch in validation.

    Args:
        network: the same in each process; without dropout, which would differ with the number of processes.
        train, validation: this process's shares.
        class_weights: float [C], for the loss.
        folder: where the first process saves every epoch; a run that is there is continued.

    Raises:
        TrainingError: as `fit`.
    """
    keep_freed_memory()
    processes, rates = train.processes, recipe.schedule(recipe.lr, recipe.epochs)
    loss = Loss(recipe.loss, class_weights).to(train.device)
    with exact_arithmetic(), memory_advice(recipe.batch_size):
        network.to(train.device)
        settings = {"momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
        optimizer = torch.optim.SGD(network.parameters(), lr=0.0, **settings)
        state, connected = TrainingState(network, optimizer), processes.connect(network)
        history = restore_run(folder, state, processes)
        done, total = (epochs * (len(train) + len(validation)) for epochs in (len(history), recipe.epochs))
        with show_batches(network, done, total) as bar:
            for epoch in range(len(history), recipe.epochs):
                optimizer.param_groups[0]["lr"] = rates[epoch]
                with processes.share_statistics():
                    trained = train_epoch(connected, train, optimizer, loss, epoch, seed=0)
                checked = validate_epoch(network, validation, loss, epoch, rates[epoch])
                history.append(*trained, *checked)
                if history.best_epoch == epoch:
                    state.keep_best()
                if processes.is_first:
                    save_checkpoint(folder, state, asdict(history))
                show_losses(bar, trained[0], checked[0])
    state.restore_best()
    return history


def restore_run(folder: Path, state: TrainingState, processes: Processes) -> History:
    """Let all processes take the state and the history that the first one finds saved, if it finds any."""
    history, tensors = asdict(History()), {}
    if processes.is_first and (history := load_checkpoint(folder, state, history))["train_loss"]:
        tensors = {name: tensor.cpu() for name, tensor in state.tensors().items()}
    history, tensors = processes.send_from_first((history, tensors))
    if tensors and not processes.is_first:
        state.restore(tensors)
    return History(**history)


@contextmanager
def show_batches(network: nn.Module, done: int, total: int) -> Iterator[tqdm]:
    """Show for a while how many batches a network has been given, in training and validation."""
    with tqdm(total=total, initial=done, unit="batch", delay=1) as bar:

        def count_batch(*_: object) -> None:
            bar.update()

        hook = network.register_forward_hook(count_batch)
        try:
            yield bar
        finally:
            hook.remove()
