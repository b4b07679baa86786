"""Where augmented faces come from: the manifest of a folder of copies, and what their names alone say.

A copy of a test face must not enter training. `augment.folder` writes the manifest; whatever reads a
folder of faces reads it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from elfw_helpers.utils.errors import DataError

MANIFEST, VERSION = "manifest.json", 1
# As Origin.name writes it, and as ELFW's own augmented folders do (Some_Name_0003_elfw-sunglasses-12).
COPY = re.compile(r"(?P<source>.+)-(eyewear|mouth-mask|hand)-\d{3}")
ELFW_COPY = re.compile(r"(?P<source>.+)_elfw-.+")


class Origin(NamedTuple):
    """Where an augmented face came from: the name of its source face, the object's kind and its seed."""

    source: str
    object: str
    object_seed: int

    @property
    def name(self) -> str:
        """The name of the augmented face."""
        return f"{self.source}-{self.object}-{self.object_seed:03d}"


def source_of(name: str) -> str:
    """Return the face that a copy was made of, going by its name; of any other face, its own name."""
    while copy := COPY.fullmatch(name) or ELFW_COPY.fullmatch(name):
        name = copy["source"]
    return name


def is_of_renderer(manifest: Path) -> bool:
    """Return whether a manifest is that of a rendered set, which knows no copies."""
    try:
        return "renderer" in json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def read_origins(folder: str | Path) -> dict[str, Origin]:
    """Return where each face of an augmented folder came from, by its name, from the manifest.

    Raises:
        DataError: there is no manifest, or it is damaged or of another version.
    """
    file = Path(folder) / MANIFEST
    fix = "Write the folder with `elfw augment`: without a manifest nothing keeps test faces out of training"
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if manifest["version"] != VERSION:
            raise ValueError(f"version {manifest['version']!r}, not {VERSION}")
        origins = {name: Origin(**entry) for name, entry in manifest["faces"].items()}
        for name, origin in origins.items():
            if name != origin.name:
                raise ValueError(f"{name} is not what {origin.name} would be named")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(file, f"no manifest of augmented faces ({error!r})", fix) from error
    return origins
