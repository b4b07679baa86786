"""The seven pixel classes with their colours, the three attributes, and the rule from one to the other."""

from __future__ import annotations

import numpy as np

BACKGROUND, SKIN, HAIR, BEARD, EYEWEAR, WEARABLE, MOUTH_MASK = range(7)

# ELFW's names ("sunglasses" includes clear spectacles) and colours: Redondo and Gibert, "Extended
# Labeled Faces in-the-Wild (ELFW): Augmenting Classes for Face Segmentation", arXiv 2006.13980.
PIXEL_CLASSES = ("background", "skin", "hair", "beard-mustache", "sunglasses", "wearable", "mouth-mask")
PALETTE = np.array(
    [(0, 0, 0), (0, 255, 0), (255, 0, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255), (255, 255, 0)], np.uint8
)

# What masks are shown in; ELFW's own colours are for files. Okabe and Ito's, told apart with any common
# colour blindness: black, yellow, blue, sky blue, vermilion, reddish purple, bluish green.
DISPLAY_COLOURS = np.array(
    [(0, 0, 0), (240, 228, 66), (0, 114, 178), (86, 180, 233), (213, 94, 0), (204, 121, 167), (0, 158, 115)],
    np.uint8,
)

# Class index 0, 1, 2 in tensors; ids 1, 2, 3 in labels.txt, as the report writes them.
ATTRIBUTES = ("hair", "spectacles", "cap")
HAIR_ONLY, SPECTACLES, CAP = range(3)

# Thousandths of the image that an object must cover, to be more than a few mislabelled pixels.
CAP_PER_MILLE = 5
SPECTACLES_PER_MILLE = 4


def attribute_from_mask(mask: np.ndarray) -> int:
    """Return the one attribute of a face, from its pixel labels.

    One photo can hold hair, glasses and a cap at once, so one label per image needs an order of
    precedence: the rarer object wins, or it would be lost in the class that nearly every face has.

    Args:
        mask: uint8 [H, W], class ids.

    Returns:
        2 (cap) if wearable covers more than 0.5 % of the image, else 1 (spectacles) if eyewear
        covers more than 0.4 %, else 0 (hair).

    Raises:
        ValueError: the mask has no pixels or is not two-dimensional.
    """
    if mask.ndim != 2 or mask.size == 0:
        raise ValueError(f"a mask is a non-empty [H, W] array of class ids, got shape {mask.shape}")
    # Whole numbers: a share in floating point could decide a mask exactly at the threshold wrongly.
    if 1000 * np.count_nonzero(mask == WEARABLE) > CAP_PER_MILLE * mask.size:
        return CAP
    if 1000 * np.count_nonzero(mask == EYEWEAR) > SPECTACLES_PER_MILLE * mask.size:
        return SPECTACLES
    return HAIR_ONLY


def parse_attribute(text: str) -> int:
    """Return the class index (0, 1, 2) of an attribute's name or id (1, 2, 3); ValueError for other texts."""
    word = text.strip().lower()
    if word in ATTRIBUTES:
        return ATTRIBUTES.index(word)
    if word in ("1", "2", "3"):
        return int(word) - 1
    raise ValueError(f"unknown attribute {text!r}")


def encode_colours(mask: np.ndarray) -> np.ndarray:
    """Return the ELFW colours, uint8 [H, W, 3], of class ids, uint8 [H, W]."""
    return PALETTE[mask]


def decode_colours(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return class ids for ELFW's colours, and where a colour belongs to no class.

    ELFW's own loader turns every colour it does not know into background; here the caller is told.

    Args:
        colours: uint8 [H, W, 3].

    Returns:
        class ids uint8 [H, W] (0 where unknown) and a boolean [H, W], true where the colour is unknown.
    """
    # ELFW's channels are all 0 or 255, so a colour is a three-bit number: one table look-up, no search.
    table = np.full(8, 255, np.uint8)
    table[number_colours(PALETTE)] = np.arange(len(PALETTE))
    ids = table[number_colours(colours)]
    unknown = ids == 255
    # In uint8, adding 1 makes 0 of 255, and more than 1 of all but 0.
    between = colours + np.uint8(1) > 1
    if between.any():
        unknown |= between.any(-1)
    ids[unknown] = 0
    return ids, unknown


def number_colours(colours: np.ndarray) -> np.ndarray:
    """Return a number from 0 to 7 for each colour, uint8 [..., 3], whose channels are all 0 or 255."""
    return colours[..., 0] & 4 | colours[..., 1] & 2 | colours[..., 2] & 1
