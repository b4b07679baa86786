"""Deployment 2: the class of every pixel, and the attribute that follows by the rule."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from elfw_helpers.data.labels import ATTRIBUTES, BACKGROUND, attribute_from_mask
from elfw_helpers.deployment.apps.pieces import (
    data_address,
    draw_legend,
    embed,
    explain_rule,
    list_remarks,
    shrink,
)
from elfw_helpers.deployment.predict import (
    class_fractions,
    collect_remarks,
    look_for_face,
    mask_picture,
    predict_mask,
)
from elfw_helpers.models.hub import TrainedModel


@dataclass(frozen=True)
class MaskAnswer:
    """What the network says of a photo.

    Attributes:
        mask: class ids, uint8 [H, W], at the photo's own size.
        milliseconds: taken for it.
        remarks: what its reader should know of.
    """

    mask: np.ndarray
    milliseconds: float
    remarks: tuple[str, ...]

    @property
    def attribute(self) -> str:
        """Name of the attribute by the rule."""
        return ATTRIBUTES[attribute_from_mask(self.mask)]


def ask_network(model: TrainedModel, image: Image.Image, remarks: Sequence[str] = ()) -> MaskAnswer:
    """Return what the U-Net says of a photo, RGB, after what was to be said when the photo was read."""
    with collect_remarks() as more:
        start = time.perf_counter()
        mask = predict_mask(model, image)
        milliseconds = 1000 * (time.perf_counter() - start)
        look_for_face(model, image)
    return MaskAnswer(mask, milliseconds, (*remarks, *more))


def answer_segmentation(model: TrainedModel, image: Image.Image, remarks: Sequence[str] = ()) -> str:
    """Return the page's answer for a photo; the slider above it changes the opacity in the browser."""
    answer, shown = ask_network(model, image, remarks), shrink(image)
    picture = mask_picture(answer.mask)
    cover = picture.resize(shown.size, Image.Resampling.NEAREST)
    # The background stays clear.
    cover.info["transparency"] = BACKGROUND
    fractions = class_fractions(answer.mask)
    return (
        f'<section class="answer"><h2>{answer.attribute}</h2>'
        f'<p class="by">by the rule: {explain_rule(fractions)}</p>{list_remarks(answer.remarks)}'
        f'<div class="side"><div class="overlay">{embed(shown, "JPEG", "your photo")}'
        f"{embed(cover, 'PNG', 'its mask in the colours of the legend', 'mask')}</div>"
        f"<div>{draw_legend(fractions)}"
        f'<a class="download" download="mask.png" href="{data_address(picture, "PNG")}">Download the mask</a>'
        f'<p class="by">PNG, {image.width} x {image.height} pixels, made in {answer.milliseconds:.0f} ms</p>'
        f"</div></div></section>"
    )


def report_segmentation(model: TrainedModel, image: Image.Image, remarks: Sequence[str] = ()) -> dict:
    """Return the answer for a photo, for a program; the mask is a PNG in a data: address."""
    answer = ask_network(model, image, remarks)
    fractions = class_fractions(answer.mask)
    return {
        "attribute": answer.attribute,
        "class_fractions": {name: round(share, 6) for name, share in fractions.items()},
        "mask": data_address(mask_picture(answer.mask), "PNG"),
        "milliseconds": round(answer.milliseconds, 2),
        "remarks": answer.remarks,
    }
