"""Writes a set of rendered faces to disk, in the layout of the official ELFW release."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import joblib
from PIL.PngImagePlugin import PngInfo
from tqdm import tqdm

from elfw_helpers.data.images import encode_mask
from elfw_helpers.data.labels import ATTRIBUTES, attribute_from_mask
from elfw_helpers.data.layout import SPLIT_NAMES
from elfw_helpers.rendering.face import RENDERER_VERSION, RenderedFace, check_whole, render_face
from elfw_helpers.rendering.ingredients import check_names
from elfw_helpers.rendering.manifest import MANIFEST, encode_json, encode_manifest, read_settings
from elfw_helpers.rendering.photo import encode_jpeg
from elfw_helpers.rendering.plan import PlannedFace, photo_seed, plan_faces
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import explain_error, write_atomically
from elfw_helpers.utils.parallel import run_parallel

JPEG_QUALITY = 90
ATTEMPTS = 50
# What a run that was killed leaves of a file, as `write_atomically` names it.
PARTIAL = re.compile(r"^\.(.+)\.\d+$")


def render_folder(
    out: str | Path,
    count: int,
    seed: int = 0,
    size: int = 128,
    workers: int | None = None,
    progress: bool = True,
    ingredients: Sequence[str] = (),
) -> Path:
    """Render a set of faces with masks, labels, splits by person and a manifest.

    A run that was interrupted goes on where it stopped. Labels and splits are written last, when all
    faces exist. The number of workers makes no difference to the pixels.

    Args:
        out: a new or empty folder, or one that the same call left unfinished.
        seed: decides all faces, non-negative.
        size: side of a picture, pixels; a positive multiple of 8.
        workers: processes; if None, one for each core that this process may use.
        progress: show a bar on stderr.
        ingredients: what makes faces more like those in photos, as `render_face` takes it.

    Returns:
        the folder.

    Raises:
        ValueError: an argument is not one of these.
        DataError: the folder holds something else, or cannot be written.
        RuntimeError: 50 photos of a face do not show its attribute: the size is too small.
    """
    check_whole(seed, "seed")
    check_whole(size, "size", 8, step=8)
    check_whole(count, "count", 1)
    workers = joblib.cpu_count() if workers is None else workers
    check_whole(workers, "workers", 1)
    settings = {"renderer": RENDERER_VERSION, "count": count, "seed": seed, "size": size}
    if ingredients:
        settings["ingredients"] = list(check_names(ingredients))
    try:
        render_set(Path(out), settings, workers, progress)
    except OSError as error:
        refusal = explain_error(error)
        fix = f"{refusal.fix}; the same command goes on where this one stopped"
        raise DataError(out, f"cannot write there ({refusal.found})", fix) from error
    return Path(out)


def render_set(out: Path, settings: dict, workers: int, progress: bool) -> None:
    """Render what is missing of a set, then write its lists and its complete manifest."""
    faces = plan_faces(settings["count"], settings["seed"])
    prepare_folder(out, settings, faces)
    missing = [face for face in faces if not is_rendered(out, face.name)]
    drawn = {key: settings[key] for key in ("seed", "size", "ingredients") if key in settings}
    job = partial(render_to_disk, out=out, **drawn)
    done = len(faces) - len(missing)
    with tqdm(total=len(faces), initial=done, unit="face", disable=not progress) as bar:
        for _ in run_parallel(job, missing, min(workers, len(missing)) or 1):
            bar.update()
    labels = "".join(f"{face.name} {ATTRIBUTES[face.label]}\n" for face in faces)
    write_atomically(out / "labels.txt", labels.encode())
    splits = {split: [face.name for face in faces if face.split == split] for split in SPLIT_NAMES}
    # A list without a face would be an error to whoever reads the set: so few faces have no split.
    for split, names in splits.items() if all(splits.values()) else ():
        write_atomically(out / f"{split}.txt", "".join(f"{name}\n" for name in names).encode())
    write_atomically(out / MANIFEST, encode_manifest(out, faces, settings))


def prepare_folder(out: Path, settings: dict, faces: list[PlannedFace]) -> None:
    """Make the folder ready for these settings, or raise DataError because it holds something else."""
    new = "Name a new or an empty folder."
    if out.exists() and not out.is_dir():
        raise DataError(out, "this is a file", new)
    present = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if not present:
        (out / "faces").mkdir(parents=True)
        (out / "labels").mkdir()
        write_atomically(out / MANIFEST, encode_json(settings))
        return
    found = read_settings(out)
    if found is None:
        held = f"it already holds {summarise(present)}, and no set rendered by this command"
        raise DataError(out, held, new)
    if found != settings:
        held = f"the folder holds a set rendered with {found}, not with {settings}"
        fix = "Name another folder, or use the same settings to go on with this one."
        raise DataError(out / MANIFEST, held, fix)
    refuse_foreign_files(out, present, faces)


def refuse_foreign_files(out: Path, present: list[str], faces: list[PlannedFace]) -> None:
    """Raise DataError if the folder holds a file that does not belong to the set."""
    known = {"faces", "labels", "labels.txt", MANIFEST, *(f"{split}.txt" for split in SPLIT_NAMES)}
    foreign = [name for name in present if PARTIAL.sub(r"\1", name) not in known]
    for folder, ending in (("faces", ".jpg"), ("labels", ".png")):
        (out / folder).mkdir(exist_ok=True)
        expected = {face.name + ending for face in faces}
        held = (path.name for path in (out / folder).iterdir())
        foreign += [f"{folder}/{name}" for name in held if PARTIAL.sub(r"\1", name) not in expected]
    if foreign:
        found = f"it holds {summarise(sorted(foreign))}, which the set does not"
        raise DataError(out, found, "Move it away, or name another folder.")


def summarise(names: list[str]) -> str:
    """Return the first three names and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def is_rendered(out: Path, name: str) -> bool:
    """Return whether a face is complete: its mask is written after its picture."""
    return (out / "labels" / f"{name}.png").exists() and (out / "faces" / f"{name}.jpg").exists()


def render_to_disk(
    face: PlannedFace, out: Path, seed: int, size: int, ingredients: Iterable[str] = ()
) -> None:
    """Render one planned face, and write its picture and its mask, whose header holds the photo's seed."""
    rendered, header = render_planned(face, seed, size, ingredients), PngInfo()
    header.add_text("seed", str(rendered.parameters.seed))
    write_atomically(out / "faces" / f"{face.name}.jpg", encode_jpeg(rendered.image, JPEG_QUALITY))
    write_atomically(out / "labels" / f"{face.name}.png", encode_mask(rendered.mask, header))


def render_planned(face: PlannedFace, seed: int, size: int, ingredients: Iterable[str] = ()) -> RenderedFace:
    """Render photos of the person until the mask shows the planned attribute.

    The rule looks at the mask, so a beanie outside the crop makes no cap: such a photo is drawn again.
    """
    for attempt in range(ATTEMPTS):
        photo = photo_seed(seed, face.index, attempt)
        rendered = render_face(photo, size, face.identity_seed, ATTRIBUTES[face.attribute], ingredients)
        if attribute_from_mask(rendered.mask) == face.attribute:
            return rendered
    raise RuntimeError(
        f"{face.name}: no photo in {ATTEMPTS} shows {ATTRIBUTES[face.attribute]}; is {size} px too small?"
    )
