"""Streams of random numbers that are the same on every machine and with every version of numpy.

numpy promises that the raw bits of PCG64 never change, but not how `Generator.normal` and the like make
numbers of them. So the few distributions that a face needs are made here, from the raw bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# One stream of numbers per purpose: a change in one of them leaves the others as they were.
IDENTITY, PHOTO, TEXTURE, BACKGROUND, NOISE, PLAN, OBJECTS, INGREDIENT = range(8)


class Sampler:
    """A stream of random numbers that depends on `key` alone: the purpose (IDENTITY, ...), then seeds."""

    def __init__(self, *key: int):
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def array(self, *shape: int) -> np.ndarray:
        """Return float32 [shape], uniform in 0..1."""
        raw = self._bits.random_raw(int(np.prod(shape)))
        # By way of int32, which a processor turns into float32 several numbers at a time.
        whole = (raw >> np.uint64(40)).astype(np.int32)
        return whole.astype(np.float32).reshape(shape) * np.float32(2**-24)

    def integer(self) -> int:
        """Return an integer in 0..2^32 - 1, to seed something else with."""
        return int(self._bits.random_raw() >> 32)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return a number between `low` and `high`, rounded to four decimals.

        Rounded, because a face must be the same when it is rendered from its manifest.
        """
        return round(low + (high - low) * (self._bits.random_raw() >> 11) * 2.0**-53, 4)

    def normal(self, mean: float = 0.0, spread: float = 1.0) -> float:
        """Return a bell-shaped number that is never more than 3.5 times `spread` from `mean`.

        The sum of four uniform numbers (Irwin-Hall): close to normal, without extreme noses and chins.
        """
        total = sum((self._bits.random_raw() >> 11) * 2.0**-53 for _ in range(4))
        return round(mean + spread * 3.0**0.5 * (total - 2.0), 4)

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.uniform() < probability

    def choose(self, options: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        """Return one of `options`, with probabilities in proportion to `weights` (default: equal)."""
        weights = weights or [1.0] * len(options)
        point = self.uniform() * sum(weights)
        for option, weight in zip(options, weights, strict=True):
            point -= weight
            if point < 0:
                return option
        return options[-1]

    def shuffle(self, items: Sequence[Any]) -> list[Any]:
        """Return the items in random order."""
        keys = self._bits.random_raw(len(items))
        return [items[index] for index in np.argsort(keys, kind="stable")]
