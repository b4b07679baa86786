import pytest
import torch

from elfw_course.cli import main
from elfw_course.weights import release
from elfw_course.weights.pretraining import PRETRAINING_SEED, RENDER_SIZE
from elfw_course.weights.release import (
    EYEWEAR_IN_PHOTOS,
    HEADWEAR_IN_PHOTOS,
    make_last_layer,
    make_mini_network,
    measure_prior_shift,
    subtract_from_logits,
)
from elfw_helpers.data.batches import Batches
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.labels import ATTRIBUTES, EYEWEAR, WEARABLE
from elfw_helpers.models import EfficientUNet, UNet, mini_network
from elfw_helpers.models.hub import load_model
from elfw_helpers.rendering import render_folder
from elfw_helpers.training.loop import predict_logits
from elfw_helpers.utils.errors import DataError

COUNT = 24
pytestmark = pytest.mark.filterwarnings("ignore::elfw_helpers.data.splits.SplitWarning")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A work folder in which the faces are rendered already."""
    work = tmp_path_factory.mktemp("work")
    render_folder(work / "faces", COUNT, PRETRAINING_SEED, RENDER_SIZE, workers=1, progress=False)
    return work


def test_the_mini_network_is_trained_and_stored_with_a_card_that_builds_it_again(
    rendered, tmp_path, monkeypatch
):
    monkeypatch.setattr(release, "MINI_SAMPLES", 20)
    make_mini_network(COUNT, tmp_path / "model.safetensors", rendered)
    model = load_model(tmp_path / "model.safetensors")
    assert (model.card.architecture, model.card.classes, model.card.size) == ("mini_network", ATTRIBUTES, 64)
    assert "rendered faces; no photo" in model.card.trained_on
    # Resumed from its checkpoints, the same call makes the same file.
    make_mini_network(COUNT, tmp_path / "again.safetensors", rendered)
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("architecture", "size"), [("resnet18", 64), ("efficient_attributes", 96)])
def test_a_last_layer_on_a_shared_backbone_learns_the_training_faces(
    rendered, tmp_path, monkeypatch, architecture, size
):
    monkeypatch.setattr(release, "measure_prior_shift", lambda words: torch.zeros(3))
    monkeypatch.setitem(release.LAST_LAYERS, architecture, (size, 1.0, release.LAST_LAYERS[architecture][2]))
    make_last_layer(architecture, COUNT, tmp_path / "head.safetensors", rendered)
    assert (tmp_path / "head.safetensors").stat().st_size < 5_000
    model = load_model(tmp_path / "head.safetensors")
    assert (model.card.architecture, model.card.classes, model.card.size) == (architecture, ATTRIBUTES, size)
    folder = FaceFolder(rendered / "faces", labels_file="no-labels.txt")
    tensors, chosen = folder.preload(size), folder.split().train
    words = tensors.attributes[chosen]
    batches = Batches(tensors.images[chosen], words, mean=model.card.mean, std=model.card.std, device="cpu")
    assert (predict_logits(model.network, batches).argmax(1) == words).float().mean() > 0.9


def test_nothing_is_overwritten_unless_asked(rendered, tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"precious")
    with pytest.raises(DataError, match="--replace"):
        make_mini_network(COUNT, file, rendered)
    assert file.read_bytes() == b"precious"


def test_the_command_makes_the_network_that_it_names(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(release, "make_mini_network", lambda *arguments: calls.append(arguments))
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path))
    assert main(["pretrain", "mini_network", "--faces", "30", "--replace"]) == 0
    (faces, out, work, replaced) = calls[0]
    assert (faces, out.name, replaced) == (30, "mini_network_rendered.safetensors", True)
    assert work == tmp_path / "pretraining"


def test_the_shift_is_how_much_commoner_a_class_is_than_in_photos():
    masks = torch.zeros(20, 4, 4, dtype=torch.uint8)
    masks[:10, 0, 0], masks[:5, 1, 1] = EYEWEAR, WEARABLE
    shift = measure_prior_shift(masks)
    assert shift[EYEWEAR].exp().item() == pytest.approx(0.5 / EYEWEAR_IN_PHOTOS, rel=1e-5)
    assert shift[WEARABLE].exp().item() == pytest.approx(0.25 / HEADWEAR_IN_PHOTOS, rel=1e-5)
    assert shift.count_nonzero() == 2
    shift = measure_prior_shift(torch.tensor([0, 0, 1, 2]))
    hair = 1 - EYEWEAR_IN_PHOTOS - HEADWEAR_IN_PHOTOS
    expected = [0.5 / hair, 0.25 / EYEWEAR_IN_PHOTOS, 0.25 / HEADWEAR_IN_PHOTOS]
    assert shift.exp().tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("network", [UNet(width=4), EfficientUNet(), mini_network()])
def test_the_correction_takes_the_shift_from_every_logit(network):
    network.eval()
    images, shift = torch.rand(2, 3, 64, 64), torch.arange(7.0)
    with torch.no_grad():
        before = network(images)
        shift = shift[: before.shape[1]]
        subtract_from_logits(network, shift)
        after = network(images)
    difference = (before - after).movedim(1, -1)
    assert torch.allclose(difference, shift.expand_as(difference), atol=1e-5)
