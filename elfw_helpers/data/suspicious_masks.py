"""Find masks that are valid in form but look wrong: moved or turned against their photo, smoothed, without a
face or a background, or with classes stored as other classes.

benchmarks/check.py measures how many wrong masks this finds, and how many right ones it suspects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import generate_binary_structure, morphological_gradient
from scipy.signal import correlate

from elfw_helpers.data.labels import PIXEL_CLASSES

# What seems to be wrong with a mask, and what to do about it.
Fault = tuple[str, str]

# Masks and images are compared on a grid of this many cells, for moves of up to a fifth of the width.
GRID, REACH = 64, 12
CROSS = generate_binary_structure(2, 1)
# The outline of a mask that fits lies on edges of the image. A mask is suspicious when moving it by at least
# this share of the width ...
DISPLACED = 0.04
# ... puts its outline on edges stronger by this factor, or turning it by that one. Turns are fewer than
# moves, so chance finds a better one less often: of 2,980 right masks none by over 1.08.
STRONGER, STRONGER_TURNED = 1.2, 1.1
# Chance finds more of a short outline: below this number of cells, about that of a whole face, more is asked.
LONG_OUTLINE = 600

TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "turned by 90 degrees counter-clockwise": np.rot90,
    "turned by 90 degrees clockwise": lambda grid: np.rot90(grid, -1),
    "turned by 180 degrees": lambda grid: np.rot90(grid, 2),
    "mirrored left to right": np.fliplr,
    "mirrored top to bottom": np.flipud,
    "with rows and columns exchanged": np.transpose,
    "turned by 90 degrees and mirrored": lambda grid: np.rot90(grid, 2).T,
}

# Share of outline pixels whose id lies between its neighbours'; 0.04 at most in right masks, and about 0.1
# in masks of ids that were smoothed.
SMOOTHED = 0.06
NO_BACKGROUND = "the mask has no background", "Look at it, and at how it was made: background is class 0"

# Three zones of a face's mask: 0 the outermost cells, 2 the middle (half as wide and high as the picture),
# 1 the rest.
ZONE_OF_CELL = np.pad(np.ones((GRID - 2, GRID - 2), int), 1)
ZONE_OF_CELL[GRID // 4 : -GRID // 4, GRID // 4 : -GRID // 4] = 2
# Usual shares of the seven classes in these zones, near the means of 2,280 rendered faces and of 700 photos;
# rare classes are given a little, so that no mask is impossible. A right mask fits one of three framings.
ZONES = np.array(
    [
        # As in ELFW.
        [0.732, 0.062, 0.176, 0.005, 0.001, 0.019, 0.005],
        [0.449, 0.174, 0.328, 0.008, 0.001, 0.034, 0.006],
        [0.042, 0.771, 0.101, 0.014, 0.044, 0.018, 0.010],
        # Cropped to 5 / 8.
        [0.250, 0.275, 0.412, 0.013, 0.002, 0.043, 0.005],
        [0.113, 0.567, 0.244, 0.017, 0.015, 0.035, 0.009],
        [0.010, 0.876, 0.021, 0.005, 0.074, 0.005, 0.009],
        # With a margin of half the width.
        [0.964, 0.010, 0.010, 0.005, 0.001, 0.005, 0.005],
        [0.964, 0.010, 0.010, 0.005, 0.001, 0.005, 0.005],
        [0.365, 0.317, 0.263, 0.009, 0.012, 0.029, 0.005],
    ]
).reshape(3, 3, len(PIXEL_CLASSES))
# Log-likelihood per pixel, summed over the zones, that undoing a mix-up must gain: on average over a folder
# (more if it holds few masks), or in a single mask of an otherwise right folder.
GAIN_OF_FOLDER, GAIN_OF_FEW, GAIN_OF_MASK = 0.3, 0.6, 1.8
# By how much the share of background must fall from the outermost cells to the middle, and that of skin rise.
CONTRAST = 0.1
# In ELFW's framing, background covers this share of the outermost cells of a folder's masks, on average. In
# other framings right masks are suspected too: a misfit counts only when over a third of the masks have one,
# and a missing background (a close crop has none) when three quarters of at least three masks lack it.
USUAL_FRAMING = (0.6, 0.95)
SHARED_MISFIT, MOST_LACKING, FEW_MASKS = 1 / 3, 0.75, 3


# How the classes of a mask may be stored as other classes: what each of the seven stored classes stands for,
# what went wrong, and what to do about it.
IDS_FROM_1 = (0, 0, 1, 2, 3, 4, 5)
MIX_UPS: dict[tuple[int, ...], Fault] = {
    (0, 1, 4, 6, 2, 5, 3): (
        "colours in the order BGR: what is hair seems to be stored as sunglasses",
        "Store RGB: OpenCV's imwrite takes BGR, so convert by cvtColor first",
    ),
    IDS_FROM_1: (
        "class ids that begin at 1: the background seems to be stored as skin, skin as hair",
        "Subtract 1 from all ids: background is 0",
    ),
    (0, 1, 2, 3, 0, 5, 6): (
        "a background stored as sunglasses: LFW's part labels paint it blue, (0, 0, 255)",
        "Paint the background black, (0, 0, 0)",
    ),
    (1, 0, 2, 3, 4, 5, 6): ("background and skin exchanged", "Exchange the two"),
    (0, 2, 1, 3, 4, 5, 6): ("skin and hair exchanged", "Exchange the two: 1 is skin, 2 is hair"),
}
# For each of them, 1 where the stored class (row) stands for the class of the column.
MEANINGS = np.eye(len(PIXEL_CLASSES))[np.array(list(MIX_UPS))]
IS_IDS_FROM_1 = np.array([meant == IDS_FROM_1 for meant in MIX_UPS])
# Taken off the gain of ids from 1: a background painted as skin leaves no class 0 either.
HANDICAP = 1.5


class MaskMeasures(NamedTuple):
    """What is measured on one mask, to compare it with the others of its folder.

    Attributes:
        shares: share of each of the seven classes in the mask, float64 [7].
        zones: the same in each of its three zones, float64 [3, 7].
        gains: log-likelihood per pixel that undoing each of MIX_UPS gains, float64 [5].
        content: what no mask of a face shows; None if it shows nothing of the kind.
        misfit: how the mask must be turned or moved to fit the photo; None if it fits as it is.
    """

    shares: np.ndarray
    zones: np.ndarray
    gains: np.ndarray
    content: Fault | None
    misfit: Fault | None


def measure_mask(image: Image.Image, mask: np.ndarray, in_colours: bool = False) -> MaskMeasures:
    """Return what `find_suspicious_masks` needs to know of one mask.

    Args:
        image: RGB.
        mask: uint8 [H, W], class ids, of the image's size.
        in_colours: the mask was stored in colours, not in class ids.
    """
    gray = np.asarray(image.convert("L").resize((GRID, GRID), Image.Resampling.BOX), np.float32)
    # The square root keeps one strong edge, such as a collar, from outweighing the whole face.
    edges = np.sqrt(np.hypot(*np.gradient(gray)))
    small = np.asarray(Image.fromarray(mask).resize((GRID, GRID), Image.Resampling.NEAREST))
    classes = len(PIXEL_CLASSES)
    shares = np.bincount(mask.ravel(), minlength=classes) / mask.size
    counts = np.bincount((ZONE_OF_CELL * classes + small).ravel(), minlength=3 * classes)
    zones = counts.reshape(3, classes) / np.bincount(ZONE_OF_CELL.ravel())[:, None]
    content = find_content_fault(mask, shares)
    return MaskMeasures(shares, zones, measure_gains(zones, in_colours), content, find_misfit(edges, small))


def find_suspicious_masks(masks: Mapping[str, MaskMeasures]) -> dict[Fault, list[str]]:
    """Return what the masks of one folder are suspected of, each time with the names of the masks."""
    suspected: dict[Fault, list[str]] = {}
    if not masks:
        return suspected
    mixed_up, misfits, lacking = find_mix_ups(masks), find_misfits(masks), find_lacking_background(masks)
    for name, mask in masks.items():
        content = mixed_up.get(name) or mask.content or (NO_BACKGROUND if name in lacking else None)
        for fault in (content, misfits.get(name)):
            if fault:
                suspected.setdefault(fault, []).append(name)
    return suspected


def find_mix_ups(masks: Mapping[str, MaskMeasures]) -> dict[str, Fault]:
    """Return the masks whose classes seem to be mixed up: all masks of a folder, or single ones."""
    faults = [(f"the mask seems to have {found}", fix) for found, fix in MIX_UPS.values()]
    mean = np.mean([mask.gains for mask in masks.values()], 0)
    if mean.max() > GAIN_OF_FOLDER + GAIN_OF_FEW / len(masks):
        return dict.fromkeys(masks, faults[mean.argmax()])
    alone = {name: mask.gains for name, mask in masks.items() if mask.gains.max() > GAIN_OF_MASK}
    return {name: faults[gains.argmax()] for name, gains in alone.items()}


def find_misfits(masks: Mapping[str, MaskMeasures]) -> dict[str, Fault]:
    """Return the masks of a folder that do not fit their photos; a few do not count in an unusual framing."""
    found = {name: mask.misfit for name, mask in masks.items() if mask.misfit}
    return found if len(found) > SHARED_MISFIT * len(masks) or is_framed_as_usual(masks) else {}


def find_lacking_background(masks: Mapping[str, MaskMeasures]) -> set[str]:
    """Return the masks of a folder that have no background and should have some."""
    lacking = {name for name, mask in masks.items() if not mask.zones[:, 0].any()}
    if not lacking or is_framed_as_usual(masks):
        return lacking
    if len(lacking) < MOST_LACKING * len(masks):
        return set()
    if len(masks) >= FEW_MASKS:
        return lacking
    # Hair can surround the face of a close crop; skin and rarer classes hardly do.
    return {name for name in lacking if masks[name].zones[0, 2] < 0.5}


def is_framed_as_usual(masks: Mapping[str, MaskMeasures]) -> bool:
    """Tell whether masks are framed as ELFW's are, by how much background lies along their edges."""
    least, most = USUAL_FRAMING
    return bool(least < np.mean([mask.zones[0, 0] for mask in masks.values()]) < most)


