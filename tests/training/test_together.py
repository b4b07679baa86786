import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close

from elfw_helpers.models import MiniNetwork
from elfw_helpers.training import search, together
from elfw_helpers.training.checkpoints import CHECKPOINT
from elfw_helpers.training.loop import fit
from elfw_helpers.training.search import REPORT_GRID, expand_grid, search_settings
from elfw_helpers.utils.errors import TrainingError
from tests.training.test_loop import draw_faces, make_batches, make_model

# Learning rates that make a difference within few steps, momentum and decay that `fit` takes by itself.
SETTINGS = [{"lr": 0.01}, {"lr": 0.1, "momentum": 0.5}, {"lr": 0.05, "weight_decay": 0.01}]


def make_plain():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3))


def make_frozen():
    model = make_plain()
    model[0].requires_grad_(False)
    return model


def run(out, settings=SETTINGS, epochs=3, make=make_plain, **options):
    # The last batch of 8 has 4 samples, and validation's are fewer than a batch.
    data = make_batches(count=20), make_batches(count=5, seed=1)
    options = {"strategy": "together", "workers": 1, **options}
    return search_settings(make, *data, epochs, settings, out=out, **options)


def read_state(out):
    (file,) = out.glob(f"*/*/{CHECKPOINT}")
    return load_file(file)


@pytest.fixture
def steps(monkeypatch):
    """How many networks each step trains: a patch of our own code would make each run another one."""
    taken, original = [], torch.autograd.grad

    def watched(outputs, weights):
        taken.append(len(weights))
        return original(outputs, weights)

    monkeypatch.setattr(torch.autograd, "grad", watched)
    return taken


def make_patches():
    model = MiniNetwork()
    together.prepare_for_gpu(model)
    return model


@pytest.mark.parametrize("make", [MiniNetwork, make_plain, make_frozen, make_patches])
def test_weights_after_an_epoch_are_those_of_18_lone_runs(tmp_path, make):
    batches = draw_faces(22) if make in (MiniNetwork, make_patches) else make_batches()
    settings = [setting | {"lr": 30 * setting["lr"]} for setting in expand_grid(REPORT_GRID)]
    search_settings(make, batches, batches, 1, settings, out=tmp_path, strategy="together")
    state = read_state(tmp_path)
    for setting, weights, best in zip(settings, state["weights"], state["best"], strict=True):
        model = search.make_seeded(make, 0)
        start = torch.cat([weight.flatten() for weight in model.parameters() if weight.requires_grad])
        fit(model, batches, batches, 1, **setting)
        alone = torch.cat([weight.flatten() for weight in model.parameters() if weight.requires_grad])
        assert_close(weights, alone, atol=1e-4, rtol=0)
        assert torch.equal(weights, best) and (alone - start).abs().max() > 1e-3
    assert len(state["weights"]) == 18


def test_mixed_precision_is_trained_one_by_one(tmp_path):
    batches = make_batches(count=20)
    batches.precision = torch.bfloat16
    with pytest.raises(TrainingError, match="float32 alone.*one by one"):
        search_settings(make_plain, batches, batches, 1, SETTINGS, out=tmp_path, strategy="together")


def test_the_table_is_the_one_of_runs_one_by_one(tmp_path):
    settings = [*SETTINGS, {"lr": 2.0, "momentum": 0.5}]
    table = run(tmp_path, settings, epochs=6)
    alone = run(tmp_path, settings, epochs=6, strategy="one by one")
    assert table["best_epoch"].nunique() > 1
    pd.testing.assert_frame_equal(table, alone, rtol=1e-4)
    # What is stored of one strategy is not taken for the other's.
    assert len(list(tmp_path.glob("*.json"))) == 2 * len(settings)


def test_weights_of_the_lowest_validation_loss_are_kept(tmp_path):
    train, validation = make_batches(), make_batches(seed=1)
    model = search.make_seeded(make_plain, 0)
    settings = [{"lr": 0.02}, {"lr": 1.0}]
    found = together.train_together(model, settings, 4, train, validation, tmp_path)
    best = load_file(next(tmp_path.glob("*/*.safetensors")))["best"]
    stack = together.Stack(model, torch.zeros(2, 3), torch.device("cpu"))
    stack.weights = best
    losses, _ = stack.validate(validation)
    for loss, (history, _) in zip(losses.tolist(), found, strict=True):
        assert loss == pytest.approx(min(history.validation_loss))
    assert [history.best_epoch for history, _ in found] == [3, 2]


class Moody(nn.Linear):
    """A layer that breaks in validation once its weights have grown."""

    def forward(self, inputs):
        factor = torch.where(self.weight.abs().max() > 1, math.nan, 1.0)
        return super().forward(inputs) * (1 if self.training else factor)


def make_moody():
    return nn.Sequential(nn.Flatten(), Moody(192, 3))


@pytest.mark.parametrize(("make", "rate"), [(make_plain, 1e20), (make_moody, 10.0)])
def test_one_that_diverges_fails_in_the_words_of_a_lone_run_and_the_others_go_on(tmp_path, make, rate):
    settings = [{"lr": 0.01}, {"lr": rate}, {"lr": 0.001}]
    table = run(tmp_path, settings, make=make)
    alone = run(tmp_path / "alone", settings, make=make, strategy="one by one")
    assert "with learning rate" in table["error"][1] and table["error"].tolist() == alone["error"].tolist()
    pd.testing.assert_frame_equal(table, alone, rtol=1e-4)
    assert table["best_epoch"].isna().tolist() == [False, True, False]
    assert run(tmp_path, settings, make=make)["error"].tolist() == alone["error"].tolist()


