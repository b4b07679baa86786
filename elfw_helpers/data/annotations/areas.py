"""The areas that annotation tools draw, and which pixels lie inside them.

Coordinates are those of the three tools: x to the right and y down, in pixels, from the upper left corner of
the upper left pixel, whose centre is at (0.5, 0.5). A pixel belongs to an area if its centre lies inside. A
centre on the left or the upper edge is inside, one on the right or the lower edge is outside, so no pixel
belongs to two areas that share an edge. Where an outline crosses itself, the even-odd rule decides: what it
goes around twice is outside. What lies outside the photo is cut off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from elfw_helpers.data.images import MOST_PIXELS

# A number beyond it is no place on a photo, and an outline of more points is no drawing.
FARTHEST, MOST_POINTS = 1e6, 100_000
# So many places where outlines cross rows of pixels are held in memory at once.
AT_ONCE = 1 << 22


class Filled(NamedTuple):
    """The pixels inside an area.

    Attributes:
        inside: boolean [H, W].
        crossed: row and column of the first pixel around which the outline crosses itself, if it does.
    """

    inside: np.ndarray
    crossed: tuple[int, int] | None = None


@dataclass(frozen=True)
class Polygon:
    """The inside of a closed outline.

    Args:
        points: float64 [N, 2], x and y of the corners, N at least 3.

    Raises:
        ValueError: they are too few, too many, or no places on a photo.
    """

    points: np.ndarray

    def __post_init__(self) -> None:
        check_places(self.points)
        if not 3 <= len(self.points) <= MOST_POINTS:
            raise ValueError(f"an outline of {len(self.points)} points, where 3 to {MOST_POINTS:,} make one")

    def fill(self, height: int, width: int) -> Filled:
        """Return the pixels inside."""
        inside = np.zeros((height, width), bool)
        left, top = np.clip(np.floor(self.points.min(0)), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(self.points.max(0)), 0, (width, height)).astype(int)
        if left >= right or top >= bottom:
            return Filled(inside)
        turns = count_turns(self.points - (left, top), bottom - top, right - left)
        inside[top:bottom, left:right] = turns % 2 == 1
        # A bow tie goes around one of its halves clockwise and around the other counter-clockwise.
        crossed = (abs(turns) > 1) | ((turns < 0) & (turns.max() > 0))
        if not crossed.any():
            return Filled(inside)
        row, column = np.unravel_index(crossed.argmax(), crossed.shape)
        return Filled(inside, (int(top + row), int(left + column)))


def count_turns(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return how often a closed outline goes around the centre of each pixel, with the sense as its sign.

    Args:
        points: float64 [N, 2], x and y.

    Returns:
        int16 [H, W]; odd where the even-odd rule says inside.
    """
    # On this grid, pixels' centres are whole numbers.
    start = points - 0.5
    end = np.roll(start, -1, axis=0)
    down = start[:, 1] < end[:, 1]
    upper, lower = np.where(down[:, None], (start, end), (end, start))
    first, last = (np.clip(np.ceil(side[:, 1]), 0, height).astype(int) for side in (upper, lower))
    turns = np.zeros((height, width + 1), np.int16)
    for edges in split_edges(last - first):
        lengths = (last - first)[edges]
        edge = np.repeat(edges, lengths)
        row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        share = (row - upper[edge, 1]) / (lower[edge, 1] - upper[edge, 1])
        x = upper[edge, 0] + share * (lower[edge, 0] - upper[edge, 0])
        column = np.clip(np.ceil(x), 0, width).astype(int)
        np.add.at(turns, (row, column), np.where(down[edge], 1, -1).astype(np.int16))
    np.cumsum(turns, axis=1, dtype=np.int16, out=turns)
    return turns[:, :-1]


