import copy
import io
import math
import os
import signal
import subprocess
import sys
import time
import warnings
import weakref
from collections import Counter

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from tqdm import tqdm

from elfw_helpers.augmentation import augment_batch
from elfw_helpers.data.batches import Batches
from elfw_helpers.models import MiniNetwork, UNet
from elfw_helpers.training import loop as training
from elfw_helpers.training.checkpoints import (
    CHECKPOINT,
    TrainingState,
    load_checkpoint,
    read_checkpoint_history,
    save_checkpoint,
)
from elfw_helpers.training.loop import evaluate, fit, predict_logits, predict_masks
from elfw_helpers.training.losses import Loss, dice_loss
from elfw_helpers.utils.errors import TrainingError
from elfw_helpers.utils.paths import project_folder

SETTINGS = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}
ON_GPU = {"mean": [0.4] * 3, "std": [0.2] * 3, "device": "cuda"}


def make_batches(count=40, seed=0, shuffle_seed=0, per_pixel=False, side=8, **options):
    """Return learnable batches: the class is the brightest colour channel."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 3, (count,), generator=generator)
    images = torch.randint(0, 120, (count, side, side, 3), dtype=torch.uint8, generator=generator)
    images[torch.arange(count), :, :, targets] += 60
    if per_pixel:
        targets = targets[:, None, None].expand(-1, side, side).contiguous()
    options = {"mean": [0.4] * 3, "std": [0.2] * 3, "batch_size": 8, "shuffle_seed": shuffle_seed} | options
    return Batches(images, targets, **options)


def make_model(seed=0):
    """Return a small model with all that a checkpoint has to hold: batch statistics, random dropout."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(144, 3)
    )


