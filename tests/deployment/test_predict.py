"""From one photo to a mask or an attribute: sizes, shapes, warnings, pictures."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import interpolate

from elfw_helpers.data.batches import Batches
from elfw_helpers.data.images import draw_overlay, mask_picture, read_image, read_mask
from elfw_helpers.data.labels import ATTRIBUTES, DISPLAY_COLOURS, PALETTE, PIXEL_CLASSES
from elfw_helpers.deployment import predict
from elfw_helpers.deployment.predict import (
    class_fractions,
    collect_remarks,
    enlarge_to_classes,
    fit_square,
    look_for_face,
    predict_attribute,
    predict_mask,
)
from elfw_helpers.models import UNet, mini_network
from elfw_helpers.models.hub import ModelCard, TrainedModel, load_model
from elfw_helpers.utils.errors import PhotoWarning, WeightsError
from elfw_helpers.utils.paths import project_folder

SIZE = 64
CARD = ModelCard(
    architecture="unet",
    classes=PIXEL_CLASSES,
    size=SIZE,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.25, 0.3),
    trained_on="nothing at all",
    options={"width": 2},
)


@pytest.fixture
def segmenter() -> TrainedModel:
    torch.manual_seed(0)
    network = UNet(width=2)
    network.train()(torch.randn(4, 3, SIZE, SIZE))
    return TrainedModel(network.eval(), CARD, "tiny")


@pytest.fixture
def classifier() -> TrainedModel:
    torch.manual_seed(0)
    card = replace(CARD, architecture="mini_network", classes=ATTRIBUTES, options={})
    return TrainedModel(mini_network().eval(), card, "tiny")


class ColourReader(nn.Module):
    """Says skin where an image is green, hair where it is red, background elsewhere."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        logits = torch.zeros(len(images), 7, *images.shape[2:])
        logits[:, 1], logits[:, 2] = images[:, 1], images[:, 0]
        return logits


@pytest.fixture
def reader() -> TrainedModel:
    return TrainedModel(ColourReader(), replace(CARD, mean=(0.5,) * 3, std=(0.5,) * 3), "reader")


def random_image(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return blotches, RGB."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def logits_of(model: TrainedModel, image: Image.Image) -> torch.Tensor:
    """Return what the network says of an image of its own size, prepared as in training."""
    pixels = torch.from_numpy(np.array(image))[None]
    batches = Batches(pixels, torch.zeros(1), mean=model.card.mean, std=model.card.std)
    with torch.no_grad():
        return model.network(next(iter(batches))[0])[0]


def test_an_image_of_the_networks_size_gets_the_networks_own_answer(segmenter, classifier):
    image = random_image(SIZE, SIZE)
    mask = predict_mask(segmenter, image)
    assert (mask.dtype, mask.shape) == (np.uint8, (SIZE, SIZE))
    assert len(np.unique(mask)) > 1
    assert (mask == logits_of(segmenter, image).argmax(0).numpy()).all()
    probabilities = predict_attribute(classifier, image)
    assert probabilities == pytest.approx(logits_of(classifier, image).softmax(0).numpy(), abs=1e-6)
    assert probabilities.shape == (3,) and probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("width", "height"), [(64, 64), (17, 17), (40, 200), (333, 100), (701, 701), (64, 640)]
)
def test_strips_add_up_to_the_whole(monkeypatch, width, height):
    torch.manual_seed(1)
    logits = torch.randn(7, 48, 64)
    whole = interpolate(logits[None], (height, width), mode="bilinear")[0].argmax(0).numpy()
    at_once = enlarge_to_classes(logits, height, width)
    monkeypatch.setattr(predict, "STRIP_PIXELS", 1000)
    in_strips = enlarge_to_classes(logits, height, width)
    assert (at_once == in_strips).all()
    # Two classes may be equal but for rounding where one gives way to the other.
    assert (at_once == whole).mean() > 0.999


@pytest.mark.parametrize(("width", "height"), [(17, 17), (300, 200), (120, 500), (250, 250), (701, 350)])
def test_a_mask_has_the_size_of_its_photo_and_lies_where_the_photo_shows_it(reader, width, height):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, :, 0] = 255
    pixels[height // 2 :, width // 2 :, 1] = 255
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PhotoWarning)
        mask = predict_mask(reader, Image.fromarray(pixels))
    expected = np.where(pixels[..., 0] > 0, 2, np.where(pixels[..., 1] > 0, 1, 0))
    assert mask.shape == (height, width)
    assert (mask != expected).mean() < 1e-3


