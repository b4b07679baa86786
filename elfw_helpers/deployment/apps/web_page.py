"""The web page of the apps, in Gradio: photo, example faces, a control for the answer, the model card."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import gradio
from matplotlib.cbook import get_sample_data
from PIL import Image

from elfw_helpers.data.images import read_image
from elfw_helpers.deployment.apps.attributes import TITLES, answer_attributes, show_attributes
from elfw_helpers.deployment.apps.html import (
    WAITING,
    describe_problem,
    encode_data_url,
    format_card,
    format_examples,
    format_problem,
    format_results,
)
from elfw_helpers.deployment.apps.segmentation import answer_segmentation, show_segmentation
from elfw_helpers.deployment.apps.uploads import delete_upload, make_photo_input
from elfw_helpers.deployment.predict import collect_remarks
from elfw_helpers.models.hub import ModelCard, TrainedModel
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.paths import embedded_faces

EXAMPLES = {
    "hair": "person_0049_0001",
    "spectacles": "person_0056_0004",
    "cap, beard": "person_0072_0003",
    "mouth-mask": "person_0884_0006",
}
TITLE = "Faces: attributes and masks"
INTRODUCTION = """<header><h1>What is on this face?</h1>
<p>Give it a photo: it finds the faces, and answers each, the largest first. The networks that answer were
trained on <strong>faces drawn by a computer</strong>: on photos they do worse. What you send is
deleted after the answer.</p></header>"""
# One thread for all photos: each thread keeps the memory that it took to decode a large one.
ANSWERING_THREAD = ThreadPoolExecutor(1)
# In the browser: a button of the examples tells Gradio which face it shows.
TELL_WHICH = """element.addEventListener("click", (event) => {
    const face = event.target.closest("button");
    if (face) trigger("click", { caption: face.dataset.caption });
});"""
# In the browser: what is shown of an answer changes without asking the server again.
SHOW_MODEL = "(name) => { document.getElementById('attributes-answer').dataset.model = name; }"
SHOW_OPACITY = "(percent) => { document.body.style.setProperty('--opacity', percent / 100); }"
# Gradio says nothing when a visitor, or the browser, refuses the camera.
EXPLAIN_CAMERA = """() => {
    const media = navigator.mediaDevices;
    if (!media) return;
    const ask = media.getUserMedia.bind(media);
    const notes = () => document.querySelectorAll(".camera");
    const say = (text) => notes().forEach((note) => { note.textContent = text; });
    media.getUserMedia = (wish) => ask(wish).then(
        (stream) => { say(""); return stream; },
        (error) => {
            say(error.name === "NotAllowedError"
                ? "The camera stays off, as you or your browser decided. A file or an example works as well."
                : "No camera can be used here. A file or an example works as well.");
            throw error;
        });
}"""


def build_app(apps: tuple[str, ...], models: dict[str, TrainedModel]) -> gradio.Blocks:
    """Return the page with a tab for each app, or with the only one."""
    add_app = {"attributes": add_attributes, "segmentation": add_segmentation}
    with gradio.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gradio.HTML(INTRODUCTION, apply_default_css=False)
        if len(apps) == 1:
            add_app[apps[0]](models)
        else:
            with gradio.Tabs():
                for name in apps:
                    with gradio.Tab(name.capitalize(), id=name):
                        add_app[name](models)
        # Not by `launch(js=...)`, which Gradio 6.24 passes over.
        blocks.load(None, js=EXPLAIN_CAMERA, api_visibility="private")
    return blocks


def add_attributes(models: dict[str, TrainedModel]) -> None:
    """Add the app of attributes to the page."""
    chosen = {name: models[name] for name in TITLES if name in models}
    cards = {TITLES[name]: model.card for name, model in chosen.items()}
    choices = list(zip(cards, chosen, strict=True))
    radio = gradio.Radio(choices, value=next(iter(chosen)), label="Which network answers", render=False)
    answer, show = partial(answer_attributes, chosen), partial(show_attributes, chosen)
    add_panel("attributes", answer, show, cards, radio, SHOW_MODEL)


def add_segmentation(models: dict[str, TrainedModel]) -> None:
    """Add the app of masks to the page."""
    unet = models["efficient_unet"]
    slider = gradio.Slider(0, 100, 50, step=5, label="Opacity of the colours, %", render=False)
    answer = partial(answer_segmentation, unet)
    add_panel("segmentation", answer, show_segmentation, {"U-Net": unet.card}, slider, SHOW_OPACITY)


def add_panel(
    name: str,
    answer: Callable[..., dict],
    show: Callable[[Image.Image, dict], str],
    cards: dict[str, ModelCard],
    control: gradio.components.Component,
    js: str,
) -> None:
    """Add what both apps have in common: a photo on the left, its answer on the right, the card below.

    `answer` gives the answer for a photo and the remarks on reading it, and `show` makes HTML of both. The
    control changes how the answer is shown, by JavaScript.
    """
    faces, plain = read_examples(), {"apply_default_css": False}
    with gradio.Row(equal_height=False):
        with gradio.Column(scale=2, min_width=300):
            photo = make_photo_input()
            examples = gradio.HTML(format_examples(faces), js_on_load=TELL_WHICH, **plain)
            control.render()
            control.change(None, control, None, js=js)
        with gradio.Column(scale=3, min_width=300):
            shown = gradio.HTML(WAITING, elem_id=f"{name}-answer", **plain)
    gradio.HTML(format_results(cards), **plain)
    with gradio.Accordion("Model card", open=False):
        gradio.Markdown("\n\n".join(format_card(title, card) for title, card in cards.items()))

    def show_example(event: gradio.EventData) -> str:
        return show(faces[event.caption], answer(faces[event.caption]))

    def show_photo(path: Path | None) -> tuple[None, str | dict]:
        # The photo makes room for the next one: it stands beside its answer. Without one, as when a visitor
        # turns to the camera, the answer that is there stays.
        return None, show_upload(answer, show, path) if path else gradio.skip()

    options = {"concurrency_id": "faces", "api_visibility": "private"}
    photo.input(show_photo, photo, [photo, shown], **options)
    examples.click(show_example, None, shown, **options)
    # For programs alone: a button that nobody sees.
    button, result = gradio.Button(visible=False), gradio.JSON(visible=False)
    button.click(partial(report_upload, answer), photo, result, api_name=name, concurrency_id="faces")


def read_examples() -> dict[str, Image.Image]:
    """Return the example faces by caption: rendered ones, and a portrait in the public domain.

    The portrait is of Rear Admiral Grace Hopper, by James S. Davis for the US Navy; matplotlib brings it.
    """
    folder = embedded_faces() / "faces"
    faces = {caption: read_image(folder / f"{name}.jpg") for caption, name in EXAMPLES.items()}
    portrait = read_image(Path(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    return faces | {"Grace Hopper": portrait}


def show_upload(answer: Callable[..., dict], show: Callable[..., str], path: Path) -> str:
    """Return the answer for an uploaded photo as HTML, or what is wrong with the photo."""
    try:
        return use_upload(path, lambda image, remarks: show(image, answer(image, remarks)))
    except DataError as error:
        return format_problem(error)


def report_upload(answer: Callable[..., dict], path: Path | None) -> dict:
    """Return the answer for an uploaded photo to a program, or raise Gradio's error."""
    if path is None:
        raise gradio.Error("No photo was sent.", print_exception=False)
    try:
        return make_json(use_upload(path, answer))
    except DataError as error:
        raise gradio.Error(describe_problem(error), print_exception=False) from None


def use_upload(path: Path, work: Callable[[Image.Image, list[str]], Any]) -> Any:
    """Return what `work` makes of an uploaded photo and the remarks on reading it; delete the upload.

    Raises:
        DataError: it is no photo that `elfw predict` would read, or it cannot be answered.
    """

    def read_and_work() -> Any:
        with collect_remarks() as remarks:
            image = read_image(path)
        return work(image, remarks)

    try:
        return ANSWERING_THREAD.submit(read_and_work).result()
    # Where memory is short Python, torch and onnxruntime raise the one or the other.
    except (MemoryError, RuntimeError) as error:
        found = f"cannot be answered ({error or 'out of memory'})"
        raise DataError(path, found, "Scale it down, or save it again as JPEG or PNG") from error
    finally:
        delete_upload(path)


def make_json(answer: Any) -> Any:
    """Return an answer for JSON: numbers to six places, pictures as PNG in a data URL."""
    if isinstance(answer, dict):
        return {name: make_json(value) for name, value in answer.items()}
    if isinstance(answer, Image.Image):
        return encode_data_url(answer, "PNG")
    return round(answer, 6) if isinstance(answer, float) else answer