def same_weights(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_learns_and_reports_what_evaluate_measures():
    model, train, validation = make_model(), make_batches(), make_batches(seed=1, shuffle_seed=None)
    history = fit(model, train, validation, 8, **SETTINGS)
    assert len(history) == 8
    assert history.train_loss[-1] < 0.5 * history.train_loss[0]
    best = history.best_epoch
    measured = evaluate(model, validation, Loss("cross_entropy"))
    assert (history.validation_loss[best], history.validation_accuracy[best]) == measured
    logits = predict_logits(model, validation)
    assert (logits.argmax(1) == validation.targets).float().mean().item() == pytest.approx(
        history.validation_accuracy[best]
    )
    frame = history.frame()
    assert frame.index.tolist() == list(range(1, 9)) and frame.index.name == "epoch"


def test_losses_are_counted_not_averages_of_batch_averages():
    validation = make_batches(count=9, shuffle_seed=None)
    model = make_model().eval()
    logits = predict_logits(model, validation)
    expected = nn.functional.cross_entropy(logits, validation.targets).item()
    assert evaluate(model, validation, Loss("cross_entropy"))[0] == pytest.approx(expected, rel=1e-6)
    weights = torch.tensor([1.0, 5.0, 0.5])
    expected = nn.functional.cross_entropy(logits, validation.targets, weight=weights).item()
    assert evaluate(model, validation, Loss("cross_entropy", weights))[0] == pytest.approx(expected, rel=1e-6)


def test_one_step_is_sgd_s_with_momentum_and_decay():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    reference = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    reference.load_state_dict(model.state_dict())
    batches = make_batches(count=8, shuffle_seed=None)
    fit(model, batches, None, 3, **SETTINGS)
    optimizer = torch.optim.SGD(reference.parameters(), **SETTINGS)
    inputs, targets = next(iter(batches))
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(reference(inputs), targets).backward()
        optimizer.step()
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_same_seed_same_weights_and_the_caller_s_random_numbers_are_left_alone():
    models = [make_model(), make_model(), make_model()]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        torch.manual_seed(42)
        before = torch.get_rng_state()
        fit(model, make_batches(), None, 2, **SETTINGS, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
    assert same_weights(models[0], models[1])
    assert not same_weights(models[0], models[2])


def test_best_weights_are_restored_and_each_epoch_has_its_learning_rate():
    validation = make_batches(seed=1, shuffle_seed=None)
    model = make_model()
    # A learning rate that blows up after the third epoch makes later epochs worse for sure.
    history = fit(model, make_batches(), validation, 6, lr=[0.02] * 3 + [4.0] * 3)
    assert len(history) == 6 and history.best_epoch == 2
    assert evaluate(model, validation, Loss("cross_entropy"))[0] == min(history.validation_loss)


@pytest.mark.parametrize(
    ("epochs", "lr", "said"),
    [
        (2, [0.1, 0.2, 0.3], "for 2 epochs. Give one number, or one number per epoch"),
        (2, "fast", "lr is 'fast' for 2 epochs. Give one number"),
        (2, [0.1, math.nan], "lr is .*nan.*finite and not negative"),
        (1, math.inf, "lr is inf. Give numbers that are finite"),
        (1, -0.1, "lr is -0.1. Give numbers that are finite and not negative"),
        (-1, 0.1, "epochs is -1. Give a whole number, 0 or more"),
        (2.5, 0.1, "epochs is 2.5. Give a whole number"),
    ],
)
def test_epochs_and_rates_that_cannot_be_are_refused_before_any_step(epochs, lr, said):
    model, before = make_model(), make_model()
    with pytest.raises(TrainingError, match=said):
        fit(model, make_batches(), None, epochs, lr=lr)
    assert same_weights(model, before)


def test_a_batch_larger_than_the_set_is_the_set():
    models = [make_model(), make_model()]
    for model, size in zip(models, (40, 1000), strict=True):
        batches = make_batches(batch_size=size)
        assert len(batches) == 1
        fit(model, batches, batches, 2, **SETTINGS)
    assert same_weights(*models)


class CountReads(TorchFunctionMode):
    """Count the calls that make the CPU wait for a GPU: they read from a tensor, or copy to a device."""

    READS = {"item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__int__", "__float__", "__index__"}
    COPIES = {"to", "tensor", "as_tensor"}

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_function__(self, function, types, arguments=(), options=None):
        # Another type is made where the tensor is.
        if not any(isinstance(argument, torch.dtype) for argument in arguments):
            self.seen.update({function.__name__} & (self.READS | self.COPIES))
        return function(*arguments, **(options or {}))


def count_waits(batches, loss="cross_entropy+dice"):
    """Return how often each call that waits is made in two epochs, and in an evaluation."""
    torch.manual_seed(0)
    weights = torch.tensor([1.0, 2.0, 1.0])
    with CountReads() as counted:
        fit(nn.Conv2d(3, 3, 1), batches, batches, 2, lr=0.01, loss=Loss(loss, weights))
    return counted.seen


@pytest.mark.parametrize("loss", ["cross_entropy", "dice", "cross_entropy+dice"])
def test_within_an_epoch_nothing_waits_for_the_device(loss):
    few, many = (make_batches(count=count, per_pixel=True) for count in (16, 80))
    assert len(many) == 5 * len(few)
    waits = count_waits(few, loss)
    assert waits["item"] > 0 and waits == count_waits(many, loss)


def test_half_the_precision_is_a_setting_of_the_batches_and_rounds():
    seen, models, losses = [], [make_model(), make_model()], []
    for model, precision in zip(models, (torch.float32, torch.bfloat16), strict=True):
        batches = make_batches(precision=precision)
        model[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
        history = fit(model, batches, batches, 4, **SETTINGS)
        losses.append(history.train_loss)
        logits = predict_logits(model, batches)
        assert logits.dtype == torch.float32
        assert evaluate(model, batches, Loss("cross_entropy"))[0] == min(history.validation_loss)
        # Training, validation, prediction and evaluation all compute alike.
        assert set(seen) == {precision} and len(seen) == (4 * 2 + 2) * len(batches)
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
        seen.clear()
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], abs=0.05)


def test_another_precision_is_refused():
    with pytest.raises(ValueError, match="precision is torch.float16: need torch.float32 or torch.bfloat16"):
        make_batches(precision=torch.float16)


def test_a_loss_is_summed_in_float32_whatever_the_network_computes_in():
    batches = make_batches(precision=torch.bfloat16, shuffle_seed=None)
    model = make_model().eval()
    logits = predict_logits(model, batches)
    expected = nn.functional.cross_entropy(logits, batches.targets).item()
    assert evaluate(model, batches, Loss("cross_entropy"))[0] == pytest.approx(expected, rel=1e-6)


def test_a_surrounding_autocast_changes_nothing_for_the_batches_say_the_precision():
    models = [make_model(), make_model()]
    fit(models[0], make_batches(), make_batches(seed=1), 2, **SETTINGS)
    with torch.autocast("cpu", torch.bfloat16):
        fit(models[1], make_batches(), make_batches(seed=1), 2, **SETTINGS)
    assert same_weights(*models)


def test_class_weights_move_the_answers():
    skewed = torch.tensor([1.0, 100.0, 1.0])
    model = make_model()
    fit(model, make_batches(), None, 2, lr=0.01, loss=Loss("cross_entropy", skewed))
    plain = make_model()
    fit(plain, make_batches(), None, 2, lr=0.01)
    counts = [(predict_logits(m, make_batches(seed=2)).argmax(1) == 1).sum() for m in (model, plain)]
    assert counts[0] > counts[1]


def test_segmentation_trains_with_the_same_loop():
    batches = make_batches(per_pixel=True)
    torch.manual_seed(0)
    model = nn.Conv2d(3, 3, 1)
    history = fit(model, batches, batches, 20, lr=0.1)
    assert history.train_loss[-1] < history.train_loss[0]
    assert history.validation_accuracy[-1] > 0.5


def test_masks_may_be_bytes_and_are_predicted_pixel_by_pixel():
    batches = make_batches(per_pixel=True, shuffle_seed=None)
    options = {"mean": [0.4] * 3, "std": [0.2] * 3, "batch_size": 8}
    in_bytes = Batches(batches.images, batches.targets.to(torch.uint8), **options)
    models = []
    for data in (batches, in_bytes):
        torch.manual_seed(0)
        models.append(nn.Conv2d(3, 3, 1))
        history = fit(models[-1], data, data, 3, lr=0.1)
    assert same_weights(*models)
    masks = predict_masks(models[1], in_bytes)
    assert masks.dtype == torch.uint8 and masks.shape == in_bytes.targets.shape
    assert torch.equal(masks, predict_logits(models[1], in_bytes).argmax(1))
    assert (masks == in_bytes.targets).float().mean().item() == pytest.approx(history.validation_accuracy[-1])


def test_dice_counted_by_hand():
    # Two pixels, three classes; the second image has one class, and the third none of its pixels right.
    logits = torch.tensor([[[0.8, 0.5], [0.2, 0.25], [0, 0.25]]] * 3).log()[:, :, None]
    masks = torch.tensor([[[0, 1]], [[0, 0]], [[2, 2]]])
    first = 2 * 0.8 / (0.8**2 + 0.5**2 + 1)
    second = 2 * 0.25 / (0.2**2 + 0.25**2 + 1)
    only = 2 * (0.8 + 0.5) / (0.8**2 + 0.5**2 + 2)
    missed = 2 * 0.25 / (0.25**2 + 2)
    expected = [1 - (first + second) / 2, 1 - only, 1 - missed]
    assert dice_loss(logits, masks).tolist() == pytest.approx(expected)
    sure = torch.full((1, 3, 1, 2), -1e4)
    sure[0, 0, 0, 0] = sure[0, 1, 0, 1] = 1e4
    sure.requires_grad_()
    loss = dice_loss(sure, masks[:1])
    loss.sum().backward()
    assert loss.item() == 0 and sure.grad.isfinite().all()


@pytest.mark.parametrize("name", ["dice", "cross_entropy+dice"])
def test_other_losses_are_learned_and_evaluated_as_means_over_samples(name):
    batches = make_batches(count=21, per_pixel=True, shuffle_seed=None)
    torch.manual_seed(0)
    model = nn.Conv2d(3, 3, 1)
    weights = torch.tensor([1.0, 5.0, 0.5])
    history = fit(model, batches, batches, 15, lr=0.1, loss=Loss(name, weights))
    assert history.train_loss[-1] < 0.9 * history.train_loss[0]
    logits = predict_logits(model, batches)
    expected = dice_loss(logits, batches.targets).mean().item()
    if name != "dice":
        expected += nn.functional.cross_entropy(logits, batches.targets, weight=weights).item()
    best = min(history.validation_loss)
    assert evaluate(model, batches, Loss(name, weights))[0] == best == pytest.approx(expected, rel=1e-6)


def test_an_unknown_loss_is_refused_and_known_ones_are_named():
    with pytest.raises(
        TrainingError, match="no loss 'cross_entropy\\+dise'. Known are 'cross_entropy', 'dice'"
    ):
        fit(make_model(), make_batches(), None, 1, loss="cross_entropy+dise")


class SmallMemory(nn.Module):
    """A network that runs out of memory when it is given more than `most` samples at once."""

    def __init__(self, network: nn.Module, most: int, error: Exception):
        super().__init__()
        self.network, self.most, self.error, self.held = network, most, error, None

    def forward(self, inputs):
        logits = self.network(inputs)
        if len(inputs) > self.most:
            self.held = weakref.ref(logits)
            raise self.error
        return logits


FULL = {
    "GPU": torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "CPU": RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    "NumPy": MemoryError(),
}


@pytest.mark.parametrize("kind", FULL)
def test_a_full_memory_ends_with_advice(kind):
    model, batches = make_model(), make_batches(shuffle_seed=None)
    small = SmallMemory(model, 4, FULL[kind])
    calls = (
        lambda: fit(small, batches, None, 1),
        lambda: predict_logits(small, batches),
        lambda: predict_masks(small, batches),
    )
    for call in calls:
        with pytest.raises(TrainingError, match="memory for a batch of 8 .*halve batch_size.*smaller images"):
            call()
    # The whole batch went through once, and no halves: each would have moved the running statistics.
    assert model[1].num_batches_tracked == 1


def test_a_full_memory_is_free_again_when_the_advice_is_read():
    small = SmallMemory(make_model(), 4, torch.cuda.OutOfMemoryError("full"))
    with pytest.raises(TrainingError) as kept:
        fit(small, make_batches(), None, 1)
    assert "batch of 8" in str(kept.value) and small.held() is None


def test_other_errors_are_left_as_they_are():
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        fit(nn.Sequential(nn.Flatten(), nn.Linear(5, 3)), make_batches(), None, 1)


class TwoHeads(MiniNetwork):
    """A student's network: the mini network, and another layer on top."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3, 3)

    def forward(self, images):
        return self.last(super().forward(images))


def draw_faces(count=8, **options):
    """Return batches of noise as large as the mini network takes."""
    drawn = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 64, 64, 3), dtype=torch.uint8, generator=drawn)
    options = {"mean": [0.5] * 3, "std": [0.3] * 3, "batch_size": 4} | options
    return Batches(images, torch.arange(count) % 3, **options)


def test_the_network_that_is_trained_is_the_one_that_is_tested():
    torch.manual_seed(0)
    model, calls = TwoHeads(), []
    before = model.last.weight.clone()
    model.relu1.register_forward_hook(lambda module, inputs, output: calls.append(module.training))
    model.register_forward_hook(lambda module, inputs, output: calls.append("whole"))
    fit(model, draw_faces(), draw_faces(), 1, lr=0.1)
    assert not torch.equal(model.last.weight, before) and model.last.weight.grad is not None
    assert calls == [True, "whole"] * 2 + [False, "whole"] * 2


def test_a_wrapper_of_torch_s_is_trained():
    torch.manual_seed(0)
    wrapped = torch.optim.swa_utils.AveragedModel(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)))
    before = wrapped.module[1].weight.clone()
    fit(wrapped, make_batches(), None, 1)
    assert not torch.equal(wrapped.module[1].weight, before)


def test_training_and_testing_compute_alike_and_leave_the_settings():
    seen = []

    def look(*_):
        flags = torch.backends.cudnn
        seen.append((flags.allow_tf32, flags.benchmark, flags.deterministic))
        seen.append(torch.get_float32_matmul_precision())

    model, batches = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), make_batches()
    model.register_forward_pre_hook(look)
    torch.set_float32_matmul_precision("high")
    try:
        fit(model, batches, batches, 1)
        predict_logits(model, batches)
        predict_masks(model, batches)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert set(seen) == {(False, False, True), "highest"} and len(seen) == 2 * 4 * len(batches)


class SayWhatIsAsked(nn.Module):
    """A network that answers each pixel with the class that its first channel says."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(2))

    def forward(self, inputs):
        return torch.cat([1 - inputs[:, :1], inputs[:, :1]], 1) + self.bias[:, None, None]


def test_millions_of_right_answers_are_counted_exactly():
    # 2^24 + 2^22 pixels, one of them wrong: float32 cannot tell that from none.
    side = 1 << 11
    images = torch.zeros(5, side, side, 3, dtype=torch.uint8)
    masks = torch.zeros(5, side, side, dtype=torch.uint8)
    masks[0, 0, 0] = 1
    batches = Batches(images, masks, mean=[0] * 3, std=[1] * 3, batch_size=1)
    right = (masks.numel() - 1) / masks.numel()
    history = fit(SayWhatIsAsked(), batches, batches, 1, lr=0)
    assert history.train_accuracy == history.validation_accuracy == [right]


def test_a_validation_that_is_not_finite_stops_and_says_where():
    class Sleeper(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs.flatten(1)) * (1 if self.training else math.nan)

    with pytest.raises(TrainingError, match=r"validation loss is nan after epoch 1.* rate 0.001.*Low"):
        fit(Sleeper(192, 3), make_batches(), make_batches(), 2)


def test_a_sample_that_cannot_be_normalised_alone_ends_with_advice():
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Flatten())
    model.append(nn.Linear(3, 3))
    with pytest.raises(TrainingError, match="cannot train on one sample at a time .*batches of two or more"):
        fit(model, make_batches(count=1), None, 1)


