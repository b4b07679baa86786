"""How the parameters of a face are drawn from a seed.

`Identity` is who it is and comes from the identity's seed; everything else is the photo of the day and
comes from the photo's seed. Traits are drawn independently of each other: no skin tone, hair length,
beard or headwear goes with another, so that a network cannot learn one from the other.
"""

from __future__ import annotations

from elfw_helpers.rendering.colours import (
    EYE_TONES,
    GREY_HAIR,
    HAIR_TONES,
    LIPSTICKS,
    any_colour,
    mix_colours,
    scale_colour,
    skin_colour,
    to_linear,
)
from elfw_helpers.rendering.parameters import (
    BEARDS,
    HAIR_LENGTHS,
    HEADWEAR_KINDS,
    Camera,
    Cloth,
    Clothes,
    Expression,
    Eyewear,
    FaceParameters,
    Hair,
    Headwear,
    Identity,
    Light,
    MouthMask,
    Pose,
)
from elfw_helpers.rendering.sampling import IDENTITY, PHOTO, Sampler


def sample_parameters(seed: int, identity_seed: int, attribute: str | None = None) -> FaceParameters:
    """Draw everything that decides a picture.

    Args:
        attribute: "hair", "spectacles" or "cap" to wear neither, eyewear only, or headwear (and then
            eyewear as often as anyone); None leaves it to chance: 60, 20 and 20 %.
    """
    identity, sampler = sample_identity(identity_seed), Sampler(PHOTO, seed)
    attribute = attribute or sampler.choose(("hair", "spectacles", "cap"), (0.6, 0.2, 0.2))
    # A quarter of the faces without headwear wear glasses, so a quarter of those with it do.
    spectacled = attribute == "spectacles" or (attribute == "cap" and sampler.chance(0.25))
    return FaceParameters(
        seed=seed,
        identity_seed=identity_seed,
        identity=identity,
        pose=sample_pose(sampler),
        expression=sample_expression(sampler),
        hair=sample_hair(sampler, identity),
        beard="none" if sampler.chance(0.1) else identity.beard,
        eyewear=sample_eyewear(sampler) if spectacled else None,
        headwear=sample_headwear(sampler) if attribute == "cap" else None,
        mouth_mask=sample_mouth_mask(sampler) if sampler.chance(0.07) else None,
        clothes=Clothes(sample_cloth(sampler), any_colour(sampler) if sampler.chance(0.4) else None),
        light=sample_light(sampler),
        camera=sample_camera(sampler),
    )


def sample_identity(identity_seed: int) -> Identity:
    """Draw a person."""
    s = Sampler(IDENTITY, identity_seed)
    age = round(s.uniform() ** 1.5, 4)
    hair_tone = scale_colour(to_linear(s.choose(tuple(HAIR_TONES.values()))), s.uniform(0.75, 1.25))
    greying = min(max(3 * age - 2 + s.normal(0, 0.35), 0), 1)
    return Identity(
        skin=skin_colour(s.uniform(), s.normal(0, 0.07)),
        hair_colour=any_colour(s)
        if s.chance(0.02)
        else mix_colours(hair_tone, to_linear(GREY_HAIR), greying),
        eye_colour=to_linear(s.choose(EYE_TONES)),
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
        brow_thickness=s.uniform(0.02, 0.05),
        brow_height=s.uniform(0.17, 0.23),
        mouth_width=s.uniform(0.22, 0.31),
        lip_fullness=s.uniform(0.7, 1.4),
        hair_length=s.choose(tuple(HAIR_LENGTHS), tuple(HAIR_LENGTHS.values())),
        curl=s.choose((0.0, 0.5, 1.0), (0.5, 0.28, 0.22)),
        hairline=s.uniform(0.62, 0.84),
        recession=round(s.uniform() * (0.3 + 0.7 * age), 4),
        beard=s.choose(tuple(BEARDS), tuple(BEARDS.values())),
        freckles=s.uniform() if s.chance(0.2) else 0.0,
    )


def sample_pose(s: Sampler) -> Pose:
    """Draw a pose; three in twenty crops are loose."""
    loose = s.chance(0.15)
    return Pose(
        yaw=min(max(s.normal(0, 0.28), -0.75), 0.75),
        pitch=s.normal(0.02, 0.12),
        roll=s.normal(0, 0.1 if loose else 0.06),
        distance=s.uniform(9, 25),
        zoom=s.uniform(1.1, 1.4) if loose else s.uniform(0.88, 1.08),
        shift_x=s.normal(0, 0.08 if loose else 0.03),
        shift_y=s.normal(0, 0.08 if loose else 0.03),
    )


def sample_expression(s: Sampler) -> Expression:
    """Draw an expression; who smiles shows teeth more often."""
    smile = s.uniform(-0.2, 1)
    return Expression(
        smile=smile,
        mouth_open=s.uniform(0.02, 0.1) if s.chance(0.65 if smile > 0.35 else 0.2) else 0.0,
        eyes_open=s.uniform(0.75, 1.1) * (1 - 0.25 * max(smile, 0)),
        gaze=s.normal(0, 0.025),
        lipstick=to_linear(s.choose(LIPSTICKS)),
        lipstick_strength=s.uniform(0.3, 0.8) if s.chance(0.35) else s.uniform(0, 0.15),
        eyeliner=s.uniform() if s.chance(0.35) else 0.0,
    )


