import hashlib

import pytest
import torch
from torch import nn
from torchvision.models import segmentation

from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches
from elfw_helpers.models import (
    EfficientUNet,
    UNet,
    count_parameters,
    deeplabv3_resnet101,
    fcn_resnet101,
    lraspp_mobilenet,
    mini_network,
)
from elfw_helpers.training.loop import fit, predict_masks
from elfw_helpers.utils.errors import TrainingError, WeightsError

BUILDERS = {
    "fcn": fcn_resnet101,
    "deeplab": deeplabv3_resnet101,
    "lraspp": lraspp_mobilenet,
    "unet": UNet,
    "efficient_unet": EfficientUNet,
}
FILES = {
    "fcn": segmentation.FCN_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1,
    "lraspp": segmentation.LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1,
}


@pytest.fixture(scope="module", params=list(BUILDERS))
def named_network(request) -> tuple[str, nn.Module]:
    torch.manual_seed(0)
    return request.param, BUILDERS[request.param]()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder in place of torch's cache of downloaded weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def put_checkpoint(cache, monkeypatch, weights, state) -> None:
    """Store a state as the file that torchvision would download, and make it the one that it looks for."""
    file = cache / "network.pth"
    torch.save(state, file)
    name = f"network-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth"
    file.rename(cache / name)
    monkeypatch.setattr(weights.value, "url", f"http://127.0.0.1:1/{name}")


def make_state(build) -> dict[str, torch.Tensor]:
    """Return a state of torchvision's network with outputs for COCO, each tensor filled with one value.

    Each is stored as one number: the file has a few kilobytes instead of 200 megabytes.
    """
    with torch.device("meta"):
        network = build(weights=None, weights_backbone=None, num_classes=21)
    return {
        name: torch.tensor(place % 100 / 100).to(tensor.dtype).expand(tensor.shape)
        for place, (name, tensor) in enumerate(network.state_dict().items())
    }


def test_logits_are_a_plain_tensor_of_the_images_size(named_network):
    name, network = named_network
    images = torch.randn(2, 3, 64, 64 if "unet" in name else 49, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = network.eval()(images)
    assert type(logits) is torch.Tensor and logits.dtype == torch.float32
    assert logits.shape == (2, 7, *images.shape[2:])
    # As torchvision documents them, less the auxiliary heads and with 7 outputs in place of 21.
    expected = {"fcn": 51_941_959, "deeplab": 58_627_399, "lraspp": 3_219_158}
    expected |= {"unet": 442_727, "efficient_unet": 5_198_135}
    assert count_parameters(network) == expected[name]


def test_each_network_trains_with_fit(named_network):
    name, network = named_network
    generator = torch.Generator().manual_seed(0)
    # At a thirty-second of 32 pixels one place would be left, where batch normalisation forgets biases.
    size = 64 if name == "efficient_unet" else 32
    images = torch.randint(256, (2, size, size, 3), dtype=torch.uint8, generator=generator)
    batches = Batches(images, images[..., 0] // 37, mean=IMAGENET_MEAN, std=IMAGENET_STD, batch_size=2)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    history = fit(network, batches, None, 1, lr=0.01)
    assert 1 < history.train_loss[0] < 5
    for old, parameter in zip(before, network.parameters(), strict=True):
        assert parameter.grad.isfinite().all() and not torch.equal(old, parameter)
    masks = predict_masks(network, batches)
    assert masks.shape == (2, size, size) and masks.max() < 7


@pytest.mark.parametrize("named_network", ["deeplab"], indirect=True)
def test_deeplab_says_why_it_cannot_train_on_one_image(named_network):
    batches = Batches(
        torch.zeros(1, 32, 32, 3, dtype=torch.uint8),
        torch.zeros(1, 32, 32, dtype=torch.uint8),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    with pytest.raises(TrainingError, match="one sample at a time .*Take batches of two or more"):
        fit(named_network[1], batches, None, 1)


@pytest.mark.parametrize("name", list(FILES))
def test_coco_weights_fill_all_but_the_new_last_layers(name, cache, monkeypatch):
    build = segmentation.lraspp_mobilenet_v3_large
    if name == "fcn":

        def build(**options):
            return segmentation.fcn_resnet101(aux_loss=True, **options)

    state = make_state(build)
    put_checkpoint(cache, monkeypatch, FILES[name], state)
    network = BUILDERS[name](weights="coco", classes=5).network
    last = ("classifier.4.", "classifier.low_classifier.", "classifier.high_classifier.")
    loaded = network.state_dict()
    for key, value in loaded.items():
        assert torch.equal(value, state[key]) != key.startswith(last), key
        assert value.shape == state[key].shape or value.shape[0] == 5
    left_out = state.keys() - loaded.keys()
    assert bool(left_out) == (name == "fcn")
    assert all(key.startswith("aux_classifier.") for key in left_out)


def test_weights_of_another_network_or_version_are_refused_in_few_words(cache, monkeypatch):
    put_checkpoint(cache, monkeypatch, FILES["lraspp"], mini_network().state_dict())
    with pytest.raises(WeightsError, match="cannot use the weights at .*Missing key.*weights=None") as raised:
        lraspp_mobilenet(weights="coco")
    assert len(str(raised.value)) < 1_000


def test_weights_out_of_reach_or_damaged_are_refused_with_what_to_do(cache, monkeypatch):
    monkeypatch.setattr(FILES["lraspp"].value, "url", "http://127.0.0.1:1/lraspp-0123abcd.pth")
    with pytest.raises(
        WeightsError, match="cannot use the weights at .*Train from scratch with weights=None"
    ):
        lraspp_mobilenet(weights="coco")
    (cache / "lraspp-0123abcd.pth").write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="lraspp-0123abcd.pth is damaged: delete it"):
        lraspp_mobilenet(weights="coco")


def test_unknown_weights_are_refused_by_name():
    with pytest.raises(WeightsError, match="no weights 'imagenet'.*Known are 'coco' and None"):
        lraspp_mobilenet(weights="imagenet")
