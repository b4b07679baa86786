from pathlib import Path

import pytest
import torch

from elfw_course.cli import main
from elfw_course.weights import pretraining
from elfw_course.weights.multitask import MultiTaskNetwork, shrink_masks
from elfw_course.weights.pretraining import Faces, draw_batches, pretrain, rate_factor, read_faces
from elfw_course.weights.targets import (
    GROUPS,
    describe_face,
    explain_groups,
    measure_spread,
    merge_classes,
    mirror_signs,
    number_loss,
)
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.labels import ATTRIBUTES, PIXEL_CLASSES
from elfw_helpers.rendering import render_folder
from elfw_helpers.rendering.manifest import read_parameters
from elfw_helpers.rendering.plan import plan_faces
from elfw_helpers.rendering.random_parameters import sample_parameters
from elfw_helpers.utils.errors import DataError, TrainingError

COUNT = 24
# The embedded set and its size and seed, and the faces that `elfw pretrain` renders.
EMBEDDED, PRETRAINING = (2_280, 0), (12_000, pretraining.PRETRAINING_SEED)


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
    """A work folder of its own with those faces, and a recipe of two epochs."""
    monkeypatch.setattr(pretraining, "EPOCHS", 2)
    monkeypatch.setattr(pretraining, "BATCH_SIZE", 8)
    (tmp_path / "faces").symlink_to(rendered / "faces")
    return tmp_path


@pytest.fixture(scope="module")
def faces(rendered) -> Faces:
    return read_faces(FaceFolder(rendered / "faces"))


@pytest.mark.filterwarnings("ignore::elfw_helpers.data.splits.SplitWarning")
def test_one_run_makes_weights_and_one_cut_off_and_resumed_makes_the_same(work, monkeypatch, capsys):
    out, again = work / "out.safetensors", work / "again.safetensors"
    scores = pretrain(COUNT, out, work)
    assert list(scores) == [*GROUPS, "coarse mask"] and not any(share > 1 for share in scores.values())
    assert f"coarse mask  {scores['coarse mask']:.3f}" in capsys.readouterr().out
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
    with pytest.raises(DataError, match="out.safetensors: is there already.*--replace"):
        pretrain(COUNT, out, tmp_path / "work")
    assert main(["pretrain", "--faces", "24", "--out", str(out)]) == 1
    assert "--replace" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == "mine" and not (tmp_path / "work").exists()
    assert not (tmp_path / "build" / "pretraining").exists()


def test_too_few_faces_are_refused_before_any_is_rendered(tmp_path):
    with pytest.raises(TrainingError, match="19 faces are too few"):
        pretrain(19, tmp_path / "out.safetensors", tmp_path / "work")
    assert list(tmp_path.iterdir()) == []


def test_too_few_faces_for_the_last_stage_are_refused_before_the_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path / "build"))
    out = tmp_path / "out.safetensors"
    assert main(["pretrain", "efficient_unet", "--faces", "39", "--out", str(out)]) == 1
    assert "39 faces are too few to train and validate on. Take --faces 40 or more" in capsys.readouterr().err
    assert not (tmp_path / "build" / "pretraining").exists()


def test_what_is_learned_is_the_renderer_s(rendered, faces):
    for place, face in enumerate(read_parameters(rendered / "faces").values()):
        told = dict(zip(faces.names, faces.numbers[place].tolist(), strict=True))
        assert told["pose.yaw"] == pytest.approx(face.pose.yaw)
        assert told["background.kind plain"] == (face.background.kind == "plain")
        assert (told["identity.curl"] == face.identity.curl) == (face.headwear is face.eyewear is None)


def test_no_number_tells_the_attribute():
    compared = set()
    for seed in range(60):
        one, *others = (describe_face(sample_parameters(seed, 1 + seed, kind)) for kind in ATTRIBUTES)
        for other in others:
            assert list(other) == list(one)
            # The same face with and without something on it: all that counts in both is the same.
            both = [name for name in one if one[name] == one[name] and other[name] == other[name]]
            assert all(one[name] == other[name] for name in both)
            compared.update(both)
    hidden = [name for name in one if name.split(" ")[0] in GROUPS["hair"].names + GROUPS["eyes"].names]
    assert compared == set(one) - set(hidden) and len(hidden) == 18


