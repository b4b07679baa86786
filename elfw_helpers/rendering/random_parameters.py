"""Draws the parameters of a face from a seed.

The identity comes from the identity's seed; everything else belongs to one photo and comes from the photo's
seed, each part from its own stream. Traits are drawn independently of each other, except grey hair and
a receding hairline, which come with age. No skin tone, hair length, beard or headwear goes with another, so
that a network cannot learn one from the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from elfw_helpers.rendering import colours, parameters
from elfw_helpers.rendering.colours import any_colour, mix_colours, scale_colour, skin_colour, to_linear
from elfw_helpers.rendering.ingredients import add_ingredients
from elfw_helpers.rendering.parameters import FaceParameters, Identity
from elfw_helpers.rendering.random_streams import IDENTITY, PHOTO, Sampler


def sample_parameters(
    seed: int, identity_seed: int, attribute: str | None = None, ingredients: Iterable[str] = ()
) -> FaceParameters:
    """Draw everything that decides a picture.

    Attribute "hair" wears neither, "spectacles" eyewear only, "cap" headwear (and eyewear as often as anyone;
    one time in twenty glasses pushed up instead). None draws one of them: 60, 20 and 20 %. Ingredients are of
    `ingredients.INGREDIENTS`; ValueError for another name.
    """
    identity, sampler = sample_identity(identity_seed), Sampler(PHOTO, seed)
    attribute = attribute or sampler.choose(("hair", "spectacles", "cap"), (0.6, 0.2, 0.2))
    # A quarter of the faces wear glasses, with headwear or without. Some wear them pushed up on the head,
    # which ELFW counts as headwear.
    spectacled, pushed_up = sampler.chance(0.25), sampler.chance(0.05) and attribute == "cap"
    lift = sampler.uniform(0.8, 1.05) if pushed_up else 0.0
    worn = {
        "eyewear": pushed_up or attribute == "spectacles" or (attribute == "cap" and spectacled),
        "headwear": attribute == "cap" and not pushed_up,
        "mouth_mask": sampler.chance(0.07),
        "hand": sampler.chance(0.08),
    }
    parts = {name: draw_part(name, seed, identity) if worn.get(name, True) else None for name in PARTS}
    if pushed_up:
        parts["eyewear"] = replace(parts["eyewear"], lift=lift)
    face = FaceParameters(seed=seed, identity_seed=identity_seed, identity=identity, **parts)
    return add_ingredients(face, ingredients)


def draw_part(name: str, seed: int, identity: Identity) -> Any:
    """Draw one part of a photo from its own stream, as if it were worn."""
    return PARTS[name](Sampler(PHOTO, seed, 1 + list(PARTS).index(name)), identity)


def sample_identity(identity_seed: int) -> Identity:
    """Draw a person."""
    s = Sampler(IDENTITY, identity_seed)
    age = round(s.uniform() ** 1.5, 4)
    hair_tone = scale_colour(to_linear(s.choose(tuple(colours.HAIR_TONES.values()))), s.uniform(0.75, 1.25))
    greying = min(max(3 * age - 2 + s.normal(0, 0.35), 0), 1)
    return Identity(
        skin_tone=s.uniform(),
        skin_warmth=s.normal(0, 0.07),
        hair_colour=any_colour(s)
        if s.chance(0.02)
        else mix_colours(hair_tone, to_linear(colours.GREY_HAIR), greying),
        eye_colour=to_linear(s.choose(colours.EYE_TONES)),
        age=age,
        face_width=s.uniform(0.73, 0.85),
        jaw_width=s.uniform(0.56, 0.72),
        chin_height=s.normal(-1.17, 0.04),
        chin_width=s.uniform(0.13, 0.27),
        cheek=s.uniform(0.84, 0.92),
        nose_width=s.uniform(0.09, 0.15),
        nose_depth=s.uniform(0.80, 0.93),
        eye_size=s.uniform(0.85, 1.2),
        eye_slant=s.normal(0.05, 0.05),
        eye_depth=s.uniform(0.12, 0.24),
        brow_thickness=s.uniform(0.025, 0.075),
        brow_height=s.uniform(0.12, 0.21),
        socket_shade=s.uniform(0.1, 0.75),
        mouth_width=s.uniform(0.22, 0.31),
        lip_fullness=s.uniform(0.7, 1.4),
        hair_length=s.choose(parameters.HAIR_LENGTHS, (0.05, 0.16, 0.34, 0.14, 0.31)),
        curl=s.choose((0.0, 0.5, 1.0), (0.5, 0.28, 0.22)),
        hairline=s.uniform(0.62, 0.84),
        recession=round(s.uniform() * (0.3 + 0.7 * age), 4),
        beard=s.choose(parameters.BEARDS, (0.56, 0.17, 0.09, 0.09, 0.09)),
        freckles=s.uniform() if s.chance(0.2) else 0.0,
    )


def sample_pose(s: Sampler, identity: Identity) -> parameters.Pose:
    """Draw a pose; three in twenty crops are loose, one in ten is tight."""
    crop = s.choose(("usual", "loose", "tight"), (0.75, 0.15, 0.1))
    loose = crop == "loose"
    zoom = {"usual": (0.88, 1.08), "loose": (1.1, 1.4), "tight": (0.76, 0.88)}[crop]
    return parameters.Pose(
        yaw=min(max(s.normal(0, 0.28), -0.75), 0.75),
        pitch=s.normal(0.02, 0.12),
        roll=s.normal(0, 0.1 if loose else 0.06),
        distance=s.uniform(9, 25),
        zoom=s.uniform(*zoom),
        shift_x=s.normal(0, 0.08 if loose else 0.03),
        shift_y=s.normal(0, 0.08 if loose else 0.03),
    )


def sample_expression(s: Sampler, identity: Identity) -> parameters.Expression:
    """Draw an expression; smiles show teeth more often."""
    smile = s.uniform(-0.2, 1)
    made_up = s.chance(0.35)
    return parameters.Expression(
        smile=smile,
        mouth_open=s.uniform(0.02, 0.1) if s.chance(0.65 if smile > 0.35 else 0.2) else 0.0,
        eyes_open=s.uniform(0.75, 1.1) * (1 - 0.25 * max(smile, 0)),
        gaze=s.normal(0, 0.025),
        lipstick=to_linear(s.choose(colours.LIPSTICKS)),
        lipstick_strength=s.uniform(0.3, 0.8) if made_up else s.uniform(0, 0.15),
        eyeliner=s.uniform(0.2, 1) if made_up else s.uniform(0, 0.5),
        eyeshadow=s.uniform(0.1, 1) if s.chance(0.6) else 0.0,
        eyeshadow_height=s.uniform(0.04, 0.15),
        eyeshadow_colour=mix_colours((0.15, 0.12, 0.12), any_colour(s), s.choose((0.0, 0.5), (0.7, 0.3))),
    )


def sample_hair(s: Sampler, identity: Identity) -> parameters.Hair:
    """Draw how the hair is worn: its length and curl belong to the identity."""
    length, long = identity.hair_length, identity.hair_length == "long"
    fullness = {"bald": 0.0, "cropped": 0.03, "short": 0.15, "bob": 0.2, "long": 0.18}[length]
    tied = s.choose(("loose", "bun", "back"), (0.76, 0.12, 0.12)) if long else "loose"
    curtain = s.uniform(0.1, 0.9) if s.chance(0.6) else 0.0
    return parameters.Hair(
        volume=round(fullness * s.uniform(0.5, 1.7) * (1 + 1.2 * max(identity.curl - 0.5, 0)), 4),
        parting=s.normal(0, 0.18),
        sweep=s.normal(0, 0.3),
        curtain=curtain if length in ("bob", "long") and tied == "loose" else round(0.3 * curtain, 4),
        fringe=s.uniform(0.24, 0.55) if length != "cropped" and s.chance(0.28) else None,
        fringe_slope=s.normal(0, 0.45),
        quiff=s.uniform(0, 0.22) if length == "short" and s.chance(0.5) else 0.0,
        lock_width=s.uniform(0.18, 0.48),
        lock_bottom=s.uniform(-1.2, -0.7) if length == "bob" else s.uniform(-2.8, -1.4),
        lock_front=s.uniform(-0.4, 0.25),
        nape=s.uniform(-0.4, -0.1),
        tied=tied,
        wisps=round((0.04 if identity.curl == 1.0 else 0.09) * s.uniform() ** 1.5, 4),
        roughness=round(s.uniform(0.006, 0.02) * (1 + 0.5 * identity.curl), 4),
        strand_width=s.uniform(3, 7),
        contrast=s.uniform(0.15, 0.55),
        gloss=s.uniform(0.02, 0.14),
        phase=s.uniform(),
    )


def sample_beard(s: Sampler, identity: Identity) -> str:
    """Draw the beard: the person's own, but one day in ten it is shaved off."""
    return "none" if s.chance(0.1) else identity.beard


