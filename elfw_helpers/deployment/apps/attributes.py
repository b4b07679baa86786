"""Deployment 1: hair, spectacles or cap, by two networks, with the evidence they found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from elfw_helpers.data.batches import Batches
from elfw_helpers.data.labels import ATTRIBUTES
from elfw_helpers.deployment.apps.pieces import EVIDENCE_HELP, draw_bars, embed, list_remarks, shrink
from elfw_helpers.deployment.predict import collect_remarks, fit_square, look_for_face, predict_attribute
from elfw_helpers.evaluation.grad_cam import grad_cam
from elfw_helpers.models.hub import TrainedModel

TITLES = {"resnet18": "ResNet-18", "mini_network": "Mini network"}
# The layer that Grad-CAM looks at: deep enough to know objects, fine enough to place them.
LAYERS = {"resnet18": "layer2", "mini_network": "relu2"}


@dataclass(frozen=True)
class AttributeAnswer:
    """What one network says of a photo.

    Attributes:
        probabilities: float64 [3].
        milliseconds: taken for the probabilities.
        remarks: what its reader should know of.
    """

    probabilities: np.ndarray
    milliseconds: float
    remarks: tuple[str, ...]


def ask_network(model: TrainedModel, image: Image.Image) -> AttributeAnswer:
    """Return what a network that classifies says of a photo, RGB."""
    with collect_remarks() as remarks:
        start = time.perf_counter()
        probabilities = predict_attribute(model, image)
        milliseconds = 1000 * (time.perf_counter() - start)
    return AttributeAnswer(probabilities, milliseconds, tuple(remarks))


def find_evidence(model: TrainedModel, image: Image.Image) -> np.ndarray:
    """Return where in a photo a network finds evidence for its answer: float32 [h, w], 0..1, of its shape."""
    # onnxruntime has no gradients: PyTorch's network, which it was exported from, has.
    network = getattr(model.network, "source", model.network)
    pixels, place = fit_square(image, model.card.size)
    layer = network.get_submodule(LAYERS[model.card.architecture])
    return grad_cam(network, layer, normalise(model, pixels))[0][place].cpu().numpy()


def normalise(model: TrainedModel, pixels: np.ndarray) -> Tensor:
    """Return one image, uint8 [S, S, 3], as a network takes it: float32 [1, 3, S, S]."""
    card, images = model.card, torch.from_numpy(pixels)[None]
    batches = Batches(images, torch.zeros(1), mean=card.mean, std=card.std, device=model.device)
    return next(iter(batches))[0]


def lay_evidence(image: Image.Image, evidence: np.ndarray) -> Image.Image:
    """Return a photo with a map of evidence, float [h, w] in 0..1, laid over it."""
    height = Image.fromarray(np.uint8(255 * evidence)).resize(image.size, Image.Resampling.BICUBIC)
    values = np.asarray(height) / 255
    colours = np.uint8(255 * matplotlib.colormaps["inferno"](values)[..., :3])
    # The stronger the evidence, the more colour: where there is none the photo stays as it is.
    cover = Image.fromarray(np.uint8(255 * 0.75 * np.sqrt(values)))
    return Image.composite(Image.fromarray(colours), image, cover)


def ask_networks(
    models: dict[str, TrainedModel], finder: TrainedModel, image: Image.Image, remarks: Sequence[str]
) -> dict[str, AttributeAnswer]:
    """Return what all networks say of a photo, with what was remarked when it was read, and on its face."""
    with collect_remarks() as on_face:
        look_for_face(finder, image)
    answers = {name: ask_network(model, image) for name, model in models.items()}
    return {
        name: replace(answer, remarks=(*on_face, *remarks, *answer.remarks))
        for name, answer in answers.items()
    }


def answer_attributes(
    models: dict[str, TrainedModel], finder: TrainedModel, image: Image.Image, remarks: Sequence[str] = ()
) -> str:
    """Return the page's answer for a photo, by all models; the style sheet shows one of them at a time.

    Args:
        models: by name.
        finder: the U-Net that says whether there is a face.
        image: RGB.
        remarks: what was to be said when the photo was read.
    """
    shown, answers = shrink(image), ask_networks(models, finder, image, remarks)
    return "".join(draw_answer(models[name], answer, shown) for name, answer in answers.items())


def draw_answer(model: TrainedModel, answer: AttributeAnswer, shown: Image.Image) -> str:
    """Return one model's answer to a photo, as it is shown, in HTML."""
    name, best = model.card.architecture, ATTRIBUTES[int(answer.probabilities.argmax())]
    evidence = lay_evidence(shown, find_evidence(model, shown))
    return (
        f'<section class="answer by-{name}"><h2>{best}</h2>'
        f'<p class="by">says {TITLES[name]}, in {answer.milliseconds:.0f} ms</p>'
        f"{list_remarks(answer.remarks)}"
        f'<div class="pair"><figure>{embed(shown, "JPEG", "your photo")}<figcaption>Your photo</figcaption>'
        f"</figure><figure>{embed(evidence, 'JPEG', f'where {TITLES[name]} found evidence for {best}')}"
        f"<figcaption>{EVIDENCE_HELP}</figcaption></figure></div>"
        f"{draw_bars(answer.probabilities)}</section>"
    )


def report_attributes(
    models: dict[str, TrainedModel], finder: TrainedModel, image: Image.Image, remarks: Sequence[str] = ()
) -> dict:
    """Return the answers of all models for a photo, for a program; arguments as for the page."""
    return {
        name: {
            "attribute": ATTRIBUTES[int(answer.probabilities.argmax())],
            "probabilities": dict(zip(ATTRIBUTES, answer.probabilities.round(6).tolist(), strict=True)),
            "milliseconds": round(answer.milliseconds, 2),
            "remarks": answer.remarks,
        }
        for name, answer in ask_networks(models, finder, image, remarks).items()
    }
