import numpy as np
import pytest
import torch

from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches, channel_statistics

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