def sample_cloth(s: Sampler) -> parameters.Cloth:
    """Draw a material."""
    return parameters.Cloth(
        colour=scale_colour(any_colour(s), s.uniform(0.3, 1)),
        second_colour=any_colour(s),
        pattern=s.choose(("plain", "stripes", "ribs", "blotches", "knit"), (0.4, 0.15, 0.15, 0.15, 0.15)),
        frequency=s.uniform(1.5, 6),
    )


def sample_headwear(s: Sampler, identity: Identity) -> parameters.Headwear:
    """Draw headwear of a random kind."""
    return parameters.Headwear(
        kind=s.choose(parameters.HEADWEAR_KINDS, (0.24, 0.07, 0.18, 0.17, 0.07, 0.1, 0.07, 0.05, 0.05)),
        cloth=sample_cloth(s),
        front=s.uniform(0.36, 0.62),
        tilt=s.normal(0, 0.05),
        height=s.uniform(0, 0.35),
        brim=s.uniform(0.35, 0.6),
        slack=s.uniform(0.02, 0.1),
        logo=any_colour(s) if s.chance(0.35) else None,
    )


def sample_mouth_mask(s: Sampler, identity: Identity) -> parameters.MouthMask:
    """Draw a mouth-mask: half of them pale, as surgical ones are."""
    cloth = sample_cloth(s)
    if s.chance(0.5):
        pale = to_linear((s.uniform(170, 235), s.uniform(205, 235), s.uniform(215, 240)))
        cloth = parameters.Cloth(pale, pale, "plain", cloth.frequency)
    return parameters.MouthMask(cloth, top=s.uniform(-0.3, -0.12), pleats=s.uniform(0, 0.012))


