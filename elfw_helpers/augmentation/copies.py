"""Puts objects on copies of faces, in memory, and decides which face is given which object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from elfw_helpers.augmentation.compositing import put_object
from elfw_helpers.augmentation.face_geometry import PlacingError
from elfw_helpers.augmentation.objects import OBJECT_SEEDS, OBJECTS, check_kind, is_held_out, render_object
from elfw_helpers.data.datasets import FaceFolder, FaceTensors
from elfw_helpers.data.labels import attribute_from_mask
from elfw_helpers.data.layout import Origin
from elfw_helpers.rendering.face import check_whole
from elfw_helpers.rendering.random_streams import OBJECTS as OBJECT_STREAM
from elfw_helpers.rendering.random_streams import Sampler


class Copy(NamedTuple):
    """An augmented face: its origin, image uint8 [H, W, 3] and mask uint8 [H, W]."""

    origin: Origin
    image: np.ndarray
    mask: np.ndarray


class Augmenter:
    """Puts objects on faces: each kind as often as the others, and each object of a kind likewise.

    Args:
        kinds: of OBJECTS.
        seed: decides the order of the objects.
        held_out: only objects held out (True), only the others (False), or all (None).

    Attributes:
        made: how many faces were given an object, by its kind.
        left_out: names of the faces that could wear none.
    """

    def __init__(self, kinds: Sequence[str], seed: int, held_out: bool | None):
        if not kinds:
            raise ValueError(f"name at least one kind of object, of {', '.join(OBJECTS)}")
        for kind in kinds:
            check_kind(kind)
        check_whole(seed, "seed")
        seeds = [number for number in range(OBJECT_SEEDS) if held_out in (None, is_held_out(number))]
        self.sampler = Sampler(OBJECT_STREAM, seed)
        self.made = dict.fromkeys(kinds, 0)
        self.left_out: set[str] = set()
        self._seed_count = len(seeds)
        self._next = {kind: cycle(self.sampler.shuffle(seeds)) for kind in self.made}
        self._worn: dict[str, list[Origin]] = {}

    def augment(self, name: str, image: np.ndarray, mask: np.ndarray) -> Copy | None:
        """Return the face with an object of the kind used least so far, or None if it can wear none.

        Among kinds used alike, the one that this face had less often. No face gets an object twice.
        """
        worn = self._worn.setdefault(name, [])
        had = Counter(origin.object for origin in worn)
        for kind in sorted(self.made, key=lambda kind: (self.made[kind], had[kind])):
            drawn = (Origin(name, kind, next(self._next[kind])) for _ in range(self._seed_count))
            origin = next((origin for origin in drawn if origin not in worn), None)
            if origin is None:
                continue
            try:
                changed = put_object(image, mask, render_object(kind, origin.object_seed))
            except PlacingError:
                continue
            worn.append(origin)
            self.made[kind] += 1
            return Copy(origin, *changed)
        if not worn:
            self.left_out.add(name)
        return None


def augment_faces(
    faces: FaceTensors,
    chosen: Sequence[int] | Tensor,
    kinds: Sequence[str] = OBJECTS,
    seed: int = 0,
    held_out: bool = False,
) -> tuple[FaceTensors, list[Origin]]:
    """Put an object on each of the chosen faces, in memory.

    Args:
        faces: with masks.
        chosen: indices of the faces, such as the training split's.
        kinds: of OBJECTS, each used as often as the others.
        seed: decides which objects.
        held_out: use only objects that are held out, to test on unseen ones, instead of only the others.

    Returns:
        the copies, in the order chosen, and their origins. Faces that can wear none of the kinds (they wear
        one already, or show too little skin) are left out.

    Raises:
        ValueError: the faces have no masks, a kind is unknown, or no face can wear any.
    """
    if faces.masks is None:
        raise ValueError("objects are placed by masks, and these faces have none")
    augmenter, copies = Augmenter(kinds, seed, held_out), []
    for index in tqdm(torch.as_tensor(chosen).tolist(), "augmenting", delay=2, unit="face"):
        copies.append(
            augmenter.augment(faces.names[index], faces.images[index].numpy(), faces.masks[index].numpy())
        )
    copies = [copy for copy in copies if copy is not None]
    if not copies:
        raise ValueError(f"none of the {len(chosen)} faces can wear {' or '.join(kinds)}")
    origins, images, masks = zip(*copies, strict=True)
    attributes = torch.tensor([attribute_from_mask(mask) for mask in masks])
    images, masks = torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))
    return FaceTensors(images, masks, attributes, [origin.name for origin in origins]), list(origins)


def find_wearers(faces: FaceFolder, chosen: Sequence[int] | Tensor, count: int) -> list[int]:
    """Return the first of the chosen faces, at most `count`, that an object of every kind can be put on."""
    trial, wearers = [render_object(kind, seed=0) for kind in OBJECTS], []
    for index in torch.as_tensor(chosen).tolist():
        if len(wearers) == count:
            break
        image, mask = faces.read(index)
        try:
            for face_object in trial:
                put_object(np.asarray(image), mask, face_object)
        except PlacingError:
            continue
        wearers.append(index)
    return wearers
