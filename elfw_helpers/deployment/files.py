"""Predict single photos and whole folders, and write the answers to files: the work of `elfw predict`.

One bad photo never stops the rest. Whatever is passed over in a folder is named, with the reason.
"""

from __future__ import annotations

import errno
import io
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from os.path import exists
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from elfw_helpers.data.images import draw_overlay, encode_mask, read_image
from elfw_helpers.deployment.listing import Listing, require_place
from elfw_helpers.deployment.predict import (
    FaceAnswer,
    choose_frames,
    collect_remarks,
    lay_masks,
    predict_faces,
)
from elfw_helpers.models.hub import TrainedModel
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import explain_error, require_writable, write_atomically

# What is written for each photo, after its name without extension; the JSON last, when all else is there.
OUTPUT_SUFFIXES = {"segment": ("_mask.png", "_overlay.jpg", ".json"), "attribute": (".json",)}
# Colours at full resolution: at JPEG's usual half, the masks' outlines would smear.
OVERLAY_OPTIONS = {"quality": 90, "subsampling": 0}
# Errors that will keep the outputs of all other photos from being written, too.
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOENT, errno.ENOTDIR)


def predict_to_files(
    model: TrainedModel,
    listing: Listing,
    out: Path,
    replace: bool = False,
    crop: bool = True,
) -> int:
    """Predict the photos of a listing into the folder `out`; print to stderr what failed.

    For each photo, NAME.json is written and, by a segmentation network, NAME_mask.png and NAME_overlay.jpg.
    Photos with outputs already are left out unless `replace` is set. The faces in a photo are found, and each
    is answered; without `crop` the whole photo is taken for one face, upright and large.

    Returns:
        exit code: 0 all fine, 1 some photos failed, 130 interrupted.

    Raises:
        DataError: `out` cannot be used.
    """
    errors = listing.errors
    require_place(out, listing.photos)
    require_writable(out)
    chosen = choose_photos(listing.photos, out, OUTPUT_SUFFIXES[model.card.task], replace, errors)
    for error in errors:
        print_line(str(error))
    done, failed, interrupted = predict_all(model, chosen, out, crop)
    if interrupted:
        return 130
    passed_over = sum(map(len, listing.passed_over.values()))
    others = f", {passed_over} other{'s' * (passed_over > 1)} passed over" if passed_over else ""
    print(f"{count_photos(done)} predicted into {out}{others}")
    failed += len(errors)
    if failed:
        print_line(f"{count_photos(failed)} failed")
    return 1 if failed else 0


def choose_photos(
    photos: list[Path], out: Path, suffixes: tuple[str, ...], replace: bool, errors: list[DataError]
) -> list[Path]:
    """Return the photos without outputs yet; `errors` gets those whose outputs would overwrite others.

    A photo's outputs are named as the photo, with each of `suffixes`.
    """
    # Without regard to case: some file systems keep only one file of Ann.json and ann.json.
    owners: dict[str, Path] = {}
    chosen: list[Path] = []
    kept = 0
    for photo in photos:
        first = owners.setdefault(photo.stem.casefold(), photo)
        if first != photo:
            found = f"has the same name as {first}, and would get the same outputs"
            errors.append(DataError(photo, found, "Rename one of them, or predict it into another --out"))
            continue
        there = [] if replace else [suffix for suffix in suffixes if exists(out / f"{photo.stem}{suffix}")]
        if not there:
            chosen.append(photo)
        elif len(there) == len(suffixes):
            kept += 1
        else:
            found = "is there already, but not all that belongs to it"
            fix = "Move it away, name another folder with --out, or overwrite it with --replace"
            errors.append(DataError(out / f"{photo.stem}{there[0]}", found, fix))
    if kept:
        found = f"{count_photos(kept)} with outputs in {out} already"
        print_line(f"{found}: kept as they are; --replace makes them again")
    return chosen


