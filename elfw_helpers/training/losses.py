"""The losses, as sums over samples: their mean is exact, however the samples are divided into batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from elfw_helpers.utils.errors import TrainingError


class Loss(nn.Module):
    """One or two terms, each a sum over the samples and what to divide it by for the mean.

    Args:
        name: "cross_entropy", "dice" (for masks), or both as "cross_entropy+dice".
        class_weights: float [C], for the cross-entropy; Dice counts all classes alike.

    Raises:
        TrainingError: there is no such loss.
    """

    def __init__(self, name: str, class_weights: Tensor | None = None):
        super().__init__()
        if set(name.split("+")) - set(TERMS):
            known = "Known are 'cross_entropy', 'dice' and 'cross_entropy+dice'"
            raise TrainingError(f"there is no loss {name!r}. {known}")
        self.terms = [TERMS[term] for term in name.split("+")]
        self.register_buffer("weights", None if class_weights is None else class_weights.float())

    def add_up(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of each term over a batch, float32 [terms]."""
        return torch.stack([add_up(logits, targets, self.weights) for add_up, _ in self.terms])

    def count(self, targets: Tensor) -> Tensor:
        """Return what to divide each term's sum by, [terms]; it adds up over batches too.

        int64 where samples or pixels are counted: float32 would lose some beyond 16 million.
        """
        return torch.stack([count(targets, self.weights) for _, count in self.terms])


def sum_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Return the summed cross-entropy of a batch, in nats, each sample (or pixel) by its class's weight."""
    return cross_entropy(logits, targets, weight=weights, reduction="sum")


def sum_weights(targets: Tensor, weights: Tensor | None) -> Tensor:
    """Return the number of targets, or the sum of their classes' weights."""
    if weights is None:
        return count_on(targets.device, targets.numel())
    return weights[targets].sum()


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return 1 - soft Dice of each image, 0 for a perfect prediction, as the mean over its mask's classes.

    A class that the mask lacks is not counted: its overlap is 0 whatever is predicted. Where it is predicted
    wrongly, the classes that belong there lose overlap. Per image and not per batch, so that the loss does
    not depend on which images share one.

    Args:
        logits: float32 [B, C, H, W].
        masks: int64 [B, H, W].

    Returns:
        float32 [B].

    Source: Milletari et al. (2016), https://arxiv.org/abs/1606.04797, section 3.
    """
    predicted = logits.softmax(1).flatten(2)
    truth = one_hot(masks, logits.shape[1]).movedim(-1, 1).flatten(2).to(predicted.dtype)
    present = truth.amax(2)
    # At least 1 where the class is present; elsewhere it may be 0, and 0 / 0 would spoil the sum.
    sizes = (predicted.square() + truth).sum(2).clamp(min=1)
    dice = 2 * (predicted * truth).sum(2) / sizes
    return 1 - (dice * present).sum(1) / present.sum(1)


def sum_dice(logits: Tensor, masks: Tensor, weights: Tensor | None) -> Tensor:
    """Return the summed Dice loss of a batch, without class weights."""
    return dice_loss(logits, masks).sum()


def count_images(masks: Tensor, weights: Tensor | None) -> Tensor:
    """Return the number of images, without class weights."""
    return count_on(masks.device, len(masks))


def count_on(device: torch.device, number: int) -> Tensor:
    """Return a number, int64, made on the device: copied there, it would make the CPU wait for the GPU."""
    return torch.full((), number, device=device)


TERMS = {"cross_entropy": (sum_cross_entropy, sum_weights), "dice": (sum_dice, count_images)}
