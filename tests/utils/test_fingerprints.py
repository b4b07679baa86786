"""What a stored run is recognised by: the same for the same values and code, in any process."""

import functools
import importlib
import os
import pickle
import subprocess
import sys
import threading
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from IPython.core import interactiveshell
from IPython.core.interactiveshell import InteractiveShell
from torch import nn

from elfw_helpers.augmentation import augment_batch, transforms
from elfw_helpers.data.batches import Batches
from elfw_helpers.models import MiniNetwork
from elfw_helpers.training import fit, losses
from elfw_helpers.training import loop as training
from elfw_helpers.training.segmentation import mirror_shift_scale
from elfw_helpers.utils.fingerprints import FingerprintError, FingerprintWarning, fingerprint
from elfw_helpers.utils.paths import project_folder
from tests.training.test_loop import make_batches, make_model

NOTEBOOK = """
import math
import torch
from functools import partial
from torch import nn
STRENGTH, NAMES = 0.5, {"b", "a", "c"}

class Noise:
    def __init__(self, strength): self.strength = strength
    def __call__(self, inputs, targets, generator): return soften(inputs, self.strength), targets

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(192, 3)
        self.note = object()
    def forward(self, images):
        return self.layer(images.flatten(1))

class Deeper(Network):
    pass

def soften(inputs, strength=2.0):
    if len(NAMES) == 3:
        return inputs * STRENGTH * strength
    return inputs

def augment(inputs, targets, generator):
    return soften(inputs), targets

def wrap(function):
    def run(*values):
        return function(*values)
    return run

wrapped = wrap(lambda inputs, targets, generator: (inputs + 1, targets))
given = partial(augment, generator=None)
noise = Noise(0.1)
quiet = torch.no_grad()(augment)
torch.manual_seed(0)
network = Deeper()
method = network.forward
"""
NAMES = ("augment", "wrapped", "given", "noise", "quiet", "network", "method", "Deeper")


def run_notebook(old: str = "", new: str = "") -> dict:
    """Return what a notebook has defined, some of its source replaced."""
    assert old in NOTEBOOK
    defined = {"__name__": "__main__"}
    exec(NOTEBOOK.replace(old, new) if old else NOTEBOOK, defined)
    return defined


def name_all(defined: dict) -> dict[str, str]:
    return {name: fingerprint(defined[name]) for name in NAMES}


# Each change, and everything that must notice it.
CHANGES = {
    ("STRENGTH, NAMES = 0.5", "STRENGTH, NAMES = 0.6"): {"augment", "given", "noise", "quiet"},
    ("strength=2.0", "strength=3.0"): {"augment", "given", "noise", "quiet"},
    ("inputs * STRENGTH", "inputs / STRENGTH"): {"augment", "given", "noise", "quiet"},
    ("{'b', 'a', 'c'}".replace("'", '"'), '{"b", "a", "d"}'): {"augment", "given", "noise", "quiet"},
    ("inputs + 1", "inputs + 2"): {"wrapped"},
    ("return function(*values)", "return function(*values[::-1])"): {"wrapped"},
    ("generator=None", "generator=1"): {"given"},
    ("Noise(0.1)", "Noise(0.2)"): {"noise"},
    ("images.flatten(1)", "images.sin().flatten(1)"): {"network", "method", "Deeper"},
    ("(Network):\n    pass", "(Network):\n    x = 1"): {"network", "method", "Deeper"},
    ("manual_seed(0)", "manual_seed(1)"): {"network", "method"},
    ("torch.no_grad()", "torch.inference_mode()"): {"quiet"},
}


@pytest.mark.parametrize("change", CHANGES, ids=[new for _, new in CHANGES])
def test_a_change_is_noticed_by_all_that_it_decides_and_nothing_else(change):
    before, after = name_all(run_notebook()), name_all(run_notebook(*change))
    assert {name for name in NAMES if before[name] != after[name]} == CHANGES[change]
    assert len(set(before.values())) == len(NAMES)


