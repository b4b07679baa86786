"""From a photo's samples as its file stores them to 8 bits: by what the file declares, or not at all.

Pillow hands 16- and 32-bit integers and floats on as they are stored. What stands for white is known from
the format and its tags; the largest value of a photo says nothing about it. Where a file may mean two
things, such as the 12 bits of a camera in a 16-bit file, it is refused: a guess would come out black.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from elfw_helpers.utils.errors import DataError

# TIFF's tags, by number: https://www.loc.gov/preservation/digital/formats/content/tiff_tags.shtml
BITS, PHOTOMETRIC, LOWEST, HIGHEST = 258, 262, 280, 281
SAMPLE_FORMAT, LOWEST_FLOAT, HIGHEST_FLOAT = 339, 340, 341
WHITE_IS_ZERO, SIGNED = 0, 2
# These scale to 16 bits whatever depth their header names.
SCALED_FORMATS = ("PPM", "JPEG2000")
# A photo without a single sample above this share of white is so dark that another white is meant. The
# 14 bits of a camera reach just a quarter of 16.
DARKEST = 0.25
# By so much a photo in floats may leave 0..1: sharpening and cubic resampling overshoot.
OVERSHOOT = 0.1
FIX = "Scale it so that white is 255, and save it as an 8-bit PNG"


@dataclass(frozen=True)
class Samples:
    """What a file declares of its samples.

    Attributes:
        black, white: the values that stand for them.
        certain: the file says so itself; otherwise it is what its kind is commonly used with.
        unsigned: 32-bit integers without a sign, which Pillow hands on as if they had one.
        kind: in words.
    """

    black: float
    white: float
    certain: bool
    unsigned: bool
    kind: str


def declare_samples(image: Image.Image) -> Samples:
    """Return what the file of an image declares of its samples.

    Args:
        image: opened and not yet loaded: loading forgets how colours are stored.
    """
    tags = getattr(image, "tag_v2", {})
    if image.mode == "F":
        samples = declare_floats(tags)
    elif image.mode.startswith("I"):
        samples = declare_integers(image, tags)
    else:
        # Pillow brings these to 8 bits itself; of 16 it keeps the upper half.
        deep = any(";16" in str(tile) for tile in image.tile)
        return Samples(0, 255, not deep, False, "16-bit colours" if deep else "8-bit samples")
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        samples = replace(samples, black=samples.white, white=samples.black)
    return samples


def declare_floats(tags: dict) -> Samples:
    """Return what a file of floats declares: the range in its tags, or 0 to 1 by convention."""
    declared = read_range(tags, LOWEST_FLOAT, HIGHEST_FLOAT)
    black, white = declared or (0, 1)
    return Samples(black, white, declared is not None, False, "floats")


def declare_integers(image: Image.Image, tags: dict) -> Samples:
    """Return what a file of one channel of integers declares: all its bits, or the range in its tags."""
    stored = 16 if image.mode.startswith("I;16") or image.format in ("PNG", *SCALED_FORMATS) else 32
    bits = int(first(tags.get(BITS)) or stored)
    signed = first(tags.get(SAMPLE_FORMAT)) == SIGNED or (bits == 32 and not tags)
    declared = read_range(tags, LOWEST, HIGHEST)
    black, white = declared or (0, 2 ** (bits - signed) - 1)
    certain = declared is not None or bits < 16 or image.format in SCALED_FORMATS
    return Samples(black, white, certain, bits == 32 and not signed, f"{bits}-bit integers")


def read_range(tags: dict, lowest: int, highest: int) -> tuple[float, float] | None:
    """Return the range of values in a TIFF's tags, by their numbers; None where it has none."""
    black, white = first(tags.get(lowest)) or 0, first(tags.get(highest))
    return (black, white) if white is not None and black < white else None


def first(values: tuple | float | None) -> float | None:
    """Return the first of a tag's values: there is one a channel, or a single one."""
    return next(iter(values), None) if isinstance(values, tuple) else values


def to_rgb(path: Path, image: Image.Image, samples: Samples) -> Image.Image:
    """Return an image of any mode as 8-bit RGB, transparency laid over white.

    Args:
        path: of its file, for the error.
        image: loaded.
        samples: from `declare_samples`.

    Raises:
        DataError: it cannot be known which value of it is white.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        image = Image.fromarray(to_eight_bits(path, np.asarray(image), samples))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    image = image.convert("RGB")
    if samples.kind == "16-bit colours":
        refuse_dark(path, max(high for _, high in image.getextrema()), samples)
    return image


def to_eight_bits(path: Path, values: np.ndarray, samples: Samples) -> np.ndarray:
    """Return samples, integers or floats [H, W], as uint8 [H, W]; raise DataError where white is unknown."""
    if samples.unsigned:
        values = values.astype(np.int32).view(np.uint32)
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(path, f"{samples.kind} that are not all finite", FIX)
    if not samples.certain:
        if low < -OVERSHOOT or (samples.kind == "floats" and high > 1 + OVERSHOOT):
            found = f"{samples.kind} from {low:g} to {high:g}, which may mean any brightness"
            raise DataError(path, found, FIX)
        refuse_dark(path, high, samples)
    scaled = (values - samples.black) / (samples.white - samples.black)
    return (255 * scaled).clip(0, 255).round().astype(np.uint8)


def refuse_dark(path: Path, highest: float, samples: Samples) -> None:
    """Raise DataError for a photo so dark that another value than the commonest of its kind may be white."""
    white = max(samples.black, samples.white)
    if highest < DARKEST * white:
        found = f"{samples.kind} none of which is above {highest:.10g} of {white:.10g}, nearly black"
        raise DataError(path, found, FIX)