def sample_hair(s: Sampler, identity: Identity) -> Hair:
    """Draw how the hair is worn: its length and curl belong to the identity."""
    fullness = {"bald": 0.0, "cropped": 0.03, "short": 0.14, "bob": 0.2, "long": 0.17}[identity.hair_length]
    return Hair(
        volume=round(fullness * s.uniform(0.6, 1.4) * (1 + 0.9 * max(identity.curl - 0.5, 0)), 4),
        parting=s.normal(0, 0.15),
        sweep=s.normal(0, 0.25),
        fringe=s.uniform(0.2, 0.5)
        if identity.hair_length in ("short", "bob", "long") and s.chance(0.3)
        else None,
        fringe_slope=s.normal(0, 0.3),
        lock_width=s.uniform(0.18, 0.34),
        lock_bottom=s.uniform(-1.2, -0.7) if identity.hair_length == "bob" else s.uniform(-2.8, -1.5),
        lock_front=s.uniform(-0.4, 0.1),
        nape=s.uniform(-0.4, -0.1),
        bun=identity.hair_length == "long" and s.chance(0.25),
        roughness=s.uniform(0.006, 0.02) * (1 + identity.curl),
        strand_width=s.uniform(3, 7),
        contrast=s.uniform(0.2, 0.5),
        gloss=s.uniform(0.02, 0.12),
        phase=s.uniform(),
    )


def sample_cloth(s: Sampler) -> Cloth:
    """Draw a material."""
    return Cloth(
        colour=scale_colour(any_colour(s), s.uniform(0.3, 1)),
        second_colour=any_colour(s),
        pattern=s.choose(("plain", "stripes", "ribs", "blotches", "knit"), (0.4, 0.15, 0.15, 0.15, 0.15)),
        frequency=s.uniform(1.5, 6),
    )


def sample_headwear(s: Sampler) -> Headwear:
    """Draw a thing on the head."""
    return Headwear(
        kind=s.choose(HEADWEAR_KINDS, (0.24, 0.07, 0.18, 0.17, 0.07, 0.1, 0.07, 0.05, 0.05)),
        cloth=sample_cloth(s),
        front=s.uniform(0.36, 0.62),
        tilt=s.normal(0, 0.05),
        height=s.uniform(0, 0.35),
        brim=s.uniform(0.35, 0.6),
        slack=s.uniform(0.02, 0.1),
        logo=any_colour(s) if s.chance(0.35) else None,
    )


def sample_mouth_mask(s: Sampler) -> MouthMask:
    """Draw a mouth-mask: half of them pale, as surgical ones are."""
    cloth = sample_cloth(s)
    if s.chance(0.5):
        pale = to_linear((s.uniform(170, 235), s.uniform(205, 235), s.uniform(215, 240)))
        cloth = Cloth(pale, pale, "plain", cloth.frequency)
    return MouthMask(cloth, top=s.uniform(-0.3, -0.12), pleats=s.uniform(0, 0.012))


def sample_eyewear(s: Sampler) -> Eyewear:
    """Draw spectacles; four in ten have dark lenses."""
    dark, width, thin = s.chance(0.4), s.uniform(0.21, 0.29), s.chance(0.45)
    return Eyewear(
        dark=dark,
        lens_x=round(width + s.uniform(0.05, 0.09), 4),
        lens_width=width,
        lens_height=round(width * s.uniform(0.58, 1.0), 4),
        lens_y=s.normal(-0.04, 0.025),
        roundness=s.choose((2, 4, 8), (0.4, 0.4, 0.2)),
        taper=s.uniform(-0.3, 0.6),
        bend=s.uniform(0.08, 0.35),
        depth=s.uniform(0.86, 0.94),
        rim=s.uniform(0.008, 0.016) if thin else s.uniform(0.018, 0.042),
        lower_rim=s.choose((1.0, 0.15), (0.8, 0.2)),
        tint=s.uniform(0.75, 0.98) if dark else s.uniform(0, 0.15),
        lens_colour=scale_colour(any_colour(s, 0.3), 0.12 if dark else 0.8),
        frame_colour=scale_colour(any_colour(s), 0.1 if s.chance(0.6) else 0.8),
        reflection=s.uniform(0.05, 0.25) if s.chance(0.5) else 0.0,
        reflection_slope=s.uniform(-1.2, 1.2),
    )


def sample_light(s: Sampler) -> Light:
    """Draw the light: a lamp from above more often than from below."""
    x, y, z = s.normal(0, 0.65), s.normal(0.5, 0.4), s.uniform(0.5, 1.2)
    length = (x * x + y * y + z * z) ** 0.5
    lamp, sky = s.uniform(0.7, 1.4), s.uniform(0.4, 0.95)
    return Light(
        direction=(round(x / length, 4), round(y / length, 4), round(z / length, 4)),
        lamp=tuple(round(lamp * (1 + s.normal(0, 0.06)), 4) for _ in range(3)),
        sky=tuple(round(sky * (1 + s.normal(0, 0.06)), 4) for _ in range(3)),
        softness=s.uniform(0.25, 0.6),
    )


def sample_camera(s: Sampler) -> Camera:
    """Draw what happens to the picture after the light; three in a hundred are grey."""
    return Camera(
        exposure=round(2.0 ** s.normal(-0.05, 0.35), 4),
        white_balance=tuple(round(base * (1 + s.normal(0, 0.06)), 4) for base in (1.03, 1.0, 0.97)),
        contrast=s.uniform(0.9, 1.2),
        saturation=0.0 if s.chance(0.03) else s.uniform(0.75, 1.15),
        blur=s.uniform(0.4, 0.8) if s.chance(0.85) else s.uniform(0.8, 1.6),
        noise=round(4 * s.uniform() ** 2, 4),
        jpeg_quality=int(s.uniform(55, 96)),
    )