def test_the_mask_tells_neither_eyewear_from_the_face_nor_headwear_from_hair():
    merged = dict(zip(PIXEL_CLASSES, merge_classes(torch.arange(7, dtype=torch.uint8)).tolist(), strict=True))
    assert merged["wearable"] == merged["hair"] != merged["background"]
    assert merged["sunglasses"] == merged["mouth-mask"] == merged["skin"] == merged["beard-mustache"]
    assert len(set(merged.values())) == 3


def test_the_mask_is_told_at_a_quarter_of_the_input_s_side():
    numbers, pixels = MultiTaskNetwork(numbers=5)(torch.zeros(2, 3, 64, 64))
    assert numbers.shape == (2, 5) and pixels.shape == (2, 3, 16, 16)
    masks = torch.zeros(1, 64, 64, dtype=torch.uint8)
    masks[:, 2::4, 2::4] = 1
    assert shrink_masks(masks, 16).eq(1).all()


def test_a_mirrored_face_looks_and_tilts_the_other_way(faces, monkeypatch):
    monkeypatch.setattr(pretraining, "BATCH_SIZE", COUNT)
    monkeypatch.setattr(pretraining, "normalize", lambda inputs, mean, std: inputs)
    ((inputs, masks, told),) = draw_batches(faces, 0)
    plain, yaw = faces.images.permute(0, 3, 1, 2) / 255, faces.names.index("pose.yaw")
    signs = mirror_signs(faces.names)
    assert signs[[yaw, faces.names.index("pose.pitch")]].tolist() == [-1, 1]
    mirrored = 0
    for image, mask, numbers in zip(inputs, masks, told, strict=True):
        place = (faces.numbers[:, yaw].abs() - numbers[yaw].abs()).abs().argmin()
        turned = bool(numbers[yaw] != faces.numbers[place, yaw])
        assert torch.equal(image, plain[place].flip(2) if turned else plain[place])
        assert torch.equal(mask, faces.masks[place].flip(1) if turned else faces.masks[place])
        expected = faces.numbers[place] * signs if turned else faces.numbers[place]
        assert torch.equal(numbers.nan_to_num(7), expected.nan_to_num(7))
        mirrored += turned
    assert 4 < mirrored < COUNT - 4


def test_what_is_hidden_counts_neither_in_the_loss_nor_in_the_spread():
    nan = float("nan")
    targets = torch.tensor([[1.0, nan], [3.0, 4.0], [nan, 4.0]])
    mean, deviation = measure_spread(targets)
    assert mean.tolist() == [2, 4] and deviation.tolist() == pytest.approx([1, 1e-3])
    predicted = torch.tensor([[1.0, 9.0], [3.5, 4.0], [9.0, 6.0]], requires_grad=True)
    loss = number_loss(predicted, targets)
    # 0, half of a half squared, 0, and beyond 1 a straight line.
    assert loss.item() == pytest.approx((0.125 + 1.5) / 4)
    loss.backward()
    assert predicted.grad[[0, 2], [1, 0]].tolist() == [0, 0]


def test_the_share_explained_is_one_for_all_right_and_nothing_for_the_mean(faces):
    named = faces.names
    right = torch.where(faces.numbers.isnan(), 7.0, faces.numbers)
    means = faces.numbers.nanmean(0).expand_as(right)
    for predicted, share in ((right, 1), (means, 0)):
        explained = explain_groups(predicted, faces.numbers, named)
        assert list(explained.values()) == pytest.approx([share] * len(GROUPS), abs=1e-5)


def test_batches_depend_on_the_epoch_alone_and_hold_every_face_once(faces, monkeypatch):
    monkeypatch.setattr(pretraining, "BATCH_SIZE", 5)
    drawn = [[inputs for inputs, *_ in draw_batches(faces, epoch)] for epoch in (0, 0, 1)]
    assert all(torch.equal(one, other) for one, other in zip(drawn[0], drawn[1], strict=True))
    assert not torch.equal(
        torch.cat([x.mean((2, 3)) for x in drawn[0]]), torch.cat([x.mean((2, 3)) for x in drawn[2]])
    )
    assert sorted(len(inputs) for inputs in drawn[0]) == [4, 5, 5, 5, 5]


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
