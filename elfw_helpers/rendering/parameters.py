"""The named parameters of a face, one class per part.

Lengths are in head units: the eyes are at y = 0 and 0.64 apart, the chin near y = -1.17, the nose
points to +z; one unit is about 50 pixels of a 128 pixel picture. Angles are in radians, colours in
linear light. `random_parameters` draws the numbers from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass

from elfw_helpers.rendering.colours import Colour, skin_colour

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
# Worn only where the ingredient "headwear" is asked for.
MORE_HEADWEAR_KINDS = ("curled hat", "newsboy cap", "bandana", "turban", "helmet")
HAIR_LENGTHS = ("bald", "cropped", "short", "bob", "long")
BEARDS = ("none", "full", "goatee", "moustache", "stubble")
BACKGROUNDS = ("plain", "clouds", "stripes", "shapes", "lights", "letters")


@dataclass(frozen=True)
class Identity:
    """What stays the same from photo to photo of one person."""

    skin_tone: float  # 0 light .. 1 dark
    skin_warmth: float  # above 0 more yellow and red
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
    eye_depth: float  # how far the sockets go in
    brow_thickness: float
    brow_height: float
    socket_shade: float  # how dark the skin around the eyes is, 0..1
    mouth_width: float
    lip_fullness: float
    hair_length: str  # one of HAIR_LENGTHS
    curl: float  # 0 straight .. 1 tight curls
    hairline: float  # y where the hair begins
    recession: float  # how far the corners of the hairline have gone back
    beard: str  # one of BEARDS, when it is not shaved off
    freckles: float

    @property
    def skin(self) -> Colour:
        """The colour of bare skin, linear light."""
        return skin_colour(self.skin_tone, self.skin_warmth)


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
    eyeshadow: float  # how strong, 0..1
    eyeshadow_height: float  # how far it spreads up and down; the larger, the more like a shadow
    eyeshadow_colour: Colour  # what the skin's colour is multiplied by


@dataclass(frozen=True)
class Hair:
    """The hair as it is worn today."""

    volume: float
    parting: float  # x of the parting
    sweep: float  # slope of the hairline: how far it falls to one side
    curtain: float  # how steeply hair falls over the temples, away from the parting
    fringe: float | None  # y down to which a fringe falls, or None
    fringe_slope: float
    quiff: float  # extra height over the forehead
    lock_width: float
    lock_bottom: float
    lock_front: float  # z of the locks: above 0 in front of the shoulders
    nape: float  # y where short hair ends
    tied: str  # "loose", or for long hair "bun" or "back"
    wisps: float  # how ragged the hairline is
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
    """What is worn on the head; `kind` is one of HEADWEAR_KINDS or MORE_HEADWEAR_KINDS."""

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
    lift: float  # angle by which they are pushed up over the forehead; 0 on the nose
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
class Hand:
    """A hand before the face, the person's own or another's."""

    skin: Colour
    x: float  # of the middle of the palm
    y: float
    depth: float  # z of the palm
    turn: float  # 0 fingers up, above 0 to the viewer's left
    spread: float  # between neighbouring fingers, radians
    bend: float  # how far the fingertips come towards the face
    size: float
    left: bool


@dataclass(frozen=True)
class Clothes:
    """What the shoulders wear."""

    cloth: Cloth
    neckline: float  # how low the collar is, 0..1
    shirt: Colour | None  # seen in the opening of a jacket


@dataclass(frozen=True)
class Light:
    """One lamp and the sky."""

    direction: tuple[float, float, float]  # in camera coordinates, unit length up to rounding
    lamp: Colour
    sky: Colour
    softness: float
    shine: float  # gloss of the skin


@dataclass(frozen=True)
class Background:
    """What is behind the face; `seed` decides where its shapes are."""

    kind: str  # one of BACKGROUNDS
    first: Colour
    second: Colour
    brightness: float
    blur: float  # standard deviation, share of the picture's side
    seed: int


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
    hand: Hand | None
    clothes: Clothes
    light: Light
    background: Background
    camera: Camera
