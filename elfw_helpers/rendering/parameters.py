"""The named parameters of a face.

Lengths are in head units: the eyes are at y = 0 and 0.64 apart, the chin near y = -1.17, the nose
points to +z; one unit is about 50 pixels of a 128 pixel picture. Angles are in radians, colours in
linear light. How the numbers are drawn from a seed is in `drawing`.
"""

from __future__ import annotations

from dataclasses import dataclass

from elfw_helpers.rendering.colours import Colour

HEADWEAR_KINDS = (
    "cap",
    "backward cap",
    "beanie",
    "brimmed hat",
    "beret",
    "headscarf",
    "hood",
    "headband",
    "visor",
)
HAIR_LENGTHS = {"bald": 0.06, "cropped": 0.16, "short": 0.34, "bob": 0.16, "long": 0.28}
BEARDS = {"none": 0.56, "full": 0.17, "goatee": 0.09, "moustache": 0.09, "stubble": 0.09}


@dataclass(frozen=True)
class Identity:
    """What stays the same from photo to photo of one person."""

    skin: Colour
    hair_colour: Colour
    eye_colour: Colour
    age: float  # 0 young .. 1 old
    face_width: float
    jaw_width: float
    chin_height: float  # y of the chin, negative
    chin_width: float
    cheek: float
    nose_width: float
    nose_depth: float
    eye_size: float
    eye_slant: float
    brow_thickness: float
    brow_height: float
    mouth_width: float
    lip_fullness: float
    hair_length: str  # a key of HAIR_LENGTHS
    curl: float  # 0 straight .. 1 tight curls
    hairline: float  # y where the hair begins
    recession: float  # how far the corners of the hairline have gone back
    beard: str  # a key of BEARDS
    freckles: float


@dataclass(frozen=True)
class Pose:
    """How the head is held and the camera placed; `zoom` above 1 is a looser crop."""

    yaw: float
    pitch: float
    roll: float
    distance: float
    zoom: float
    shift_x: float  # share of half the picture
    shift_y: float


@dataclass(frozen=True)
class Expression:
    """What the face is doing."""

    smile: float  # -0.2 .. 1
    mouth_open: float
    eyes_open: float
    gaze: float
    lipstick: Colour
    lipstick_strength: float
    eyeliner: float


@dataclass(frozen=True)
class Hair:
    """The hair as it is worn today."""

    volume: float
    parting: float  # x of the parting
    sweep: float  # slope of the hairline: how far it falls to one side
    fringe: float | None  # y down to which a fringe falls, or None
    fringe_slope: float
    lock_width: float
    lock_bottom: float
    lock_front: float  # z of the locks: above 0 in front of the shoulders
    nape: float  # y where short hair ends
    bun: bool
    roughness: float
    strand_width: float
    contrast: float
    gloss: float
    phase: float


@dataclass(frozen=True)
class Cloth:
    """A coloured material."""

    colour: Colour
    second_colour: Colour
    pattern: str  # plain, stripes, ribs, blotches or knit
    frequency: float


@dataclass(frozen=True)
class Headwear:
    """A thing on the head; `kind` is one of HEADWEAR_KINDS."""

    kind: str
    cloth: Cloth
    front: float  # y of its front edge
    tilt: float
    height: float
    brim: float
    slack: float
    logo: Colour | None


@dataclass(frozen=True)
class MouthMask:
    """A mouth-mask: over the nose, or pulled below it."""

    cloth: Cloth
    top: float
    pleats: float


@dataclass(frozen=True)
class Eyewear:
    """Spectacles or sunglasses."""

    dark: bool
    lens_x: float
    lens_width: float
    lens_height: float
    lens_y: float
    roundness: int  # exponent of the outline: 2 ellipse, 4 rounded, 8 nearly square
    taper: float
    bend: float
    depth: float  # z of the bridge
    rim: float
    lower_rim: float  # 1, or less for half-rims
    tint: float
    lens_colour: Colour
    frame_colour: Colour
    reflection: float
    reflection_slope: float


@dataclass(frozen=True)
class Clothes:
    """What the shoulders wear."""

    cloth: Cloth
    shirt: Colour | None  # seen in the opening of a jacket


@dataclass(frozen=True)
class Light:
    """One lamp and the sky."""

    direction: tuple[float, float, float]  # in camera coordinates, unit length up to rounding
    lamp: Colour
    sky: Colour
    softness: float


@dataclass(frozen=True)
class Camera:
    """What the camera and the file do to the picture."""

    exposure: float
    white_balance: Colour
    contrast: float
    saturation: float
    blur: float  # pixels of a 128 pixel picture, standard deviation
    noise: float  # grey levels
    jpeg_quality: int


@dataclass(frozen=True)
class FaceParameters:
    """Everything that decides one picture, apart from its size."""

    seed: int
    identity_seed: int
    identity: Identity
    pose: Pose
    expression: Expression
    hair: Hair
    beard: str
    eyewear: Eyewear | None
    headwear: Headwear | None
    mouth_mask: MouthMask | None
    clothes: Clothes
    light: Light
    camera: Camera
