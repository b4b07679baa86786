"""From one photo to its mask, at the photo's own size, or to its attribute, by a trained network.

The networks expect one face, roughly centred and filling the picture, as in ELFW. `predict_mask` and
`predict_attribute` take such a picture; `predict_faces` takes any, and the frames that `choose_frames` finds.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from elfw_helpers.data.batches import Batches
from elfw_helpers.data.labels import (
    ATTRIBUTES,
    BACKGROUND,
    BEARD,
    EYEWEAR,
    MOUTH_MASK,
    PIXEL_CLASSES,
    SKIN,
    WEARABLE,
    attribute_from_mask,
)
from elfw_helpers.deployment.faces import Frame, cut_face, find_faces, find_inside, lay_back, whole_frame
from elfw_helpers.models.hub import ModelCard, TrainedModel
from elfw_helpers.utils.device import exact_arithmetic
from elfw_helpers.utils.errors import MissingPackage, PhotoWarning

# By architecture: at how many times its size a network of masks looks at a photo as well. This one has
# learned from faces of many sizes, and gains .016 of mean IoU on photos (benchmarks/README.md).
LARGER_LOOK = {"efficient_unet": 5 / 3}
# By class: the least share of skin, beard and itself that an object covers. Four fifths of the smallest
# shares on the embedded rendered faces (.099, .064, .213). What covers less is taken for a mistake.
LEAST_SHARES = {EYEWEAR: 0.08, WEARABLE: 0.05, MOUTH_MASK: 0.17}
# Beyond these, what the network sees has little in common with what the photo shows.
MOST_ENLARGED, MOST_SHRUNK = 2, 8
# Pixels of a mask that are computed at once: 7 logits each, in float32, take 7 MB.
STRIP_PIXELS = 1 << 18
# Of a crowd, only the largest faces are answered.
MOST_FACES = 20
# A frame with less of its area in the photo is remarked on.
LEAST_INSIDE = 0.75
# The longer side of the map that tells which of several faces is nearest, pixels.
NEAREST_SIDE = 512
NO_FACE = "no face was found, so there is no answer; if there is one, cut it out, upright and large"
UNCERTAIN = "no face was found, so the answer means little"


class FaceAnswer(NamedTuple):
    """What a network says of one face in a photo.

    Attributes:
        frame: where the face is.
        attribute: of ATTRIBUTES; of a segmentation network by the rule on the mask.
        shares: of each attribute its probability or, of a segmentation network, of each class its share.
        mask: of a segmentation network, class ids in the frame, uint8 [S, S]; of a whole photo [H, W].
    """

    frame: Frame
    attribute: str
    shares: dict[str, float]
    mask: np.ndarray | None = None


@contextmanager
def collect_remarks() -> Iterator[list[str]]:
    """Collect the texts of all PhotoWarnings in a list, which is filled at the end of the block.

    Not for several threads at once: Python keeps one list of warning filters for all of them.
    """
    remarks: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PhotoWarning)
        yield remarks
    for one in caught:
        if issubclass(one.category, PhotoWarning):
            remarks.append(str(one.message))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def predict_mask(model: TrainedModel, image: Image.Image) -> np.ndarray:
    """Return the class ids of a photo, RGB of any size, at its own size: uint8 [H, W].

    Raises:
        WeightsError: the model is for another task.
        ValueError: the image is empty or not RGB.

    Warns:
        PhotoWarning: the image is tiny or huge, or the GPU's memory is full.
    """
    return enlarge_to_classes(predict_logits(model, image), image.height, image.width)


def predict_logits(model: TrainedModel, image: Image.Image) -> Tensor:
    """Return a segmentation network's logits of a photo, RGB, without the padding: float32 [7, h, w].

    Classes of which too little is found have the lowest of all logits, so that no pixel goes to them.
    """
    logits, (rows, columns) = predict_square(model, image, "segment")
    return drop_small_objects(logits[:, rows, columns])


def drop_small_objects(logits: Tensor) -> Tensor:
    """Return a mask's logits, float32 [7, h, w], without objects that cover less of a face than LEAST_SHARES.

    Their pixels go to the next likeliest class. Networks take bare eyes for glasses: without this step, the
    IoU of glasses on photos is .07 lower (benchmarks/README.md).
    """
    counts = torch.bincount(logits.argmax(0).flatten(), minlength=len(PIXEL_CLASSES))
    face = counts[SKIN] + counts[BEARD]
    small = [label for label, share in LEAST_SHARES.items() if counts[label] < share * (face + counts[label])]
    kept = logits.clone()
    kept[small] = logits.min() - 1
    return kept


def predict_attribute(model: TrainedModel, image: Image.Image) -> np.ndarray:
    """Return the probability of each of the three attributes, float64 [3]; errors as in `predict_mask`."""
    logits, _ = predict_square(model, image, "attribute")
    return logits.double().softmax(0).numpy()


def choose_frames(image: Image.Image, crop: bool = True) -> list[Frame]:
    """Return the frames of the faces in a photo, RGB, the largest first; without `crop`, the whole photo's.

    Where the package that finds faces is not installed, the whole photo is taken for one face.

    Warns:
        PhotoWarning: there is no face, or a crowd of which only the largest are returned, or no finder.
    """
    try:
        frames = find_faces(image)
    except MissingPackage as error:
        if crop:
            text = f"faces are not looked for, the whole photo is taken for one ({error})"
            warnings.warn(text, PhotoWarning, stacklevel=2)
        return [whole_frame(*image.size)]
    if not frames:
        warnings.warn(NO_FACE if crop else UNCERTAIN, PhotoWarning, stacklevel=2)
    if not crop:
        return [whole_frame(*image.size)]
    if len(frames) > MOST_FACES:
        text = f"{len(frames)} faces were found: the {MOST_FACES} largest are answered"
        warnings.warn(text, PhotoWarning, stacklevel=2)
    return frames[:MOST_FACES]


def predict_faces(model: TrainedModel, image: Image.Image, frames: list[Frame]) -> list[FaceAnswer]:
    """Return a network's answer for each of the frames of a photo, RGB; errors as in `predict_mask`.

    Warns:
        PhotoWarning: as `predict_mask` does, and where a face is cut by the border; with its number if there
            are several.
    """
    answers = []
    for number, frame in enumerate(frames, 1):
        with collect_remarks() as remarks:
            warn_of_border(image, frame)
            answers.append(predict_face(model, image, frame))
        for text in remarks:
            text = f"face {number}: {text}" if len(frames) > 1 else text
            warnings.warn(text, PhotoWarning, stacklevel=2)
    return answers


def predict_face(model: TrainedModel, image: Image.Image, frame: Frame) -> FaceAnswer:
    """Return a network's answer for one frame of a photo, RGB."""
    face = cut_face(image, frame, largest_look(model.card))
    if face is not image:
        warn_of_size(round(frame.side), round(frame.side), model.card.size)
    if model.card.task == "attribute":
        probabilities = predict_attribute(model, face).tolist()
        attribute = ATTRIBUTES[probabilities.index(max(probabilities))]
        return FaceAnswer(frame, attribute, dict(zip(ATTRIBUTES, probabilities, strict=True)))
    if face is image:
        mask = predict_mask(model, image)
    else:
        side = max(1, round(frame.side))
        mask = enlarge_to_classes(predict_logits(model, face), side, side)
        mask[~find_inside(frame, side, *image.size)] = BACKGROUND
    return FaceAnswer(frame, ATTRIBUTES[attribute_from_mask(mask)], class_fractions(mask), mask)