def find_misfit(edges: np.ndarray, mask: np.ndarray) -> Fault | None:
    """Return how a mask must be turned or moved to fit its photo; None if it fits as it is.

    Args:
        edges: edge strength of the photo, float32 [GRID, GRID].
        mask: uint8 [GRID, GRID], class ids.
    """
    # One where the cell above, below or beside is of another class.
    outline = (morphological_gradient(mask, footprint=CROSS) > 0).astype(np.float32)
    length = outline.sum()
    if not length:
        return None
    as_it_is = float((edges * outline).sum() / length)
    turned = {name: float((edges * turn(outline)).sum() / length) for name, turn in TURNS.items()}
    best = max(turned, key=turned.__getitem__)
    right, down, moved = find_best_move(edges, outline)
    luck = max(1.0, np.sqrt(LONG_OUTLINE / length))
    moves = np.hypot(right, down) >= DISPLACED * GRID and moved > (1 + (STRONGER - 1) * luck) * as_it_is
    turns = turned[best] > (1 + (STRONGER_TURNED - 1) * luck) * as_it_is
    if turns and not (moves and moved > turned[best]):
        return f"the mask would fit better {best}", "Look at both; EXIF rotation may turn only the photo"
    if moves:
        where = f"moved {right / GRID:+.0%} of the width right, {down / GRID:+.0%} down"
        return f"the mask would fit better {where}", "Look at both; ELFW version 1 had displaced masks"
    return None


