"""What makes a mask doubtful that is valid in form: it would fit its photo better turned, mirrored or moved,
or its classes would lie where those of a face lie if they were renamed.

benchmarks/check.py measures how many wrong masks this finds, and how many right ones it suspects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from elfw_helpers.data.labels import PIXEL_CLASSES

# Masks and images are compared on a grid of this many cells, for moves of up to a fifth of the width.
GRID, REACH = 64, 12
# A mask is doubtful when moving it by at least this share of the width ...
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

# Shares of the seven classes in three zones of a face's mask: the outermost cells, the rest around the
# middle, and the middle (half as wide and high as the picture). Near the means of 2,280 rendered faces and
# of 700 photos; rare classes are given a little, so that no mask is impossible. Of each of three framings,
# because a right mask fits one of them: as in ELFW, cropped to 5 / 8, and with a margin of half the width.
ZONES = np.array(
    [
        [
            [0.732, 0.062, 0.176, 0.005, 0.001, 0.019, 0.005],
            [0.449, 0.174, 0.328, 0.008, 0.001, 0.034, 0.006],
            [0.042, 0.771, 0.101, 0.014, 0.044, 0.018, 0.010],
        ],
        [
            [0.250, 0.275, 0.412, 0.013, 0.002, 0.043, 0.005],
            [0.113, 0.567, 0.244, 0.017, 0.015, 0.035, 0.009],
            [0.010, 0.876, 0.021, 0.005, 0.074, 0.005, 0.009],
        ],
        [
            [0.964, 0.010, 0.010, 0.005, 0.001, 0.005, 0.005],
            [0.964, 0.010, 0.010, 0.005, 0.001, 0.005, 0.005],
            [0.365, 0.317, 0.263, 0.009, 0.012, 0.029, 0.005],
        ],
    ]
)
# Log-likelihood per pixel, summed over the zones, that renaming the classes must gain: on average over a
# folder, and the more the fewer masks there are; or in a single mask of an otherwise right folder.
GAIN_OF_FOLDER, GAIN_OF_FEW, GAIN_OF_MASK = 0.3, 0.6, 1.8
# By how much the share of background must fall from the outermost cells to the middle, and that of skin rise.
CONTRAST = 0.1
# In ELFW's framing, background covers this share of the outermost cells of a folder's masks, on average. In
# another framing, a few doubtful masks are no news: a misfit must be shared by over a third of the masks,
# and a close crop can lack background, so three quarters of at least three masks must.
USUAL_FRAMING = (0.6, 0.95)
SHARED_MISFIT, MOST_LACKING, FEW_MASKS = 1 / 3, 0.75, 3


class Renaming(NamedTuple):
    """A mistake in what masks call their classes.

    Attributes:
        mistake: what it is, in words.
        fix: how to mend it.
        meant: what each of the seven classes seen means.
        handicap: what is taken off its gain, where other mistakes look alike.
        coloured: it can befall a mask that is stored in colours.
    """

    mistake: str
    fix: str
    meant: tuple[int, ...]
    handicap: float = 0.0
    coloured: bool = True


RENAMINGS = (
    Renaming(
        "colours in the order BGR: what is hair seems to be stored as sunglasses",
        "Store RGB: OpenCV's imwrite takes BGR, so convert by cvtColor first",
        (0, 1, 4, 6, 2, 5, 3),
    ),
    Renaming(
        "class ids that begin at 1: the background seems to be stored as skin, skin as hair",
        "Subtract 1 from all ids: background is 0",
        (0, 0, 1, 2, 3, 4, 5),
        # A background painted as skin leaves no class 0 either.
        handicap=1.5,
        coloured=False,
    ),
    Renaming(
        "a background stored as sunglasses: LFW's part labels paint it blue, (0, 0, 255)",
        "Paint the background black, (0, 0, 0)",
        (0, 1, 2, 3, 0, 5, 6),
    ),
    Renaming("background and skin exchanged", "Exchange the two", (1, 0, 2, 3, 4, 5, 6)),
    Renaming("skin and hair exchanged", "Exchange the two: 1 is skin, 2 is hair", (0, 2, 1, 3, 4, 5, 6)),
)


def shrink(image: Image.Image, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the edge strength of an image, float32, and its mask, uint8, both [GRID, GRID].

    Args:
        image: RGB.
        mask: uint8 [H, W], class ids, of the image's size.
    """
    gray = np.asarray(image.convert("L").resize((GRID, GRID), Image.Resampling.BOX), np.float32)
    # The square root keeps one strong edge, such as a collar, from outweighing the whole face.
    edges = np.sqrt(np.hypot(*np.gradient(gray)))
    return edges, np.asarray(Image.fromarray(mask).resize((GRID, GRID), Image.Resampling.NEAREST))


def find_misfit(edges: np.ndarray, mask: np.ndarray) -> str | None:
    """Return how a mask must be turned or moved to fit its photo, in words; None if it fits as it is.

    The outline of a mask that fits lies on edges of the image.

    Args:
        edges, mask: as `shrink` returns them.
    """
    outline = draw_outline(mask)
    if not outline.any():
        return None
    as_it_is = measure_fit(edges, outline)
    turned = {name: measure_fit(edges, turn(outline)) for name, turn in TURNS.items()}
    best = max(turned, key=turned.__getitem__)
    right, down, moved = find_best_move(edges, outline)
    luck = max(1.0, np.sqrt(LONG_OUTLINE / outline.sum()))
    moves = np.hypot(right, down) >= DISPLACED * GRID and moved / as_it_is - 1 > (STRONGER - 1) * luck
    turns = turned[best] / as_it_is - 1 > (STRONGER_TURNED - 1) * luck
    if turns and not (moves and moved > turned[best]):
        return best
    return f"moved {right / GRID:+.0%} of the width right, {down / GRID:+.0%} down" if moves else None


