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
from elfw_helpers.data.images import draw_overlay, mask_picture, read_mask
from elfw_helpers.data.labels import (
    ATTRIBUTES,
    DISPLAY_COLOURS,
    HAIR,
    PALETTE,
    PIXEL_CLASSES,
    SKIN,
    attribute_from_mask,
)
from elfw_helpers.deployment import predict
from elfw_helpers.deployment.faces import Frame, whole_frame
from elfw_helpers.deployment.predict import (
    LEAST_SHARES,
    FaceAnswer,
    choose_frames,
    class_fractions,
    collect_remarks,
    drop_small_objects,
    enlarge_to_classes,
    fit_square,
    lay_masks,
    predict_attribute,
    predict_faces,
    predict_mask,
)
from elfw_helpers.models import UNet, mini_network
from elfw_helpers.models.hub import ModelCard, TrainedModel
from elfw_helpers.utils.errors import MissingPackage, PhotoWarning, WeightsError

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
    """Return the logits of an image of the network's size and its mirror image, prepared as in training."""
    pixels = torch.from_numpy(np.array(image))[None]
    batches = Batches(pixels, torch.zeros(1), mean=model.card.mean, std=model.card.std)
    inputs = next(iter(batches))[0]
    with torch.no_grad():
        logits = model.network(inputs)
        if model.card.task == "segment":
            logits = (logits + model.network(inputs.flip(3)).flip(3)) / 2
    return logits[0]


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