def predict_all(model: TrainedModel, photos: list[Path], out: Path, crop: bool) -> tuple[int, int, bool]:
    """Predict photos one after another; return how many are done, how many failed, and if interrupted."""
    done, failed = 0, 0
    bar = tqdm(photos, "predicting", delay=2, unit="photo")
    try:
        for photo in bar:
            try:
                for text in predict_photo(model, photo, out, crop):
                    print_line(f"{photo}: {text}", bar)
                done += 1
            except DataError as error:
                print_line(str(error), bar)
                failed += 1
    except KeyboardInterrupt:
        remark = "Called again without --replace, it goes on from there"
        print_line(f"interrupted: {done} of {count_photos(len(photos))} done. {remark}", bar)
        return done, failed, True
    except OSError as error:
        remark = f"{done} of {count_photos(len(photos))} done; the same command goes on from there"
        print_line(f"{explain_error(error, out)}. {remark}", bar)
        failed += 1
    finally:
        bar.close()
    return done, failed, False


def predict_photo(model: TrainedModel, path: Path, out: Path, crop: bool) -> list[str]:
    """Predict one photo and write its outputs; return the remarks on it.

    Raises:
        DataError: this photo cannot be predicted, or its outputs cannot be written.
        OSError: no other photo's outputs can be written either.
    """
    try:
        with collect_remarks() as remarks:
            image = read_image(path)
            answers = predict_faces(model, image, choose_frames(image, crop))
            mask = lay_masks(answers, *image.size) if model.card.task == "segment" else None
    # Whatever a broken file or a photo too large makes Pillow or torch raise, the next one may be fine.
    except (MemoryError, RuntimeError) as error:
        fix = "Save it again as JPEG or PNG; if that does not help, scale it down"
        raise DataError(path, f"cannot be predicted ({str(error) or 'out of memory'})", fix) from error
    # The photo is named beside its remarks already.
    remarks = [text.removeprefix(f"{path.name} ") for text in remarks]
    answer = {"photo": path.name, "width": image.width, "height": image.height, "model": model.name}
    answer["task"] = model.card.task
    faces = [describe_face(model, face) for face in answers]
    answer |= {"faces": faces} if crop else {key: faces[0][key] for key in faces[0] if key != "frame"}
    answer["remarks"] = remarks
    try:
        write_outputs(image, mask, answer, out, path.stem)
    except (OSError, MemoryError) as error:
        if getattr(error, "errno", None) in FATAL:
            raise
        found = f"its outputs cannot be written ({str(error) or 'out of memory'})"
        fix = f"Check the space and the rights of {out}, or make the photo smaller and its name shorter"
        raise DataError(path, found, fix) from error
    return remarks


def describe_face(model: TrainedModel, face: FaceAnswer) -> dict:
    """Return the answer for one face, ready for JSON: frame, attribute, and the shares behind it."""
    frame = {name: round(value, 2) for name, value in asdict(face.frame).items()}
    kind = "probabilities" if model.card.task == "attribute" else "class_fractions"
    shares = {name: round(share, 6) for name, share in face.shares.items()}
    return {"frame": frame, "attribute": face.attribute, kind: shares}


def write_outputs(image: Image.Image, mask: np.ndarray | None, answer: dict, out: Path, name: str) -> None:
    """Write all files of one photo, or none: a part of them would be taken for another photo's."""
    files = {".json": (json.dumps(answer, indent=1) + "\n").encode()}
    if mask is not None:
        overlay = encode_picture(draw_overlay(image, mask), "JPEG", **OVERLAY_OPTIONS)
        files |= {"_mask.png": encode_mask(mask), "_overlay.jpg": overlay}
    with ExitStack() as undo:
        for suffix in OUTPUT_SUFFIXES[answer["task"]]:
            file = out / f"{name}{suffix}"
            write_atomically(file, files[suffix])
            undo.callback(file.unlink, missing_ok=True)
        undo.pop_all()


def encode_picture(picture: Image.Image, kind: str, **options: int) -> bytes:
    """Return a picture as the content of a file, "PNG" or "JPEG"."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def print_line(text: str, bar: tqdm | None = None) -> None:
    """Print a line to stderr, above the progress bar once that is shown."""
    # tqdm's own write would show a bar that is still waiting out its delay, and leave it there at 0 %.
    shown = bar is not None and bar.last_print_t > bar.start_t
    (tqdm.write if shown else print)(f"elfw: {text}", file=sys.stderr)


def count_photos(photos: int) -> str:
    """Return a number of photos in words: 1 photo, 2 photos."""
    return f"{photos} photo" if photos == 1 else f"{photos} photos"
