"""Ingredients that bring rendered faces nearer to photos: headwear of more kinds, backgrounds, hair.

Each changes some parts of a face by numbers from a stream of its own: a face without it is what it was, bit
for bit. What each is worth on photos is measured by `benchmarks/renderer_ablation.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from elfw_helpers.rendering import parameters
from elfw_helpers.rendering.colours import HAIR_TONES, any_colour, mix_colours, scale_colour, to_linear
from elfw_helpers.rendering.parameters import Cloth, FaceParameters
from elfw_helpers.rendering.random_streams import INGREDIENT, Sampler


def add_ingredients(face: FaceParameters, names: Iterable[str]) -> FaceParameters:
    """Return a face with ingredients, which are keys of INGREDIENTS; ValueError for another name."""
    for name in check_names(names):
        number, add = INGREDIENTS[name]
        face = add(face, Sampler(INGREDIENT, face.seed, number))
    return face


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of ingredients; raise ValueError for one that is not in INGREDIENTS."""
    names = tuple(names)
    for name in names:
        if name not in INGREDIENTS:
            raise ValueError(f"an ingredient is one of {', '.join(INGREDIENTS)}, not {name!r}")
    return names


def vary_headwear(face: FaceParameters, s: Sampler) -> FaceParameters:
    """Let headwear be of all kinds, low on the brow or high, wide or narrow; half of it dark and plain."""
    if face.headwear is None:
        return face
    kinds = parameters.HEADWEAR_KINDS + parameters.MORE_HEADWEAR_KINDS
    weights = (0.12, 0.06, 0.14, 0.1, 0.04, 0.04, 0.04, 0.03, 0.05, 0.16, 0.08, 0.06, 0.04, 0.04)
    cloth = face.headwear.cloth
    if s.chance(0.5):
        dark = scale_colour(any_colour(s, 0.4), s.uniform(0.05, 0.4))
        cloth = Cloth(dark, cloth.second_colour, "plain", cloth.frequency)
    worn = replace(
        face.headwear,
        kind=s.choose(kinds, weights),
        cloth=cloth,
        front=s.uniform(0.24, 0.62),
        height=s.uniform(0, 0.5),
        brim=s.uniform(0.15, 0.75),
        slack=s.uniform(0.0, 0.14),
    )
    return replace(face, headwear=worn)


def match_background(face: FaceParameters, s: Sampler) -> FaceParameters:
    """Put half of the faces before a background of the colour of their hair, headwear or clothes."""
    worn = face.headwear.cloth.colour if face.headwear else face.identity.hair_colour
    colour = s.choose((face.identity.hair_colour, worn, face.clothes.cloth.colour), (0.5, 0.3, 0.2))
    if not s.chance(0.5):
        return face
    behind = replace(
        face.background,
        first=mix_colours(colour, any_colour(s, 0.6), s.uniform(0, 0.3)),
        brightness=s.uniform(0.5, 1.5),
    )
    return replace(face, background=behind)


def vary_hair(face: FaceParameters, s: Sampler) -> FaceParameters:
    """Make half of the hair smooth and fine, before the shoulders; a sixth of the people are pale blond."""
    person, smooth = Sampler(INGREDIENT, face.identity_seed), s.chance(0.5)
    if person.chance(0.17):
        tone = to_linear(person.choose((HAIR_TONES["blond"], HAIR_TONES["light blond"])))
        pale = replace(face.identity, hair_colour=scale_colour(tone, person.uniform(0.6, 1.3)))
        face = replace(face, identity=pale)
    worn = replace(
        face.hair,
        contrast=s.uniform(0.03, 0.2),
        roughness=s.uniform(0.001, 0.008),
        strand_width=s.uniform(5, 12),
        gloss=s.uniform(0.02, 0.25),
        lock_front=s.uniform(-0.2, 0.5),
    )
    return replace(face, hair=worn) if smooth else face


# How each ingredient is added, and the number of its stream: 1, 4 and 5 were others', which did not help.
INGREDIENTS = {"headwear": (0, vary_headwear), "background": (2, match_background), "hair": (3, vary_hair)}