def warn_of_border(image: Image.Image, frame: Frame) -> None:
    """Warn if much of a frame lies outside of its photo, and is not the whole photo's frame."""
    left, top, right, bottom = frame.box(*image.size)
    (west, north), (east, south) = frame.corners().min(0), frame.corners().max(0)
    inside = (right - left) * (bottom - top) / ((east - west) * (south - north))
    if inside < LEAST_INSIDE and frame != whole_frame(*image.size):
        text = "cut by the border of the photo: what lies beyond is unknown, so the answer says less"
        warnings.warn(text, PhotoWarning, stacklevel=2)


def lay_masks(answers: list[FaceAnswer], width: int, height: int) -> np.ndarray:
    """Return the masks of a photo's faces in one of the photo's size, uint8 [height, width]: class ids.

    What is in no frame is background. Where frames overlap, a pixel is of the face that is nearest, in sides
    of its frame.
    """
    whole = np.full((height, width), BACKGROUND, np.uint8)
    nearest = find_nearest([answer.frame for answer in answers], width, height)
    for index, answer in enumerate(answers):
        box = left, top, right, bottom = answer.frame.box(width, height)
        place = slice(top, bottom), slice(left, right)
        is_whole = answer.frame == whole_frame(width, height)
        laid = answer.mask if is_whole else lay_back(answer.mask, answer.frame, box)
        np.copyto(whole[place], laid, where=nearest[place] == index)
    return whole


def find_nearest(frames: list[Frame], width: int, height: int) -> np.ndarray:
    """Return for each pixel the index of the nearest frame, in its sides: uint8 [height, width]."""
    step = max(1.0, max(width, height) / NEAREST_SIDE)
    x, y = ((np.arange(round(length / step)) + 0.5) * step for length in (width, height))
    distances = [np.hypot(x - one.x, y[:, None] - one.y) / one.side for one in frames]
    nearest = np.argmin(distances, 0).astype(np.uint8) if frames else np.zeros((1, 1), np.uint8)
    return np.asarray(Image.fromarray(nearest).resize((width, height), Image.Resampling.NEAREST))


