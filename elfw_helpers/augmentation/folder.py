"""A folder of augmented faces, with a manifest that says which face and which object each is made of.

A copy of a validation or test face, or an object that is held out, must not enter training. File names
cannot prevent that; `select_for_training` does, by the manifest.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from elfw_helpers.augmentation.copies import Augmenter, Copy
from elfw_helpers.augmentation.objects import OBJECTS, is_held_out
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.images import encode_mask
from elfw_helpers.data.labels import ATTRIBUTES, attribute_from_mask
from elfw_helpers.data.layout import MANIFEST, PERSONS_FILE, VERSION, Origin, check_augmented_folder
from elfw_helpers.rendering.face import check_whole
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import explain_error, write_atomically

JPEG_QUALITY = 95
# Left, top, right and bottom of the face in a photo, pixels.
Box = tuple[int, int, int, int]


class AugmentedFolder(NamedTuple):
    """What `augment_folder` wrote.

    Attributes:
        made: how many faces were given an object, by its kind.
        left_out: how many faces could wear none.
        not_found: the photos in which no face was found, so that each was taken whole.
    """

    folder: Path
    made: dict[str, int]
    left_out: int
    not_found: list[str]


def augment_folder(
    source: str | Path,
    out: str | Path,
    kinds: Sequence[str] = OBJECTS,
    count: int = 1000,
    seed: int = 0,
    replace: bool = False,
    find_box: Callable[[Image.Image], Box | None] | None = None,
) -> AugmentedFolder:
    """Write copies of a folder's faces with objects put on, in ELFW's layout, and a manifest.

    Every face is used once before any is used again, and all kinds equally often. Faces of all splits and
    all objects are used, for training and for testing: `select_for_training` tells them apart. The folder
    appears when it is complete.

    Args:
        source: a folder of faces with masks.
        kinds: of OBJECTS.
        count: number of copies.
        seed: decides which faces wear what.
        replace: delete the augmented folder that is there already.
        find_box: finds the face in a photo, on which the object is put, such as that of
            `elfw_helpers.deployment.faces`. Where it finds none, and by default, the whole photo is the face.

    Raises:
        ValueError: a kind is unknown, or a number makes no sense.
        DataError: the source has no masks, a damaged file or one too large for the memory, no face can wear
            an object, or the folder holds something else or cannot be written.
    """
    check_whole(count, "count", 1)
    augmenter, boxes = Augmenter(kinds, seed, held_out=None), {}
    faces, out = FaceFolder(source), Path(out).resolve()
    if not faces.layout.masks:
        raise DataError(faces.root, "has no masks in labels/", "Objects are placed by them: add them first")
    check_augmented_folder(faces.root, out, replace)
    draft = out.with_name(f".{out.name}.part")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        copies = augment_all(faces, augmenter, count, find_box, boxes)
        write_folder(draft, faces, tqdm(copies, "augmenting", count, delay=2, unit="face"))
        if out.exists():
            shutil.rmtree(out)
        draft.rename(out)
    except OSError as error:
        refusal = explain_error(error)
        raise DataError(out, f"cannot write there ({refusal.found})", refusal.fix) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    not_found = [faces.names[index] for index, box in sorted(boxes.items()) if box is None]
    return AugmentedFolder(out, augmenter.made, len(augmenter.left_out), not_found)


def augment_all(
    faces: FaceFolder,
    augmenter: Augmenter,
    count: int,
    find_box: Callable[[Image.Image], Box | None] | None,
    boxes: dict[int, Box | None],
) -> Iterator[Copy]:
    """Yield `count` copies, going through all faces again and again in random order.

    Args:
        boxes: gets what `find_box` finds in each of the faces, by index.

    Raises:
        DataError: none of the faces can wear any (more) of the objects, or the memory is too small for one.
    """
    made = 0
    while True:
        before = made
        for index in augmenter.sampler.shuffle(range(len(faces))):
            try:
                copy = augment_face(faces, index, augmenter, find_box, boxes)
            except MemoryError as error:
                file = faces.layout.images[faces.names[index]]
                fix = "Scale it and its mask down"
                raise DataError(file, "needs more memory than there is", fix) from error
            if copy is not None:
                yield copy
                made += 1
            if made == count:
                return
        if made == before:
            found = (
                f"only {made} copies can be made: no face can wear any more of {', '.join(augmenter.made)}"
            )
            raise DataError(faces.root, found, "Ask for fewer, or for other kinds of objects")


def augment_face(
    faces: FaceFolder,
    index: int,
    augmenter: Augmenter,
    find_box: Callable[[Image.Image], Box | None] | None,
    boxes: dict[int, Box | None],
) -> Copy | None:
    """Return a face of a folder with an object put on it where its box is; None if it can wear none."""
    photo, mask = faces.read(index)
    if find_box and index not in boxes:
        boxes[index] = find_box(photo)
    left, top, right, bottom = boxes.get(index) or (0, 0, *photo.size)
    place = slice(top, bottom), slice(left, right)
    image, mask = np.array(photo), mask.copy()
    copy = augmenter.augment(faces.names[index], image[place], mask[place])
    if copy is None:
        return None
    image[place], mask[place] = copy.image, copy.mask
    return Copy(copy.origin, image, mask)


def write_folder(out: Path, source: FaceFolder, copies: Iterable[Copy]) -> None:
    """Write faces/, labels/, labels.txt, the manifest and, if the source has one, persons.txt."""
    (out / "faces").mkdir(parents=True)
    (out / "labels").mkdir()
    origins, lines = {}, []
    for origin, image, mask in copies:
        file = out / "faces" / f"{origin.name}.jpg"
        Image.fromarray(image).save(file, quality=JPEG_QUALITY, subsampling="4:4:4")
        (out / "labels" / f"{origin.name}.png").write_bytes(encode_mask(mask))
        lines.append(f"{origin.name} {ATTRIBUTES[attribute_from_mask(mask)]}\n")
        origins[origin.name] = origin
    origins = dict(sorted(origins.items()))
    (out / "labels.txt").write_text("".join(sorted(lines)), encoding="utf-8")
    # File names do not tell whom a list of persons names, so the list goes with the copies.
    if (source.root / PERSONS_FILE).exists():
        persons = source.layout.persons
        lines = [f"{name} {persons[origin.source]}\n" for name, origin in origins.items()]
        (out / PERSONS_FILE).write_text("".join(lines), encoding="utf-8")
    entries = {name: origin._asdict() for name, origin in origins.items()}
    manifest = {"version": VERSION, "source": source.root.resolve().name, "faces": entries}
    write_atomically(out / MANIFEST, json.dumps(manifest, indent=1).encode())


def select_for_training(
    origins: Mapping[str, Origin], names: Iterable[str], allowed_sources: Collection[str]
) -> list[str]:
    """Return the augmented faces that may be trained on: a copy of an allowed face, its object not held out.

    Args:
        origins: by name of the augmented face, as `read_origins` returns them.
        names: of augmented faces.
        allowed_sources: names of the source faces in the training split.

    Raises:
        DataError: a face is not in the manifest.
    """
    allowed, selected = set(allowed_sources), []
    for name in names:
        if name not in origins:
            fix = "Take the file out, or write the folder again with `elfw augment`"
            raise DataError(MANIFEST, f"says nothing of the augmented face {name!r}", fix)
        if origins[name].source in allowed and not is_held_out(origins[name].object_seed):
            selected.append(name)
    return selected
