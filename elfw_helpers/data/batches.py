"""From preloaded uint8 images to batches: normalised, shuffled, augmented, on the model's device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elfw_helpers.data.datasets import FaceTensors
from elfw_helpers.data.splits import Split
from elfw_helpers.utils.device import layout_of, send
from elfw_helpers.utils.memory import RELEASE_AFTER, release_pages

# Channel statistics of ImageNet's training images, from torchvision's documentation of its weights.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Bytes of images that are counted or moved at once: counting takes eight times as many.
AT_ONCE = 1 << 21


def channel_statistics(images: Tensor, chosen: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, exactly, in one pass.

    An 8-bit channel has 256 possible values, so counting them loses nothing: no running sums in
    float32 whose rounding grows with the number of images.

    Args:
        images: uint8 [N, H, W, 3].
        chosen: int64 [M], indices of the images to count, without copying all of them; None counts all.

    Returns:
        mean and (population) standard deviation, float64 [3], of values scaled to 0..1.

    Raises:
        ValueError: the images are not uint8, or there are none.
    """
    if images.dtype != torch.uint8 or images.numel() == 0:
        raise ValueError(f"expected uint8 images [N, H, W, 3], got {images.dtype} {tuple(images.shape)}")
    counts = torch.zeros(3, 256, dtype=torch.int64)
    for part in gather(images, chosen):
        counts += torch.stack([torch.bincount(values.flatten(), minlength=256) for values in part.unbind(-1)])
    values = torch.arange(256, dtype=torch.float64) / 255
    share = counts.double() / counts.sum(1, keepdim=True)
    mean = share @ values
    variance = (share * (values - mean[:, None]) ** 2).sum(1)
    return mean, variance.sqrt()


