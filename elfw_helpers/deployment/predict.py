"""From one photo to its mask, at the photo's own size, or to its attribute, by a trained network.

Faces are expected as in ELFW: one, roughly centred and filling the picture. There is no face detector: a
small face in a wide scene has to be cut out first.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from elfw_helpers.data.batches import Batches
from elfw_helpers.data.labels import PIXEL_CLASSES, SKIN
from elfw_helpers.models.hub import ModelCard, TrainedModel
from elfw_helpers.utils.device import exact_arithmetic
from elfw_helpers.utils.errors import PhotoWarning

# Beyond these, what the network sees has little in common with what the photo shows.
MOST_ENLARGED, MOST_SHRUNK = 2, 8
# Pixels of a mask that are computed at once: 7 logits each, in float32, take 7 MB.
STRIP_PIXELS = 1 << 18
# A pixel's class is certain when its probability is above this.
CERTAIN = 0.9
# No face is found where less of the photo is certainly skin, or certainly any class (`warn_if_no_face`).
LEAST_SKIN, LEAST_CERTAIN = 0.04, 0.3
NO_FACE = "no face was found, so the answer means little; if there is one, cut it out, upright and large"


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
    """Return a segmentation network's logits of a photo, RGB, without the padding: float32 [C, h, w]."""
    logits, (rows, columns) = predict_square(model, image, "segment")
    return logits[:, rows, columns]


def predict_attribute(model: TrainedModel, image: Image.Image) -> np.ndarray:
    """Return the probability of each of the three attributes, float64 [3]; errors as in `predict_mask`."""
    logits, _ = predict_square(model, image, "attribute")
    return logits.double().softmax(0).numpy()


def look_for_face(unet: TrainedModel, image: Image.Image) -> None:
    """Warn if a photo, RGB, seems to show no face to the course's own U-Net."""
    pixels, (rows, columns) = fit_square(image, unet.card.size)
    warn_if_no_face(run_network(unet, pixels)[:, rows, columns])


def warn_if_no_face(logits: Tensor) -> None:
    """Warn if a photo seems to show no face, by the logits of the course's own U-Net, float32 [C, h, w].

    A U-Net trained on faces alone finds something like skin nearly everywhere, but seldom with certainty. The
    thresholds were chosen on other pictures of the same kinds. They give a warning for 17 of the 2,280
    embedded faces, 3 of 700 photos of CelebAMask-HQ, and two thirds of these with a margin of half a photo;
    and, of 100 generated pictures without a face, for 100 flat colours, gradients, texts or white noises, 97
    of 1/f noise, 95 textures, 94 landscapes, 92 skies.
    """
    certain = logits.softmax(0) > CERTAIN
    if certain[SKIN].float().mean() < LEAST_SKIN or certain.any(0).float().mean() < LEAST_CERTAIN:
        warnings.warn(NO_FACE, PhotoWarning, stacklevel=2)


def predict_square(model: TrainedModel, image: Image.Image, task: str) -> tuple[Tensor, tuple[slice, slice]]:
    """Return the network's logits of one photo on a square, and the photo's rows and columns in it."""
    model.check_task(task)
    if image.mode != "RGB" or 0 in image.size:
        found = f"an image in mode {image.mode}, {image.width} x {image.height} pixels"
        raise ValueError(f"{found}: need RGB, at least 1 x 1 (elfw_helpers.data.images.read_image gives it)")
    warn_of_size(image, model.card.size)
    pixels, place = fit_square(image, model.card.size)
    return run_network(model, pixels), place


def warn_of_size(image: Image.Image, size: int) -> None:
    """Warn if a photo is so small or so large that the network, with inputs of `size` pixels, sees little."""
    factor = max(image.size) / size
    sizes = f"{image.width} x {image.height} pixels, for a network that sees {size} x {size}"
    if factor < 1 / MOST_ENLARGED:
        text = f"enlarged {1 / factor:.1f} times ({sizes}): the photo is too small to say much"
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
def run_network(model: TrainedModel, pixels: np.ndarray) -> Tensor:
    """Return the logits of one image, uint8 [S, S, 3], on the CPU: float32 [C, S, S] or [C].

    Warns:
        PhotoWarning: the GPU's memory is full; the network is on the CPU from then on.
    """

    def predict(device: str | torch.device) -> Tensor:
        inputs = make_inputs(model.card, pixels, device)
        with exact_arithmetic():
            return model.network.to(device).eval()(inputs)[0].cpu()

    try:
        return predict(model.device)
    except torch.cuda.OutOfMemoryError:
        text = "the GPU's memory is full: predicted on the CPU from here on, which takes longer"
        warnings.warn(text, PhotoWarning, stacklevel=4)
        return predict("cpu")


def make_inputs(card: ModelCard, pixels: np.ndarray, device: str | torch.device) -> Tensor:
    """Return one image, uint8 [S, S, 3], as a network's input: normalised, float32 [1, 3, S, S]."""
    images, no_targets = torch.from_numpy(pixels)[None], torch.zeros(1)
    inputs, _ = next(iter(Batches(images, no_targets, mean=card.mean, std=card.std, device=device)))
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