def test_a_photo_that_is_not_square_keeps_its_aspect_and_repeats_its_edge():
    pixels = np.full((50, 100, 3), 100, np.uint8)
    pixels[0], pixels[-1] = 10, 200
    square, (rows, columns) = fit_square(Image.fromarray(pixels), 100)
    assert square.shape == (100, 100, 3)
    assert (rows, columns) == (slice(25, 75), slice(0, 100))
    assert (square[rows, columns] == pixels).all()
    assert (square[:25] == 10).all() and (square[75:] == 200).all()


def test_a_thin_photo_needs_no_square_of_its_length():
    square, (rows, columns) = fit_square(Image.new("RGB", (16, 1_000_000)), SIZE)
    assert square.shape == (SIZE, SIZE, 3)
    assert (rows, columns.stop - columns.start) == (slice(0, SIZE), 1)


def test_a_large_photo_is_decided_in_strips(segmenter, monkeypatch):
    largest = 0

    def watched(strip, size, mode):
        nonlocal largest
        largest = max(largest, size[0] * size[1])
        return interpolate(strip, size, mode=mode)

    monkeypatch.setattr(predict, "interpolate", watched)
    with pytest.warns(PhotoWarning, match=r"shrunk 62 times \(4000 x 3000 pixels"):
        mask = predict_mask(segmenter, random_image(4000, 3000))
    assert mask.shape == (3000, 4000)
    assert 0 < largest <= predict.STRIP_PIXELS