def sample_eyewear(s: Sampler, identity: Identity) -> parameters.Eyewear:
    """Draw spectacles; half of them have dark lenses."""
    dark, width, thin = s.chance(0.5), s.uniform(0.21, 0.29), s.chance(0.3)
    return parameters.Eyewear(
        dark=dark,
        lift=0.0,
        lens_x=round(width + s.uniform(0.05, 0.09), 4),
        lens_width=width,
        lens_height=round(width * s.uniform(0.58, 1.0), 4),
        lens_y=s.normal(-0.04, 0.025),
        roundness=s.choose((2, 4, 8), (0.4, 0.4, 0.2)),
        taper=s.uniform(-0.3, 0.6),
        bend=s.uniform(0.08, 0.35),
        depth=s.uniform(0.86, 0.94),
        rim=s.uniform(0.015, 0.022) if thin else s.uniform(0.022, 0.05),
        lower_rim=s.choose((1.0, 0.15), (0.8, 0.2)),
        tint=s.uniform(0.75, 0.98) if dark else s.uniform(0.03, 0.3),
        lens_colour=scale_colour(any_colour(s, 0.3), 0.12 if dark else 0.8),
        frame_colour=scale_colour(any_colour(s), 0.1 if s.chance(0.7) else 0.8),
        reflection=s.uniform(0.05, 0.3) if s.chance(0.6) else 0.0,
        reflection_slope=s.uniform(-1.2, 1.2),
    )


