"""Folders of faces in ELFW's layout as PyTorch datasets: read one by one, or decoded once at one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from PIL import Image, features
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from elfw_helpers.data.cache import load_decoded
from elfw_helpers.data.images import read_image, read_mask, read_pair
from elfw_helpers.data.labels import attribute_from_mask
from elfw_helpers.data.layout import scan_folder, warn_of_passed_over
from elfw_helpers.data.splits import Split, draw_split, make_split, warn_of_untested
from elfw_helpers.utils.fingerprints import fingerprint

# Files that are read before the first of them is used.
AT_ONCE = 512


@dataclass(frozen=True)
class FaceTensors:
    """All faces of a folder at one size, decoded once.

    Attributes:
        images: uint8 [N, size, size, 3], channels last.
        masks: uint8 [N, size, size] class ids, or None when the folder has no masks.
        attributes: int64 [N], class indices.
        names: N names, without extension.
    """

    images: Tensor
    masks: Tensor | None
    attributes: Tensor
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)


class FaceFolder(Dataset):
    """A folder of faces, as `layout` describes it: `folder[i]` is (image, mask, attribute).

    Args:
        root: the folder, or the official ELFW release that holds `elfw_01_basic`.
        labels_file: name of the list of attributes, inside `root`.
        held_out: name of the official release's list of held-out names (00 sunglasses, 01 hands,
            02 general), used as the test split when train.txt, validation.txt, test.txt are not there.

    Raises:
        DataError: the folder has a fault; it names the file, the line and what to do.

    Warns:
        PassedOverWarning: some files in it are not used: they are no images that can be opened here.
    """

    def __init__(self, root: str | Path, labels_file: str = "labels.txt", held_out: str = "elfw_set_00.txt"):
        self.layout = scan_folder(root, labels_file, held_out)
        if self.layout.problems:
            raise self.layout.problems[0]
        warn_of_passed_over(self.layout)
        self.root, self.names = self.layout.root, list(self.layout.images)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None, int]:
        """Return image uint8 [3, H, W], mask uint8 [H, W] (None without masks), class index."""
        image, mask = self.read(index)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        labels = None if mask is None else torch.from_numpy(mask.copy())
        return pixels, labels, self.find_attribute(index, mask)

    def read(self, index: int) -> tuple[Image.Image, np.ndarray | None]:
        """Return image (RGB) and mask (uint8 [H, W], None without masks) at their own size."""
        name = self.names[index]
        return read_pair(self.layout.images[name], self.layout.masks.get(name))

    def find_attribute(self, index: int, mask: np.ndarray | None) -> int:
        """Return the class index: the one in labels.txt, else the mask's by the rule."""
        listed = self.layout.listed.get(self.names[index])
        return attribute_from_mask(mask) if listed is None else listed

    @cached_property
    def attributes(self) -> Tensor:
        """Class index of every image, int64 [N]; decodes the masks where there is no labels.txt."""
        if self.layout.listed:
            return torch.tensor([self.layout.listed[name] for name in self.names])
        masks = in_parallel(lambda name: attribute_from_mask(read_mask(self.layout.masks[name])), self.names)
        return torch.tensor(list(masks))

    @cached_property
    def persons(self) -> list[str]:
        """Who is on each image; `layout.persons_from` says how that is known."""
        return [self.layout.persons[name] for name in self.names]

    def split(self, seed: int = 0) -> Split:
        """Return the frozen split where there is one, else 80 / 10 / 10 % drawn by person from the seed.

        Warns:
            SplitWarning: a class has no test image.
        """
        place = {name: index for index, name in enumerate(self.names)}
        lists = self.layout.splits.items()
        frozen = {split: torch.tensor([place[name] for name in names]) for split, names in lists}
        if len(frozen) == 3:
            split = make_split(**frozen)
        else:
            split = draw_split(self.root, self.attributes, self.persons, seed, frozen.get("test"))
        warn_of_untested(self.root, split, self.attributes)
        return split

    def preload(self, size: int) -> FaceTensors:
        """Decode every face once, on all cores, and keep it at `size` x `size` pixels.

        The build folder keeps them, for this size, and a second call maps them into memory, as long as no
        file has changed. Changes made in the tensors stay in them.

        Raises:
            DataError: a file is damaged; the first one is named.
            ValueError: the size is none.

        Warns:
            CacheWarning: what was kept is damaged and made again, or nothing can be kept.
        """
        if size < 1:
            raise ValueError(f"size is {size!r}: give the side of the images in pixels, at least 1")
        images, masks = self.layout.images, self.layout.masks
        shapes: dict[str, tuple[int, ...]] = {"images": (len(self), size, size, 3)}
        if masks:
            shapes |= {"masks": (len(self), size, size), "attributes": (len(self),)}
        loaded = load_decoded(
            [*images.values(), *(masks[name] for name in images if masks)],
            shapes,
            lambda: in_parallel(lambda name: decode_face(images[name], masks.get(name), size), self.names),
            fingerprint(decode_face, features.version("libjpeg_turbo")),
        )
        if not self.layout.listed:
            self.attributes = loaded["attributes"].long()
        return FaceTensors(loaded["images"], loaded.get("masks"), self.attributes, self.names)

    def load(self, index: int, size: int) -> tuple[np.ndarray, np.ndarray | None, int]:
        """Return image uint8 [size, size, 3], mask uint8 [size, size] or None, class index."""
        name = self.names[index]
        pixels, *of_mask = decode_face(self.layout.images[name], self.layout.masks.get(name), size)
        mask, by_mask = of_mask or (None, None)
        return pixels, mask, self.layout.listed.get(name, by_mask)


