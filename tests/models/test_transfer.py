"""A frozen backbone stays bit for bit, and features are the inputs of the last layer."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches
from elfw_helpers.models import resnet18
from elfw_helpers.models.transfer import extract_features
from elfw_helpers.training.loop import fit


def make_batches(count: int = 10, batch_size: int = 4) -> Batches:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return Batches(
        images, torch.arange(count) % 3, mean=IMAGENET_MEAN, std=IMAGENET_STD, batch_size=batch_size
    )


def copy_state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def names_changed(before: dict[str, torch.Tensor], network: nn.Module) -> set[str]:
    return {name for name, tensor in network.state_dict().items() if not torch.equal(before[name], tensor)}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return resnet18()


def test_without_evaluation_mode_frozen_weights_still_let_running_statistics_move(network):
    before = copy_state(network)
    network.requires_grad_(False).fc.requires_grad_(True)
    fit(network, make_batches(), None, epochs=1)
    changed = names_changed(before, network)
    assert {"bn1.running_mean", "layer4.1.bn2.running_var"} <= changed
    assert not changed & {"conv1.weight", "bn1.weight", "layer4.1.conv2.weight"}


def test_head_on_features_is_the_network(network):
    batches = make_batches()
    features = extract_features(network, batches)
    assert features.shape == (10, 512) and features.dtype == torch.float32
    network.eval()
    with torch.no_grad():
        expected = torch.cat([network(inputs) for inputs, _ in batches])
        torch.testing.assert_close(network.fc(features), expected)


def test_extracting_features_leaves_the_network_as_it_was(network):
    before, head = copy_state(network), network.fc
    network.train().layer1.eval()
    modes = [module.training for module in network.modules()]
    extract_features(network, make_batches())
    assert network.fc is head and not head._forward_pre_hooks
    assert [module.training for module in network.modules()] == modes
    assert not names_changed(before, network)


def test_features_are_computed_in_the_precision_of_the_batches(network):
    batches = make_batches()
    exact = extract_features(network, batches)
    batches.precision = torch.bfloat16
    rounded = extract_features(network, batches)
    assert rounded.dtype == torch.float32 and not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.1)


def test_head_can_learn_from_features(network):
    features = extract_features(network, make_batches())
    cross_entropy(network.fc(features), torch.arange(10) % 3).backward()
    assert network.fc.weight.grad.abs().sum() > 0
