import pytest
import torch

from elfw_helpers.augmentation import augment_batch, draw_affine_maps, jitter_colours, transforms, warp_batch
from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches

SIDE = 32
IDENTITY = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def paint_squares(count=8):
    """Return images that are 1 where their masks are 5, and 0 where those are 0."""
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.long)
    masks[:, 6:16, 8:20] = 5
    return (masks[:, None] == 5).float().expand(-1, 3, -1, -1).clone(), masks


def test_a_marked_square_moves_alike_in_image_and_mask():
    images, masks = paint_squares()
    moved, moved_masks = warp_batch(images, masks, draw_affine_maps(len(images), seeded()))
    marked = moved_masks == 5
    assert (moved[:, 0] > 0.5).ne(marked).float().mean() < 0.005
    # They moved indeed, and not all the same way.
    assert (moved_masks != masks).any(2).any(1).float().mean() > 0.8
    assert not torch.equal(moved_masks[0], moved_masks[1])


def test_masks_hold_no_new_class():
    masks = torch.randint(0, 2, (16, SIDE, SIDE), generator=seeded()) * 6
    images = torch.rand(16, 3, SIDE, SIDE, generator=seeded())
    _, moved = augment_batch(images, masks, seeded())
    assert set(moved.unique().tolist()) == {0, 6}
    assert (moved.dtype, moved.shape) == (masks.dtype, masks.shape)


def test_about_half_of_the_faces_are_mirrored():
    mirrored = draw_affine_maps(1000, seeded())[:, 0, 0] < 0
    assert 450 < mirrored.sum() < 550


def test_movements_stay_within_their_bounds():
    maps = draw_affine_maps(1000, seeded())
    scale = maps[:, 1, :2].norm(dim=1)
    angle = torch.atan2(maps[:, 1, 0], maps[:, 1, 1])
    assert scale.log().abs().max() <= transforms.SCALE + 1e-6
    assert angle.abs().max() <= transforms.ANGLE + 1e-6
    assert maps[:, :, 2].abs().max() <= transforms.SHIFT
    # Turned and scaled alike on both axes: a circle stays a circle.
    torch.testing.assert_close(maps[:, :, 0].norm(dim=1), maps[:, :, 1].norm(dim=1))


def test_the_identity_changes_nothing_and_a_mirror_flips_exactly():
    images = torch.rand(2, 3, SIDE, SIDE, generator=seeded())
    masks = torch.randint(0, 7, (2, SIDE, SIDE), generator=seeded())
    mirror = IDENTITY * torch.tensor([[-1.0], [1.0]])
    moved, moved_masks = warp_batch(images, masks, torch.stack([IDENTITY, mirror]))
    torch.testing.assert_close(moved, torch.stack([images[0], images[1].flip(2)]))
    assert torch.equal(moved_masks, torch.stack([masks[0], masks[1].flip(1)]))


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_generator_gives_the_same_result_and_another_seed_another(device):
    images, masks = (tensor.to(device) for tensor in paint_squares())
    first, again, other = (augment_batch(images, masks, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0]) and not torch.equal(first[1], other[1])
    assert first[0].device == images.device


def test_values_stay_in_range_and_inputs_are_not_written_to():
    images = torch.rand(64, 3, SIDE, SIDE, generator=seeded()).round()
    before = images.clone()
    changed, _ = augment_batch(images, torch.zeros(64, dtype=torch.long), seeded())
    assert changed.isfinite().all() and changed.min() >= 0 and changed.max() <= 1
    assert (changed.dtype, changed.shape) == (images.dtype, images.shape)
    assert torch.equal(images, before)


def test_class_targets_stay_as_they_are():
    targets = torch.arange(8) % 3
    _, unchanged = augment_batch(paint_squares()[0], targets, seeded())
    assert torch.equal(unchanged, targets)


def test_colours_change_alike_all_over_a_picture():
    flat = torch.full((64, 3, SIDE, SIDE), 0.4)
    changed = jitter_colours(flat, seeded())
    assert torch.equal(changed, changed[:, :, :1, :1].expand_as(changed))
    assert changed[:, 0, 0, 0].std() > 0.05
    # Colour balance: the three channels of a grey picture no longer agree.
    assert (changed[:, 0] - changed[:, 2]).abs().max() > 0.02


def test_batches_change_anew_in_each_epoch_and_alike_in_each_run():
    images = torch.randint(0, 256, (12, SIDE, SIDE, 3), dtype=torch.uint8, generator=seeded())
    batches = Batches(
        images, torch.arange(12), mean=IMAGENET_MEAN, std=IMAGENET_STD, shuffle_seed=0, augment=augment_batch
    )
    first, again, later = (next(batches.epoch(number))[0] for number in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, later)
    assert first.is_contiguous(memory_format=torch.channels_last)
