"""A folder of augmented faces, with a manifest of where each came from.

A copy of a validation or test face, or an object that is held out, must not enter training. File names
cannot promise that; the manifest can, and `read_augmented` reads nothing without it.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from elfw_helpers.augmentation.copies import Copy, Wardrobe
from elfw_helpers.augmentation.objects import OBJECTS, is_held_out
from elfw_helpers.data.datasets import FaceFolder, FaceTensors, in_parallel
from elfw_helpers.data.labels import ATTRIBUTES, PALETTE, attribute_from_mask
from elfw_helpers.data.layout import MANIFEST, PERSONS_FILE, VERSION, Origin, read_origins
from elfw_helpers.rendering.folder import check_positive
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import explain_error, write_atomically

JPEG_QUALITY = 95


class AugmentedFolder(NamedTuple):
    """What `augment_folder` wrote: the folder, how many faces by object, and how many faces it left out."""

    folder: Path
    made: dict[str, int]
    left_out: int


def augment_folder(
    source: str | Path,
    out: str | Path,
    kinds: Sequence[str] = OBJECTS,
    count: int = 1000,
    seed: int = 0,
    replace: bool = False,
) -> AugmentedFolder:
    """Write copies of a folder's faces with objects put on, in ELFW's layout, and a manifest.

    Every face is used once before any is used again, and all kinds equally often. Faces of all splits and
    all objects are used, for training and for testing: `read_augmented` tells them apart. The folder appears
    when it is complete.

    Args:
        source: faces with masks, in ELFW's layout.
        out: the folder to write.
        kinds: of OBJECTS.
        count: number of copies.
        seed: decides which faces wear what.
        replace: take the place of an augmented folder that is there.

    Raises:
        ValueError: a kind is unknown, or a number makes no sense.
        DataError: the source has no masks or a damaged file, no face can wear an object, or the
            folder holds something else or cannot be written.
    """
    check_positive(count, "count")
    wardrobe = Wardrobe(kinds, seed, held_out=None)
    faces, out = FaceFolder(source), Path(out).resolve()
    source = faces.root.resolve()
    if not faces.layout.masks:
        raise DataError(source, "has no masks in labels/", "Objects are placed by them: add them first")
    refuse_place(source, out, replace)
    draft = out.with_name(f".{out.name}.part")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        # Persons that names alone do not tell go with the copies.
        persons = faces.layout.persons if (source / PERSONS_FILE).exists() else {}
        write_folder(draft, source, dress_folder(faces, wardrobe, count), count, persons)
        if out.exists():
            shutil.rmtree(out)
        draft.rename(out)
    except OSError as error:
        refusal = explain_error(error)
        raise DataError(out, f"cannot write there ({refusal.found})", refusal.fix) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return AugmentedFolder(out, wardrobe.made, len(wardrobe.left_out))


def refuse_place(source: Path, out: Path, replace: bool) -> None:
    """Raise DataError unless the folder may be written: it is new, or ours and to be replaced."""
    if out == source or out in source.parents or source in out.parents:
        raise DataError(out, "is the folder of the source faces, or in it", "Name a folder beside it")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir() or not (out / MANIFEST).exists():
        raise DataError(out, "it is there already, and not made by `elfw augment`", "Name another folder")
    read_origins(out)
    if not replace:
        raise DataError(out, "it holds augmented faces already", "Add --replace, or name another folder")


def dress_folder(faces: FaceFolder, wardrobe: Wardrobe, count: int) -> Iterator[Copy]:
    """Yield `count` copies, going through all faces again and again in random order.

    Raises:
        DataError: none of the faces can wear any (more) of the objects.
    """
    made = 0
    while made < count:
        before = made
        for index in wardrobe.sampler.shuffle(range(len(faces))):
            image, mask = faces.read(index)
            copy = wardrobe.dress(faces.names[index], np.asarray(image), mask)
            if copy is None:
                continue
            yield copy
            made += 1
            if made == count:
                return
        if made == before:
            found = f"only {made} copies can be made: no face can wear any more of {', '.join(wardrobe.made)}"
            raise DataError(faces.root, found, "Ask for fewer, or for other kinds of objects")


def write_folder(
    out: Path, source: Path, copies: Iterable[Copy], count: int, persons: Mapping[str, str]
) -> None:
    """Write faces/, labels/, labels.txt, the manifest and, if given, persons.txt into a new folder."""
    (out / "faces").mkdir(parents=True)
    (out / "labels").mkdir()
    lines, entries = [], {}
    for copy in tqdm(copies, "augmenting", count, delay=2, unit="face"):
        name = copy.origin.name
        Image.fromarray(copy.image).save(
            out / "faces" / f"{name}.jpg", quality=JPEG_QUALITY, subsampling="4:4:4"
        )
        (out / "labels" / f"{name}.png").write_bytes(encode_mask(copy.mask))
        lines.append(f"{name} {ATTRIBUTES[attribute_from_mask(copy.mask)]}\n")
        entries[name] = copy.origin._asdict()
    (out / "labels.txt").write_text("".join(sorted(lines)), encoding="utf-8")
    if persons:
        lines = [f"{name} {persons[entry['source']]}\n" for name, entry in sorted(entries.items())]
        (out / PERSONS_FILE).write_text("".join(lines), encoding="utf-8")
    manifest = {"version": VERSION, "source": source.name, "faces": dict(sorted(entries.items()))}
    write_atomically(out / MANIFEST, json.dumps(manifest, indent=1).encode())


def encode_mask(mask: np.ndarray) -> bytes:
    """Return a mask, uint8 [H, W], as an indexed PNG file in ELFW's colours."""
    file, picture = io.BytesIO(), Image.fromarray(mask)
    picture.putpalette(PALETTE.tobytes())
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def select_for_training(
    origins: Mapping[str, Origin], names: Iterable[str], allowed_sources: Collection[str]
) -> list[str]:
    """Return the augmented faces that may be trained on: a copy of an allowed face, its object not held out.

    Args:
        origins: by name, as `read_origins` returns them.
        names: of augmented faces.
        allowed_sources: names of the source faces in the training split.

    Raises:
        DataError: a face is not in the manifest, so nothing tells what it is a copy of.
    """
    allowed, selected = set(allowed_sources), []
    for name in names:
        if name not in origins:
            fix = "Take the file out, or write the folder anew with `elfw augment`"
            raise DataError(MANIFEST, f"says nothing of the augmented face {name!r}", fix)
        if origins[name].source in allowed and not is_held_out(origins[name].object_seed):
            selected.append(name)
    return selected


def read_augmented(folder: str | Path, train_names: Collection[str], size: int) -> FaceTensors:
    """Read the faces of an augmented folder that may be trained on.

    Args:
        folder: as `augment_folder` wrote it.
        train_names: names of the source's faces in its training split, and of no others.
        size: side of the pictures, pixels.

    Raises:
        DataError: a file is off, a face is not in the manifest, or none may be trained on.
    """
    faces, origins = FaceFolder(folder), read_origins(folder)
    selected = select_for_training(origins, faces.names, train_names)
    if not selected:
        found = "none of its faces is a copy of a training face with an object that is not held out"
        raise DataError(folder, found, "Name the training faces of the very folder it was made from")
    place_of = {name: place for place, name in enumerate(faces.names)}
    places = [place_of[name] for name in selected]
    loaded = in_parallel(lambda place: faces.load(place, size), places)
    images, masks, attributes = zip(*loaded, strict=True)
    return FaceTensors(
        torch.from_numpy(np.stack(images)),
        torch.from_numpy(np.stack(masks)),
        torch.tensor(attributes),
        selected,
    )
