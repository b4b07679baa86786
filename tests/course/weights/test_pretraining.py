from pathlib import Path

import pytest
import torch

from elfw_course.cli import main
from elfw_course.weights import pretraining
from elfw_course.weights.multitask import ANGLES, Faces, MultiTaskNetwork, Targets, shrink_masks
from elfw_course.weights.pretraining import draw_batches, mirror_faces, pretrain, rate_factor, read_faces
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.labels import ATTRIBUTES, PIXEL_CLASSES
from elfw_helpers.rendering import render_folder
from elfw_helpers.rendering.manifest import read_manifest, read_parameters
from elfw_helpers.rendering.plan import plan_faces
from elfw_helpers.utils.errors import TrainingError, WeightsError

COUNT = 24
# The embedded set and its size and seed, and the faces that `elfw pretrain` renders.
EMBEDDED, PRETRAINING = (2_280, 0), (20_000, pretraining.PRETRAINING_SEED)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    """A work folder in which the faces are rendered already."""
    work = tmp_path_factory.mktemp("work")
    render_folder(
        work / "faces",
        COUNT,
        pretraining.PRETRAINING_SEED,
        pretraining.RENDER_SIZE,
        workers=1,
        progress=False,
    )
    return work


@pytest.fixture
def work(rendered, tmp_path, monkeypatch) -> Path:
    """A work folder of its own with those faces, and a recipe of two epochs at one size."""
    monkeypatch.setattr(pretraining, "EPOCHS", 2)
    monkeypatch.setattr(pretraining, "INPUT_SIZES", (32,))
    monkeypatch.setattr(pretraining, "BATCH_SIZE", 8)
    (tmp_path / "faces").symlink_to(rendered / "faces")
    return tmp_path


@pytest.fixture(scope="module")
def faces(rendered) -> Faces:
    return read_faces(FaceFolder(rendered / "faces"))


@pytest.mark.filterwarnings("ignore::elfw_helpers.data.splits.SplitWarning")
def test_one_run_makes_weights_and_one_cut_off_and_resumed_makes_the_same(work, monkeypatch, capsys):
    out, again = work / "out.safetensors", work / "again.safetensors"
    (row,) = pretrain(COUNT, out, work)
    assert f"{row.accuracy:.3f}" in capsys.readouterr().out
    assert (row.size, row.faces) == (
        32,
        len((work / "faces" / "validation.txt").read_text(encoding="utf-8").split()),
    )
    assert 0 <= row.accuracy <= 1 and 0 <= row.mean_iou <= 1 and len(row.angle_errors) == 3
    save, epochs = pretraining.save_checkpoint, []

    def save_and_interrupt(folder, state, history):
        save(folder, state, history)
        epochs.append(len(history["train_loss"]))
        if epochs == [1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, "save_checkpoint", save_and_interrupt)
    (work / "training").rename(work / "before")
    with pytest.raises(KeyboardInterrupt):
        pretrain(COUNT, again, work)
    assert not again.exists()
    pretrain(COUNT, again, work)
    assert epochs == [1, 2]
    assert again.read_bytes() == out.read_bytes()


def test_other_faces_do_not_go_on_with_a_checkpoint(faces):
    other = faces._replace(images=faces.images.flip(0))
    assert pretraining.fingerprint(faces) != pretraining.fingerprint(other)


def test_weights_are_not_overwritten_unless_told_to(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path / "build"))
    out = tmp_path / "out.safetensors"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(WeightsError, match="out.safetensors exists.*--replace"):
        pretrain(COUNT, out, tmp_path / "work")
    assert main(["pretrain", "--faces", "24", "--out", str(out)]) == 1
    assert "--replace" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == "mine" and not (tmp_path / "work").exists()
    assert not (tmp_path / "build" / "pretraining").exists()


def test_too_few_faces_are_refused_before_any_is_rendered(tmp_path):
    with pytest.raises(TrainingError, match="19 faces are too few"):
        pretrain(19, tmp_path / "out.safetensors", tmp_path / "work")
    assert list(tmp_path.iterdir()) == []


