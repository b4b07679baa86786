"""The app of attributes: hair, spectacles or cap, by two networks, and the evidence that each found."""

from __future__ import annotations

import time
from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image

from elfw_helpers.deployment.apps.html import (
    embed_picture,
    format_probabilities,
    format_remarks,
    head_answer,
    number_faces,
    shrink_to_page,
)
from elfw_helpers.deployment.faces import Frame, cut_face
from elfw_helpers.deployment.files import describe_face
from elfw_helpers.deployment.predict import (
    choose_frames,
    collect_remarks,
    fit_square,
    make_inputs,
    predict_faces,
)
from elfw_helpers.evaluation.grad_cam import grad_cam
from elfw_helpers.models.hub import TrainedModel

TITLES = {"efficient_attributes": "EfficientNet-Lite0", "mini_network": "Mini network"}
# The layer that Grad-CAM looks at: deep enough to know objects, fine enough to place them.
LAYERS = {"efficient_attributes": "encoder.blocks.2", "mini_network": "relu2"}
# The side of a face that was cut out of a photo, on the page, pixels.
FACE_SIDE = 400


def answer_attributes(
    models: dict[str, TrainedModel], image: Image.Image, remarks: Sequence[str] = ()
) -> dict[str, dict]:
    """Return the answers of networks by name for a photo, RGB, with the remarks on reading it."""
    with collect_remarks() as on_faces:
        frames = choose_frames(image)
    answers = {}
    for name, model in models.items():
        with collect_remarks() as on_size:
            start = time.perf_counter()
            faces = predict_faces(model, image, frames)
            milliseconds = 1000 * (time.perf_counter() - start)
        answers[name] = {
            "faces": [describe_face(model, face) for face in faces],
            "milliseconds": round(milliseconds, 2),
            "remarks": [*on_faces, *remarks, *on_size],
        }
    return answers


def show_attributes(models: dict[str, TrainedModel], image: Image.Image, answers: dict[str, dict]) -> str:
    """Return the answers for a photo as HTML; the style sheet shows one of them at a time."""
    return "".join(show_answer(models[name], image, answer) for name, answer in answers.items())


def show_answer(model: TrainedModel, image: Image.Image, answer: dict) -> str:
    """Return one network's answer as HTML."""
    several = len(answer["faces"]) > 1
    photo = embed_picture(shrink_to_page(number_faces(image, answer["faces"])), "JPEG", "your photo")
    parts = ["" if answer["faces"] and not several else f"<figure>{photo}</figure>"]
    for number, face in enumerate(answer["faces"], 1):
        parts += [f"<h3>Face {number}: {face['attribute']}</h3>" * several, show_face(model, image, face)]
    return (
        f'<section class="answer by-{model.card.architecture}">{head_answer(answer["faces"])}'
        f'<p class="by">says {TITLES[model.card.architecture]}, in {answer["milliseconds"]:.0f} ms</p>'
        f"{format_remarks(answer['remarks'])}{''.join(parts)}</section>"
    )


def show_face(model: TrainedModel, image: Image.Image, face: dict) -> str:
    """Return one network's answer for one face in a photo as HTML."""
    shown = shrink_to_page(cut_face(image, Frame(**face["frame"]), FACE_SIDE))
    evidence = draw_evidence(shown, find_evidence(model, shown))
    alt = f"where {TITLES[model.card.architecture]} found evidence for {face['attribute']}"
    return (
        f'<div class="pair"><figure>{embed_picture(shown, "JPEG", "the face that it sees")}'
        f"<figcaption>The face that it sees</figcaption></figure>"
        f"<figure>{embed_picture(evidence, 'JPEG', alt)}<figcaption>"
        f"Warm colours: where it found evidence for its answer (Grad-CAM)</figcaption></figure></div>"
        f"{format_probabilities(face['probabilities'])}"
    )


def find_evidence(model: TrainedModel, image: Image.Image) -> np.ndarray:
    """Return where in a photo a network finds evidence for its answer (Grad-CAM): float32 [h, w], 0..1."""
    # onnxruntime has no gradients: PyTorch's network, which it was exported from, has.
    network = getattr(model.network, "source", model.network)
    pixels, place = fit_square(image, model.card.size)
    layer = network.get_submodule(LAYERS[model.card.architecture])
    inputs = make_inputs(model.card, pixels[None], model.device)
    return grad_cam(network, layer, inputs)[0][place].cpu().numpy()


def draw_evidence(image: Image.Image, evidence: np.ndarray) -> Image.Image:
    """Return a photo with a map of evidence, float [h, w] in 0..1, drawn over it."""
    height = Image.fromarray(np.uint8(255 * evidence)).resize(image.size, Image.Resampling.BICUBIC)
    values = np.asarray(height) / 255
    colours = np.uint8(255 * matplotlib.colormaps["inferno"](values)[..., :3])
    # The stronger the evidence, the more colour: where there is none the photo stays as it is.
    opacity = Image.fromarray(np.uint8(255 * 0.75 * np.sqrt(values)))
    return Image.composite(Image.fromarray(colours), image, opacity)
