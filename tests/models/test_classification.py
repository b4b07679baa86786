import contextlib
import io

import pytest
import torch
from torch import nn
from torchsummary import summary

from elfw_helpers.models import count_parameters, mini_network, resnet18
from elfw_helpers.utils.errors import WeightsError

TABLE = """\
            Conv2d-1           [-1, 16, 64, 64]             448
              ReLU-2           [-1, 16, 64, 64]               0
         MaxPool2d-3           [-1, 16, 32, 32]               0
            Conv2d-4           [-1, 32, 32, 32]           4,640
              ReLU-5           [-1, 32, 32, 32]               0
         MaxPool2d-6           [-1, 32, 16, 16]               0
            Linear-7                    [-1, 3]          24,579
================================================================
Total params: 29,667
Trainable params: 29,667
Non-trainable params: 0
----------------------------------------------------------------
Input size (MB): 0.05
Forward/backward pass size (MB): 1.69
Params size (MB): 0.11
Estimated Total Size (MB): 1.85
"""


def test_torchsummary_prints_the_reports_table():
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        summary(mini_network(), (3, 64, 64), device="cpu")
    assert TABLE in printed.getvalue()


def test_clamping_changes_nothing_but_the_layout_of_gradients():
    network, images = mini_network(), torch.rand(4, 3, 64, 64).to(memory_format=torch.channels_last)
    layouts = []
    network.pool2.register_full_backward_hook(
        lambda module, inputs, outputs: layouts.append(
            outputs[0].is_contiguous(memory_format=torch.channels_last)
        )
    )
    logits = network(images)
    logits.square().sum().backward()
    assert layouts == [True]

    plain = mini_network()
    plain.load_state_dict(network.state_dict())
    blocks = [plain.conv1, plain.relu1, plain.pool1, plain.conv2, plain.relu2, plain.pool2]
    expected = plain.linear(nn.Sequential(*blocks)(images).flatten(1))
    expected.square().sum().backward()
    assert torch.equal(logits, expected)
    for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


def test_parameters_are_counted():
    assert count_parameters(mini_network()) == 29_667
    assert count_parameters(mini_network(classes=5)) == 29_667 + 2 * 8_193
    assert count_parameters(resnet18()) == 11_176_512 + 3 * 513


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
def test_the_mini_network_can_be_scripted_and_exported():
    network, images = mini_network().eval(), torch.rand(2, 3, 64, 64)
    expected = network(images)
    assert torch.equal(torch.jit.script(network)(images), expected)
    torch.testing.assert_close(torch.export.export(network, (images,)).module()(images), expected)


def test_resnet_from_scratch_has_a_layer_for_three_classes():
    network = resnet18()
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    assert isinstance(network.fc, nn.Linear)


def test_unknown_weights_are_refused_by_name():
    with pytest.raises(WeightsError, match="no weights 'imagnet'.*Known are 'imagenet', 'rendered' and None"):
        resnet18(weights="imagnet")
