"""A set of rendered faces on disk, in the layout that the official ELFW release has too."""

from __future__ import annotations

import io
import multiprocessing
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import joblib
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tqdm import tqdm

from elfw_helpers.data.labels import ATTRIBUTES, PALETTE, attribute_from_mask
from elfw_helpers.rendering.face import RENDERER_VERSION, RenderedFace, check_seed, check_size, render_face
from elfw_helpers.rendering.manifest import MANIFEST, encode_json, encode_manifest, read_settings
from elfw_helpers.rendering.plan import SPLITS, PlannedFace, photo_seed, plan_faces
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import explain_error, write_atomically

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
) -> Path:
    """Render a set of faces with masks, labels, splits by person and a manifest.

    A run that was interrupted goes on where it stopped. Labels and splits are written last, when all
    faces exist. How many workers render makes no difference to the pixels.

    Args:
        out: a new or empty folder, or one that the same call left unfinished.
        count: number of faces.
        seed: decides all of them, non-negative.
        size: side of a picture, pixels; a positive multiple of 8.
        workers: processes; if None, one for each core that this process may use.
        progress: show a bar on stderr.

    Returns:
        the folder.

    Raises:
        ValueError: an argument is not one of these.
        DataError: the folder holds something else, or cannot be written.
        RuntimeError: 50 photos of a face do not show its attribute: the size is too small.
    """
    check_seed(seed, "seed")
    check_size(size)
    check_positive(count, "count")
    workers = joblib.cpu_count() if workers is None else workers
    check_positive(workers, "workers")
    try:
        render_set(
            Path(out),
            {"renderer": RENDERER_VERSION, "count": count, "seed": seed, "size": size},
            workers,
            progress,
        )
    except OSError as error:
        refusal = explain_error(error)
        fix = f"{refusal.fix}; the same command goes on where this one stopped"
        raise DataError(out, f"cannot write there ({refusal.found})", fix) from error
    return Path(out)


def render_set(out: Path, settings: dict, workers: int, progress: bool) -> None:
    """Render what is missing of a set, then write its lists."""
    faces = plan_faces(settings["count"], settings["seed"])
    prepare_folder(out, settings, faces)
    missing = [face for face in faces if not is_rendered(out, face.name)]
    done = len(faces) - len(missing)
    with tqdm(total=len(faces), initial=done, unit="face", disable=not progress) as bar:
        for _ in render_missing(out, missing, settings["seed"], settings["size"], workers):
            bar.update()
    write_lists(out, faces, settings)


def check_positive(value: int, name: str) -> None:
    """Raise ValueError unless `value` is a whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value <= 0:
        raise ValueError(f"{name} is a whole number above 0, not {value!r}")


def prepare_folder(out: Path, settings: dict, faces: list[PlannedFace]) -> None:
    """Make the folder ready for these settings, or refuse it because it holds something else."""
    if out.exists() and not out.is_dir():
        raise DataError(out, "this is a file", "Name a new or an empty folder.")
    manifest = out / MANIFEST
    present = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if not present:
        (out / "faces").mkdir(parents=True)
        (out / "labels").mkdir()
        write_atomically(manifest, encode_json(settings))
        return
    found = read_settings(out)
    if found is None:
        raise DataError(
            out,
            f"it already holds {summarise(present)}, and no set rendered by this command",
            "Name a new or an empty folder.",
        )
    if found != settings:
        raise DataError(
            manifest,
            f"the folder holds a set rendered with {found}, not with {settings}",
            "Name another folder, or use the same settings to go on with this one.",
        )
    refuse_foreign_files(out, present, faces)


def refuse_foreign_files(out: Path, present: list[str], faces: list[PlannedFace]) -> None:
    """Raise DataError if the folder holds a file that does not belong to the set."""
    known = {"faces", "labels", "labels.txt", MANIFEST, *(f"{split}.txt" for split in SPLITS)}
    foreign = [name for name in present if PARTIAL.sub(r"\1", name) not in known]
    for folder, ending in (("faces", ".jpg"), ("labels", ".png")):
        (out / folder).mkdir(exist_ok=True)
        expected = {face.name + ending for face in faces}
        held = (path.name for path in (out / folder).iterdir())
        foreign += [f"{folder}/{name}" for name in held if PARTIAL.sub(r"\1", name) not in expected]
    if foreign:
        raise DataError(
            out,
            f"it holds {summarise(sorted(foreign))}, which the set does not",
            "Move it away, or name another folder.",
        )


def summarise(names: list[str]) -> str:
    """Return the first three names and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def is_rendered(out: Path, name: str) -> bool:
    """Return whether a face is complete: its mask is written after its picture."""
    return (out / "labels" / f"{name}.png").exists() and (out / "faces" / f"{name}.jpg").exists()


def render_missing(out: Path, faces: list[PlannedFace], seed: int, size: int, workers: int) -> Iterator[str]:
    """Render the faces and yield the name of each as it is done."""
    job = partial(render_to_disk, out=out, seed=seed, size=size)
    if workers == 1 or len(faces) < 2:
        yield from map(job, faces)
        return
    # Spawned, not forked: a notebook that calls this has threads running, and forking those can hang.
    with multiprocessing.get_context("spawn").Pool(min(workers, len(faces))) as pool:
        yield from pool.imap_unordered(job, faces, chunksize=4)


def render_to_disk(face: PlannedFace, out: Path, seed: int, size: int) -> str:
    """Render one planned face, write its picture and its mask, and return its name."""
    rendered = render_planned(face, seed, size)
    write_atomically(out / "faces" / f"{face.name}.jpg", encode_jpeg(rendered.image))
    write_atomically(out / "labels" / f"{face.name}.png", encode_mask(rendered))
    return face.name


def render_planned(face: PlannedFace, seed: int, size: int) -> RenderedFace:
    """Render photos of the person until the mask shows the planned attribute.

    The rule looks at the mask, so a beanie outside the crop makes no cap: such a photo is drawn again.
    """
    for attempt in range(ATTEMPTS):
        photo = photo_seed(seed, face.index, attempt)
        rendered = render_face(photo, size, face.identity_seed, ATTRIBUTES[face.attribute])
        if attribute_from_mask(rendered.mask) == face.attribute:
            return rendered
    raise RuntimeError(
        f"{face.name}: no photo in {ATTEMPTS} shows {ATTRIBUTES[face.attribute]}; is {size} px too small?"
    )


def encode_jpeg(image: np.ndarray) -> bytes:
    """Return a picture, uint8 [S, S, 3], as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def encode_mask(face: RenderedFace) -> bytes:
    """Return the mask as an indexed PNG file in ELFW's colours; the photo's seed travels in its header."""
    file, header = io.BytesIO(), PngInfo()
    header.add_text("seed", str(face.parameters.seed))
    picture = Image.fromarray(face.mask)
    picture.putpalette(PALETTE.tobytes())
    picture.save(file, "PNG", optimize=True, pnginfo=header)
    return file.getvalue()


def write_lists(out: Path, faces: list[PlannedFace], settings: dict) -> None:
    """Write labels.txt, the three split files and the complete manifest."""
    labels = "".join(f"{face.name} {ATTRIBUTES[face.label]}\n" for face in faces)
    write_atomically(out / "labels.txt", labels.encode())
    for split in SPLITS:
        names = "".join(f"{face.name}\n" for face in faces if face.split == split)
        write_atomically(out / f"{split}.txt", names.encode())
    write_atomically(out / MANIFEST, encode_manifest(out, faces, settings))
