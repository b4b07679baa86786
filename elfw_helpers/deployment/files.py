"""Photos, named one by one or by the folder, to files of predictions: what `elfw predict` does.

A photo that cannot be read or predicted is reported, and never stops the rest; what is no photo in a folder
is named too.
"""

from __future__ import annotations

import errno
import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from elfw_helpers.data.images import IMAGE_SUFFIXES, is_picture, open_image, read_image
from elfw_helpers.data.labels import ATTRIBUTES, attribute_from_mask
from elfw_helpers.data.layout import find_fault, find_root
from elfw_helpers.deployment.predict import (
    class_fractions,
    collect_remarks,
    draw_overlay,
    look_for_face,
    mask_picture,
    predict_attribute,
    predict_mask,
)
from elfw_helpers.models.hub import TrainedModel, load_model
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import explain_error, require_writable, write_atomically

# What is written for each photo, after its name without extension; the JSON last, when all else is there.
OUTPUTS = {"segment": ("_mask.png", "_overlay.jpg", ".json"), "attribute": (".json",)}
# Colours at full resolution: at the half that JPEG is used to, the masks' outlines would smear.
OVERLAY = {"quality": 90, "subsampling": 0}
# Surely meant as photos, but seldom or never opened by Pillow: it is said why, and what to do.
OTHER_PHOTOS = (".heic", ".heif", ".hif", ".avif", ".jxl", ".svg", ".psd", ".eps")
OTHER_PHOTOS += (".cr2", ".cr3", ".nef", ".arw", ".raf", ".dng", ".orf", ".rw2", ".pef", ".srw")
# Of the files that a folder passes over, so many are named for each reason.
MOST_NAMED = 20
# What keeps the next photo's outputs from being written too.
HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True)
class Prediction:
    """What a model says of one photo, or why it says nothing.

    Attributes:
        path: the photo.
        image: as it was read, RGB and upright; None after an error.
        mask: class ids, uint8 [H, W], from a model that segments.
        probabilities: float64 [3], from a model that classifies.
        warnings: what its reader should know of.
        error: why there is no prediction.
    """

    path: Path
    image: Image.Image | None = None
    mask: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    warnings: tuple[str, ...] = ()
    error: DataError | None = None

    @property
    def attribute(self) -> str:
        """Name of the attribute: the most probable one, or the mask's by the rule."""
        by_rule = self.probabilities is None
        return ATTRIBUTES[attribute_from_mask(self.mask) if by_rule else int(self.probabilities.argmax())]


def predict_files(model: TrainedModel, paths: Iterable[str | Path]) -> Iterator[Prediction]:
    """Predict photos one after another; each brings a prediction or its error.

    Args:
        model: from `load_model`; its task decides what is predicted.
        paths: photos, and folders of photos, as for `list_photos`.
    """
    listing = list_photos(paths)
    yield from (Prediction(error.file, error=error) for error in listing.errors)
    # The thresholds for a face were measured with this network, whichever one predicts.
    finder = model if model.name == "unet" else load_model("unet", model.device)
    yield from (predict_photo(model, finder, photo) for photo in listing.photos)


@dataclass
class Listing:
    """What lies behind the paths that somebody named.

    Attributes:
        photos: each once.
        errors: what is wrong with folders and with single photos in them.
        passed_over: files and folders that are no photos, by their folder and the reason.
    """

    photos: list[Path] = field(default_factory=list)
    errors: list[DataError] = field(default_factory=list)
    passed_over: dict[tuple[Path, str], list[Path]] = field(default_factory=dict)

    def pass_over(self, path: Path, reason: str) -> None:
        """Note that something in a folder is passed over."""
        self.passed_over.setdefault((path.parent, reason), []).append(path)

    def describe_passed_over(self) -> Iterator[str]:
        """Yield a line for each folder and reason, with the names."""
        for (folder, reason), paths in self.passed_over.items():
            names = ", ".join(path.name for path in paths[:MOST_NAMED])
            more = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
            yield f"{folder}: {len(paths)} passed over, {reason}: {names}{more}"


def list_photos(paths: Iterable[str | Path]) -> Listing:
    """Return the photos behind paths, and what else there is.

    Args:
        paths: files of any name, in their order, and folders, of which the images are taken, sorted by
            name: those in faces/ if there is such a folder, as in ELFW's layout.
    """
    listing = Listing()
    photos: dict[Path, Path] = {}
    for path in map(Path, paths):
        try:
            found = list_folder(path, listing) if path.is_dir() else [path]
            for photo in found:
                first = photos.setdefault(photo.resolve(), photo)
                if photo.is_symlink() and photo != first:
                    listing.pass_over(photo, "links to photos that are answered")
        except DataError as error:
            listing.errors.append(error)
        except OSError as error:
            listing.errors.append(explain_error(error, path))
        # Links that lead round in a circle, in Python before 3.13.
        except RuntimeError as error:
            listing.errors.append(DataError(path, f"cannot be looked up ({error})", "Check where it leads"))
    listing.photos = list(photos.values())
    return listing


