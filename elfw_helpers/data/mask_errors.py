"""Why a mask cannot be read: the cause that its colours or ids show, and what to do about it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from elfw_helpers.data.labels import PALETTE, PIXEL_CLASSES

# A palette has few colours, in flat areas: at least this share of its pixels has four neighbours alike.
# Smoothing, JPEG and photos make many colours, or thin lines of them.
FEW_COLOURS, FLAT_SHARE = 24, 0.1
# No set of classes for faces has more.
MOST_IDS = 50
# Lossy compression changes more than this share of a mask's pixels, most of them by at most this much of 255.
# Smoothing changes outlines only (in embedded masks: JPEG two thirds of the pixels, smoothing a quarter).
LOSSY_SHARE, LOSSY_DISTANCE = 0.3, 12
# ELFW's colours as gray levels, by ITU-R 601.
LUMINANCES = np.asarray(Image.fromarray(PALETTE[None]).convert("L"))
MODES = {
    "1": "It holds two levels only: save one 8-bit channel of class ids",
    "LA": "It has an alpha channel: save its other channel alone, `.getchannel(0)`, or colours as RGB",
    "I": "It is of 16 or 32 bits: if it holds class ids, save them as 8 bits, `ids.astype(np.uint8)`",
    "F": "It holds floating-point numbers: save class ids as 8 bits, `ids.astype(np.uint8)`",
}


def explain_mode(mode: str) -> str:
    """Return what to do about a mask in a Pillow mode that holds neither ELFW's colours nor 8-bit ids."""
    advice = "Save masks as RGB in ELFW's colours or as one 8-bit channel of class ids"
    cause = MODES.get(mode.partition(";")[0])
    return f"{cause}. {advice}" if cause else advice


def explain_ids(ids: np.ndarray) -> tuple[str, str]:
    """Return what was found in one channel, uint8 [H, W], that holds an id of no class, and what to do."""
    unknown = ids >= len(PIXEL_CLASSES)
    row, column = np.argwhere(unknown)[0]
    cause, fix = guess_ids(np.unique(ids).astype(int), is_flat(ids, unknown))
    found = f"class id {ids[row, column]} at row {row}, column {column}: {cause}"
    return found, f"{fix}. A one-channel mask holds ids 0 to {len(PIXEL_CLASSES) - 1}"


def guess_ids(levels: np.ndarray, flat: bool) -> tuple[str, str]:
    """Return where the levels of a channel, ascending, probably come from, and what to do."""
    step, highest = int(np.gcd.reduce(levels)), len(PIXEL_CLASSES) - 1
    if levels.tolist() in ([0, 255], [255]):
        return "black and white, which tells one class only", "Give every class its id"
    if step > 1 and levels[-1] <= highest * step:
        return f"every level is a multiple of {step}, ids stretched to be seen", f"Divide by {step}"
    if levels[-1] == 255 and np.abs(levels - np.round(levels * highest / 255) * 255 / highest).max() < 1:
        return "the levels are ids spread over 0 to 255", f"Multiply by {highest} / 255 and round"
    if np.isin(levels, LUMINANCES).all():
        return "the gray levels of ELFW's colours, a coloured mask turned gray", "Keep it in RGB"
    if levels[-1] == 255 and levels[-2] <= highest:
        return "255 marks pixels to ignore, as in PASCAL VOC", "Give them a class, such as background, 0"
    if levels[0] == 1 and levels[-1] == highest + 1:
        return "the ids begin at 1", "Subtract 1"
    if flat and len(levels) <= FEW_COLOURS and levels[-1] <= MOST_IDS:
        return "ids of another set of classes (CelebAMask-HQ has 19)", "Map them to ELFW's classes"
    fix = "Resize by nearest neighbour and store as PNG, and make sure that it is no gray photo"
    return f"{len(levels)} gray levels, as from smoothing, JPEG or a photo", fix


