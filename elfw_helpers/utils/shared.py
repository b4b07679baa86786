"""What all jobs of a cluster share, and how it reaches a worker without a copy of its images."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import cloudpickle

from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.workers import Needs

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Shared:
    """What all jobs share: it reaches each worker once."""

    function: Callable[[Any], Any]
    needs: Needs

    def __reduce_ex__(self, protocol: int) -> tuple:
        """Return how pickle makes it again, with the pixels where they lie: Dask sends them from there."""
        stream, pixels = io.BytesIO(), []
        PixelPickler(stream, 5, pixels.append).dump(self.function)
        return unpickle_shared, (self.needs, stream.getvalue(), pixels)


class PixelPickler(cloudpickle.Pickler):
    """Takes images and masks for arrays, for torch's own way to pickle a tensor copies it three times."""

    def reducer_override(self, obj: Any) -> Any:
        """Return how an object is made again."""
        return (make_tensor, (obj.numpy(),)) if is_pixels(obj) else super().reducer_override(obj)


def is_pixels(value: Any) -> bool:
    """Say whether something is a tensor of images or masks, as an array could hold it."""
    # By its name, for torch takes seconds to load, and not all jobs need it.
    if f"{type(value).__module__}.{type(value).__name__}" != "torch.Tensor":
        return False
    return str(value.dtype) == "torch.uint8" and value.device.type == "cpu" and value.is_contiguous()


def make_tensor(array: np.ndarray) -> Tensor:
    """Return a tensor of an array's numbers, in the same memory if that may be written to."""
    import torch

    return torch.from_numpy(array if array.flags.writeable else array.copy())


def unpickle_shared(needs: Needs, pickled: bytes, pixels: Sequence[Any]) -> Shared:
    """Return what `Shared` pickled; where this worker cannot load it, each job says why."""
    try:
        return Shared(pickle.loads(pickled, buffers=pixels), needs)
    except (ImportError, AttributeError) as error:
        cure = "Define it in the notebook or script that starts the jobs, or install it on each machine"
        return Shared(partial(refuse, f"a worker cannot load what the jobs need ({error}). {cure}"), needs)


def refuse(reason: str, job: Any) -> None:
    """Raise ElfwError for a job."""
    raise ElfwError(reason)
