"""The things that make up a picture: how far points are from each, and the pixel class of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from elfw_helpers.data import labels
from elfw_helpers.rendering import garments, head
from elfw_helpers.rendering.hand import hand_distance
from elfw_helpers.rendering.parameters import FaceParameters
from elfw_helpers.rendering.shapes import smooth_union

SKIN, HAIR, HEADWEAR, MOUTH_MASK, CLOTHES, HAND = range(6)
# ELFW labels hands that hide a face as background.
PIXEL_CLASS = np.array(
    [labels.SKIN, labels.HAIR, labels.WEARABLE, labels.MOUTH_MASK, labels.BACKGROUND, labels.BACKGROUND],
    np.uint8,
)

# With this many points at once the numbers stay in the processor's cache.
CHUNK = 8192


@dataclass(frozen=True)
class Scene:
    """The things of one picture, in head coordinates; or `only` one of them."""

    face: FaceParameters
    only: int | None = None

    def distances(
        self, points: np.ndarray, relief: float = 1.0, alone: int | None = None
    ) -> dict[int, np.ndarray]:
        """Return the distance to every thing of the scene that exists, float32 [N], by SKIN, HAIR, ...

        Args:
            points: float32 [3, N], head units.
            relief: how much of the relief of hair to show, 0..1.
            alone: one thing to look at alone, which takes less time.
        """
        face, found = self.face, {}
        alone = self.only if alone is None else alone
        if alone == HAND:
            return {HAND: hand_distance(points, face.hand)}
        neck = head.neck_distance(points, face.identity)
        if alone in (None, CLOTHES):
            found[CLOTHES] = garments.clothes_distance(points, neck, face.clothes)
        if alone == CLOTHES:
            return found
        bald = head.head_distance(points, face.identity, face.expression)
        found[SKIN] = smooth_union(bald, np.maximum(neck, points[1] + 0.6), 0.12)
        if alone == SKIN:
            return found
        hair = head.hair_distance(points, bald, face.hair, face.identity, relief)
        if hair is not None:
            found[HAIR] = hair
        if face.headwear:
            self._put_on_headwear(found, points)
        if face.mouth_mask:
            found[MOUTH_MASK] = garments.mask_distance(points, bald, face.mouth_mask)
        if face.hand:
            found[HAND] = hand_distance(points, face.hand)
        return found if alone is None else {alone: found[alone]}

    def nearest(self, points: np.ndarray, relief: float = 1.0, alone: int | None = None) -> np.ndarray:
        """Return the distance of points [3, N] to the nearest thing, or to one alone, float32 [N]."""
        cuts = range(CHUNK, points.shape[1], CHUNK)
        found = [
            np.minimum.reduce(list(self.distances(part, relief, alone).values()))
            for part in np.split(points, cuts, axis=1)
        ]
        return np.concatenate(found)

    def objects(self, points: np.ndarray) -> np.ndarray:
        """Return which thing is nearest to each point [3, N], int64 [N]."""
        found = self.distances(points)
        return np.array(list(found))[np.argmin(np.stack(list(found.values())), axis=0)]

    def _put_on_headwear(self, found: dict[int, np.ndarray], points: np.ndarray) -> None:
        """Add the headwear, and press the hair down beneath it."""
        face, wear = self.face, self.face.headwear
        x, y, z = points
        found[HEADWEAR] = garments.headwear_distance(points, wear, face.identity, face.hair.volume)
        if HAIR not in found:
            return
        if wear.kind in garments.COVERING:
            # What a scarf covers does not poke through; a few strands may show at the forehead.
            found[HAIR] = np.maximum(found[HAIR], np.maximum(found[HEADWEAR] + 0.03, np.abs(x) - 0.6))
            found[HAIR] = np.maximum(found[HAIR], -y)
        elif wear.kind not in garments.OPEN_TOPPED:
            found[HAIR] = np.maximum(found[HAIR], y - garments.front_edge(x, z, wear) - 0.02)