def list_folder(folder: Path, listing: Listing) -> list[Path]:
    """Return the photos of a folder, sorted by name; all else in it goes to `listing`, with the reason."""
    root = find_root(folder)
    faces = root / "faces" if (root / "faces").is_dir() else root
    photos = []
    for path in sorted(faces.iterdir()):
        reason = why_no_photo(path)
        error = None if reason else find_error(path, faces)
        if reason:
            listing.pass_over(path, reason)
        elif error:
            listing.errors.append(error)
        else:
            photos.append(path)
    if faces != root:
        for path in sorted(root.iterdir()):
            if not why_no_photo(path):
                listing.pass_over(path, "beside faces/")
    if not photos:
        raise DataError(folder, "holds no images", "Photos are files such as JPEG, PNG, WebP, AVIF or TIFF")
    # A link to another photo of the folder gives way to it.
    return sorted(photos, key=Path.is_symlink)


def why_no_photo(path: Path) -> str | None:
    """Return why something in a folder is no photo, or None if it is one, or is meant to be."""
    if path.name.startswith("."):
        return "hidden"
    if path.is_dir():
        return "subfolders, to be named themselves"
    if not path.is_file() and not path.is_symlink():
        return "neither files nor folders"
    if path.suffix.lower() in (*IMAGE_SUFFIXES, *OTHER_PHOTOS) or is_picture(path):
        return None
    return "of no kind that is opened here"


def find_error(path: Path, folder: Path) -> DataError | None:
    """Return why what is meant as a photo cannot be one, as far as that shows before it is decoded."""
    fault = find_fault(path, folder)
    if fault:
        return DataError(path, *fault)
    if path.suffix.lower() in OTHER_PHOTOS:
        try:
            with open_image(path):
                pass
        except DataError as error:
            return error
    return None


def predict_photo(model: TrainedModel, finder: TrainedModel, path: Path) -> Prediction:
    """Predict one photo; what is wrong with it is returned, not raised."""
    try:
        with collect_remarks() as remarks:
            image = read_image(path)
            mask = predict_mask(model, image) if model.card.task == "segment" else None
            probabilities = predict_attribute(model, image) if mask is None else None
            look_for_face(finder, image)
    except DataError as error:
        return Prediction(path, error=error)
    # Whatever a broken file or one photo too large makes Pillow or torch raise, the next one may be fine.
    except (MemoryError, RuntimeError) as error:
        fix = "Save it anew as JPEG or PNG; if that does not help, scale it down"
        return Prediction(
            path, error=DataError(path, f"cannot be predicted ({str(error) or 'out of memory'})", fix)
        )
    # The photo is named beside its remarks already.
    told = tuple(text.removeprefix(f"{path.name} ") for text in remarks)
    return Prediction(path, image, mask, probabilities, told)


def predict_into(model: TrainedModel, paths: Iterable[str | Path], out: Path, replace: bool = False) -> int:
    """Write the predictions of photos into a folder; say on stderr what failed, as it happens.

    Args:
        model: from `load_model`.
        paths: photos, and folders of photos, as for `list_photos`.
        out: where to; made if it is not there. NAME.json for each photo and, from a model that segments,
            NAME_mask.png and NAME_overlay.jpg.
        replace: overwrite outputs that are there; otherwise such photos are passed over.

    Returns:
        exit code: 0 all fine, 1 some photos failed, 130 interrupted.

    Raises:
        DataError: there are no photos at all, or `out` cannot be used.
    """
    listing = list_photos(paths)
    for line in listing.describe_passed_over():
        say(line)
    errors = listing.errors
    if not listing.photos:
        for error in errors[:-1]:
            say(str(error))
        raise errors[-1]
    prepare_folder(out, listing.photos)
    waiting = choose_waiting(listing.photos, out, OUTPUTS[model.card.task], replace, errors)
    for error in errors:
        say(str(error))
    done, failed = 0, len(errors)
    bar = tqdm(predict_files(model, waiting), "predicting", len(waiting), delay=2, unit="photo")
    try:
        for prediction in bar:
            error = prediction.error or write_prediction(prediction, model, out)
            done, failed = done + (error is None), failed + (error is not None)
            remarks = [f"{prediction.path}: {text}" for text in prediction.warnings]
            for line in [str(error)] if error else remarks:
                say(line, bar)
    except KeyboardInterrupt:
        remark = "Called again without --replace, it goes on from there"
        say(f"interrupted: {done} of {count(len(waiting))} done. {remark}", bar)
        return 130
    except OSError as error:
        failed += 1
        remark = f"{done} of {count(len(waiting))} done; the same command goes on from there"
        say(f"{explain_error(error, out)}. {remark}", bar)
    finally:
        bar.close()
    passed_over = sum(map(len, listing.passed_over.values()))
    others = f", {passed_over} other{'s' * (passed_over > 1)} passed over" if passed_over else ""
    print(f"{count(done)} predicted into {out}{others}")
    if failed:
        say(f"{count(failed)} failed")
    return 1 if failed else 0