def predict_square(model: TrainedModel, image: Image.Image, task: str) -> tuple[Tensor, tuple[slice, slice]]:
    """Return the network's logits of one photo on a square, and the photo's rows and columns in it.

    Of a mask they are the mean over the photo, its mirror image and, of networks in LARGER_LOOK, the photo
    at a larger size, whose square it is then.
    """
    model.check_task(task)
    if image.mode != "RGB" or 0 in image.size:
        found = f"an image in mode {image.mode}, {image.width} x {image.height} pixels"
        raise ValueError(f"{found}: need RGB, at least 1 x 1 (elfw_helpers.data.images.read_image gives it)")
    warn_of_size(*image.size, model.card.size)
    pixels, place = fit_square(image, model.card.size)
    if task == "attribute":
        return run_network(model, pixels)[0], place
    # Both at once take hardly longer than one.
    logits, mirrored = run_network(model, pixels, np.fliplr(pixels))
    logits = logits + mirrored.flip(2)
    if model.card.architecture not in LARGER_LOOK:
        return logits / 2, place
    pixels, place = fit_square(image, largest_look(model.card))
    logits = interpolate(logits[None], pixels.shape[:2], mode="bilinear")[0]
    return (logits + run_network(model, pixels)[0]) / 3, place


def largest_look(card: ModelCard) -> int:
    """Return the side of the largest square that a network looks at, pixels: its own, or a multiple of 32."""
    times = LARGER_LOOK.get(card.architecture)
    return 32 * math.ceil(card.size * times / 32) if times else card.size


def warn_of_size(width: int, height: int, size: int) -> None:
    """Warn if a face is so small or so large that the network, with inputs of `size` pixels, sees little."""
    factor = max(width, height) / size
    sizes = f"{width} x {height} pixels, for a network that sees {size} x {size}"
    if factor < 1 / MOST_ENLARGED:
        text = f"enlarged {1 / factor:.1f} times ({sizes}): too small to say much"
        warnings.warn(text, PhotoWarning, stacklevel=4)
    elif factor > MOST_SHRUNK:
        text = f"shrunk {factor:.0f} times ({sizes}): fine detail is lost"
        warnings.warn(text, PhotoWarning, stacklevel=4)


def fit_square(image: Image.Image, size: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Return an RGB image, aspect kept, on a square padded with its edges, and its rows and columns there.

    The square is uint8 [size, size, 3]; rows and columns are slices.
    """
    width, height = (max(1, round(side * size / max(image.size))) for side in image.size)
    top, left = (size - height) // 2, (size - width) // 2
    # Shrunk first and padded then: the square around a long, thin photo might not fit into memory.
    small = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    margins = ((top, size - height - top), (left, size - width - left), (0, 0))
    return np.pad(small, margins, mode="edge"), (slice(top, top + height), slice(left, left + width))


@torch.no_grad()
def run_network(model: TrainedModel, *images: np.ndarray) -> Tensor:
    """Return the logits of images, each uint8 [S, S, 3], on the CPU: float32 [N, C, S, S] or [N, C].

    Warns:
        PhotoWarning: the GPU's memory is full; the network is on the CPU from then on.
    """

    def predict(device: str | torch.device) -> Tensor:
        inputs = make_inputs(model.card, np.stack(images), device)
        with exact_arithmetic():
            network = model.network.to(device).eval()
            return network(inputs).cpu()

    try:
        return predict(model.device)
    except torch.cuda.OutOfMemoryError:
        text = "the GPU's memory is full: predicted on the CPU from here on, which takes longer"
        warnings.warn(text, PhotoWarning, stacklevel=4)
        return predict("cpu")


def make_inputs(card: ModelCard, images: np.ndarray, device: str | torch.device) -> Tensor:
    """Return images, uint8 [N, S, S, 3], as a network's input: normalised, float32 [N, 3, S, S]."""
    options = {"mean": card.mean, "std": card.std, "batch_size": len(images), "device": device}
    inputs, _ = next(iter(Batches(torch.from_numpy(images), torch.zeros(len(images)), **options)))
    return inputs


def enlarge_to_classes(logits: Tensor, height: int, width: int) -> np.ndarray:
    """Return the class of the greatest logit, after bilinear resizing, at every pixel: uint8 [height, width].

    The same as interpolating logits, float32 [C, h, w], to full size and taking the argmax, but in strips of
    rows: the logits of a photo of 50 million pixels would fill 1.4 GB.
    """
    rows = logits.shape[1]
    # Where the centre of each row of pixels falls among the rows of logits, as in torch's interpolate.
    centres = ((torch.arange(height, dtype=torch.float64) + 0.5) * rows / height - 0.5).clamp(0, rows - 1)
    above = centres.long()
    below, weights = (above + 1).clamp(max=rows - 1), (centres - above).float()[:, None]
    mask = np.empty((height, width), np.uint8)
    step = max(1, STRIP_PIXELS // width)
    for part in (slice(start, start + step) for start in range(0, height, step)):
        strip = torch.lerp(logits[:, above[part]], logits[:, below[part]], weights[part])
        # With the classes of a pixel side by side in memory, their argmax takes a tenth of the time.
        strip = strip[None].contiguous(memory_format=torch.channels_last)
        wide = interpolate(strip, (strip.shape[2], width), mode="bilinear")[0]
        mask[part] = wide.argmax(0).byte().numpy()
    return mask


def class_fractions(mask: np.ndarray) -> dict[str, float]:
    """Return the share of the pixels, 0..1, that each pixel class has in a mask, uint8 [H, W]."""
    counts = Image.fromarray(mask).histogram()
    return {name: counts[index] / mask.size for index, name in enumerate(PIXEL_CLASSES)}
