"""Sets parameters of a face by name: `{"headwear": {"kind": "beanie"}, "pose": {"yaw": 0.4}}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from elfw_helpers.rendering import parameters
from elfw_helpers.rendering.parameters import FaceParameters
from elfw_helpers.rendering.random_parameters import PARTS, draw_part

# The parts that a face can do without.
OPTIONAL = ("eyewear", "headwear", "mouth_mask", "hand")
# The values that are allowed, by part and parameter.
CHOICES = {
    ("identity", "hair_length"): parameters.HAIR_LENGTHS,
    ("identity", "beard"): parameters.BEARDS,
    ("headwear", "kind"): parameters.HEADWEAR_KINDS + parameters.MORE_HEADWEAR_KINDS,
    ("background", "kind"): parameters.BACKGROUNDS,
    ("hair", "tied"): ("loose", "bun", "back"),
}


def change_parameters(face: FaceParameters, changes: Mapping[str, Any]) -> FaceParameters:
    """Return a face with some parameters set by name.

    What was drawn for an identity (beard, hair, the skin of the hand) stays as it is when the identity is
    changed: set it as well.

    Args:
        changes: by part: a mapping of the part's own parameters ({"kind": "beanie"}), the whole part as
            its class, for `beard` one of BEARDS, or None to take off one of OPTIONAL. A part that the face
            does not have is drawn first.

    Raises:
        ValueError: there is no such part, parameter or word (numbers are not checked).
    """
    known = ("identity", *PARTS)
    for part, value in changes.items():
        if part not in known:
            raise ValueError(f"there is no parameter {part!r} of a face. Known are {', '.join(known)}")
        present = getattr(face, part)
        if present is None:
            present = draw_part(part, face.seed, face.identity)
        if part == "beard":
            check_choice("beard", value, parameters.BEARDS)
        elif isinstance(value, Mapping):
            value = change_part(part, present, value)
        elif value is None and part not in OPTIONAL:
            raise ValueError(f"{part} cannot be None: only {', '.join(OPTIONAL)} can be taken off")
        elif value is not None and type(value) is not type(present):
            raise ValueError(f"{part} is a mapping of its parameters, not {value!r}")
        face = replace(face, **{part: value})
    return face


def change_part(part: str, present: Any, changes: Mapping[str, Any]) -> Any:
    """Return a part with some of its parameters set, or raise ValueError for one it does not have."""
    known = [entry.name for entry in fields(present)]
    for name, value in changes.items():
        if name not in known:
            raise ValueError(f"there is no parameter {name!r} of {part}. Known are {', '.join(known)}")
        if (part, name) in CHOICES:
            check_choice(f"{part} {name}", value, CHOICES[part, name])
    return replace(present, **changes)


def check_choice(name: str, value: Any, options: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of the allowed words."""
    if value not in options:
        raise ValueError(f"{name} is one of {', '.join(options)}, not {value!r}")