def sample_hand(s: Sampler, identity: Identity) -> parameters.Hand:
    """Draw a hand: at the chin, before the mouth, at a cheek or over an eye; one in four is another's."""
    x, y, depth = s.choose(((0.0, -1.3, 0.75), (0.0, -0.75, 0.95), (0.55, -0.7, 0.6), (0.4, -0.1, 0.95)))
    side = s.choose((-1, 1))
    return parameters.Hand(
        skin=identity.skin if s.chance(0.75) else skin_colour(s.uniform(), s.normal(0, 0.07)),
        x=round(side * x + s.normal(0, 0.15), 4),
        y=round(y + s.normal(0, 0.15), 4),
        depth=round(depth + s.uniform(0, 0.12), 4),
        turn=round(side * s.normal(0.4, 0.4), 4),
        spread=s.uniform(0.02, 0.2),
        bend=s.uniform(0.0, 0.5),
        size=s.uniform(0.85, 1.1),
        left=side < 0,
    )


def sample_clothes(s: Sampler, identity: Identity) -> parameters.Clothes:
    """Draw what the shoulders wear: a third as dark as suits, and four in ten open over something else."""
    cloth, dark = sample_cloth(s), s.chance(0.33)
    return parameters.Clothes(
        cloth=replace(cloth, colour=scale_colour(cloth.colour, 0.12)) if dark else cloth,
        neckline=s.uniform(),
        shirt=any_colour(s) if s.chance(0.4) else None,
    )


def sample_background(s: Sampler, identity: Identity) -> parameters.Background:
    """Draw a background: one in five is bright, as studio walls are, and one in ten is dark."""
    brightness = s.choose(("usual", "bright", "dark"), (0.7, 0.2, 0.1))
    bright = brightness == "bright"
    return parameters.Background(
        kind=s.choose(parameters.BACKGROUNDS, (0.2, 0.22, 0.14, 0.22, 0.11, 0.11)),
        first=to_linear((s.uniform(215, 250),) * 3) if bright else any_colour(s, 0.6),
        second=any_colour(s, 0.6),
        brightness={"usual": s.uniform(0.4, 1.3), "bright": s.uniform(0.9, 1.4), "dark": 0.05}[brightness],
        blur=round(0.004 + 0.03 * s.uniform() ** 2, 4),
        seed=s.integer(),
    )


def sample_light(s: Sampler, identity: Identity) -> parameters.Light:
    """Draw the light: a lamp from above more often than from below."""
    x, y, z = s.normal(0, 0.65), s.normal(0.5, 0.4), s.uniform(0.5, 1.2)
    length = (x * x + y * y + z * z) ** 0.5
    lamp, sky = s.uniform(0.7, 1.9), s.uniform(0.2, 0.9)
    return parameters.Light(
        direction=(round(x / length, 4), round(y / length, 4), round(z / length, 4)),
        lamp=tuple(round(lamp * (1 + s.normal(0, 0.06)), 4) for _ in range(3)),
        sky=tuple(round(sky * (1 + s.normal(0, 0.06)), 4) for _ in range(3)),
        softness=s.uniform(0.1, 0.6),
        shine=round(0.04 + 0.2 * s.uniform() ** 2, 4),
    )


def sample_camera(s: Sampler, identity: Identity) -> parameters.Camera:
    """Draw what happens to the picture after the light; three in a hundred are grey."""
    return parameters.Camera(
        exposure=round(2.0 ** s.normal(-0.3, 0.35), 4),
        white_balance=tuple(round(base * (1 + s.normal(0, 0.06)), 4) for base in (1.03, 1.0, 0.97)),
        contrast=s.uniform(0.9, 1.5),
        saturation=0.0 if s.chance(0.03) else s.uniform(0.7, 1.3),
        blur=s.uniform(0.4, 0.8) if s.chance(0.85) else s.uniform(0.8, 1.6),
        noise=round(4 * s.uniform() ** 2, 4),
        jpeg_quality=int(s.uniform(55, 96)),
    )


# How each part of a photo is drawn. A part's stream is numbered by its place here: add new ones at the end.
PARTS = {
    "pose": sample_pose,
    "expression": sample_expression,
    "hair": sample_hair,
    "beard": sample_beard,
    "eyewear": sample_eyewear,
    "headwear": sample_headwear,
    "mouth_mask": sample_mouth_mask,
    "hand": sample_hand,
    "clothes": sample_clothes,
    "light": sample_light,
    "background": sample_background,
    "camera": sample_camera,
}