def test_another_process_gives_the_same_names():
    script = "from tests.utils.test_fingerprints import *\nprint(fingerprint(fit), name_all(run_notebook()))"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(project_folder()), *sys.path]),
        "PYTHONHASHSEED": "1",
    }
    printed = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, encoding="utf-8"
    )
    assert printed.stdout.strip() == f"{fingerprint(fit)} {name_all(run_notebook())}", printed.stderr


def test_code_keeps_its_name_while_it_runs():
    defined = run_notebook()
    before = name_all(defined)
    for _ in range(100):  # Python rewrites the code of what it runs often.
        defined["augment"](torch.zeros(1), None, None)
        defined["noise"](torch.zeros(1), None, None)
    defined["network"](torch.zeros(1, 192))
    defined["network"].eval()
    assert name_all(defined) == before


@pytest.mark.parametrize(
    ("name", "value", "function"),
    [("SCALE", 0.3, augment_batch), ("BALANCE", 0.1, augment_batch), ("ANGLE", 0.3, mirror_shift_scale)],
)
def test_a_constant_of_the_augmentation_is_part_of_it(monkeypatch, name, value, function):
    def name_it():
        batches = Batches(torch.zeros(2, 8, 8, 3).byte(), torch.zeros(2).long(), mean=[0] * 3, std=[1] * 3,
                          augment=function)  # fmt: skip
        return fingerprint(batches)

    before = name_it()
    assert name_it() == before
    monkeypatch.setattr(transforms, name, value)
    assert name_it() != before


def test_a_module_counts_by_all_that_is_in_it_and_its_own_modules_by_what_is_named():
    module = ModuleType("changes")
    module.factor, module.inner, module.unused = 2, ModuleType("inner"), ModuleType("unused")
    source = "lambda x: changes.factor * x + getattr(changes.inner, 'offset')"
    closed = eval(f"(lambda changes: {source})", {})(module)
    for function in (eval(source, {"changes": module}), closed):
        module.other, module.unused.value = 3, 1
        module.inner.offset, module.inner.back = 1, module
        before = fingerprint(function)
        module.unused.value = 2
        assert fingerprint(function) == before
        for owner, name in ((module, "other"), (module.inner, "offset")):
            setattr(owner, name, 4)
            after = fingerprint(function)
            assert after != before
            before = after


HANDED_ON = (
    "def brighten(x): return x * lab.sub.GAIN\ndef noise(x): return x + lab.sub.NOISE\n"
    "def augment(x): return noise(brighten(x))",
    "def shake(x, settings): return x + settings.NOISE\ndef augment(x): return shake(x, lab.sub)",
    "def shake(x, settings): return x + settings.sub.NOISE\ndef augment(x): return shake(x, lab)",
    "def augment(x):\n    import lab.sub\n    return lab.CLEAR + lab.sub.NOISE",
    "def augment(x):\n    from lab.sub import NOISE\n    from lab import CLEAR\n    return NOISE + CLEAR",
)


@pytest.mark.parametrize("source", HANDED_ON)
def test_a_module_is_part_of_a_function_however_it_gets_there(monkeypatch, source):
    lab, sub = ModuleType("lab"), ModuleType("lab.sub")
    lab.sub, lab.CLEAR, lab.__path__, sub.GAIN, sub.NOISE = sub, 0, [], 1, 0.1
    monkeypatch.setitem(sys.modules, "lab", lab)
    monkeypatch.setitem(sys.modules, "lab.sub", sub)
    defined = {"lab": lab}
    exec(source, defined)
    before = fingerprint(defined["augment"])
    sub.NOISE = 0.2
    changed = fingerprint(defined["augment"])
    lab.CLEAR = 1
    assert len({before, changed, fingerprint(defined["augment"])}) == 3


def test_functions_that_call_each_other_may_be_many():
    source = "\n".join(f"def f{i}(x): return f{i + 1}(x) + {i}" for i in range(500))
    defined = {"f500": abs}
    exec(source, defined)
    before = fingerprint(defined["f0"])
    exec("def f500(x): return x", defined)
    assert fingerprint(defined["f0"]) != before


