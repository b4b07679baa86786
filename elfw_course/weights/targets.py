"""What `pretraining` learns of a rendered face: what the renderer knows, but nothing that tells what is worn.

Numbers, such as the yaw, of no part that a face wears. They count only where nothing is worn that may hide
them: the hair under a cap would tell the cap. And a mask in which headwear counts as hair, and eyewear, a
mouth-mask and a beard count as the face.
"""

from __future__ import annotations

import math
from operator import attrgetter
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from elfw_helpers.rendering.parameters import BACKGROUNDS, BEARDS, HAIR_LENGTHS, FaceParameters


class Group(NamedTuple):
    """Parameters of a face, by their names, and the parts that hide them when they are worn."""

    names: tuple[str, ...]
    hidden_by: tuple[str, ...] = ()


GROUPS = {
    "pose": Group(("pose.yaw", "pose.pitch", "pose.roll", "pose.zoom", "pose.shift_x", "pose.shift_y")),
    "light": Group(("light.direction", "camera.exposure", "camera.saturation")),
    "skin": Group(("identity.skin_tone", "identity.skin_warmth")),
    "hair": Group(
        (
            "identity.hair_colour",
            "identity.hair_length",
            "identity.curl",
            "identity.hairline",
            "hair.volume",
            "hair.parting",
            "hair.tied",
        ),
        # Eyewear may be pushed up into the hair.
        ("headwear", "eyewear"),
    ),
    "eyes": Group(
        ("expression.eyes_open", "expression.gaze", "expression.eyeshadow"),
        ("headwear", "eyewear", "hand"),
    ),
    "mouth": Group(
        ("expression.smile", "expression.mouth_open", "expression.lipstick_strength", "beard"),
        ("mouth_mask", "hand"),
    ),
    "clothes": Group(("clothes.cloth.colour",)),
    "background": Group(("background.kind", "background.first")),
}
# A word becomes one number per word that is possible: 1 for its own, 0 for the others.
WORDS = {
    "identity.hair_length": HAIR_LENGTHS,
    "hair.tied": ("loose", "bun", "back"),
    "beard": BEARDS,
    "background.kind": BACKGROUNDS,
}
# In linear light dark colours are nearly the same number; their roots are as far apart as they look.
COLOURS = {"identity.hair_colour", "clothes.cloth.colour", "background.first"}
# What changes its sign in a mirror.
MIRRORED = {
    "pose.yaw",
    "pose.roll",
    "pose.shift_x",
    "light.direction 0",
    "expression.gaze",
    "hair.parting",
}
# Background, face, and hair or headwear, in the order of PIXEL_CLASSES.
MERGED = (0, 1, 2, 1, 1, 2, 1)


def describe_face(face: FaceParameters) -> dict[str, float]:
    """Return the numbers to learn of a face by their names; NaN for those that may be hidden."""
    numbers = {}
    for names, hidden_by in GROUPS.values():
        hidden = any(getattr(face, part) is not None for part in hidden_by)
        for name in names:
            found = list_numbers(name, attrgetter(name)(face))
            numbers |= dict.fromkeys(found, math.nan) if hidden else found
    return numbers


def list_numbers(name: str, value: float | str | tuple[float, ...]) -> dict[str, float]:
    """Return a parameter's value as numbers by their names: one, or one per entry or possible word."""
    if name in WORDS:
        return {f"{name} {word}": float(word == value) for word in WORDS[name]}
    if name in COLOURS:
        value = tuple(math.sqrt(channel) for channel in value)
    if isinstance(value, tuple):
        return {f"{name} {place}": number for place, number in enumerate(value)}
    return {name: value}


def stack_numbers(faces: list[FaceParameters]) -> tuple[Tensor, list[str]]:
    """Return the numbers to learn of N faces, float32 [N, T], NaN where hidden, and their T names."""
    rows = [describe_face(face) for face in faces]
    return torch.tensor([list(row.values()) for row in rows]), list(rows[0])


def merge_classes(masks: Tensor) -> Tensor:
    """Return masks of MERGED's three classes, uint8 [N, H, W], of masks of ELFW's seven."""
    return torch.tensor(MERGED, dtype=torch.uint8)[masks.long()]


def mirror_signs(names: list[str]) -> Tensor:
    """Return what each number is multiplied by in a mirror: float32 [T] of 1 and -1."""
    return torch.tensor([-1.0 if name in MIRRORED else 1.0 for name in names])


def measure_spread(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Return each number's mean and standard deviation where it is not hidden, float32 [T] each."""
    mean = numbers.nanmean(0)
    # Of a few faces all may have the same word.
    return mean, (numbers - mean).square().nanmean(0).sqrt().clamp(min=1e-3)


def number_loss(predicted: Tensor, numbers: Tensor) -> Tensor:
    """Return the mean error over what is not hidden: squared up to 1, then linear, so that none is too steep.

    Args:
        predicted, numbers: float32 [N, T], in standard deviations; numbers are NaN where hidden.
    """
    known = numbers.isfinite()
    return smooth_l1_loss(predicted[known], numbers[known])


def explain_groups(predicted: Tensor, numbers: Tensor, names: list[str]) -> dict[str, float]:
    """Return the share of the variance explained per group: 1 - squared error / variance, mean over numbers.

    Args:
        predicted, numbers: float32 [N, T]; numbers are NaN where hidden. Their T names come in their order.
    """
    rest = (predicted - numbers).square().nanmean(0) / (numbers - numbers.nanmean(0)).square().nanmean(0)
    explained = dict(zip(names, (1 - rest).tolist(), strict=True))
    groups = {}
    for group, (members, _) in GROUPS.items():
        shares = [explained[name] for name in names if name.split(" ")[0] in members]
        # Of few faces, all may be alike in a number.
        shares = [share for share in shares if math.isfinite(share)]
        groups[group] = sum(shares) / len(shares) if shares else math.nan
    return groups
