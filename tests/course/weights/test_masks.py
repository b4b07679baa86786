from dataclasses import replace

import pytest
import torch

from elfw_course.cli import main
from elfw_course.weights import masks, pretraining
from elfw_course.weights.masks import draw_batches, make_efficient_unet, train_masks, weigh_classes
from elfw_course.weights.pretraining import PRETRAINING_SEED
from elfw_course.weights.randomisation import move_faces, randomise_batch, render_backgrounds, to_floats
from elfw_helpers.data.labels import BACKGROUND, HAIR, PIXEL_CLASSES, SKIN
from elfw_helpers.models.hub import load_model
from elfw_helpers.rendering import render_folder
from elfw_helpers.utils.errors import DataError, TrainingError

# Half as many for the second stage: of fewer, none is left to validate on.
COUNT, SIZE = 48, 32
pytestmark = pytest.mark.filterwarnings("ignore::elfw_helpers.data.splits.SplitWarning")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A work folder in which the faces are rendered already."""
    work = tmp_path_factory.mktemp("work")
    for name, stage in zip(("faces", "varied_faces"), masks.STAGES, strict=True):
        options = {"workers": 1, "progress": False, "ingredients": stage.ingredients}
        render_folder(work / name, round(stage.share * COUNT), PRETRAINING_SEED, SIZE, **options)
    return work


@pytest.fixture
def short(monkeypatch):
    """Two epochs of small faces."""
    stages = [replace(stage, samples={"cpu": 2 * COUNT * 8 // 10}) for stage in masks.STAGES]
    monkeypatch.setattr(masks, "STAGES", stages)
    monkeypatch.setattr(masks, "BATCH_SIZE", 8)
    monkeypatch.setattr(masks, "BACKGROUNDS", 4)
    monkeypatch.setattr(masks, "best_device", lambda: "cpu")
    monkeypatch.setattr(masks, "SIZE", SIZE)
    monkeypatch.setattr(pretraining, "RENDER_SIZE", SIZE)


@pytest.fixture
def faces():
    """Images and masks: a left half of skin and a right half of hair, each of its own grey."""
    labels = torch.full((6, SIZE, SIZE), SKIN, dtype=torch.uint8)
    labels[:, :, SIZE // 2 :] = HAIR
    return (labels * 100)[..., None].expand(-1, -1, -1, 3).contiguous(), labels


def test_the_network_is_trained_and_stored_with_a_card_that_builds_it_again(short, rendered, tmp_path):
    make_efficient_unet(COUNT, tmp_path / "model.safetensors", rendered)
    card = load_model(tmp_path / "model.safetensors").card
    assert (card.architecture, card.classes, card.size) == ("efficient_unet", PIXEL_CLASSES, SIZE)
    assert "rendered faces, on an encoder pre-trained on ImageNet" in card.trained_on
    # Resumed from its checkpoints, the same call makes the same file.
    make_efficient_unet(COUNT, tmp_path / "again.safetensors", rendered)
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(DataError, match="--replace"):
        make_efficient_unet(COUNT, tmp_path / "model.safetensors", rendered)


def test_an_interrupted_training_goes_on_to_the_same_weights(short, faces, tmp_path, monkeypatch):
    stage = replace(masks.STAGES[1], samples={"cpu": 18})
    start = masks.start_training(faces[0].device, 1, 0.0, None)[0]
    whole = train_masks(*faces, tmp_path / "whole", stage, start).state_dict()
    save, saved = masks.save_checkpoint, []

    def save_and_interrupt(*arguments):
        save(*arguments)
        saved.append(1)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(masks, "save_checkpoint", save_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_masks(*faces, tmp_path / "again", stage, start)
    resumed = train_masks(*faces, tmp_path / "again", stage, start).state_dict()
    assert all(torch.allclose(resumed[name], value, atol=1e-6) for name, value in whole.items())


def test_a_loss_that_is_not_finite_is_refused(short, faces, tmp_path, monkeypatch):
    monkeypatch.setattr(masks, "weigh_classes", lambda labels: torch.full((7,), float("nan")))
    with pytest.raises(TrainingError, match="loss of epoch 1 is nan: lower its peak_rate"):
        train_masks(*faces, tmp_path, masks.STAGES[0])


def test_the_command_makes_it(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(masks, "make_efficient_unet", lambda *arguments: calls.append(arguments))
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path))
    assert main(["pretrain", "efficient_unet", "--faces", "30", "--replace"]) == 0
    assert calls[0][1].name == "efficient_unet_rendered.safetensors"


def test_image_and_mask_move_together(faces):
    images, labels = faces
    torch.manual_seed(0)
    behind = torch.full((6, 3, SIZE, SIZE), 0.0)
    moved, found = move_faces(to_floats(images), labels, behind)
    # Away from edges, which are interpolated in the image, each grey still tells the class.
    greys = (moved[:, 0] * 255).round()
    for label in (BACKGROUND, SKIN, HAIR):
        sure = greys == 100 * label
        assert sure.sum() > 100 and (found[sure] == label).all()
    assert not found.equal(labels.long())


def test_changes_stay_in_range_and_invent_no_class(faces):
    images, labels = faces
    torch.manual_seed(0)
    inputs, found = randomise_batch(images, labels, render_backgrounds(3, SIZE))
    assert inputs.shape == (6, 3, SIZE, SIZE) and inputs.dtype == torch.float32
    assert inputs.min() >= 0 and inputs.max() <= 1 and inputs.isfinite().all()
    assert set(found.unique().tolist()) <= {BACKGROUND, SKIN, HAIR}
    assert not torch.allclose(inputs, to_floats(images), atol=0.05)


def test_an_epoch_draws_the_same_batches_again_and_leaves_other_random_numbers_alone(short, faces):
    backgrounds = render_backgrounds(3, SIZE)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (list(draw_batches(*faces, backgrounds, epoch)) for epoch in (0, 0, 1))
    assert torch.get_rng_state().equal(before)
    assert first[0][0].equal(again[0][0]) and first[0][1].equal(again[0][1])
    assert not first[0][0].equal(other[0][0])


def test_rarer_classes_weigh_more_by_the_root_of_their_share():
    labels = torch.zeros(1, 10, 10, dtype=torch.uint8)
    labels[0, 0, :4] = SKIN
    weights = weigh_classes(labels)
    assert (weights[SKIN] / weights[BACKGROUND]).item() == pytest.approx((96 / 4) ** 0.5, rel=1e-5)
    assert (0.96 * weights[BACKGROUND] + 0.04 * weights[SKIN]).item() == pytest.approx(1, rel=1e-5)
    assert weights.isfinite().all()