@pytest.mark.parametrize(
    ("side", "found"),
    [(31, "enlarged 2.1 times (31 x 15 pixels"), (32, None), (512, None), (516, "shrunk 8 times")],
)
def test_tiny_and_huge_photos_are_warned_of(segmenter, classifier, side, found):
    for work, model in ((predict_mask, segmenter), (predict_attribute, classifier)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work(model, random_image(side, side // 2))
        texts = [str(warning.message) for warning in caught]
        if found is None:
            assert texts == []
        else:
            assert [warning.category for warning in caught] == [PhotoWarning]
            assert texts[0].startswith(found)


def test_a_model_for_another_task_is_refused(segmenter, classifier):
    with pytest.raises(WeightsError, match="tiny is for the task attribute, not segment"):
        predict_mask(classifier, random_image(64, 64))
    with pytest.raises(WeightsError, match="tiny is for the task segment, not attribute"):
        predict_attribute(segmenter, random_image(64, 64))


@pytest.mark.parametrize(
    "image", [Image.new("L", (64, 64)), Image.new("RGBA", (64, 64)), Image.new("RGB", (0, 9))]
)
def test_what_is_no_rgb_image_is_refused(segmenter, image):
    with pytest.raises(ValueError, match="need RGB"):
        predict_mask(segmenter, image)


def test_a_full_gpu_hands_over_to_the_cpu(segmenter, monkeypatch):
    image = random_image(SIZE, SIZE)
    expected = predict_mask(segmenter, image)
    calls = []

    def fails_once(*inputs):
        calls.append(inputs)
        if len(calls) == 1:
            raise torch.cuda.OutOfMemoryError("full")

    handle = segmenter.network.register_forward_pre_hook(lambda module, inputs: fails_once(inputs))
    with pytest.warns(PhotoWarning, match="memory is full: predicted on the CPU"):
        assert (predict_mask(segmenter, image) == expected).all()
    handle.remove()
    assert len(calls) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_nearly_the_same_mask(segmenter):
    image = random_image(300, 200)
    expected = predict_mask(segmenter, image)
    segmenter.network.to("cuda")
    assert (predict_mask(segmenter, image) == expected).mean() > 0.99


def test_a_network_fresh_from_training_predicts_as_one_that_rests(segmenter):
    image = random_image(SIZE, SIZE)
    expected, before = predict_mask(segmenter, image), segmenter.network.down[0][0][1].running_mean.clone()
    segmenter.network.train()
    assert (predict_mask(segmenter, image) == expected).all()
    assert torch.equal(segmenter.network.down[0][0][1].running_mean, before)


def test_a_network_can_be_trained_after_it_has_predicted(segmenter):
    predict_mask(segmenter, random_image(SIZE, SIZE))
    segmenter.network.train()(torch.randn(2, 3, SIZE, SIZE)).sum().backward()
    assert segmenter.network.head.weight.grad is not None


def test_class_fractions_name_all_classes_and_sum_to_one():
    mask = np.zeros((10, 20), np.uint8)
    mask[:5], mask[9, :10] = 2, 6
    fractions = class_fractions(mask)
    assert list(fractions) == list(PIXEL_CLASSES)
    assert fractions["hair"] == 0.5 and fractions["mouth-mask"] == 0.05 and fractions["skin"] == 0
    assert sum(fractions.values()) == pytest.approx(1)


def test_an_overlay_mixes_colours_in_and_leaves_the_background():
    image = random_image(40, 30)
    before = np.array(image)
    mask = np.zeros((30, 40), np.uint8)
    for index in range(7):
        mask[4 * index : 4 * index + 4, 5:30] = index
    overlay = np.asarray(draw_overlay(image, mask))
    assert (overlay[mask == 0] == before[mask == 0]).all()
    expected = (before.astype(float) + DISPLAY_COLOURS[mask]) / 2
    assert np.abs(overlay - expected)[mask > 0].max() <= 2
    assert (np.array(image) == before).all()


@pytest.mark.parametrize("classes", [7, 3, 1])
def test_a_mask_picture_is_read_back_exactly(tmp_path, classes):
    mask = np.random.default_rng(0).integers(0, classes, (33, 47), np.uint8)
    mask_picture(mask).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[:21] == PALETTE.ravel().tolist()
        assert (np.asarray(picture) == mask).all()
    assert (read_mask(tmp_path / "mask.png") == mask).all()


def count_faceless(images) -> int:
    """Return on how many images it is remarked that they show no face."""
    finder, remarked = load_model("efficient_unet"), 0
    for image in images:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", PhotoWarning)
            look_for_face(finder, image)
        remarked += len(caught)
    return remarked


def make_scenes(count: int) -> list[Image.Image]:
    """Return pictures without a face: skies, gradients, flat colours, noise, stripes and lines of writing."""
    chance = np.random.default_rng(7)
    down, right = np.mgrid[:128, :128] / 128
    scenes = []
    for number in range(count):
        first, second = chance.integers(0, 256, (2, 3)).astype(float)
        kind = number % 6
        mixed = {0: down, 1: (down + right) / 2, 2: np.zeros((128, 128))}.get(kind)
        if kind == 0:
            first, second = chance.uniform((20, 80, 160), (110, 160, 255)), np.array([220, 230, 245])
        elif kind == 3:
            mixed = chance.random((128, 128))
        elif kind == 4:
            mixed = (right * chance.integers(5, 25) % 1 < 0.5).astype(float)
        elif kind == 5:
            first, second = np.array([250, 250, 245]), np.array([20, 20, 20])
            mixed = (down * 16 % 1 < 0.5) * (chance.random((128, 128)) < 0.4)
        scenes.append(Image.fromarray(np.uint8(first + (second - first) * mixed[..., None])))
    return scenes


def test_a_face_is_missed_where_there_is_none_and_hardly_anywhere_else():
    faces = sorted((project_folder() / "data" / "rendered_faces" / "faces").iterdir())[::15]
    assert len(faces) == 152 and count_faceless(map(read_image, faces)) <= 4
    assert count_faceless(make_scenes(60)) >= 55
    assert count_faceless([read_image(faces[0]).convert("L").convert("RGB")]) == 0


@pytest.mark.real_faces
def test_a_face_is_found_on_real_photos(real_faces):
    faces = sorted((real_faces / "faces").iterdir())
    assert count_faceless(map(read_image, faces)) < len(faces) / 100


def test_only_what_is_about_the_photo_is_remarked_beside_its_answer():
    with pytest.warns(UserWarning, match="of a library"), collect_remarks() as remarks:
        warnings.warn("of the photo", PhotoWarning, stacklevel=1)
        warnings.warn("of a library", UserWarning, stacklevel=1)
    assert remarks == ["of the photo"]