@pytest.mark.filterwarnings("error")
def test_loss_that_is_not_finite_stops_and_says_where():
    with pytest.raises(TrainingError, match=r"at step \d+ of epoch 1, with learning rate 1e\+20.*Lower"):
        fit(make_model(), make_batches(), None, 3, lr=1e20)


def test_finished_run_is_loaded_and_another_setting_is_another_run(tmp_path):
    first, again, other = make_model(), make_model(), make_model()
    history = fit(first, make_batches(), make_batches(seed=1), 3, **SETTINGS, checkpoint=tmp_path)
    folder = next(tmp_path.iterdir())
    stamp = (folder / CHECKPOINT).stat().st_mtime_ns
    loaded = fit(again, make_batches(), make_batches(seed=1), 3, **SETTINGS, checkpoint=tmp_path)
    assert loaded == history and same_weights(first, again)
    assert (folder / CHECKPOINT).stat().st_mtime_ns == stamp
    fit(other, make_batches(), make_batches(seed=1), 3, lr=0.01, checkpoint=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert not same_weights(first, other)


@pytest.mark.parametrize("change", ["data", "weights", "seed", "frozen", "loss", "precision"])
def test_a_run_is_not_taken_for_one_with_other_data_weights_seed_loss_or_precision(tmp_path, change):
    def train(changed=None):
        torch.manual_seed(1 if changed == "weights" else 0)
        model = nn.Conv2d(3, 3, 1)
        model.bias.requires_grad_(changed != "frozen")
        precision = torch.bfloat16 if changed == "precision" else torch.float32
        data = make_batches(seed=1 if changed == "data" else 0, per_pixel=True, precision=precision)
        loss, seed = "dice" if changed == "loss" else "cross_entropy", 1 if changed == "seed" else 0
        fit(model, data, None, 1, loss=loss, seed=seed, checkpoint=tmp_path)

    train()
    train()
    assert len(list(tmp_path.iterdir())) == 1
    train(change)
    assert len(list(tmp_path.iterdir())) == 2


SCRIPT = """
import sys
import tests.conftest  # as many threads as the test: the order of sums, so the last bits, depends on it
from tests.training.test_loop import SETTINGS, fit, make_batches, make_model
data = make_batches(80), make_batches(seed=1)
fit(make_model(), *data, 80, **SETTINGS, checkpoint=sys.argv[1])
"""


def count_epochs(folder):
    """Return how many epochs of the only run in a folder are saved."""
    return max(
        (len(read_checkpoint_history(file)["train_loss"]) for file in folder.glob(f"*/{CHECKPOINT}")),
        default=0,
    )


def test_killed_run_goes_on_bit_for_bit(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(project_folder()), *sys.path])}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment)
    deadline = time.monotonic() + 60
    while count_epochs(tmp_path) < 5:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 5 <= count_epochs(tmp_path) < 80
    arguments = (make_batches(80), make_batches(seed=1), 80)
    resumed, straight = make_model(), make_model()
    history = fit(resumed, *arguments, **SETTINGS, checkpoint=tmp_path)
    expected = fit(straight, *arguments, **SETTINGS)
    assert history == expected
    assert same_weights(resumed, straight)