def gather(samples: Tensor, chosen: Tensor | None) -> Iterator[Tensor]:
    """Yield the chosen images, or masks (None: all), in parts, so that memory need not hold them all."""
    chosen = torch.arange(len(samples)) if chosen is None else chosen
    at_once = max(1, AT_ONCE // samples[:1].nbytes)
    for step, part in enumerate(chosen.split(at_once)):
        yield samples[part]
        if step * AT_ONCE % RELEASE_AFTER == 0:
            release_pages(samples)


def move(samples: Tensor, chosen: Tensor, device: str | torch.device) -> Tensor:
    """Return the chosen images or targets on a device."""
    moved = torch.empty(len(chosen), *samples.shape[1:], dtype=samples.dtype, device=device)
    place = 0
    for part in gather(samples, chosen):
        moved[place : place + len(part)] = part.to(device)
        place += len(part)
    return moved


class Batches:
    """The samples of one split, cut into batches, normalised and augmented on the device.

    Args:
        images: uint8 [N, H, W, 3].
        targets: int64 [N] (classification), or uint8 or int64 [N, H, W] (segmentation); batches hold int64.
        mean, std: three numbers each, for values scaled to 0..1.
        batch_size: samples per batch; the last batch may be smaller, and a single last sample joins the
            batch before it.
        precision: what networks compute in on these batches, in training and prediction: torch.float32, or
            torch.bfloat16 for mixed precision (`compute_logits`), which is faster on most GPUs and rounds to
            three digits. The batches themselves are float32.
        shuffle_seed: a seed shuffles each epoch differently (and reproducibly); None keeps the order.
        augment: called as `augment(inputs, targets, generator)` on every batch, before
            normalisation, with float inputs [B, 3, H, W] in 0..1; returns both.
        device: where the batches are made; the uint8 data moves there once.
        chosen: int64 [M], indices of the samples that are meant; None means all. On the CPU nothing is
            copied: each batch is taken from `images`, which may be larger than the memory.

    Raises:
        ValueError: there is no sample, another number of targets, a batch size below 1, or another precision.
    """

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        batch_size: int = 32,
        precision: torch.dtype = torch.float32,
        shuffle_seed: int | None = None,
        augment: Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]] | None = None,
        device: str | torch.device = "cpu",
        chosen: Tensor | None = None,
    ):
        self.count = len(images) if chosen is None else len(chosen)
        if len(images) != len(targets) or self.count == 0:
            found = f"{self.count} images and {len(targets)} targets"
            raise ValueError(f"{found}: need as many of each, at least one")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: need at least one sample in a batch")
        if chosen is not None and torch.device(device).type != "cpu":
            images, targets, chosen = move(images, chosen, device), move(targets, chosen, device), None
        self._images, self._targets, self._chosen = images.to(device), targets.to(device), chosen
        self.mean = torch.as_tensor(mean, dtype=torch.float32, device=device).view(1, 3, 1, 1)
        self.std = torch.as_tensor(std, dtype=torch.float32, device=device).view(1, 3, 1, 1)
        self.batch_size, self.shuffle_seed, self.augment = batch_size, shuffle_seed, augment
        if precision not in (torch.float32, torch.bfloat16):
            raise ValueError(f"precision is {precision!r}: need torch.float32 or torch.bfloat16")
        self.precision = precision

    def __len__(self) -> int:
        return len(self._cut(torch.empty(self.count)))

    @property
    def device(self) -> torch.device:
        """Where the batches are made."""
        return self._images.device

    @property
    def images(self) -> Tensor:
        """The images of all samples, uint8 [count, H, W, 3], in order."""
        return self._images if self._chosen is None else self._images[self._chosen]

    @property
    def targets(self) -> Tensor:
        """The targets of all samples, in order."""
        return self._targets if self._chosen is None else self._targets[self._chosen]

    @property
    def label_count(self) -> int:
        """The number of labels of all samples: one per sample, or per pixel of its mask."""
        return self.count * self._targets[:1].numel()

    def add_up(self, numbers: Tensor) -> Tensor:
        """Return the sum of what each process has counted in its share of the batches; here one has all."""
        return numbers

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of one epoch; the order depends on the shuffle seed and `number` alone."""
        # Drawn on the CPU, so that the order (not the speed) is the same on every device.
        generator = torch.Generator().manual_seed(1_000_003 * (self.shuffle_seed or 0) + number)
        shuffled = self.shuffle_seed is not None
        order = torch.randperm(self.count, generator=generator) if shuffled else torch.arange(self.count)
        order = order if self._chosen is None else self._chosen[order]
        every = max(1, RELEASE_AFTER // (self.batch_size * self._images[:1].nbytes))
        for step, chosen in enumerate(self._cut(send(order, self.device))):
            if step % every == 0:
                release_pages(self._images)
                release_pages(self._targets)
            inputs = self._images[chosen].permute(0, 3, 1, 2)
            # Here alone the layout of all that follows is decided, in the pass that makes floats.
            inputs = inputs.to(torch.float32, memory_format=layout_of(self.device)).div_(255)
            # Masks stay uint8 until they are needed: as int64 they would be 2.7 times their images.
            targets = self._targets[chosen].long()
            if self.augment is not None:
                inputs, targets = self.augment(inputs, targets, generator)
            yield inputs.sub_(self.mean).div_(self.std), targets

    def _cut(self, order: Tensor) -> list[Tensor]:
        cut = list(order.split(self.batch_size))
        if len(cut) > 1 and len(cut[-1]) == 1 < self.batch_size:
            # Batch normalisation has no variance to divide by in a batch of one.
            cut[-2:] = [torch.cat(cut[-2:])]
        return cut

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.epoch(0)


class SplitBatches(NamedTuple):
    """The batches of the three splits; only training's are shuffled."""

    train: Batches
    validation: Batches
    test: Batches


def split_batches(faces: FaceTensors, split: Split, *, seed: int = 0, **options: Any) -> SplitBatches:
    """Return the batches of each split of preloaded faces, to classify their attributes.

    Args:
        faces: images uint8 [N, H, W, 3] and attributes int64 [N].
        split: indices of the three splits.
        seed: shuffles the training images.
        options: mean, std, batch_size, device and precision, as in `Batches`.
    """

    def cut(indices: Tensor, shuffle_seed: int | None = None) -> Batches:
        return Batches(faces.images, faces.attributes, chosen=indices, shuffle_seed=shuffle_seed, **options)

    return SplitBatches(cut(split.train, seed), cut(split.validation), cut(split.test))
