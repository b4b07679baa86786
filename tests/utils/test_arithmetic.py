"""How networks compute for a while, and what is as before afterwards."""

from types import SimpleNamespace

import pytest
import torch

from elfw_helpers.deployment.predict import run_network
from elfw_helpers.evaluation.grad_cam import grad_cam
from elfw_helpers.models import resnet18
from elfw_helpers.models.transfer import extract_features
from elfw_helpers.utils.device import exact_arithmetic, memory_advice
from elfw_helpers.utils.errors import TrainingError
from tests.training.test_loop import make_batches


def read_settings() -> tuple:
    cudnn = torch.backends.cudnn
    flags = (cudnn.enabled, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic)
    return (*flags, torch.get_float32_matmul_precision())


@pytest.fixture
def loose():
    """Let torch round as it likes, as it may be set in a notebook."""
    torch.set_float32_matmul_precision("high")
    yield read_settings()
    torch.set_float32_matmul_precision("highest")


def test_all_that_asks_a_network_computes_exactly_and_leaves_the_settings(loose):
    network, seen = resnet18().eval(), []
    network.register_forward_pre_hook(lambda *_: seen.append(read_settings()))
    card = SimpleNamespace(task="attribute", mean=[0.5] * 3, std=[0.5] * 3)
    run_network(SimpleNamespace(network=network, card=card, device="cpu"), make_batches(1).images[0].numpy())
    extract_features(network, make_batches(8))
    grad_cam(network, network.layer1, torch.zeros(1, 3, 32, 32))
    assert seen == [(True, False, False, True, "highest")] * 3
    assert read_settings() == loose


def test_the_settings_are_left_even_after_an_error(loose):
    with pytest.raises(KeyError), exact_arithmetic():
        raise KeyError
    assert read_settings() == loose


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="an older torch")
def test_torch_s_newer_switches_are_honoured_too():
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    try:
        with exact_arithmetic():
            assert matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


def test_the_advice_for_a_batch_of_one_asks_for_no_smaller_one():
    expected = pytest.raises(TrainingError, match="a batch of 1 .*full.* Take smaller images")
    with expected as told, memory_advice(1):
        raise torch.cuda.OutOfMemoryError("full")
    assert "halve" not in str(told.value)
    with pytest.raises(RuntimeError, match="something else"), memory_advice(1):
        raise RuntimeError("something else")