@pytest.mark.parametrize(("label", "least"), LEAST_SHARES.items())
@pytest.mark.parametrize("size", [60, 120])
def test_an_object_too_small_to_be_one_gives_way_to_what_is_next_likeliest(label, least, size):
    def answer(share):
        """Return the mask where an object covers a share of skin, which else were hair; above it is hair."""
        logits = torch.zeros(7, size, size)
        logits[HAIR, : size // 2] = 1
        logits[SKIN, size // 2 :] = 1
        rows = round(share * size / 2)
        logits[label, size // 2 : size // 2 + rows], logits[HAIR, size // 2 : size // 2 + rows] = 3, 2
        found = drop_small_objects(logits)
        assert torch.isfinite(found).all()
        return enlarge_to_classes(found, 2 * size, 2 * size), rows * size * 4

    mask, pixels = answer(1.5 * least)
    assert (mask == label).sum() == pytest.approx(pixels, rel=0.2)
    mask, _ = answer(least / 2)
    assert set(np.unique(mask)) == {HAIR, SKIN} and (mask == HAIR).sum() > mask.size / 2
    no_face = torch.zeros(7, size, size)
    no_face[label, :3] = 1
    assert (drop_small_objects(no_face) == no_face)[label].all()


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


def test_a_network_of_many_sizes_looks_at_a_larger_photo_as_well(reader):
    sides = []

    class Doubtful(ColourReader):
        """Takes everything for glasses, at a larger size for a cap, of which it is surer."""

        def forward(self, images):
            sides.append(images.shape[2:])
            logits = super().forward(images)
            logits[:, 4 if images.shape[2] == SIZE else 5] = 10 if images.shape[2] == SIZE else 21
            return logits

    card = replace(reader.card, architecture="efficient_unet", options={})
    mask = predict_mask(TrainedModel(Doubtful(), card, "doubtful"), random_image(250, 250))
    assert sides == [(SIZE, SIZE), (128, 128)]
    assert (mask == 5).all(), "the mean of 10, 10, 0 is less than that of 0, 0, 21"


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
    assert len(calls) == 2, "the one that failed, and the image with its mirror image"


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


FACES = [Frame(150, 100, 120), Frame(40, 150, 60, 20)]


@pytest.fixture
def found(monkeypatch) -> list[Frame]:
    """The frames that the finder is going to find."""
    frames: list[Frame] = []
    monkeypatch.setattr(predict, "find_faces", lambda image: list(frames))
    return frames


def test_no_face_is_said_and_gets_no_answer(found, segmenter):
    image = random_image(90, 60)
    with pytest.warns(PhotoWarning, match="no face was found, so there is no answer"):
        assert choose_frames(image) == []
    with pytest.warns(PhotoWarning, match="no face was found, so the answer means little"):
        assert choose_frames(image, crop=False) == [whole_frame(90, 60)]
    assert predict_faces(segmenter, image, []) == []
    assert (lay_masks([], 90, 60) == 0).all() and lay_masks([], 90, 60).shape == (60, 90)


def test_without_cropping_nothing_is_remarked_of_a_face_that_is_there(found):
    found += FACES
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_frames(random_image(200, 200), crop=False) == [whole_frame(200, 200)]


def test_of_a_crowd_the_largest_are_answered(found):
    found += [Frame(50, 50, 300 - number) for number in range(200)]
    with pytest.warns(PhotoWarning, match="200 faces were found: the 20 largest are answered"):
        assert choose_frames(random_image(100, 100)) == found[:20]


def test_without_the_finder_the_photo_is_one_face_and_that_is_said(monkeypatch):
    def refuse(image):
        raise MissingPackage("pip install something")

    monkeypatch.setattr(predict, "find_faces", refuse)
    with pytest.warns(PhotoWarning, match="taken for one .pip install something"):
        assert choose_frames(random_image(90, 60)) == [whole_frame(90, 60)]


def test_a_whole_photo_is_answered_as_before(segmenter, classifier):
    image = random_image(90, 60)
    (face,) = predict_faces(segmenter, image, [whole_frame(90, 60)])
    assert (face.mask == predict_mask(segmenter, image)).all()
    assert (lay_masks([face], 90, 60) == face.mask).all()
    assert face.shares == class_fractions(face.mask)
    assert face.attribute == ATTRIBUTES[attribute_from_mask(face.mask)]
    (face,) = predict_faces(classifier, image, [whole_frame(90, 60)])
    assert list(face.shares.values()) == predict_attribute(classifier, image).tolist()
    assert face.attribute == max(face.shares, key=face.shares.get) and face.mask is None


def test_each_face_is_answered_from_its_own_frame(reader):
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[:, 100:, 1], pixels[:, :100, 0] = 255, 255
    image = Image.fromarray(pixels)
    first, second = predict_faces(reader, image, FACES)
    assert first.shares["skin"] == pytest.approx(100 / 120, abs=0.02)
    assert second.shares["hair"] > 0.99
    mask = lay_masks([first, second], 200, 200)
    assert mask[100, 150] == 1 and mask[100, 95] == 2 and mask[150, 40] == 2
    # Beyond both frames nothing was looked at.
    assert (mask[:35] == 0).all() and (mask[190:] == 0).all() and mask[150, 195] == 1


def test_where_frames_overlap_the_nearer_face_has_the_pixel(reader):
    frames = [Frame(80, 100, 120), Frame(130, 100, 60)]
    answers = [
        FaceAnswer(frame, "hair", {}, np.full((side, side), label, np.uint8))
        for frame, side, label in zip(frames, (120, 60), (1, 2), strict=True)
    ]
    mask = lay_masks(answers, 200, 200)
    assert mask[100, 80] == 1 and mask[100, 130] == 2
    # Twice as far from the larger face's middle as from the smaller one's, in pixels: alike in their sides.
    border = np.flatnonzero(np.diff(mask[100, 80:130]))
    assert 80 + border[0] == pytest.approx(80 + 50 * 2 / 3, abs=2)


def test_what_lies_beyond_the_photo_is_no_class_and_is_remarked_on(reader):
    image = Image.new("RGB", (200, 200), (0, 255, 0))
    with pytest.warns(PhotoWarning, match="^cut by the border of the photo"):
        (face,) = predict_faces(reader, image, [Frame(10, 100, 100)])
    assert face.shares["skin"] == pytest.approx(0.6, abs=0.02)
    with pytest.warns(PhotoWarning, match="^face 2: cut by the border"):
        predict_faces(reader, image, [Frame(100, 100, 100), Frame(10, 100, 90)])
    with pytest.warns(PhotoWarning, match="^face 2: enlarged 3.2 times .20 x 20 pixels"):
        predict_faces(reader, image, [Frame(100, 100, 100), Frame(100, 100, 20)])


def test_only_what_is_about_the_photo_is_remarked_beside_its_answer():
    with pytest.warns(UserWarning, match="of a library"), collect_remarks() as remarks:
        warnings.warn("of the photo", PhotoWarning, stacklevel=1)
        warnings.warn("of a library", UserWarning, stacklevel=1)
    assert remarks == ["of the photo"]