def test_where_all_have_diverged_no_epoch_more_is_trained(tmp_path, steps):
    with pytest.raises(TrainingError, match="every run failed, the first by: the .*learning rate"):
        run(tmp_path, [{"lr": 1e20}, {"lr": 1e21}], epochs=3)
    assert len(steps) == 3


def make_normalised():
    return nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(192, 3))


def make_normalised_later():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3))


def make_dropping():
    return nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(192, 3))


def make_constant():
    return make_plain().requires_grad_(False)


class Branching(nn.Linear):
    """A layer that looks at a value to decide what to do."""

    def forward(self, inputs):
        return super().forward(inputs.flatten(1)) * (2 if self.weight[0, 0] > 0 else 1)


def make_branching():
    return Branching(192, 3)


UNBATCHABLE = [make_normalised, make_normalised_later, make_dropping, make_constant, make_branching]


@pytest.mark.parametrize("make", UNBATCHABLE)
def test_what_cannot_be_batched_is_refused_with_the_way_out(tmp_path, make):
    with pytest.raises(TrainingError, match=r"cannot be trained together \(.+\). .*'one by one'"):
        run(tmp_path, make=make)
    assert list(tmp_path.iterdir()) == []


def test_a_setting_that_cannot_differ_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="'seed' is none of lr, momentum, weight_decay"):
        run(tmp_path, [{"lr": 0.1, "seed": 1}])


def test_auto_takes_it_on_a_gpu_where_the_model_allows(monkeypatch):
    gpu = SimpleNamespace(device=torch.device("cuda"))
    monkeypatch.setattr(search, "check_batchable", lambda *_: None)
    assert search.choose_together("auto", make_plain(), SETTINGS, gpu)
    assert not search.choose_together("one by one", make_plain(), SETTINGS, gpu)
    assert not search.choose_together("auto", make_plain(), SETTINGS, make_batches())

    def refuse(*_):
        raise TrainingError("no")

    monkeypatch.setattr(search, "check_batchable", refuse)
    assert not search.choose_together("auto", make_model(), SETTINGS, gpu)


def test_an_unknown_strategy_is_refused_and_the_known_are_named(tmp_path):
    with pytest.raises(TrainingError, match="no strategy 'all'. Known are 'auto', 'one by one', 'together'"):
        run(tmp_path, strategy="all")


def test_no_settings_are_an_empty_table(tmp_path):
    assert len(run(tmp_path, [])) == 0


def test_an_interrupted_grid_goes_on_bit_for_bit(tmp_path, monkeypatch, steps):
    straight, original = run(tmp_path / "straight"), torch.autograd.grad
    assert steps == [3] * 9

    def interrupt_third_epoch(*arguments):
        if len(steps) == 16:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch.autograd, "grad", interrupt_third_epoch)
        run(tmp_path / "again")
    pd.testing.assert_frame_equal(run(tmp_path / "again"), straight, check_exact=True)
    assert len(steps) == 16 + 3
    run(tmp_path / "again")
    assert len(steps) == 16 + 3


def test_some_of_the_runs_go_on_from_where_all_were(tmp_path, steps):
    run(tmp_path, epochs=1)
    some = run(tmp_path, SETTINGS[::-2], epochs=3)
    assert steps == [3] * 3 + [2] * 6
    pd.testing.assert_frame_equal(some, run(tmp_path / "anew", SETTINGS[::-2], epochs=3), rtol=1e-5)


def test_a_failed_run_that_goes_on_is_still_a_failed_one(tmp_path):
    settings = [{"lr": 0.01}, {"lr": 1e20}]
    before = run(tmp_path, settings, epochs=1)
    after = run(tmp_path, settings, epochs=2)
    assert before["error"].tolist() == after["error"].tolist() and after["error"][1]


def test_damaged_checkpoint_says_so(tmp_path):
    run(tmp_path, epochs=1)
    (file,) = tmp_path.glob(f"*/*/{CHECKPOINT}")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(TrainingError, match=f"{file.parent.name} is damaged.*Delete that folder"):
        run(tmp_path, epochs=2)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},
        {"stride": 2, "bias": False},
        {"kernel_size": (3, 5), "stride": (2, 1), "padding": (0, 2)},
        {"kernel_size": 1},
    ],
)
def test_a_product_of_patches_is_the_convolution(options):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, **{"kernel_size": 3, **options})
    inputs = torch.randn(5, 4, 11, 9, requires_grad=True)
    results = []
    for kind in (nn.Conv2d, together.PatchConv2d):
        layer.__class__ = kind
        outputs = layer(inputs)
        results.append((outputs, *torch.autograd.grad(outputs.square().sum(), [inputs, *layer.parameters()])))
    for expected, found in zip(*results, strict=True):
        assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_on_a_gpu_all_convolutions_but_the_first_become_products_where_they_can():
    others = [nn.Conv2d(4, 4, 3, **given) for given in ({"groups": 2}, {"dilation": 2}, {"padding": "same"})]
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, padding_mode="reflect", padding=1), *others,
                          nn.Conv2d(4, 4, 3), nn.Sequential(nn.Conv2d(4, 4, 1)))  # fmt: skip
    together.prepare_for_gpu(model)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    replaced = [type(module) is together.PatchConv2d for module in convolutions]
    assert replaced == [False] * 5 + [True] * 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("make", [MiniNetwork, make_plain])
def test_on_a_gpu_it_is_what_auto_takes_and_agrees_with_lone_runs(tmp_path, make):
    batches = draw_faces(22, device="cuda") if make is MiniNetwork else make_batches(device="cuda")
    arguments = (make, batches, batches, 2, SETTINGS)
    table = search_settings(*arguments, out=tmp_path)
    assert len(read_state(tmp_path)["weights"]) == len(SETTINGS)
    alone = search_settings(*arguments, out=tmp_path, strategy="one by one")
    pd.testing.assert_frame_equal(table, alone, rtol=1e-3)