def prepare_folder(out: Path, photos: list[Path]) -> None:
    """Make the folder for outputs.

    Raises:
        DataError: it cannot be made, or is one that the photos lie in.
    """
    target = out.resolve()
    inside = [photo for photo in photos if target in (photo.parent.resolve(), photo.resolve().parent)]
    if inside:
        found = f"holds {inside[0].name}, one of the photos: an output could overwrite it"
        raise DataError(out, found, "Name another folder with --out")
    require_writable(out)


def choose_waiting(
    photos: list[Path], out: Path, suffixes: tuple[str, ...], replace: bool, errors: list[DataError]
) -> list[Path]:
    """Return the photos to predict: those whose outputs are not there, and that no other one shares.

    Args:
        photos: all of them.
        out: the folder of outputs.
        suffixes: what follows a photo's name in the names of its outputs.
        replace: overwrite what is there.
        errors: gets an error for each photo whose outputs would overwrite something else.
    """
    # Without regard to case: some file systems keep one file only of Ann.json and ann.json.
    owners: dict[str, Path] = {}
    waiting: list[Path] = []
    kept = 0
    for photo in photos:
        first = owners.setdefault(photo.stem.casefold(), photo)
        if first != photo:
            found = f"has the same name as {first}, and would get the same outputs"
            errors.append(DataError(photo, found, "Rename one of them, or predict it into another --out"))
            continue
        there = [] if replace else [suffix for suffix in suffixes if is_there(out / f"{photo.stem}{suffix}")]
        if there and len(there) < len(suffixes):
            found = "is there already, but not all that belongs to it"
            fix = "Move it away, name another folder with --out, or overwrite it with --replace"
            errors.append(DataError(out / f"{photo.stem}{there[0]}", found, fix))
        elif there:
            kept += 1
        else:
            waiting.append(photo)
    if kept:
        say(f"{count(kept)} with outputs in {out} already: kept as they are; --replace makes them again")
    return waiting


def is_there(path: Path) -> bool:
    """Say whether there is such a file; none has a name that is too long for one."""
    try:
        return path.exists()
    except OSError:
        return False


def write_prediction(prediction: Prediction, model: TrainedModel, out: Path) -> DataError | None:
    """Write all outputs of one photo, each of them whole; return what kept them from being written.

    Raises:
        OSError: no other photo's outputs can be written either.
    """
    try:
        with ExitStack() as undo:
            for name, content in encode_outputs(prediction, model).items():
                write_atomically(out / name, content)
                # All or none: what is left of a photo's outputs would be taken for someone else's.
                undo.callback((out / name).unlink, missing_ok=True)
            undo.pop_all()
    except (OSError, MemoryError) as error:
        if getattr(error, "errno", None) in HOPELESS:
            raise
        fix = f"Check the space and the rights of {out}, or make the photo smaller and its name shorter"
        return DataError(
            prediction.path, f"its outputs cannot be written ({str(error) or 'out of memory'})", fix
        )
    return None


def encode_outputs(prediction: Prediction, model: TrainedModel) -> dict[str, bytes]:
    """Return the content of a prediction's files by name, JSON last."""
    name, image = prediction.path.stem, prediction.image
    answer = {
        "photo": prediction.path.name,
        "width": image.width,
        "height": image.height,
        "model": model.name,
        "task": model.card.task,
        "attribute": prediction.attribute,
        "remarks": list(prediction.warnings),
    }
    pictures = {}
    if prediction.mask is None:
        answer["probabilities"] = round_all(zip(ATTRIBUTES, prediction.probabilities.tolist(), strict=True))
    else:
        answer["class_fractions"] = round_all(class_fractions(prediction.mask).items())
        overlay = draw_overlay(image, prediction.mask)
        pictures[f"{name}_mask.png"] = encode_picture(mask_picture(prediction.mask), "PNG")
        pictures[f"{name}_overlay.jpg"] = encode_picture(overlay, "JPEG", **OVERLAY)
    return pictures | {f"{name}.json": (json.dumps(answer, indent=1) + "\n").encode()}


def round_all(shares: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return shares by name to six places, enough for anyone who reads them."""
    return {name: round(share, 6) for name, share in shares}


def encode_picture(picture: Image.Image, kind: str, **options: int) -> bytes:
    """Return a picture as a file of a kind, "PNG" or "JPEG"."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def say(text: str, bar: tqdm | None = None) -> None:
    """Write a line to stderr, above the progress bar once that is shown."""
    # tqdm's own write would show a bar that is still waiting out its delay, and leave it there at 0 %.
    shown = bar is not None and bar.last_print_t > bar.start_t
    (tqdm.write if shown else print)(f"elfw: {text}", file=sys.stderr)


def count(photos: int) -> str:
    """Return a number of photos in words: 1 photo, 2 photos."""
    return f"{photos} photo" if photos == 1 else f"{photos} photos"
