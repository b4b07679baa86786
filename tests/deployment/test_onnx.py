"""Models as ONNX: the same answers as PyTorch's, everything needed inside the file, and friendly refusals."""

import importlib.metadata
import json
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from elfw_course.cli import main
from elfw_helpers.deployment import onnx as export
from elfw_helpers.deployment.onnx import (
    LARGEST_DIFFERENCE,
    OnnxNetwork,
    export_model,
    open_session,
    run_session,
    use_onnxruntime,
)
from elfw_helpers.deployment.predict import predict_attribute, predict_mask
from elfw_helpers.models.hub import parse_card, store_model
from elfw_helpers.utils.errors import DataError, WeightsError
from tests.deployment.app_models import make_models
from tests.faces import paint_face

NAMES = ("mini_network", "efficient_unet")


@pytest.fixture(scope="module")
def models():
    return make_models(*NAMES)


@pytest.fixture(scope="module")
def files(models, tmp_path_factory):
    """Each model's ONNX file; an export takes seconds."""
    folder = tmp_path_factory.mktemp("onnx")
    for name, model in models.items():
        export_model(model, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in models}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 3])
def test_logits_are_those_of_pytorch_for_any_batch(models, files, name, batch):
    model = models[name]
    inputs = torch.randn(batch, 3, model.card.size, model.card.size)
    session = onnxruntime.InferenceSession(str(files[name]), providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"images": inputs.numpy()})
    with torch.no_grad():
        expected = model.network(inputs).numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= LARGEST_DIFFERENCE
    assert (found.argmax(1) == expected.argmax(1)).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_file_says_itself_how_to_feed_it(models, files, name):
    card = models[name].card
    metadata = open_session(files[name].read_bytes()).get_modelmeta().custom_metadata_map
    assert parse_card(metadata, files[name]) == card
    assert metadata["classes"] == ",".join(card.classes)
    assert (
        f"{card.size} x {card.size}" in metadata["preprocessing"]
        and str(card.mean) in metadata["preprocessing"]
    )
    assert json.loads(metadata["card"])["version"] == card.version


def test_predictions_through_onnxruntime_are_the_same(models, files):
    image = Image.fromarray(paint_face(2, 0)[0])
    fast = {name: OnnxNetwork(model.network, files[name].read_bytes()) for name, model in models.items()}
    unet, mini = (export.replace(models[name], network=fast[name]) for name in reversed(NAMES))
    assert (predict_mask(unet, image) == predict_mask(models["efficient_unet"], image)).mean() > 0.999
    assert predict_attribute(mini, image) == pytest.approx(
        predict_attribute(models["mini_network"], image), abs=1e-5
    )


def test_images_of_another_size_are_answered_by_pytorchs_network(models, files):
    fast = OnnxNetwork(models["efficient_unet"].network, files["efficient_unet"].read_bytes())
    card, images = models["efficient_unet"].card, torch.rand(1, 3, 128, 128)
    assert card.size != 128
    with torch.no_grad():
        assert torch.equal(fast(images), models["efficient_unet"].network(images))


def test_nothing_is_overwritten_unless_asked(models, files, tmp_path):
    file = tmp_path / "mine.onnx"
    file.write_bytes(b"precious")
    with pytest.raises(DataError, match="mine.onnx: is there already.*--replace"):
        export_model(models["mini_network"], file)
    assert file.read_bytes() == b"precious"


def test_an_export_that_differs_is_not_written(models, files, tmp_path, monkeypatch):
    class Other(nn.Module):
        def __init__(self, *_):
            super().__init__()

        def forward(self, images):
            return torch.full((len(images), 3), torch.nan)

    monkeypatch.setattr(export, "encode_onnx", lambda model: files["mini_network"].read_bytes())
    monkeypatch.setattr(export, "OnnxNetwork", Other)
    with pytest.raises(WeightsError, match="was not written: its logits are off by up to nan"):
        export_model(models["mini_network"], tmp_path / "mine.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not ONNX"])
def test_what_is_no_onnx_is_refused(content):
    with pytest.raises(WeightsError, match="This is no ONNX file"):
        open_session(content)


def test_the_export_is_kept_until_the_weights_or_the_code_change(models, files, tmp_path, monkeypatch):
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path))
    (tmp_path / "onnx").mkdir()
    kept = tmp_path / "onnx" / "mini_network.onnx"
    kept.write_bytes(files["mini_network"].read_bytes())
    exported = []
    monkeypatch.setattr(export, "export_model", lambda model, file, replace: exported.append(file))
    model = models["mini_network"]
    fast = use_onnxruntime(model)
    assert isinstance(fast.network, OnnxNetwork) and fast.network.source is model.network
    assert exported == []
    with torch.no_grad():
        model.network.linear.bias += 1
    use_onnxruntime(model)
    assert exported == [kept]
    with torch.no_grad():
        model.network.linear.bias -= 1
    monkeypatch.setattr(type(model.network), "forward", lambda self, images: self.linear(images))
    use_onnxruntime(model)
    assert exported == [kept, kept]


def test_the_exporter_and_its_packages_are_part_of_an_export(models, monkeypatch):
    codes, version = [export.make_metadata(models["mini_network"])["code"]], importlib.metadata.version
    for package in ("onnx", "onnxscript"):
        with monkeypatch.context() as changed:
            changed.setattr(
                importlib.metadata,
                "version",
                lambda name, package=package: version(name) + (name == package) * "1",
            )
            codes.append(export.make_metadata(models["mini_network"])["code"])
    monkeypatch.setattr(export, "quiet_exporter", lambda: None)
    codes.append(export.make_metadata(models["mini_network"])["code"])
    assert len(set(codes)) == 4


def test_without_onnxruntime_pytorch_answers(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert use_onnxruntime(models["mini_network"]) is models["mini_network"]


def test_the_command_exports_a_model_and_says_how_close_it_is(models, files, tmp_path, capsys, monkeypatch):
    model = models["mini_network"]
    store_model(model.network, model.card, tmp_path / "mine.safetensors")
    monkeypatch.setattr(export, "encode_onnx", lambda model: files["mini_network"].read_bytes())
    out = tmp_path / "out" / "mine.onnx"
    # Weights are stored as float16: what is exported here is a hair off.
    monkeypatch.setattr(export, "LARGEST_DIFFERENCE", 0.01)
    assert main(["export", str(tmp_path / "mine.safetensors"), str(out)]) == 0
    assert "logits as PyTorch's, within" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "mine.safetensors"), str(out)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["export", "nothing", str(out)]) == 1


@pytest.mark.parametrize(("said", "raised"), [("Failed to allocate memory", MemoryError), ("odd", Exception)])
def test_too_little_memory_in_onnxruntime_is_a_memory_error(said, raised):
    class Session:
        def get_outputs(self):
            return []

        def run(self, names, inputs):
            raise Exception(said)

    with pytest.raises(raised, match=said):
        run_session(Session(), {})
