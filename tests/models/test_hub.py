"""Trained models in files: a stored model is loaded unchanged, and an error names each fault of a file."""

import json
import pickle
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from elfw_helpers.data.labels import ATTRIBUTES, PIXEL_CLASSES
from elfw_helpers.models import UNet, hub, mini_network, resnet18
from elfw_helpers.models.hub import VERSION, ModelCard, load_model, store_model
from elfw_helpers.models.weights import CHECKSUMS, read_checksums
from elfw_helpers.utils.errors import WeightsError

CARD = ModelCard(
    architecture="unet",
    classes=PIXEL_CLASSES,
    size=32,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.25, 0.3),
    trained_on="nothing at all",
    options={"width": 2},
    notes="freshly initialised",
)
MINI_CARD = replace(CARD, architecture="mini_network", classes=ATTRIBUTES, size=64, options={})
UNET = "efficient_unet_rendered.safetensors"


def tiny_unet() -> UNet:
    torch.manual_seed(3)
    network = UNet(width=2)
    # As if it had been trained: the statistics are not those it starts from.
    network.train()(torch.randn(4, 3, 32, 32))
    return network


@pytest.fixture
def file(tmp_path) -> Path:
    """A stored U-Net."""
    store_model(tiny_unet(), CARD, tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> Path:
    """A folder of shipped models in place of the course's."""
    folder = tmp_path / "weights"
    monkeypatch.setattr(hub, "rendered_weights", lambda network: folder / f"{network}_rendered.safetensors")
    store_model(tiny_unet(), CARD, folder / UNET)
    store_model(mini_network(), MINI_CARD, folder / "mini_network_rendered.safetensors")
    return folder


def write_card(file: Path, **changes) -> None:
    """Write the model again, its card changed; None takes an entry out."""
    card = {name: value for name, value in (asdict(CARD) | changes).items() if value is not None}
    write_metadata(file, {"card": json.dumps(card)})


def write_metadata(file: Path, metadata: dict[str, str] | None) -> None:
    """Write the model again with other metadata, and no checksum."""
    save_file(load_file(file), file, metadata)
    file.with_name(CHECKSUMS).unlink(missing_ok=True)


def test_a_stored_model_is_loaded_unchanged(file):
    network = tiny_unet().eval()
    model = load_model(file)
    assert model.card == CARD and model.card.task == "segment"
    assert model.name == "mine.safetensors"
    assert not model.network.training and model.device.type == "cpu"
    for name, value in model.network.state_dict().items():
        expected = network.state_dict()[name]
        assert value.dtype == expected.dtype
        assert torch.allclose(value, expected, rtol=1e-3, atol=1e-6), name
    inputs = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(model.network(inputs), network(inputs), atol=0.01)


def test_the_file_is_half_precision_and_its_checksum_stands_beside_it(file):
    assert {str(value.dtype) for value in load_file(file).values()} == {"torch.float16", "torch.int64"}
    assert list(read_checksums(file.parent)) == [file.name]
    subprocess.run(
        ["sha256sum", "--strict", "-c", CHECKSUMS], cwd=file.parent, check=True, capture_output=True
    )


def test_a_loaded_model_can_be_trained_on_and_stored_again(file):
    model = load_model(file)
    model.network.train()(torch.randn(2, 3, 32, 32)).sum().backward()
    assert model.network.head.weight.grad is not None
    store_model(model.network, replace(model.card, notes="second"), file, replace=True)
    assert load_model(file).card.notes == "second"


def test_no_file_is_overwritten_unless_asked(file):
    before = file.read_bytes()
    with pytest.raises(WeightsError, match=r"mine.safetensors exists.*replace=True"):
        store_model(UNet(width=2), CARD, file)
    assert file.read_bytes() == before


def test_checksums_of_other_files_stay(file):
    sums = file.with_name(CHECKSUMS)
    foreign = b"# mine\nSHA256 (caf\xe9.bin) = " + b"0" * 64 + b"\n"
    sums.write_bytes(foreign + sums.read_bytes())
    store_model(tiny_unet(), CARD, file, replace=True)
    store_model(tiny_unet(), CARD, file.with_name("other.safetensors"))
    assert all(line in sums.read_bytes().splitlines() for line in foreign.splitlines())
    assert {"mine.safetensors", "other.safetensors"} <= read_checksums(file.parent).keys()
    load_model(file)


def test_a_card_takes_lists_for_tuples():
    assert replace(CARD, mean=[0.5, 0.4, 0.3], classes=list(PIXEL_CLASSES)) == CARD


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_weights_that_are_not_finite_in_float16_are_not_stored(tmp_path, value):
    network = tiny_unet()
    with torch.no_grad():
        network.head.weight[0] = value
    with pytest.raises(WeightsError, match="was not written: head.weight has values that are not finite"):
        store_model(network, CARD, tmp_path / "mine.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("network", "card", "found"),
    [
        (UNet(width=3), CARD, "weights of another network.*options that the network was made with"),
        (mini_network(), CARD, "weights of another network"),
        (
            mini_network(),
            replace(MINI_CARD, size=32),
            "mini_network cannot be built with 3 classes, inputs of 32",
        ),
        (UNet(width=2), replace(CARD, size=40), "unet cannot be built with 7 classes, inputs of 40"),
        (UNet(3, 2), replace(CARD, classes=ATTRIBUTES), "its outputs have shape"),
        (UNet(width=2), replace(CARD, options={"depth": 2}), "options {'depth': 2}.*unexpected keyword"),
        (
            UNet(width=2),
            replace(CARD, architecture="vit"),
            "no architecture 'vit'. Known are efficient_attributes",
        ),
    ],
)
def test_a_card_that_does_not_fit_its_network_is_not_stored(tmp_path, network, card, found):
    with pytest.raises(WeightsError, match=found):
        store_model(network, card, tmp_path / "mine.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_shipped_models_are_found_by_name(shipped):
    assert load_model("efficient_unet").card == CARD
    model = load_model("mini_network")
    assert (model.name, model.card.task) == ("mini_network", "attribute")


@pytest.mark.parametrize("architecture", hub.BACKBONES)
def test_where_the_backbone_is_shared_only_the_last_layer_is_stored(tmp_path, architecture):
    torch.manual_seed(0)
    network = hub.BACKBONES[architecture]()
    store_model(network, replace(MINI_CARD, architecture=architecture), tmp_path / "head.safetensors")
    assert load_file(tmp_path / "head.safetensors").keys() == {"fc.weight", "fc.bias"}
    found = load_model(tmp_path / "head.safetensors").network.state_dict()
    for name, expected in network.state_dict().items():
        assert torch.allclose(found[name], expected, rtol=1e-3, atol=1e-6), name


def test_a_resnet18_whose_backbone_was_trained_is_not_stored(tmp_path):
    network = resnet18(weights="rendered")
    with torch.no_grad():
        network.conv1.weight[0] += 1
    with pytest.raises(WeightsError, match="the backbone was trained on .conv1.weight differs"):
        store_model(network, replace(MINI_CARD, architecture="resnet18"), tmp_path / "head.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_resnet18_file_with_a_backbone_is_refused(tmp_path):
    file = tmp_path / "whole.safetensors"
    card = asdict(replace(MINI_CARD, architecture="resnet18"))
    save_file(resnet18().state_dict(), file, {"card": json.dumps(card)})
    with pytest.raises(WeightsError, match="weights of another network: 120 tensors"):
        load_model(file)


def test_a_shipped_model_that_is_missing_or_damaged_is_named_with_its_cure(shipped):
    file = shipped / UNET
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(
        WeightsError, match=f"{file.name} is damaged: its SHA-256.*git checkout -- .*{file.name}"
    ):
        load_model("efficient_unet")
    file.unlink()
    with pytest.raises(WeightsError, match=f"{file.name}: no such file.*git checkout -- .*{file.name}"):
        load_model("efficient_unet")


def test_a_shipped_model_needs_a_checksum(shipped):
    (shipped / CHECKSUMS).unlink()
    with pytest.raises(WeightsError, match=f"{CHECKSUMS} holds no checksum of {UNET}"):
        load_model("efficient_unet")


def test_another_file_needs_no_checksum_but_must_match_one(file):
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(WeightsError, match="damaged: its SHA-256.*Store it again"):
        load_model(file)
    file.with_name(CHECKSUMS).unlink()
    load_model(file)


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(
        WeightsError, match="unett: no such file. Models by name: efficient_unet, efficient_attributes"
    ):
        load_model("unett")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not safetensors", pickle.dumps({"head": [1, 2]}), bytes(1000)])
def test_a_file_of_another_format_is_refused(file, content):
    file.write_bytes(content)
    file.with_name(CHECKSUMS).unlink()
    with pytest.raises(WeightsError, match="mine.safetensors is no safetensors file"):
        load_model(file)


def test_a_pickle_is_never_run(file):
    file.write_bytes(pickle.dumps(Touch(file.with_name("ran"))))
    file.with_name(CHECKSUMS).unlink()
    with pytest.raises(WeightsError, match="no safetensors file"):
        load_model(file)
    assert not file.with_name("ran").exists()


class Touch:
    """Unpickling it creates a file."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_weights_without_a_card_are_refused(file, metadata):
    write_metadata(file, metadata)
    with pytest.raises(WeightsError, match="has no model card in its metadata.*store_model"):
        load_model(file)


@pytest.mark.parametrize("text", ["{", "[]", "7", "[" * 100_000])
def test_an_unreadable_card_is_refused(file, text):
    write_metadata(file, {"card": text})
    with pytest.raises(WeightsError, match="model card that cannot be read"):
        load_model(file)


@pytest.mark.parametrize(
    ("version", "found"),
    [
        (
            VERSION + 1,
            f"format {VERSION + 1}, newer than this package's {VERSION}. Update the course's package",
        ),
        (VERSION - 1, f"format {VERSION - 1}, older than this package's {VERSION}. Store the model again"),
    ],
)
def test_another_version_says_which_and_what_to_do(file, version, found):
    # The other entries of such a card are not checked.
    write_card(file, version=version, colours="unheard of")
    with pytest.raises(WeightsError, match=found):
        load_model(file)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"architecture": "resnet"},
            "no architecture 'resnet'. Known are efficient_attributes, efficient_unet, unet",
        ),
        ({"architecture": ["unet"]}, r"no architecture \['unet'\]"),
        ({"classes": ["cat", "dog"]}, "classes are .'cat', 'dog'.*background, skin.* or .hair, spectacles"),
        ({"classes": [["cat"]]}, "classes are"),
        ({"classes": "hair"}, "classes are 'hair'"),
        ({"classes": ATTRIBUTES}, "unet cannot be built with 3 classes"),
        ({"size": 40}, "unet cannot be built with 7 classes, inputs of 40 x 40"),
        ({"size": 0}, "size is 0"),
        ({"size": 10**9}, "size is 1000000000"),
        ({"size": "32"}, "size is '32'"),
        ({"mean": [0.5, 0.5]}, "mean is .0.5, 0.5.. It has three finite numbers"),
        ({"mean": [float("nan"), 0, 0]}, "mean is"),
        ({"mean": 0.5}, "mean is 0.5"),
        ({"std": [0.1, 0.2, 10**400]}, "std is"),
        ({"std": [0.1, 0.2, 0]}, "Standard deviations are above 0"),
        ({"options": {"width": 3}}, r"another network: \d+ tensors"),
        ({"options": {"width": 10**9}}, "unet cannot be built|another network"),
        ({"options": {"width": -1}}, "unet cannot be built"),
        ({"options": {"width": "2"}}, "unet cannot be built"),
        ({"options": [2]}, "unet cannot be built"),
        ({"trained_on": None}, "entries missing or unknown: trained_on"),
        ({"colours": 3}, "entries missing or unknown: colours"),
    ],
)
def test_a_card_with_impossible_values_is_refused(file, changes, found):
    write_card(file, **changes)
    with pytest.raises(WeightsError, match=found) as raised:
        load_model(file)
    assert file.name in str(raised.value)


def test_tensors_that_do_not_fit_the_architecture_are_refused(file):
    tensors = load_file(file)
    del tensors["head.bias"]
    save_file(tensors, file, {"card": json.dumps(asdict(CARD))})
    file.with_name(CHECKSUMS).unlink()
    with pytest.raises(
        WeightsError, match=r"another network: 1 tensors .*head.bias with nothing in place of \(7,"
    ):
        load_model(file)


def test_weights_that_are_not_finite_are_refused(file):
    tensors = load_file(file)
    tensors["head.bias"][3] = float("inf")
    save_file(tensors, file, {"card": json.dumps(asdict(CARD))})
    file.with_name(CHECKSUMS).unlink()
    with pytest.raises(WeightsError, match="not finite numbers"):
        load_model(file)
