"""The things that make up a picture: how far points are from each, and the pixel class of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np

from elfw_helpers.data import labels
from elfw_helpers.rendering import garments, head
from elfw_helpers.rendering.hand import hand_distance
from elfw_helpers.rendering.parameters import FaceParameters
from elfw_helpers.rendering.shapes import smooth_union

SKIN, HAIR, HEADWEAR, MOUTH_MASK, CLOTHES, HAND = range(6)
NAMES = ("skin", "hair", "headwear", "mouth_mask", "clothes", "hand")
# ELFW labels hands that hide a face as background.
PIXEL_CLASS = np.array(
    [labels.SKIN, labels.HAIR, labels.WEARABLE, labels.MOUTH_MASK, labels.BACKGROUND, labels.BACKGROUND],
    np.uint8,
)

# Points looked at at once: fewer take more calls, more do not fit the processor's cache.
CHUNK = 16384


@dataclass(frozen=True)
class Scene:
    """The things of one picture, in head coordinates; or `only` one of them."""

    face: FaceParameters
    only: int | None = None

    @cached_property
    def things(self) -> tuple[int, ...]:
        """SKIN, HAIR, ...: those of the scene that exist. Of two at the same distance the earlier is seen."""
        face = self.face
        exist = {
            CLOTHES: True,
            SKIN: True,
            HAIR: face.identity.hair_length != "bald",
            HEADWEAR: face.headwear,
            MOUTH_MASK: face.mouth_mask,
            HAND: face.hand,
        }
        return tuple(thing for thing in exist if exist[thing]) if self.only is None else (self.only,)

    def nearest(self, points: np.ndarray, relief: float = 1.0, alone: int | None = None) -> np.ndarray:
        """Return the distance of points to the nearest thing of the scene, float32 [N].

        Args:
            points: float32 [3, N], head units.
            relief: how much of the relief of hair to show, 0..1.
            alone: one thing to look at alone, which takes less time.
        """
        looked_at = self.things if alone is None else (alone,)
        looks = (Look(self.face, part, relief) for part in split_points(points))
        return np.concatenate([reduce(np.minimum, map(look.distance, looked_at)) for look in looks])

    def objects(self, points: np.ndarray) -> np.ndarray:
        """Return which thing is nearest to each point [3, N], uint8 [N]."""
        looks = (Look(self.face, part, relief=1.0) for part in split_points(points))
        return np.concatenate([self.nearest_thing(look) for look in looks])

    def nearest_thing(self, look: Look) -> np.ndarray:
        """Return which thing is nearest to each point of a look, uint8 [N]."""
        least = look.distance(self.things[0])
        found = np.full(len(least), self.things[0], np.uint8)
        for thing in self.things[1:]:
            distance = look.distance(thing)
            found[distance < least] = thing
            least = np.minimum(least, distance)
        return found


def split_points(points: np.ndarray) -> list[np.ndarray]:
    """Return points [3, N] in parts of CHUNK or fewer; at least one part."""
    return [points[:, start : start + CHUNK] for start in range(0, max(points.shape[1], 1), CHUNK)]


@dataclass(frozen=True)
class Look:
    """The distances from points to things; what several things need is computed once, and only if needed."""

    face: FaceParameters
    points: np.ndarray  # float32 [3, N], head units
    relief: float  # how much of the relief of hair to show, 0..1

    def distance(self, thing: int) -> np.ndarray:
        """Return the distance to a thing that the scene has, float32 [N]."""
        return getattr(self, NAMES[thing])

    @cached_property
    def neck(self) -> np.ndarray:
        """To the neck, which goes on for ever."""
        return head.neck_distance(self.points, self.face.identity)

    @cached_property
    def bald(self) -> np.ndarray:
        """To the head without hair or neck."""
        return head.head_distance(self.points, self.face.identity, self.face.expression)

    @cached_property
    def clothes(self) -> np.ndarray:
        """To shoulders and collar."""
        return garments.clothes_distance(self.points, self.neck, self.face.clothes)

    @cached_property
    def skin(self) -> np.ndarray:
        """To head and neck."""
        return smooth_union(self.bald, np.maximum(self.neck, self.points[1] + 0.6), 0.12)

    @cached_property
    def hair(self) -> np.ndarray:
        """To the hair, pressed down beneath headwear."""
        face, wear, (x, y, z) = self.face, self.face.headwear, self.points
        hair = head.hair_distance(self.points, self.bald, face.hair, face.identity, self.relief)
        if not wear or wear.kind in garments.OPEN_TOPPED:
            return hair
        if wear.kind in garments.COVERING:
            # What a scarf covers does not poke through; a few strands may show at the forehead.
            hair = np.maximum(hair, np.maximum(self.headwear + 0.03, np.abs(x) - 0.6))
            return np.maximum(hair, -y)
        return np.maximum(hair, y - garments.front_edge(x, z, wear) - 0.02)

    @cached_property
    def headwear(self) -> np.ndarray:
        """To the headwear."""
        face = self.face
        return garments.headwear_distance(self.points, face.headwear, face.identity, face.hair.volume)

    @cached_property
    def mouth_mask(self) -> np.ndarray:
        """To the mouth-mask."""
        return garments.mask_distance(self.points, self.bald, self.face.mouth_mask)

    @cached_property
    def hand(self) -> np.ndarray:
        """To the hand and its forearm."""
        return hand_distance(self.points, self.face.hand)