def watch_epochs(monkeypatch):
    """Return a list of the epochs that runs of seed 1 train; patching our own code would make other runs."""
    trained, original = [], torch.manual_seed

    def watched(seed):
        if seed > 1_000_000:
            trained.append(seed - 1_000_003)
        return original(seed)

    monkeypatch.setattr(torch, "manual_seed", watched)
    return trained


def test_a_longer_run_continues_a_shorter_one_bit_for_bit(tmp_path, monkeypatch):
    epochs = watch_epochs(monkeypatch)

    def train(rates, checkpoint=tmp_path):
        model = make_model()
        history = fit(
            model, make_batches(), make_batches(seed=1), len(rates), lr=rates, seed=1, checkpoint=checkpoint
        )
        return history, model

    # The second epoch's rate spoils it, so the best weights of the short run are not its last.
    rates = [0.05, 5.0, 0.05, 0.05]
    short, longer = train(rates[:2]), train(rates)
    assert epochs == [0, 1, 2, 3]
    # Asked for later, the shorter run is still itself; one between them goes on from it; another starts anew.
    again, between, other = train(rates[:2]), train(rates[:3]), train([0.04, *rates[1:3]])
    assert epochs == [0, 1, 2, 3, 2, 0, 1, 2]
    assert short[0].best_epoch == 0 and other[0] != between[0]
    for history, model in (short, longer, again, between):
        expected, straight = train(rates[: len(history)], None)
        assert history == expected and same_weights(model, straight)