def decode_face(image_path: Path, mask_path: Path | None, size: int) -> tuple[np.ndarray, ...]:
    """Return an image uint8 [size, size, 3], and with a mask also uint8 [size, size] and its class index.

    Images are resized with antialiasing (as torchvision's Resize does), masks by nearest neighbour:
    anything smoother would invent classes between two others.
    """
    image, mask = read_pair(image_path, mask_path, size)
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    if mask is None:
        return (pixels,)
    small = np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))
    return pixels, small, np.array(attribute_from_mask(mask), np.uint8)


def in_parallel(
    function: Callable[[Any], Any], items: Sequence, label: str = "reading faces"
) -> Iterator[Any]:
    """Yield `function` of every item, in order, one thread per core; a bar when it takes over 2 seconds."""
    # Threads are enough: Pillow and NumPy release the interpreter lock while they decode and resize.
    with (
        ThreadPoolExecutor(joblib.cpu_count()) as pool,
        tqdm(desc=label, total=len(items), delay=2, unit="file") as bar,
    ):
        # In parts, for what is done early waits in memory. An error ends `map`, which cancels what waits.
        for start in range(0, len(items), AT_ONCE):
            for result in pool.map(function, items[start : start + AT_ONCE]):
                bar.update()
                yield result


class CustomDataset(FaceFolder):
    """The report's dataset: `CustomDataset(root='Annotated Data', labels_file='labels.txt', transform=...)`.

    `dataset[i]` is (image, class index), decoded each time it is asked for, as in the report;
    `FaceFolder.preload` is the fast way.

    Args:
        root, labels_file: as in FaceFolder.
        transform: applied to the RGB PIL image.
    """

    def __init__(
        self,
        root: str | Path,
        labels_file: str = "labels.txt",
        transform: Callable[[Image.Image], Any] | None = None,
    ):
        super().__init__(root, labels_file)
        self.transform, self.labels = transform, self.attributes.tolist()

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return the transformed image and its class index: 0 hair, 1 spectacles, 2 cap."""
        image = read_image(self.layout.images[self.names[index]])
        return image if self.transform is None else self.transform(image), self.labels[index]