def split_edges(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the indices of edges in parts that together cross about AT_ONCE rows; `lengths` says how many."""
    part = np.cumsum(lengths) // AT_ONCE
    for number in np.unique(part):
        yield np.flatnonzero(part == number)


@dataclass(frozen=True)
class Parts:
    """One object in several pieces, as COCO writes them: what lies inside any of them."""

    polygons: Sequence[Polygon]

    def fill(self, height: int, width: int) -> Filled:
        """Return the pixels inside.

        Raises:
            ValueError: a piece lies inside another. Joined with it, it would not be seen; a hole was meant.
        """
        filled = [polygon.fill(height, width) for polygon in self.polygons]
        crossed = next((part.crossed for part in filled if part.crossed), None)
        joined = np.zeros((height, width), bool)
        for part in sorted(filled, key=lambda part: -np.count_nonzero(part.inside)):
            if part.inside.any() and not (part.inside & ~joined).any():
                found = "a piece lies inside another, and COCO joins pieces instead of cutting holes"
                raise ValueError(f"{found}: draw what is in the hole over it, or export run lengths")
            joined |= part.inside
        return Filled(joined, crossed)


@dataclass(frozen=True)
class Ellipse:
    """The inside of an ellipse.

    Args:
        centre: x and y.
        radii: in x and y, before the turn.
        turn: in degrees, clockwise.

    Raises:
        ValueError: a number is no place on a photo, or a radius is not positive.
    """

    centre: tuple[float, float]
    radii: tuple[float, float]
    turn: float = 0.0

    def __post_init__(self) -> None:
        check_places(np.array([self.centre, self.radii, (self.turn, 0)]))
        if min(self.radii) <= 0:
            raise ValueError(f"an ellipse with the radii {self.radii[0]:g} and {self.radii[1]:g}")

    def fill(self, height: int, width: int) -> Filled:
        """Return the pixels inside."""
        x = np.arange(width) + 0.5 - self.centre[0]
        y = np.arange(height)[:, None] + 0.5 - self.centre[1]
        cosine, sine = np.cos(np.radians(self.turn)), np.sin(np.radians(self.turn))
        along, across = (cosine * x + sine * y) / self.radii[0], (cosine * y - sine * x) / self.radii[1]
        return Filled(along**2 + across**2 < 1)


@dataclass(frozen=True)
class Bitmap:
    """Pixels given one by one: a boolean [h, w] picture whose upper left pixel is at `left`, `top`."""

    pixels: np.ndarray
    left: int = 0
    top: int = 0

    def fill(self, height: int, width: int) -> Filled:
        """Return the pixels inside."""
        inside = np.zeros((height, width), bool)
        rows, columns = self.pixels.shape
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = min(self.top + rows, height), min(self.left + columns, width)
        if top < bottom and left < right:
            part = self.pixels[top - self.top : bottom - self.top, left - self.left : right - self.left]
            inside[top:bottom, left:right] = part
        return Filled(inside)


@dataclass(frozen=True)
class NoArea:
    """What encloses no pixels, such as a line: it may stand in a file, if its class is to be ignored."""

    kind: str

    def fill(self, height: int, width: int) -> Filled:
        """Raise ValueError."""
        raise ValueError(f"{self.kind} encloses no area: draw an outline, or let its class be ignored")


Area = Polygon | Parts | Ellipse | Bitmap | NoArea


def make_box(left: float, top: float, right: float, bottom: float, turn: float = 0.0) -> Polygon:
    """Return a rectangle, turned around its centre by `turn` degrees clockwise."""
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
    check_places(np.vstack([corners, (turn, 0)]))
    cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    centre = corners.mean(0)
    return Polygon((corners - centre) @ np.array([(cosine, sine), (-sine, cosine)]) + centre)


def decode_runs(counts: Sequence[int], height: int, width: int, by_columns: bool = False) -> np.ndarray:
    """Return the pixels, boolean [H, W], of run lengths: so many outside, so many inside, and so on.

    Args:
        by_columns: the runs go down the columns, as in COCO, not along the rows, as in CVAT.

    Raises:
        ValueError: they are no run lengths of that many pixels.
    """
    if min(height, width) < 1 or height * width > MOST_PIXELS:
        raise ValueError(f"run lengths for {width} x {height} pixels")
    total = height * width
    if not all(type(count) is int and 0 <= count <= total for count in counts) or sum(counts) != total:
        raise ValueError(f"run lengths that do not add up to {width} x {height} pixels")
    inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return inside.reshape(width, height).T if by_columns else inside.reshape(height, width)


def check_places(numbers: np.ndarray) -> None:
    """Raise ValueError if a number is not finite or so large that it is no place on a photo."""
    wrong = ~(abs(numbers) <= FARTHEST)
    if wrong.any():
        raise ValueError(f"the number {numbers[wrong][0]:g}, which is no place on a photo")