def explain_colours(image: Image.Image, colours: np.ndarray, unknown: np.ndarray) -> tuple[str, str]:
    """Return what was found in a mask whose colours are, where `unknown`, those of no class, and what to do.

    Args:
        image: as opened, RGB, RGBA or indexed.
        colours: uint8 [H, W, 3].
        unknown: boolean [H, W].
    """
    row, column = np.argwhere(unknown)[0]
    colour = tuple(colours[row, column].tolist())
    cause, fix = guess_colours(image, colours, unknown)
    found = (
        f"{cause}colour {colour} at row {row}, column {column}, is no class "
        f"({unknown.mean():.1%} of the pixels are of unknown colours)"
    )
    classes = zip(PIXEL_CLASSES, PALETTE.tolist(), strict=True)
    known = ", ".join(f"{name} {tuple(rgb)}" for name, rgb in classes)
    return found, f"{fix}. ELFW's colours: {known}"


def guess_colours(image: Image.Image, colours: np.ndarray, unknown: np.ndarray) -> tuple[str, str]:
    """Return where the unknown colours probably come from, and what to do."""
    # About 10,000 of the pixels, evenly chosen: enough to tell a palette from noise.
    sample = colours[unknown][:: unknown.sum() // 10_000 + 1]
    odd = np.unique(sample, axis=0)
    # The first 21 colours of PASCAL VOC, and of what borrows them, and its frame around objects.
    voc = " of PASCAL VOC" if (np.isin(odd, (0, 64, 128, 192)) | (odd == (224, 224, 192))).all() else ""
    if image.mode == "P" and len(odd) <= FEW_COLOURS:
        fix = "Map its indices to class ids, and save those as one 8-bit channel"
        if np.asarray(image).max() < len(PIXEL_CLASSES):
            keep = "`Image.fromarray(np.asarray(Image.open(FILE))).save(FILE)`"
            fix = f"If its indices are ELFW's class ids, keep them alone: {keep}; otherwise map them first"
        return f"indexed with another palette{voc}: ", fix
    if image.mode == "RGBA" and (np.asarray(image)[..., 3][unknown] < 255).all():
        fix = "Put the mask over black, the background's colour, and save it without an alpha channel"
        return "under a transparent part of the alpha channel, ", fix
    if (colours == colours[..., :1]).all():
        return "gray levels in three channels: ", "If they are class ids, save one 8-bit channel of them"
    if len(odd) <= FEW_COLOURS and is_flat(colours, unknown):
        return f"another palette{voc}: ", "Replace each of its colours by the class's own"
    if len(odd) > 1:
        distances = np.abs(sample[:, None].astype(int) - PALETTE.astype(int)).max(2).min(1)
        return guess_smoothing(image.format, unknown.mean(), np.median(distances))
    return "", "Resize masks by nearest neighbour and store them as PNG: smoothing and JPEG make new colours"


def guess_smoothing(image_format: str | None, share: float, distance: float) -> tuple[str, str]:
    """Return whether many unknown colours come from lossy compression, from smoothing, or from no mask.

    Args:
        share: of the mask's pixels that have unknown colours.
        distance: median of how far these are from the nearest colour of a class, of 255.
    """
    if image_format in ("WEBP", "AVIF", "JPEG2000") or (share > LOSSY_SHARE and distance <= LOSSY_DISTANCE):
        fix = "Make the mask again as PNG: lossy compression such as JPEG's changes colours"
        return "colours close to ELFW's, as lossy compression leaves them: ", fix
    if share <= LOSSY_SHARE:
        fix = "Resize masks by nearest neighbour: smoothing makes new colours between two classes"
        return "colours between two classes, as smoothing makes them: ", fix
    return "a photo or an overlay rather than a mask: ", "Put the mask itself there"


def is_flat(values: np.ndarray, odd: np.ndarray) -> bool:
    """Return whether the odd pixels, true in [H, W], of a mask form areas, rather than lines or noise."""
    values = values.reshape(*odd.shape, -1)
    centre = values[1:-1, 1:-1]
    neighbours = (values[:-2, 1:-1], values[2:, 1:-1], values[1:-1, :-2], values[1:-1, 2:])
    inside = np.logical_and.reduce([(centre == neighbour).all(-1) for neighbour in neighbours])
    return bool((inside & odd[1:-1, 1:-1]).sum() >= FLAT_SHARE * odd.sum())
