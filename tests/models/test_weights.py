import hashlib
import pickle
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from elfw_helpers.models import classification, mini_network, resnet18
from elfw_helpers.models.weights import CHECKSUMS, load_weights, read_checksums, store_weights
from elfw_helpers.utils.errors import WeightsError
from elfw_helpers.utils.paths import rendered_weights

MOST_BYTES = 23_000_000
RENDERED_FILE = rendered_weights("resnet18").name


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A stand-in for torchvision's checkpoint, with its hash in its name."""
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
    # Without the server the file in the cache is used.
    serve_from(f"http://127.0.0.1:1/{checkpoint.name}", monkeypatch)
    assert torch.equal(resnet18(weights="imagenet").conv1.weight, network.conv1.weight)


def test_offline_names_the_alternatives(cache, monkeypatch, capsys):
    serve_from("http://127.0.0.1:1/resnet18-0123abcd.pth", monkeypatch)
    with pytest.raises(WeightsError) as raised:
        resnet18(weights="imagenet")
    assert "weights=None" in str(raised.value)
    assert "resnet18-0123abcd.pth" in str(raised.value)
    assert str(cache) in str(raised.value)
    # A notebook stores stdout, and the path of its author's cache does not belong there.
    assert capsys.readouterr().out == ""


def test_a_download_whose_hash_differs_from_its_name_is_not_kept(checkpoint, server, cache, monkeypatch):
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


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    """A folder with a file of weights, as `elfw pretrain` leaves it."""
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("weights") / RENDERED_FILE
    store_weights(models.resnet18(weights=None), file)
    return file.parent


@pytest.fixture
def folder(stored, tmp_path, monkeypatch) -> Path:
    """A folder of its own with those files, in place of the course's."""
    for file in stored.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(classification, "rendered_weights", lambda network: tmp_path / RENDERED_FILE)
    return tmp_path


def replace_file(folder: Path, content: bytes) -> None:
    """Replace the weights by other content, with a checksum that fits."""
    (folder / RENDERED_FILE).write_bytes(content)
    checksum = hashlib.sha256(content).hexdigest()
    (folder / CHECKSUMS).write_text(f"{checksum}  {RENDERED_FILE}\n", encoding="utf-8")


def test_rendered_weights_are_loaded_as_float32_rounded_to_float16(folder):
    network = resnet18(weights="rendered")
    torch.manual_seed(3)
    original = models.resnet18(weights=None).state_dict()
    for name, value in network.state_dict().items():
        if name.startswith("fc."):
            continue
        assert value.dtype == original[name].dtype
        expected = original[name].half().float() if value.is_floating_point() else original[name]
        assert torch.equal(value, expected), name
    assert network.fc.out_features == 3


def test_the_last_layer_is_initialised_as_without_weights(folder):
    heads = []
    for weights in (None, "rendered"):
        torch.manual_seed(5)
        heads.append(resnet18(weights, classes=4).fc.weight)
    assert torch.equal(*heads)
    assert not torch.equal(heads[0], resnet18("rendered", classes=4).fc.weight)


def test_a_whole_resnet18_fits_in_the_repository(stored):
    assert (stored / RENDERED_FILE).stat().st_size < MOST_BYTES


def test_the_list_of_checksums_is_sha256sum_s(stored, tmp_path):
    file = tmp_path / "other.safetensors"
    store_weights(mini_network(), file)
    store_weights(mini_network(), file.with_name("another.safetensors"))
    store_weights(mini_network(), file)
    assert list(read_checksums(tmp_path)) == ["another.safetensors", "other.safetensors"]
    for folder in (stored, tmp_path):
        subprocess.run(
            ["sha256sum", "--strict", "-c", CHECKSUMS], cwd=folder, check=True, capture_output=True
        )


def test_a_missing_file_names_the_command_that_makes_it(folder):
    (folder / RENDERED_FILE).unlink()
    with pytest.raises(WeightsError, match=f"{RENDERED_FILE}: no such file. Make it: elfw pretrain"):
        resnet18(weights="rendered")


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"!" + content[1:]])
def test_a_damaged_file_is_named_with_its_cure(folder, damage):
    file = folder / RENDERED_FILE
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(WeightsError, match=f"damaged: its SHA-256 is .* git checkout -- .*{RENDERED_FILE}"):
        resnet18(weights="rendered")


def test_a_file_without_a_checksum_is_refused(folder):
    (folder / CHECKSUMS).unlink()
    with pytest.raises(WeightsError, match=f"{CHECKSUMS} holds no checksum .* git checkout -- .*{CHECKSUMS}"):
        resnet18(weights="rendered")


def test_weights_of_another_network_are_refused(folder):
    store_weights(mini_network(), folder / RENDERED_FILE)
    with pytest.raises(
        WeightsError, match=r"another network: \d+ tensors.*first bn1.bias with nothing in place"
    ):
        resnet18(weights="rendered")


def test_a_tensor_of_another_shape_or_a_head_is_refused(folder):
    state = models.resnet18(weights=None).state_dict()
    file = folder.parent / f"{folder.name}.safetensors"
    for name in ("fc.weight", "fc.bias"):
        save_file(
            {key: value for key, value in state.items() if not key.startswith("fc.") or key == name}, file
        )
        replace_file(folder, file.read_bytes())
        with pytest.raises(WeightsError, match=f"another network: 1 tensors.*{name}"):
            resnet18(weights="rendered")


def test_a_pickle_under_the_name_of_safetensors_is_refused_and_not_run(folder):
    ran = folder / "ran"
    content = pickle.dumps(Touch(ran))
    pickle.loads(content)
    assert ran.exists()
    ran.unlink()
    replace_file(folder, content)
    with pytest.raises(WeightsError, match=f"{RENDERED_FILE} is no safetensors file"):
        resnet18(weights="rendered")
    assert not ran.exists()


class Touch:
    """Unpickling it creates a file."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_weights_beyond_float16_are_not_written(tmp_path):
    network = mini_network()
    with torch.no_grad():
        network.conv1.weight[0] = 1e6
    with pytest.raises(WeightsError, match="was not written: conv1.weight has values that are not finite"):
        store_weights(network, tmp_path / "file.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_backbone_loads_and_is_finite():
    file = rendered_weights("resnet18")
    network = models.resnet18(weights=None)
    load_weights(network, file)
    assert file.stat().st_size < MOST_BYTES
    assert all(value.isfinite().all() for value in network.state_dict().values())