def test_targets_are_the_renderer_s(rendered, faces):
    entries, parameters = read_manifest(rendered / "faces")["faces"], read_parameters(rendered / "faces")
    for place, (name, entry) in enumerate(entries.items()):
        pose = [getattr(parameters[name].pose, angle) for angle in ANGLES]
        assert faces.targets.angles[place].tolist() == pytest.approx(pose)
        # The manifest's attribute is what was rendered, whatever labels.txt says.
        assert faces.targets.attributes[place] == ATTRIBUTES.index(entry["attribute"])
    shares = torch.stack([(faces.targets.masks == label).float().mean((1, 2)) for label in range(7)], 1)
    assert torch.equal(faces.targets.shown.bool(), shares > 0.004)


def test_a_mirrored_face_looks_and_tilts_the_other_way():
    images = torch.arange(2 * 4 * 4 * 3, dtype=torch.uint8).view(2, 4, 4, 3)
    masks = torch.arange(2 * 4 * 4, dtype=torch.uint8).view(2, 4, 4)
    angles = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    targets = Targets(torch.tensor([0, 1]), torch.ones(2, 7), angles, masks)
    flipped, mirrored = mirror_faces(images, targets, torch.tensor([True, False]))
    assert torch.equal(flipped, torch.stack([images[0].flip(1), images[1]]))
    assert torch.equal(mirrored.masks, torch.stack([masks[0].flip(1), masks[1]]))
    assert torch.equal(mirrored.angles, torch.tensor([[-0.1, 0.2, -0.3], [0.4, 0.5, 0.6]]))
    assert torch.equal(mirrored.attributes, targets.attributes)


def test_batches_depend_on_the_epoch_alone_and_hold_every_face_once(faces, monkeypatch):
    monkeypatch.setattr(pretraining, "BATCH_SIZE", 5)
    drawn = [[inputs for inputs, _ in draw_batches(faces, epoch)] for epoch in (0, 0, 1)]
    assert all(torch.equal(one, other) for one, other in zip(drawn[0], drawn[1], strict=True))
    assert not torch.equal(
        torch.cat([x.mean((2, 3)) for x in drawn[0]]), torch.cat([x.mean((2, 3)) for x in drawn[2]])
    )
    assert sorted(len(inputs) for inputs in drawn[0]) == [4, 5, 5, 5, 5]
    assert {inputs.shape[-1] for batches in drawn for inputs in batches} <= set(pretraining.INPUT_SIZES)


@pytest.mark.parametrize("size", pretraining.INPUT_SIZES)
def test_the_mask_is_predicted_at_a_quarter_of_every_input_size(size):
    predictions = MultiTaskNetwork()(torch.zeros(2, 3, size, size))
    assert predictions.pixels.shape == (2, len(PIXEL_CLASSES), size // 4, size // 4)
    assert [tuple(one.shape) for one in predictions[:3]] == [(2, 3), (2, 7), (2, 3)]
    masks = (
        torch.arange(7, dtype=torch.uint8)
        .repeat_interleave(16 * 2)[: 2 * 64]
        .view(2, 64, 1)
        .expand(2, 64, 64)
    )
    assert shrink_masks(masks, size // 4).shape == (2, size // 4, size // 4)


def test_the_rate_rises_to_its_peak_and_falls_to_nothing():
    factors = [rate_factor(step, 100) for step in range(100)]
    peak = factors.index(max(factors))
    assert peak == 10 and factors[peak] == 1
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert 0 < factors[0] < 0.1 and 0 < factors[-1] < 0.001


def test_nobody_in_the_embedded_set_is_among_the_faces_of_pretraining():
    embedded, others = (
        {face.identity_seed for face in plan_faces(*plan)} for plan in (EMBEDDED, PRETRAINING)
    )
    assert not embedded & others
