"""Grad-CAM on a network small enough to know the maps by hand, and on ResNet-18."""

import pytest
import torch
from torch import nn

from elfw_helpers.evaluation.grad_cam import grad_cam
from elfw_helpers.models import resnet18


class Weighing(nn.Module):
    """Channel 0 speaks for class 0, channel 2 against it, channel 1 for class 1, each by its mean."""

    def __init__(self):
        super().__init__()
        self.layer = nn.AvgPool2d(2)
        # In place, as ResNet's: what the hook kept must survive it.
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(3, 2, bias=False)
        self.head.weight.data = torch.tensor([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]])

    def forward(self, images):
        return self.head(self.relu(self.layer(images)).mean((2, 3)))


def enlarge(quarters: list[list[float]]) -> torch.Tensor:
    """Return an image channel, [4, 4], of four even quarters."""
    return torch.tensor(quarters).repeat_interleave(2, 0).repeat_interleave(2, 1)


@pytest.fixture
def network():
    return Weighing()


@pytest.fixture
def images():
    """Channel 0 is bright on the upper left, channel 1, brighter, below, channel 2 dim all over."""
    channels = [[[5.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [4.0, 8.0]], [[1.0, 1.0], [1.0, 1.0]]]
    return torch.stack([enlarge(channel) for channel in channels])[None]


def test_map_is_known_by_hand_and_the_predicted_class_is_the_default(network, images):
    # Between the centres of the four quarters bilinear resizing mixes 3 : 1, beyond them it repeats.
    corner, side, inner = [1.0, 0.75, 0.25, 0.0], [0.75, 0.5625, 0.1875, 0.0], [0.25, 0.1875, 0.0625, 0.0]
    first = torch.tensor([corner, side, inner, [0.0] * 4])
    columns = torch.tensor([0.5, 0.625, 0.875, 1.0])
    second = torch.tensor([0.0, 0.25, 0.75, 1.0])[:, None] * columns
    torch.testing.assert_close(grad_cam(network, network.layer, images, torch.tensor([0]))[0], first)
    torch.testing.assert_close(grad_cam(network, network.layer, images)[0], second)


def test_each_image_has_its_own_class_and_maximum_and_no_evidence_is_zero(network, images):
    batch = torch.cat([images, images / 10, -images])
    maps = grad_cam(network, network.layer, batch, torch.tensor([0, 1, 1]))
    assert torch.equal(maps[:1], grad_cam(network, network.layer, images, torch.tensor([0])))
    torch.testing.assert_close(maps[1:2], grad_cam(network, network.layer, images))
    assert torch.equal(maps[2], torch.zeros(4, 4))


def count_hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._backward_hooks) for module in network.modules())


def test_network_is_left_as_it_was_even_where_forward_raises(network, images):
    network.train().relu.eval()
    modes = [module.training for module in network.modules()]
    gradient = network.head.weight.grad = torch.ones(2, 3)
    grad_cam(network, network.layer, images)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        grad_cam(network, network.layer, images[:, :2])
    assert count_hooks(network) == 0
    assert [module.training for module in network.modules()] == modes
    assert network.head.weight.grad is gradient and torch.equal(gradient, torch.ones(2, 3))


def test_evaluation_mode_while_it_looks(images):
    torch.manual_seed(0)
    network = resnet18().train()
    statistics = network.bn1.running_mean.clone()
    inputs = torch.randn(2, 3, 64, 64)
    maps = grad_cam(network, network.layer3, inputs)
    assert torch.equal(network.bn1.running_mean, statistics)
    assert maps.shape == (2, 64, 64) and maps.dtype == torch.float32 and not maps.requires_grad
    assert maps.min() >= 0 and torch.equal(maps.amax((1, 2)), torch.ones(2))


@pytest.mark.parametrize("name", ["layer3", "bn1"])
def test_frozen_parameters_change_no_map(name):
    torch.manual_seed(0)
    network, inputs = resnet18(), torch.randn(2, 3, 64, 64)
    learning = grad_cam(network, getattr(network, name), inputs)
    network.requires_grad_(False)
    with torch.no_grad():
        assert torch.equal(grad_cam(network, getattr(network, name), inputs), learning)


@pytest.mark.parametrize(
    ("choose", "found"), [(lambda n: n.head, "(1, 2)"), (lambda _: nn.ReLU(), "nothing")]
)
def test_layer_without_maps_is_refused(network, images, choose, found):
    with pytest.raises(
        ValueError, match=r"\[B, K, h, w\].*got " + found.replace("(", r"\(").replace(")", r"\)")
    ):
        grad_cam(network, choose(network), images)
