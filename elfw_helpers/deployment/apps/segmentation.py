"""The app of masks: the class of every pixel, and the attribute that follows from it by the rule."""

from __future__ import annotations

import time
from collections.abc import Sequence

from PIL import Image

from elfw_helpers.data.images import mask_picture
from elfw_helpers.data.labels import ATTRIBUTES, BACKGROUND, DISPLAY_COLOURS, attribute_from_mask
from elfw_helpers.deployment.apps.html import (
    embed_picture,
    encode_data_url,
    explain_rule,
    format_legend,
    format_remarks,
    shrink_to_page,
)
from elfw_helpers.deployment.predict import (
    class_fractions,
    collect_remarks,
    enlarge_to_classes,
    predict_logits,
    warn_if_no_face,
)
from elfw_helpers.models.hub import TrainedModel


def answer_segmentation(unet: TrainedModel, image: Image.Image, remarks: Sequence[str] = ()) -> dict:
    """Return the U-Net's answer for a photo, RGB, with the remarks on reading it; the mask as a picture."""
    with collect_remarks() as more:
        start = time.perf_counter()
        logits = predict_logits(unet, image)
        mask = enlarge_to_classes(logits, image.height, image.width)
        milliseconds = 1000 * (time.perf_counter() - start)
        warn_if_no_face(logits)
    return {
        "attribute": ATTRIBUTES[attribute_from_mask(mask)],
        "class_fractions": class_fractions(mask),
        "mask": mask_picture(mask),
        "milliseconds": round(milliseconds, 2),
        "remarks": [*remarks, *more],
    }


def show_segmentation(image: Image.Image, answer: dict) -> str:
    """Return the answer for a photo as HTML; the slider above it changes the opacity in the browser."""
    picture, shown, fractions = answer["mask"], shrink_to_page(image), answer["class_fractions"]
    cover = picture.resize(shown.size, Image.Resampling.NEAREST)
    # In the legend's colours; the file to download keeps ELFW's. The background stays clear.
    cover.putpalette(DISPLAY_COLOURS.tobytes())
    cover.info["transparency"] = BACKGROUND
    return (
        f'<section class="answer"><h2>{answer["attribute"]}</h2>'
        f'<p class="by">by the rule: {explain_rule(fractions)}</p>{format_remarks(answer["remarks"])}'
        f'<div class="side"><div class="overlay">{embed_picture(shown, "JPEG", "your photo")}'
        f"{embed_picture(cover, 'PNG', 'its mask in the colours of the legend', 'mask')}</div>"
        f"<div>{format_legend(fractions)}"
        f'<a class="download" download="mask.png" href="{encode_data_url(picture, "PNG")}">'
        "Download the mask</a>"
        f'<p class="by">PNG, {image.width} x {image.height} pixels, made in {answer["milliseconds"]:.0f} ms'
        f"</p></div></div></section>"
    )
