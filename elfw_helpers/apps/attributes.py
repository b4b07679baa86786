"""Deployment 1: hair, spectacles or cap, by two networks, with the evidence they found."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from elfw_helpers.apps.pieces import EVIDENCE_HELP, draw_bars, embed, list_remarks, shrink
from elfw_helpers.batches import Batches
from elfw_helpers.explain import grad_cam
from elfw_helpers.labels import ATTRIBUTES
from elfw_helpers.predict import PredictionWarning, fit_square, predict_attribute
from elfw_helpers.trained import TrainedModel

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
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PredictionWarning)
        start = time.perf_counter()
        probabilities = predict_attribute(model, image)
        milliseconds = 1000 * (time.perf_counter() - start)
    return AttributeAnswer(probabilities, milliseconds, tuple(str(warning.message) for warning in caught))


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


def answer_attributes(models: dict[str, TrainedModel], image: Image.Image) -> str:
    """Return the page's answer for a photo, by all models; the style sheet shows one of them at a time."""
    shown = shrink(image)
    return "".join(draw_answer(model, ask_network(model, image), shown) for model in models.values())


def draw_answer(model: TrainedModel, answer: AttributeAnswer, shown: Image.Image) -> str:
    """Return one model's answer to a photo, as it is shown, in HTML."""
    name, best = model.card.architecture, ATTRIBUTES[int(answer.probabilities.argmax())]
    evidence = lay_evidence(shown, find_evidence(model, shown))
    return (
        f'<section class="answer by-{name}"><h2>{best}</h2>'
        f'<p class="by">says {TITLES[name]}, in {answer.milliseconds:.0f} ms</p>'
        f'<div class="pair"><figure>{embed(shown, "JPEG", "your photo")}<figcaption>Your photo</figcaption>'
        f"</figure><figure>{embed(evidence, 'JPEG', f'where {TITLES[name]} found evidence for {best}')}"
        f"<figcaption>{EVIDENCE_HELP}</figcaption></figure></div>"
        f"{draw_bars(answer.probabilities)}{list_remarks(answer.remarks)}</section>"
    )


def report_attributes(models: dict[str, TrainedModel], image: Image.Image) -> dict:
    """Return the answers of all models for a photo, for a program."""
    answers = {name: ask_network(model, image) for name, model in models.items()}
    return {
        name: {
            "attribute": ATTRIBUTES[int(answer.probabilities.argmax())],
            "probabilities": dict(zip(ATTRIBUTES, answer.probabilities.round(6).tolist(), strict=True)),
            "milliseconds": round(answer.milliseconds, 2),
        }
        for name, answer in answers.items()
    }
