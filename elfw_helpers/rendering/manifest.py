"""Reads and writes the manifest of a rendered set: settings, and seeds, checksums, parameters of each face.

Names of parameters are written once, under `columns`, and only the values with each face, in that order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import astuple, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
from PIL import Image

from elfw_helpers.data.labels import ATTRIBUTES
from elfw_helpers.rendering.parameters import Cloth, FaceParameters
from elfw_helpers.rendering.plan import PlannedFace
from elfw_helpers.rendering.random_parameters import PARTS, sample_parameters
from elfw_helpers.utils.errors import DataError

MANIFEST = "manifest.json"
SETTINGS = ("renderer", "count", "seed", "size")
# The class of every part that has parameters of its own, by its name.
CLASSES = {
    name: kind
    for name, hint in get_type_hints(FaceParameters).items()
    for kind in (hint, *get_args(hint))
    if is_dataclass(kind)
} | {"cloth": Cloth}


def read_settings(folder: Path) -> dict | None:
    """Return the settings in a folder's manifest, or None if it cannot be read."""
    try:
        content = read_manifest(folder)
        needed = {key: content[key] for key in SETTINGS}
        return needed | {key: content[key] for key in content if key == "ingredients"}
    except (DataError, KeyError, TypeError):
        return None


def read_manifest(folder: str | Path) -> dict:
    """Return the manifest of a set as it is stored, or raise DataError if it cannot be read."""
    file = Path(folder) / MANIFEST
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fix = "Folders made by `elfw render` have one"
        raise DataError(file, f"no manifest of rendered faces ({error})", fix) from error


def read_parameters(folder: str | Path) -> dict[str, FaceParameters]:
    """Return the parameters of every face of a rendered set, by its name.

    Raises:
        DataError: the folder has no manifest, or one that is not finished or of another version.
    """
    content, found = read_manifest(folder), {}
    try:
        for name, entry in content["faces"].items():
            packed = {"identity": content["people"][name.rpartition("_")[0]], **entry["parameters"]}
            parts = {part: unpack(part, value) for part, value in packed.items()}
            found[name] = FaceParameters(entry["seed"], entry["identity_seed"], **parts)
        return found
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"a manifest that is not finished, or of another version ({error!r})"
        fix = "The same `elfw render` again finishes it"
        raise DataError(Path(folder) / MANIFEST, found, fix) from error


def encode_manifest(out: Path, faces: list[PlannedFace], settings: dict) -> bytes:
    """Return the complete manifest of a set whose pictures and masks are all in `out`."""
    people, photos, wrong = {}, {}, {}
    for face in faces:
        identity, photos[face.name] = describe_face(out, face, settings.get("ingredients", ()))
        people[face.person] = identity
        if face.label != face.attribute:
            wrong[face.name] = {"label": ATTRIBUTES[face.label], "attribute": ATTRIBUTES[face.attribute]}
    columns = {part: [entry.name for entry in fields(kind)] for part, kind in CLASSES.items()}
    tables = {"columns": columns, "wrong_labels": wrong, "people": people, "faces": photos}
    return encode_json(settings | tables)


def describe_face(out: Path, face: PlannedFace, ingredients: Iterable[str]) -> tuple[tuple, dict]:
    """Return the identity of a face, packed, and its own entry: seeds, checksums and parameters.

    The mask's checksum is that of its class ids, which are the same on every machine; the picture's is that
    of the file, whose bytes also depend on the JPEG library.
    """
    with Image.open(out / "labels" / f"{face.name}.png") as picture:
        mask, seed = np.asarray(picture), int(picture.info["seed"])
    attribute = ATTRIBUTES[face.attribute]
    parameters = sample_parameters(seed, face.identity_seed, attribute, ingredients)
    entry = {
        "attribute": attribute,
        "split": face.split,
        "seed": seed,
        "identity_seed": face.identity_seed,
        "mask_sha256": hashlib.sha256(mask.tobytes()).hexdigest(),
        "jpeg_sha256": hashlib.sha256((out / "faces" / f"{face.name}.jpg").read_bytes()).hexdigest(),
        "parameters": {part: pack(getattr(parameters, part)) for part in PARTS},
    }
    return pack(parameters.identity), entry


def pack(value: Any) -> Any:
    """Return the values of a part in the order of its fields, parts within it likewise; else the value."""
    return astuple(value) if is_dataclass(value) else value


def unpack(name: str, packed: Any) -> Any:
    """Return what was packed under a name: a part, or a number, word, colour or None."""
    if packed is None or name not in CLASSES:
        return tuple(packed) if isinstance(packed, list) else packed
    names = [entry.name for entry in fields(CLASSES[name])]
    return CLASSES[name](*(unpack(field, value) for field, value in zip(names, packed, strict=True)))


def encode_json(content: dict) -> bytes:
    """Return JSON with one line per entry of each table, so that a diff can be read."""
    lines = []
    for key, value in content.items():
        if isinstance(value, dict):
            rows = [f"  {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in value.items()]
            lines.append(f"{json.dumps(key)}: {{\n" + ",\n".join(rows) + "\n}")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
