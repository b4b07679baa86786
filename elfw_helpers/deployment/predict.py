"""From a photo to a mask at the photo's own size, or to an attribute, by a trained network.

Faces are expected as ELFW has them: one, roughly centred and filling the picture. Nothing here looks for
the place of a face, so a small one in a wide scene has to be cut out first; `look_for_face` warns where there
seems to be none.
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
from elfw_helpers.data.labels import BACKGROUND, PALETTE, PIXEL_CLASSES, SKIN
from elfw_helpers.models.hub import TrainedModel
from elfw_helpers.utils.device import exact_arithmetic
from elfw_helpers.utils.errors import PhotoWarning

# Beyond these, what the network sees has little in common with what the photo shows.
MOST_ENLARGED, MOST_SHRUNK = 2, 8
# Pixels of a mask that are decided at once: 7 logits each, in float32, take 7 MB.
STRIP_PIXELS = 1 << 18
# A pixel's class is sure when its probability is above this ...
SURE = 0.9
# ... and a face is missing where less of the photo is surely skin, or surely anything (`look_for_face`).
LEAST_SKIN, LEAST_SURE = 0.04, 0.3
NO_FACE = "no face was found, so the answer means little; if there is one, cut it out, upright and large"


class PredictionWarning(PhotoWarning):
    """A prediction was made, but in a way that its reader should know of."""


@contextmanager
def collect_remarks() -> Iterator[list[str]]:
    """Collect what there is to say beside an answer: a list that fills once the block has ended.

    Not for several threads at once: Python keeps one list of filters for all.
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
    """Return the class of every pixel of a photo.

    The photo is shrunk as the training images were, its aspect kept, and laid on a square whose rest
    repeats the photo's edge. Logits, not classes, are enlarged: that gives smooth outlines.

    Args:
        model: a network that segments.
        image: RGB, of any size.

    Returns:
        class ids, uint8 [H, W], at the image's own size.

    Raises:
        WeightsError: the model is for another task.
        ValueError: the image is empty or not RGB.

    Warns:
        PredictionWarning: the image is tiny or huge, or had to be predicted on the CPU.
    """
    logits, (rows, columns) = predict_square(model, image, "segment")
    return enlarge_to_classes(logits[:, rows, columns], image.height, image.width)


def predict_attribute(model: TrainedModel, image: Image.Image) -> np.ndarray:
    """Return the probability of each of the three attributes of a photo, float64 [3].

    Args:
        model: a network that classifies.
        image: RGB, of any size; prepared as in `predict_mask`, which also has what is raised and warned.
    """
    logits, _ = predict_square(model, image, "attribute")
    return logits.double().softmax(0).numpy()


def look_for_face(finder: TrainedModel, image: Image.Image) -> None:
    """Warn when a photo seems to show no face.

    A U-Net that learned faces alone finds something like skin nearly everywhere, but is seldom sure of it:
    by how much of the mask is skin, one in three of the pictures below would pass for a face. Chosen on other
    pictures of the same kinds, and on the photos, with the shipped network, the thresholds remark on

    - with a face: 17 of the 2,280 embedded ones and 3 of 700 photos of CelebAMask-HQ, 4 of them in gray; 2 in
      100 of these with a margin of a quarter on every side, two thirds of them with a margin of a half: so
      small a face is to be cut out anyway;
    - without one, in 100 made pictures of each kind: flat colours, gradients, text 100, white noise 100, 1/f
      noise 97, textures and coloured shapes 95, landscapes 94, skies 92.

    Args:
        finder: the network that segments which the course brings along, `load_model("unet")`: of another
            one neither threshold is known to hold.
        image: RGB, of any size.

    Warns:
        PredictionWarning: no face was found, or the GPU's memory is full.
    """
    finder.check_task("segment")
    pixels, (rows, columns) = fit_square(image, finder.card.size)
    sure = run_network(finder, pixels)[:, rows, columns].softmax(0) > SURE
    if sure[SKIN].float().mean() < LEAST_SKIN or sure.any(0).float().mean() < LEAST_SURE:
        warnings.warn(NO_FACE, PredictionWarning, stacklevel=2)


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
    """Warn when an image is enlarged or shrunk so much that the network cannot see what it should."""
    factor = max(image.size) / size
    sizes = f"{image.width} x {image.height} pixels, for a network that sees {size} x {size}"
    if factor < 1 / MOST_ENLARGED:
        text = f"enlarged {1 / factor:.1f} times ({sizes}): the photo is too small to say much"
        warnings.warn(text, PredictionWarning, stacklevel=4)
    elif factor > MOST_SHRUNK:
        text = f"shrunk {factor:.0f} times ({sizes}): fine detail is lost"
        warnings.warn(text, PredictionWarning, stacklevel=4)