def measure_fit(edges: np.ndarray, outline: np.ndarray) -> float:
    """Return the mean edge strength under an outline."""
    return float((edges * outline).sum() / outline.sum())


def find_best_move(edges: np.ndarray, outline: np.ndarray) -> tuple[int, int, float]:
    """Return the move (cells right, cells down) that puts an outline on the strongest edges, and their mean.

    The means for all moves are computed at once, as a cross-correlation by Fourier transform.
    """
    padded = (2 * GRID, 2 * GRID)
    moves = np.conj(np.fft.rfft2(outline, padded))
    under = np.fft.irfft2(np.fft.rfft2(edges, padded) * moves, padded)
    length = np.fft.irfft2(np.fft.rfft2(np.ones_like(edges), padded) * moves, padded)
    strength = np.roll(under / np.maximum(length, 1), (REACH, REACH), (0, 1))[
        : 2 * REACH + 1, : 2 * REACH + 1
    ]
    down, right = np.unravel_index(strength.argmax(), strength.shape)
    return int(right) - REACH, int(down) - REACH, float(strength.max())


def draw_outline(mask: np.ndarray) -> np.ndarray:
    """Return float32 [H, W], one where a neighbour is of another class."""
    outline = np.zeros(mask.shape, np.float32)
    beside, below = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    for edge, first, second in (
        (beside, np.s_[:, 1:], np.s_[:, :-1]),
        (below, np.s_[1:], np.s_[:-1]),
    ):
        outline[first] += edge
        outline[second] += edge
    return np.minimum(outline, 1)


def share_zones(mask: np.ndarray) -> np.ndarray:
    """Return the shares of the classes in the three zones of a mask, float64 [3, 7].

    Args:
        mask: uint8 [GRID, GRID], class ids.
    """
    zone = np.ones(mask.shape, int)
    zone[[0, -1]] = zone[:, [0, -1]] = 0
    middle = slice(GRID // 4, -GRID // 4)
    zone[middle, middle] = 2
    counts = np.zeros(ZONES.shape[1:])
    np.add.at(counts, (zone, mask), 1)
    return counts / counts.sum(1, keepdims=True)


def measure_renamings(shares: np.ndarray, coloured: bool) -> np.ndarray:
    """Return how much likelier each of RENAMINGS makes a mask, in log-likelihood per pixel, float64 [5].

    Args:
        shares: float64 [3, 7], as `share_zones` returns them.
        coloured: the mask was stored in colours.
    """
    seen, as_it_is = np.flatnonzero(shares.any(0)), measure_likelihood(shares)
    gains = []
    for renaming in RENAMINGS:
        renamed = np.zeros_like(shares)
        np.add.at(renamed, (slice(None), renaming.meant), shares)
        gain = measure_likelihood(renamed) - as_it_is - renaming.handicap
        # Two classes that a mask tells apart were not one.
        merges = len({renaming.meant[index] for index in seen}) < len(seen)
        impossible = merges or not shows_face(renamed) or (coloured and not renaming.coloured)
        gains.append(min(gain, -1.0) if impossible else gain)
    return np.array(gains)


def measure_likelihood(shares: np.ndarray) -> float:
    """Return the log-likelihood per pixel of a mask, summed over its zones, in the framing that fits best."""
    return float((shares * np.log(ZONES)).sum((1, 2)).max())


def shows_face(shares: np.ndarray) -> bool:
    """Tell whether background lies around and skin in the middle, given the shares in the zones."""
    outermost, _, middle = shares
    return bool(outermost[0] - middle[0] > CONTRAST and middle[1] - outermost[1] > CONTRAST)


def is_framed_as_usual(zones: list[np.ndarray]) -> bool:
    """Tell whether masks are framed as ELFW's are, by how much background lies along their edges.

    Args:
        zones: a folder's, as `share_zones` returns them.
    """
    least, most = USUAL_FRAMING
    return bool(least < np.mean([shares[0, 0] for shares in zones]) < most)


def find_lacking(zones: dict[str, np.ndarray]) -> set[str]:
    """Return the masks of a folder that have no background and should have some, by name.

    Args:
        zones: by name, as `share_zones` returns them.
    """
    lacking = {name for name, shares in zones.items() if not shares[:, 0].any()}
    if not lacking or is_framed_as_usual(list(zones.values())):
        return lacking
    if len(lacking) < MOST_LACKING * len(zones):
        return set()
    if len(zones) >= FEW_MASKS:
        return lacking
    # Hair can surround the face of a close crop; skin and rarer classes hardly do.
    return {name for name in lacking if zones[name][0, 2] < 0.5}


def find_misfits(misfits: dict[str, str | None], zones: list[np.ndarray]) -> dict[str, str]:
    """Return the misfits of a folder that are no chance of its framing, by name.

    Args:
        misfits: by name, as `find_misfit` returns them.
        zones: as `share_zones` returns them.
    """
    found = {name: misfit for name, misfit in misfits.items() if misfit}
    return found if len(found) > SHARED_MISFIT * len(misfits) or is_framed_as_usual(zones) else {}


def find_oddity(mask: np.ndarray, shares: np.ndarray) -> tuple[str, str] | None:
    """Return what no mask of a face shows, in words, and what to do; None if there is nothing of the kind.

    Args:
        mask: uint8 [H, W], class ids, at its own size.
        shares: float64 [7], of the classes in it.
    """
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