def find_best_move(edges: np.ndarray, outline: np.ndarray) -> tuple[int, int, float]:
    """Return the move (cells right, cells down) with an outline on the strongest edges, and their mean."""
    outline = outline.astype(np.float64)
    under = correlate(edges, outline, method="fft")
    length = correlate(np.ones_like(edges), outline, method="fft")
    # The middle of a correlation, at GRID - 1, is that of no move.
    near = slice(GRID - 1 - REACH, GRID + REACH)
    strength = (under / np.maximum(length, 1))[near, near]
    down, right = np.unravel_index(strength.argmax(), strength.shape)
    return int(right) - REACH, int(down) - REACH, float(strength.max())


def measure_gains(zones: np.ndarray, in_colours: bool) -> np.ndarray:
    """Return how much likelier undoing each of MIX_UPS makes a mask with these shares in zones, [3, 7]."""
    unmixed = zones @ MEANINGS
    gains = measure_likelihood(unmixed) - measure_likelihood(zones) - HANDICAP * IS_IDS_FROM_1
    # Two classes that a mask tells apart were not one.
    merges = MEANINGS[:, zones.any(0)].sum(1).max(1) > 1
    outermost, middle = unmixed[:, 0], unmixed[:, 2]
    less_background, more_skin = outermost[:, 0] - middle[:, 0], middle[:, 1] - outermost[:, 1]
    no_face = (less_background <= CONTRAST) | (more_skin <= CONTRAST)
    return np.where(merges | no_face | (in_colours & IS_IDS_FROM_1), np.minimum(gains, -1), gains)


def measure_likelihood(zones: np.ndarray) -> np.ndarray:
    """Return the log-likelihood per pixel of masks, [..., 3, 7], summed over zones, in the best framing."""
    return (zones[..., None, :, :] * np.log(ZONES)).sum((-2, -1)).max(-1)


def find_content_fault(mask: np.ndarray, shares: np.ndarray) -> Fault | None:
    """Return what no mask of a face shows: one class alone, or the traces of smoothing; else None."""
    seen = [name for name, share in zip(PIXEL_CLASSES, shares, strict=True) if share]
    if len(seen) == 1:
        return f"the mask shows no face: all of it is {seen[0]}", "Look at it, and at how it was made"
    if measure_lines_between(mask) > SMOOTHED:
        fix = "Resize masks by nearest neighbour: smoothing ids makes other classes of two"
        return "the mask seems smoothed: lines of other classes run between two", fix
    return None


def measure_lines_between(mask: np.ndarray) -> float:
    """Return how often a pixel on an outline has an id between those of the two pixels beside it."""
    between = outlines = 0
    for grid in (mask, mask.T):
        before, here, after = grid[:, :-2], grid[:, 1:-1], grid[:, 2:]
        outlines += np.count_nonzero(before != after)
        rising, falling = (before < here) & (here < after), (before > here) & (here > after)
        between += np.count_nonzero(rising | falling)
    return between / max(outlines, 1)