@pytest.mark.parametrize("place", [-1, 60, 3])  # in a tensor, in the history, in the header's length
def test_damaged_checkpoint_says_so(tmp_path, place):
    fit(make_model(), make_batches(), None, 1, checkpoint=tmp_path)
    (file,) = tmp_path.glob(f"*/{CHECKPOINT}")
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(TrainingError, match="is damaged.*Delete that folder"):
        fit(make_model(), make_batches(), None, 1, checkpoint=tmp_path)


def test_a_run_that_two_searches_save_at_once_stays_whole(tmp_path, monkeypatch):
    model, replace = make_model(), os.replace
    state = TrainingState(model, torch.optim.SGD(model.parameters()))

    def replace_after_the_other(source, target):
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            save_checkpoint(tmp_path, state, {"train_loss": [2.0, 1.0]})
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_after_the_other)
    save_checkpoint(tmp_path, state, {"train_loss": [2.0]})
    assert load_checkpoint(tmp_path, state, {}) == {"train_loss": [2.0]}
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]


def test_without_validation_its_history_is_nan():
    history = fit(make_model(), make_batches(), None, 2)
    assert all(math.isnan(loss) for loss in history.validation_loss)
    assert history.best_epoch is None


@pytest.mark.parametrize("validation", [None, make_batches(count=8)], ids=["no validation", "validation"])
def test_the_progress_bar_shows_what_was_measured(monkeypatch, validation):
    shown = io.StringIO()
    monkeypatch.setattr(training, "show_bar", lambda epochs, done: tqdm(total=epochs, file=shown))
    fit(make_model(), make_batches(count=8), validation, 1)
    assert "train=" in shown.getvalue() and "nan" not in shown.getvalue()
    assert ("validation=" in shown.getvalue()) == (validation is not None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_agrees_with_cpu():
    data = make_batches()
    on_gpu = Batches(data.images, data.targets, mean=[0.4] * 3, std=[0.2] * 3, batch_size=8, shuffle_seed=0,
                     device="cuda")  # fmt: skip
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    twin = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    twin.load_state_dict(model.state_dict())
    losses = [fit(m, d, None, 3).train_loss for m, d in ((model, data), (twin, on_gpu))]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_is_waited_for_as_often_in_a_long_epoch_as_in_a_short_one():
    waits = []
    # The first run starts the GPU, and counts for nothing.
    for count in (16, 16, 80):
        batches = make_batches(count, per_pixel=True, side=16, augment=augment_batch, device="cuda")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                fit(UNet(classes=3), batches, batches, 2, lr=0.01, loss="cross_entropy+dice")
        finally:
            torch.cuda.set_sync_debug_mode("default")
        waits.append(sum("called a synchronizing" in str(one.message) for one in caught))
    assert waits[2] == waits[1] > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_masks_are_learned_alike_on_gpu_and_cpu():
    torch.manual_seed(0)
    images, masks = torch.randint(256, (24, 32, 32, 3), dtype=torch.uint8), torch.randint(7, (24, 32, 32))
    network, results = UNet(), []
    for device in ("cpu", "cuda"):
        batches = Batches(images, masks, mean=[0.4] * 3, std=[0.2] * 3, batch_size=8, shuffle_seed=0,
                          augment=augment_batch, device=device)  # fmt: skip
        twin = copy.deepcopy(network)
        history = fit(twin, batches, batches, 2, lr=0.01)
        results.append((history.train_loss, predict_masks(twin, batches)))
    (expected, on_cpu), (losses, on_gpu) = results
    assert losses == pytest.approx(expected, abs=1e-3)
    assert (on_cpu == on_gpu).float().mean() > 0.95


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_whose_memory_is_really_full_says_what_to_do_and_then_can():
    images, masks = torch.zeros(64, 128, 128, 3, dtype=torch.uint8), torch.zeros(64, 128, 128).long()
    torch.cuda.empty_cache()
    in_use, total = torch.cuda.memory_reserved(), torch.cuda.get_device_properties(0).total_memory
    try:
        # Half the batch fits into that, the whole does not.
        torch.cuda.set_per_process_memory_fraction((in_use + 600 * 2**20) / total)
        with pytest.raises(TrainingError, match="memory for a batch of 64 .*halve batch_size") as kept:
            fit(UNet(), Batches(images, masks, **ON_GPU, batch_size=64), None, 1)
        history = fit(UNet(), Batches(images, masks, **ON_GPU, batch_size=32), None, 1)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert kept.value and math.isfinite(history.train_loss[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_evaluates_with_the_numbers_it_trains_with():
    drawn = torch.Generator().manual_seed(0)
    images = torch.randint(256, (32, 64, 64, 3), dtype=torch.uint8, generator=drawn)
    batches = Batches(images, torch.arange(32) % 3, **ON_GPU)
    torch.manual_seed(0)
    model = MiniNetwork()
    history = fit(model, batches, batches, 1, lr=0.01)
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        right = predict_logits(model, batches).argmax(1) == batches.targets.cpu()
        assert right.float().mean().item() == pytest.approx(history.validation_accuracy[0])
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
