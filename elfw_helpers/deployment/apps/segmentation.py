"""The app of masks: the class of every pixel, and the attribute that follows from it by the rule."""

from __future__ import annotations

import time
from collections.abc import Sequence

from PIL import Image

from elfw_helpers.data.images import mask_picture
from elfw_helpers.data.labels import BACKGROUND, DISPLAY_COLOURS
from elfw_helpers.deployment.apps.html import (
    embed_picture,
    encode_data_url,
    explain_rule,
    format_legend,
    format_remarks,
    head_answer,
    number_faces,
    shrink_to_page,
)
from elfw_helpers.deployment.files import describe_face
from elfw_helpers.deployment.predict import choose_frames, collect_remarks, lay_masks, predict_faces
from elfw_helpers.models.hub import TrainedModel


def answer_segmentation(model: TrainedModel, image: Image.Image, remarks: Sequence[str] = ()) -> dict:
    """Return the network's answer for a photo, RGB, with the remarks on reading it; the mask as a picture."""
    with collect_remarks() as more:
        frames = choose_frames(image)
        start = time.perf_counter()
        faces = predict_faces(model, image, frames)
        mask = lay_masks(faces, *image.size)
        milliseconds = 1000 * (time.perf_counter() - start)
    return {
        "faces": [describe_face(model, face) for face in faces],
        "mask": mask_picture(mask),
        "milliseconds": round(milliseconds, 2),
        "remarks": [*remarks, *more],
    }


def show_segmentation(image: Image.Image, answer: dict) -> str:
    """Return the answer for a photo as HTML; the slider above it changes the opacity in the browser."""
    faces, picture = answer["faces"], answer["mask"]
    shown = shrink_to_page(number_faces(image, faces))
    head = f'<section class="answer">{head_answer(faces)}{explain_faces(faces)}'
    head += format_remarks(answer["remarks"])
    if not faces:
        return f"{head}{embed_picture(shown, 'JPEG', 'your photo')}</section>"
    cover = picture.resize(shown.size, Image.Resampling.NEAREST)
    # In the legend's colours; the file to download keeps ELFW's. The background stays clear.
    cover.putpalette(DISPLAY_COLOURS.tobytes())
    cover.info["transparency"] = BACKGROUND
    return (
        f'{head}<div class="side"><div class="overlay">{embed_picture(shown, "JPEG", "your photo")}'
        f"{embed_picture(cover, 'PNG', 'its mask in the colours of the legend', 'mask')}</div>"
        f"<div>{format_legend(faces[0]['class_fractions'])}"
        f'<a class="download" download="mask.png" href="{encode_data_url(picture, "PNG")}">'
        "Download the mask</a>"
        f'<p class="by">PNG, {image.width} x {image.height} pixels, made in {answer["milliseconds"]:.0f} ms'
        f"</p></div></div></section>"
    )


def explain_faces(faces: list[dict]) -> str:
    """Return a line per face that says why the rule gives its attribute."""
    reasons = [explain_rule(face["class_fractions"]) for face in faces]
    if len(faces) == 1:
        return f'<p class="by">by the rule: {reasons[0]}</p>'
    lines = [f"Face {number}: {reason}" for number, reason in enumerate(reasons, 1)]
    return "".join(f'<p class="by">{line}</p>' for line in lines)