def test_a_class_keeps_its_name_when_an_object_of_it_is_pickled():
    batches = make_batches()
    if "__slotnames__" in vars(Batches):  # another test has pickled one
        del Batches.__slotnames__
    before = fingerprint(Batches)
    pickle.dumps(batches)
    assert "__slotnames__" in vars(Batches) and fingerprint(Batches) == before


def test_an_operation_of_torch_s_keeps_its_name_however_many_were_defined_before():
    names = []
    for factor in (2, 2, 3):
        defined = {"torch": torch}
        exec(f"class Scale(torch.autograd.Function):\n    def forward(x): return x * {factor}", defined)
        names.append(fingerprint(defined["Scale"]))
    assert names[0] == names[1] != names[2]


def test_two_lambdas_are_two_and_one_written_again_is_the_same():
    first, second, again = lambda x: x + 1, lambda x: x + 2, lambda x: x + 1
    assert fingerprint(first) == fingerprint(again) != fingerprint(second)

    def close_over(value):
        return lambda x: x + value

    assert fingerprint(close_over(1)) == fingerprint(close_over(1)) != fingerprint(close_over(2))
    assert fingerprint(close_over(torch.ones(2))) != fingerprint(close_over(torch.zeros(2)))


def test_an_installed_package_counts_by_its_version(monkeypatch):
    for value in (nn.Linear(1, 1).eval().requires_grad_(False), nn.functional.relu, fit):
        before = fingerprint(value)
        with monkeypatch.context() as changed:
            changed.setattr(torch, "__version__", "1.0")
            assert fingerprint(value) != before
        assert fingerprint(value) == before


def test_what_holds_itself_or_a_state_can_be_named():
    loop = [1]
    loop.append(loop)
    generator = torch.Generator().manual_seed(3)
    values = [
        loop,
        generator,
        np.random.default_rng(0),
        functools.partial(augment_batch),
        SimpleNamespace(a=1),
    ]
    values += [nn.LSTM(2, 2), nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Dropout(0.5))]
    values += [torch.zeros(2), torch.zeros(2).half(), torch.zeros(2, 1), np.zeros(2), 0, 0.0, False, None, ""]
    names = [fingerprint(value) for value in values]
    assert names == [fingerprint(value) for value in values] and len(set(names)) == len(values)
    torch.rand(1, generator=generator)
    assert fingerprint(generator) != names[1]


@pytest.mark.parametrize("hidden", [threading.Lock(), (n for n in range(3)), sys.stdout, sys._getframe()])
def test_what_cannot_be_looked_into_is_refused(hidden):
    with pytest.raises(FingerprintError, match="cannot be looked into"):
        fingerprint([hidden])
    with pytest.raises(FingerprintError, match="cannot be looked into"):
        fingerprint(lambda: hidden)


# What code must not depend on, and where it has it from.
OUTSIDE = {
    "open('strength.txt').read()": "",
    "vars()": "",
    "np.load('strength.npy')": "import numpy as np",
    "Path('strength.txt').read_text()": "from pathlib import Path",
    "Path('strength.txt').read_bytes()": "from pathlib import Path",
    "os.environ['STRENGTH']": "import os",
    "environ['STRENGTH']": "from os import environ",
    "getenv('STRENGTH')": "from os import getenv",
    "importlib.import_module('strength')": "import importlib",
    "torch.set_default_dtype(torch.float64)": "import torch",
    "np.random.normal()": "import numpy as np",
    "[np.random.rand() for _ in x]": "import numpy as np",
    "x @ np.random.rand()": "import numpy as np",
    "shared.seed(0)": "import numpy.random as shared",
    "rand()": "from numpy.random import rand",
    "random.uniform(0, 1)": "import random",
    "uniform(0, 1)": "from random import uniform",
}


@pytest.mark.parametrize("above", [True, False], ids=["imported above", "imported inside"])
@pytest.mark.parametrize("code", OUTSIDE)
def test_code_that_depends_on_what_it_does_not_show_is_refused(code, above):
    lines = [OUTSIDE[code], "def augment(x):"] if above else ["def augment(x):", f"    {OUTSIDE[code]}"]
    defined = {}
    exec("\n".join([*lines, f"    return {code}"]), defined)
    with pytest.raises(FingerprintError, match="anything outside the code"):
        fingerprint(defined["augment"])