def fit_square(image: Image.Image, size: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Return an image on a square, aspect kept, and the rows and columns of the square that it fills.

    Args:
        image: RGB.
        size: side of the square, pixels.

    Returns:
        uint8 [size, size, 3], the image's edges repeated where it does not reach, and two slices.
    """
    width, height = (max(1, round(side * size / max(image.size))) for side in image.size)
    top, left = (size - height) // 2, (size - width) // 2
    # Shrunk first, padded then: the square around a long, thin photo might not fit into memory.
    small = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    margins = ((top, size - height - top), (left, size - width - left), (0, 0))
    return np.pad(small, margins, mode="edge"), (slice(top, top + height), slice(left, left + width))


@torch.no_grad()
def run_network(model: TrainedModel, pixels: np.ndarray) -> Tensor:
    """Return the logits of one image, uint8 [S, S, 3], on the CPU: float32 [C, S, S] or [C].

    Warns:
        PredictionWarning: the GPU's memory is full; the network is on the CPU from then on.
    """

    def predict(device: str | torch.device) -> Tensor:
        images, unused = torch.from_numpy(pixels)[None], torch.zeros(1)
        batches = Batches(images, unused, mean=model.card.mean, std=model.card.std, device=device)
        inputs, _ = next(iter(batches))
        with exact_arithmetic():
            return model.network.to(device).eval()(inputs)[0].cpu()

    try:
        return predict(model.device)
    except torch.cuda.OutOfMemoryError:
        text = "the GPU's memory is full: predicted on the CPU from here on, which takes longer"
        warnings.warn(text, PredictionWarning, stacklevel=4)
        return predict("cpu")


def enlarge_to_classes(logits: Tensor, height: int, width: int) -> np.ndarray:
    """Return the class of the greatest logit, after bilinear resizing, at every pixel.

    The same as interpolating to full size and taking the argmax, but in strips of rows: the logits of a
    photo of 50 million pixels would fill 1.4 GB.

    Args:
        logits: float32 [C, h, w].
        height, width: of the mask, pixels.

    Returns:
        class ids, uint8 [height, width].
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


def draw_overlay(image: Image.Image, mask: np.ndarray, opacity: float = 0.5) -> Image.Image:
    """Return a photo with its mask laid over it in ELFW's colours; the background stays as it is.

    Args:
        image: RGB.
        mask: class ids, uint8 [H, W], of the image's size.
        opacity: of the colours, 0..1.

    Raises:
        ValueError: image and mask differ in size, or the opacity is not in 0..1.
    """
    if mask.shape != (image.height, image.width):
        found = f"mask of {mask.shape[1]} x {mask.shape[0]} on an image of {image.width} x {image.height}"
        raise ValueError(f"{found} pixels: need the same size")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity {opacity}: need 0 (the photo alone) to 1 (the colours alone)")
    overlay = image.copy()
    for index, colour in enumerate(PALETTE.tolist()):
        if index != BACKGROUND:
            # Class by class: a second picture in full colour would take as much memory as the photo.
            cover = Image.fromarray((mask == index) * np.uint8(round(255 * opacity)))
            overlay.paste(tuple(colour), mask=cover)
    return overlay


def mask_picture(mask: np.ndarray) -> Image.Image:
    """Return a mask, uint8 [H, W], as an indexed picture in ELFW's colours; saved as PNG nothing is lost."""
    picture = Image.fromarray(mask)
    picture.putpalette(PALETTE.tobytes())
    return picture
