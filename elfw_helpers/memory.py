"""Batches larger than the GPU's memory: cut into halves, until they fit."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from textwrap import shorten
from typing import TypeVar

import torch
from torch import Tensor

from elfw_helpers.errors import TrainingError

Result = TypeVar("Result")
Part = tuple[Tensor, Tensor]


class OutOfMemoryWarning(UserWarning):
    """A batch did not fit into the GPU's memory and goes through the network in parts."""


class Portions:
    """How many samples go through a network at once: a whole batch, or what has turned out to fit.

    Attributes:
        most: samples at once; None until memory ran out for the first time.
    """

    def __init__(self):
        self.most: int | None = None

    def run(self, work: Callable[[list[Part]], Result], inputs: Tensor, targets: Tensor) -> Result:
        """Return `work` of a batch's parts; starts over with parts of half the size when memory runs out.

        Args:
            work: is given the parts in order, (inputs, targets) each, in one call. It must undo what an
                earlier call may have left half done.
            inputs, targets: the batch.

        Raises:
            TrainingError: there is not even memory for one sample.

        Warns:
            OutOfMemoryWarning: the parts became smaller, and stay so.
        """
        while True:
            try:
                return work(self.cut(inputs, targets))
            except torch.cuda.OutOfMemoryError as error:
                reason = shorten(str(error), 100, placeholder=" ...")
            # Only now: up to here the error's traceback kept the failed step's tensors.
            torch.cuda.empty_cache()
            self.halve(len(inputs), reason)

    def cut(self, inputs: Tensor, targets: Tensor) -> list[Part]:
        """Return the parts of a batch, of nearly equal sizes, none of them larger than `most`."""
        parts = 1 if self.most is None else math.ceil(len(inputs) / self.most)
        return list(zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True))

    def halve(self, count: int, reason: str) -> None:
        """Halve the parts' size after a batch of `count` samples did not fit, and say so."""
        tried = count if self.most is None else min(count, self.most)
        if tried == 1:
            raise TrainingError(
                f"not enough memory for a single sample ({reason}). Take smaller images or a smaller "
                "network, close other programs on the GPU, or train with device='cpu'"
            )
        self.most = math.ceil(tried / 2)
        warnings.warn(
            f"not enough memory for a batch of {tried}: going on with parts of {self.most}. A batch size of "
            f"{self.most} avoids this message",
            OutOfMemoryWarning,
            stacklevel=2,
        )
