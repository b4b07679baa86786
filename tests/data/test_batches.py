import numpy as np
import pytest
import torch

from elfw_helpers.augmentation.transforms import augment_batch
from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches, channel_statistics, move

IMAGES = torch.randint(0, 256, (70, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(70)


def make(**options):
    return Batches(IMAGES, TARGETS, **{"mean": IMAGENET_MEAN, "std": IMAGENET_STD, **options})


def test_statistics_agree_with_float64_to_a_millionth():
    generator = np.random.default_rng(0)
    images = (generator.beta(2, 5, (200, 64, 64, 3)) * [200, 150, 255]).astype(np.uint8)
    mean, std = channel_statistics(torch.from_numpy(images))
    values = images.reshape(-1, 3).astype(np.float64) / 255
    np.testing.assert_allclose(mean, values.mean(0), atol=1e-6, rtol=0)
    np.testing.assert_allclose(std, values.std(0), atol=1e-6, rtol=0)


def test_statistics_of_training_images_normalise_them():
    mean, std = channel_statistics(IMAGES)
    inputs = torch.cat([inputs for inputs, _ in make(mean=mean, std=std)]).double()
    assert inputs.mean((0, 2, 3)).abs().max() < 1e-6
    assert (inputs.std((0, 2, 3), unbiased=False) - 1).abs().max() < 1e-6


def test_statistics_refuse_what_is_not_uint8():
    with pytest.raises(ValueError, match="uint8"):
        channel_statistics(IMAGES.float())


def test_batches_hold_every_sample_once_normalised_and_channels_last():
    batches = make(batch_size=32)
    assert (len(batches), batches.count) == (3, 70)
    seen = list(batches)
    assert [len(targets) for _, targets in seen] == [32, 32, 6]
    assert torch.equal(torch.cat([targets for _, targets in seen]), TARGETS)
    inputs = seen[0][0]
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    expected = (
        IMAGES[:32].permute(0, 3, 1, 2) / 255 - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    ) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    torch.testing.assert_close(inputs, expected)


def test_a_single_last_sample_joins_the_batch_before():
    batches = Batches(IMAGES[:33], TARGETS[:33], mean=IMAGENET_MEAN, std=IMAGENET_STD, batch_size=16)
    assert [len(targets) for _, targets in batches] == [16, 17]
    assert len(batches) == 2
    assert len(make(batch_size=1)) == 70


def test_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        return torch.cat([targets for _, targets in make(shuffle_seed=seed).epoch(epoch)]).tolist()

    torch.manual_seed(123)
    first = order(0, 0)
    torch.rand(10)
    assert order(0, 0) == first
    assert sorted(first) == TARGETS.tolist()
    assert len({tuple(order(*pair)) for pair in [(0, 0), (0, 1), (1, 0), (1, 1)]}) == 4


def test_augmentation_moves_image_and_target_together_before_normalisation():
    def flip(inputs, targets, generator):
        assert inputs.min() >= 0 and inputs.max() <= 1
        return inputs.flip(3), targets + 100

    inputs, targets = next(iter(make(augment=flip)))
    plain, _ = next(iter(make()))
    torch.testing.assert_close(inputs, plain.flip(3))
    assert targets[0] == 100


def test_as_many_images_as_targets():
    with pytest.raises(ValueError, match="70 images and 3 targets"):
        Batches(IMAGES, TARGETS[:3], mean=IMAGENET_MEAN, std=IMAGENET_STD)


def test_no_images_and_batches_of_none_are_refused():
    with pytest.raises(ValueError, match="0 images and 0 targets: need as many of each, at least one"):
        Batches(IMAGES[:0], TARGETS[:0], mean=IMAGENET_MEAN, std=IMAGENET_STD)
    with pytest.raises(ValueError, match="0 images"):
        make(chosen=torch.arange(0))
    with pytest.raises(ValueError, match="batch_size is 0: need at least one"):
        make(batch_size=0)
    with pytest.raises(ValueError, match="expected uint8 images"):
        channel_statistics(IMAGES[:0])


def test_a_batch_larger_than_the_set_is_the_set():
    batches = make(batch_size=1000)
    assert len(batches) == 1 and [len(targets) for _, targets in batches] == [70]


@pytest.mark.parametrize("augment", [None, augment_batch])
def test_chosen_samples_give_the_batches_of_a_copy(augment):
    chosen = torch.tensor([69, 3, 3, 40, 0, 12, 33])
    options = {
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "batch_size": 3,
        "shuffle_seed": 5,
        "augment": augment,
    }
    here = Batches(IMAGES, TARGETS, chosen=chosen, **options)
    copied = Batches(IMAGES[chosen], TARGETS[chosen], **options)
    assert (here.count, len(here)) == (copied.count, len(copied)) == (7, 2)
    assert torch.equal(here.images, copied.images) and torch.equal(here.targets, copied.targets)
    for one, other in zip(here.epoch(4), copied.epoch(4), strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_chosen_samples_are_not_copied():
    images = IMAGES.clone()
    batches = Batches(images, TARGETS, mean=[0] * 3, std=[1] * 3, chosen=torch.tensor([5, 6]))
    images[5] = 255
    assert (next(iter(batches))[0][0] == 1).all()


def test_statistics_of_chosen_images_are_those_of_a_copy():
    chosen = torch.arange(0, 70, 3)
    for here, copied in zip(
        channel_statistics(IMAGES, chosen), channel_statistics(IMAGES[chosen]), strict=True
    ):
        assert torch.equal(here, copied)


def test_chosen_samples_move_to_a_device_part_by_part(monkeypatch):
    monkeypatch.setattr("elfw_helpers.data.batches.AT_ONCE", 3 * IMAGES[0].nbytes)
    chosen = torch.tensor([9, 8, 1, 0, 60, 2, 2, 30])
    assert torch.equal(move(IMAGES, chosen, "cpu"), IMAGES[chosen])
    assert torch.equal(move(TARGETS, chosen, "cpu"), TARGETS[chosen])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("augment", [None, augment_batch])
def test_a_gpu_makes_the_same_batches_laid_out_once_without_waiting(augment):
    options = {"batch_size": 16, "shuffle_seed": 1, "augment": augment, "chosen": torch.arange(60)}
    batches = make(device="cuda", **options)
    list(batches.epoch(0))
    try:
        torch.cuda.set_sync_debug_mode("error")
        on_gpu = list(batches.epoch(1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for (inputs, targets), (expected, expected_targets) in zip(on_gpu, make(**options).epoch(1), strict=True):
        assert inputs.is_contiguous()
        torch.testing.assert_close(inputs.cpu(), expected, atol=1e-4, rtol=1e-4)
        assert torch.equal(targets.cpu(), expected_targets)
