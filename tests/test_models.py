import contextlib
import hashlib
import io
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torchsummary import summary
from torchvision import models

from elfw_helpers.errors import WeightsError
from elfw_helpers.models import count_parameters, mini_network, resnet18

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


def test_parameters_are_counted():
    assert count_parameters(mini_network()) == 29_667
    assert count_parameters(mini_network(classes=5)) == 29_667 + 2 * 8_193
    assert count_parameters(resnet18()) == 11_176_512 + 3 * 513


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_training_forward_is_bit_equal_to_forward(layout):
    torch.manual_seed(0)
    network = mini_network()
    images = torch.randn(32, 3, 64, 64).contiguous(memory_format=layout)
    # Flat areas make ties between the four values that pooling chooses from.
    images[:8] = 0
    results = []
    for forward in (network, network.training_forward):
        network.zero_grad()
        logits = forward(images)
        cross_entropy(logits, torch.arange(32) % 3).backward()
        results.append([logits, *(parameter.grad.clone() for parameter in network.parameters())])
    for plain, fast in zip(*results, strict=True):
        assert torch.equal(plain, fast)


def test_resnet_from_scratch_has_a_layer_for_three_classes():
    network = resnet18()
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    assert isinstance(network.fc, nn.Linear)


def test_unknown_weights_are_refused_by_name():
    with pytest.raises(WeightsError, match="no weights 'imagnet'.*Known are 'imagenet' and None"):
        resnet18(weights="imagnet")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A stand-in for torchvision's checkpoint, its hash in its name as there."""
    torch.manual_seed(7)
    file = tmp_path_factory.mktemp("server") / "checkpoint.pth"
    torch.save(models.resnet18(weights=None).state_dict(), file)
    return file.rename(file.with_name(f"resnet18-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth"))


@pytest.fixture(scope="module")
def server(checkpoint):
    """A web server on this machine that has the checkpoint; yields its address."""

    class QuietHandler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(QuietHandler, directory=str(checkpoint.parent))
    ) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty folder in place of torch's cache of downloaded weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "hub" / "checkpoints"


def serve_from(url: str, monkeypatch) -> None:
    monkeypatch.setattr(models.ResNet18_Weights.IMAGENET1K_V1.value, "url", url)


def test_imagenet_weights_are_downloaded_once_and_loaded(checkpoint, server, cache, monkeypatch):
    serve_from(f"{server}/{checkpoint.name}", monkeypatch)
    network = resnet18(weights="imagenet")
    expected = torch.load(checkpoint, weights_only=True)
    for name, value in network.state_dict().items():
        assert name.startswith("fc.") or torch.equal(value, expected[name])
    assert network.fc.out_features == 3
    assert (cache / checkpoint.name).read_bytes() == checkpoint.read_bytes()
    # The server has gone, the file is in the cache.
    serve_from(f"http://127.0.0.1:1/{checkpoint.name}", monkeypatch)
    assert torch.equal(resnet18(weights="imagenet").conv1.weight, network.conv1.weight)


def test_offline_names_the_alternatives(cache, monkeypatch):
    serve_from("http://127.0.0.1:1/resnet18-0123abcd.pth", monkeypatch)
    with pytest.raises(WeightsError) as raised:
        resnet18(weights="imagenet")
    assert "weights=None" in str(raised.value)
    assert "resnet18-0123abcd.pth" in str(raised.value)
    assert str(cache) in str(raised.value)


def test_a_download_that_is_not_what_its_name_promises_is_not_kept(checkpoint, server, cache, monkeypatch):
    damaged = checkpoint.with_name("resnet18-00000000.pth")
    damaged.write_bytes(checkpoint.read_bytes()[:-100])
    serve_from(f"{server}/{damaged.name}", monkeypatch)
    with pytest.raises(WeightsError, match="hash.*weights=None"):
        resnet18(weights="imagenet")
    assert list(cache.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_named(checkpoint, server, cache, monkeypatch):
    serve_from(f"{server}/{checkpoint.name}", monkeypatch)
    cache.mkdir(parents=True)
    (cache / checkpoint.name).write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=f"{checkpoint.name} is damaged: delete it"):
        resnet18(weights="imagenet")


def test_a_checkpoint_that_would_run_code_is_refused(cache, monkeypatch):
    cache.mkdir(parents=True)
    file = cache / "code.pth"
    torch.save({"conv1.weight": partial(print, "never")}, file)
    file = file.rename(cache / f"resnet18-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth")
    serve_from(f"http://127.0.0.1:1/{file.name}", monkeypatch)
    with pytest.raises(WeightsError, match="cannot use the weights"):
        resnet18(weights="imagenet")


def test_a_checkpoint_of_another_network_is_refused(cache, monkeypatch):
    cache.mkdir(parents=True)
    file = cache / "other.pth"
    torch.save(mini_network().state_dict(), file)
    file = file.rename(cache / f"resnet18-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth")
    serve_from(f"http://127.0.0.1:1/{file.name}", monkeypatch)
    with pytest.raises(WeightsError, match="(?s)cannot use the weights.*Missing key"):
        resnet18(weights="imagenet")