def test_randomness_with_a_seed_of_its_own_is_not_refused():
    imports = "import random, torch, numpy as np"
    code = "np.random.default_rng(0).random(), random.Random(0).uniform(0, 1), torch.rand(1), x.eval()"
    defined = {}
    exec(f"{imports}\ndef augment(x): return {code}", defined)
    assert fingerprint(defined["augment"])


def test_open_is_refused_in_a_notebook_too():
    shell = InteractiveShell()
    shell.run_cell("def augment(x): return open('strength.txt').read()")
    # Not every IPython that the bounds allow has an `open` of its own.
    assert ("open" in shell.user_ns) == hasattr(interactiveshell, "_modified_open")
    with pytest.raises(FingerprintError, match=r"calls open\(\)"):
        fingerprint(shell.user_ns["augment"])
    shell.run_cell("def open(name): return name\ndef augment(x): return open('strength')")
    assert fingerprint(shell.user_ns["augment"])


def test_torchs_default_type_is_part_of_everything():
    before = fingerprint(1)
    torch.set_default_dtype(torch.float64)
    try:
        assert fingerprint(1) != before
    finally:
        torch.set_default_dtype(torch.float32)


def test_data_of_a_class_counts_whatever_it_is_called():
    names = []
    for value in (1, 2):
        defined = {}
        exec(f"class Noise:\n    __strength__ = {value}", defined)
        names.append(fingerprint(defined["Noise"]))
    assert names[0] != names[1]


def test_a_module_named_like_one_of_pythons_is_not_pythons(monkeypatch, tmp_path):
    source = "STRENGTH = 1\ndef shake(x): return x * STRENGTH\n"
    (tmp_path / "profile.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "profile", raising=False)
    profile = importlib.import_module("profile")
    monkeypatch.setitem(sys.modules, "profile", profile)
    before = fingerprint(profile.shake)
    profile.STRENGTH = 2
    assert fingerprint(profile.shake) != before


def test_documentation_decides_nothing():
    names = []
    for text in ("", "'Shake.'", "'Shake it.'"):
        defined = {}
        exec(f"def shake(x):\n    {text}\n    return x + 1, 'word'", defined)
        names.append(fingerprint(defined["shake"]))
    assert len(set(names)) == 1


def test_whole_numbers_are_the_same_settings(tmp_path):
    for number in (int, float):
        settings = {"lr": number(1), "momentum": number(0), "weight_decay": number(0)}
        fit(make_model(), make_batches(), None, 1, **settings, checkpoint=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_run_that_cannot_be_named_is_trained_and_not_stored(tmp_path):
    lock = threading.Lock()

    def augment(inputs, targets, generator):
        with lock:
            return inputs, targets

    hidden, plain = make_batches(), make_batches()
    hidden.augment = augment
    with pytest.warns(FingerprintWarning, match="nothing of this is stored.*_thread.lock"):
        history = fit(make_model(), hidden, None, 2, checkpoint=tmp_path)
    assert history.train_loss == fit(make_model(), plain, None, 2).train_loss
    assert list(tmp_path.iterdir()) == []


def test_a_hook_is_part_of_a_network():
    network = MiniNetwork()
    before = fingerprint(network)
    handle = network.relu1.register_forward_hook(lambda module, inputs, output: output)
    with_hook = fingerprint(network)
    handle.remove()
    assert fingerprint(network) == before != with_hook
    # The number that torch gives a hook counts all hooks so far.
    network.relu1.register_forward_hook(lambda module, inputs, output: output)
    assert fingerprint(network) == with_hook


def test_the_code_that_trains_is_part_of_a_run(monkeypatch):
    data = make_batches()
    before = fingerprint(fit, data)
    used = ((training, "count_correct"), (losses, "cross_entropy"), (losses, "dice_loss"), (Batches, "epoch"))
    for owner, name in used:
        with monkeypatch.context() as changed:
            changed.setattr(owner, name, lambda *_, **__: 0)
            assert fingerprint(fit, data) != before, name
    assert fingerprint(fit, data) == before
