from dataclasses import replace

import pytest
import torch
from torch import nn

from elfw_helpers.augmentation import augment_batch, draw_affine_maps
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.splits import Split
from elfw_helpers.evaluation.segmentation import MissingClassWarning, score_masks
from elfw_helpers.models import UNet
from elfw_helpers.training.loop import predict_masks
from elfw_helpers.training.segmentation import (
    PAPER_RECIPE,
    QUICK_RECIPE,
    mirror_shift_scale,
    segmentation_batches,
    train_segmentation,
)
from elfw_helpers.utils.errors import TrainingError

SMALL = replace(QUICK_RECIPE, size=32, batch_size=4, epochs=12, balance_classes=False)


@pytest.fixture
def faces(folder):
    return FaceFolder(folder).preload(32)


@pytest.fixture
def split() -> Split:
    return Split(torch.arange(40), torch.arange(40, 50), torch.arange(50, 60))


def test_the_paper_s_rate_falls_to_a_fifth_three_times():
    rates = PAPER_RECIPE.schedule(PAPER_RECIPE.lr, PAPER_RECIPE.epochs)
    chosen = [rates[epoch] for epoch in (0, 34, 35, 89, 90, 179, 180, PAPER_RECIPE.epochs - 1)]
    assert chosen == pytest.approx([1e-3, 1e-3, 2e-4, 2e-4, 4e-5, 4e-5, 8e-6, 8e-6])
    assert (PAPER_RECIPE.size, PAPER_RECIPE.batch_size, PAPER_RECIPE.momentum, PAPER_RECIPE.weight_decay) == (
        256,
        16,
        0.99,
        5e-4,
    )
    assert PAPER_RECIPE.balance_classes and PAPER_RECIPE.augment is mirror_shift_scale


def test_the_cosine_follows_the_number_of_epochs():
    for epochs in (4, 10):
        factors = QUICK_RECIPE.schedule(1.0, epochs)
        assert factors == sorted(factors, reverse=True)
        assert 1 > factors[0] > 0.95 and 0 < factors[-1] < 0.05
        assert sum(factors) == pytest.approx(epochs / 2)


def test_faces_are_moved_but_neither_turned_nor_recoloured():
    # One level in each row: a turned face would have others, moved ones keep each row of one level.
    rows = torch.linspace(0.1, 0.9, 32).view(1, 1, 32, 1).expand(24, 3, 32, 32).contiguous()
    masks = torch.arange(32).view(1, 32, 1).expand(24, 32, 32) // 6
    moved, labels = mirror_shift_scale(rows, masks, torch.Generator().manual_seed(0))
    assert torch.allclose(moved, moved[..., :1].expand_as(moved), atol=1e-5)
    assert torch.equal(labels, labels[..., :1].expand_as(labels))
    assert moved.min() >= 0.1 and moved.max() <= 0.9
    assert set(labels.unique().tolist()) <= set(range(6))
    assert len({tuple(image.flatten().tolist()) for image in moved}) == 24
    turned, _ = augment_batch(rows, masks, torch.Generator().manual_seed(0))
    assert not torch.allclose(turned, turned[..., :1].expand_as(turned), atol=1e-2)


def test_faces_are_mirrored_shifted_and_scaled_as_far_as_augment_batch_does():
    columns = torch.linspace(0, 1, 64).view(1, 1, 1, 64).expand(40, 3, 64, 64).contiguous()
    moved, _ = mirror_shift_scale(
        columns, torch.zeros(40, dtype=torch.long), torch.Generator().manual_seed(0)
    )
    maps = draw_affine_maps(40, torch.Generator().manual_seed(0))
    slopes = moved[:, 0, 0, 33] - moved[:, 0, 0, 31]
    assert torch.equal(slopes.sign(), maps[:, 0, 0].sign())
    scales = maps[:, 1, :2].norm(dim=1)
    assert torch.allclose(slopes.abs() * 63 / 2, scales, atol=1e-3)
    assert torch.allclose(moved[:, 0, 0, 31:33].mean(1), 0.5 + maps[:, 0, 2] * 32 / 63, atol=1e-3)


def test_only_training_faces_are_shuffled_and_changed(faces, split):
    batches = segmentation_batches(faces, split, SMALL, seed=3)
    assert [part.count for part in batches] == [40, 10, 10]
    assert [part.augment for part in batches] == [augment_batch, None, None]
    assert [part.shuffle_seed for part in batches] == [3, None, None]
    inputs, masks = next(iter(batches.test))
    assert inputs.shape == (4, 3, 32, 32) and masks.dtype == torch.int64
    assert torch.equal(masks, faces.masks[50:54].long())


def test_the_paper_validates_on_the_held_out_faces_and_trains_on_all_others(faces, split):
    batches = segmentation_batches(faces, split, replace(PAPER_RECIPE, size=32))
    assert torch.equal(batches.train.images, faces.images[:50])
    assert torch.equal(batches.validation.images, batches.test.images)


def test_a_network_learns_by_a_recipe(faces, split):
    batches = segmentation_batches(faces, split, SMALL)
    torch.manual_seed(0)
    network = UNet(width=4)
    history = train_segmentation(network, batches, SMALL)
    assert len(history) == SMALL.epochs
    scores = score_masks(batches.test.targets, predict_masks(network, batches.test))
    assert scores.pixel_accuracy > 0.9 and scores.mean_iou > 0.4


def test_classes_are_balanced_where_the_recipe_says_so(faces, split):
    batches = segmentation_batches(faces, split, SMALL)
    losses = []
    for balance in (False, True):
        torch.manual_seed(0)
        recipe = replace(SMALL, epochs=1, lr=0.0, balance_classes=balance)
        if balance:
            with pytest.warns(MissingClassWarning, match="shows beard-mustache, mouth-mask"):
                history = train_segmentation(nn.Conv2d(3, 7, 1), batches, recipe)
        else:
            history = train_segmentation(nn.Conv2d(3, 7, 1), batches, recipe)
        losses.append(history.validation_loss)
    assert losses[0] != losses[1]


def test_faces_without_masks_or_of_another_size_are_refused(faces, split):
    with pytest.raises(TrainingError, match="faces have 32 x 32 pixels and the recipe 64 x 64"):
        segmentation_batches(faces, split, QUICK_RECIPE)
    with pytest.raises(TrainingError, match="no masks to learn from"):
        segmentation_batches(replace(faces, masks=None), split, SMALL)
