import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn

from elfw_course.cli import main
from elfw_helpers.augmentation import augment_batch
from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.evaluation.segmentation import median_frequency_weights
from elfw_helpers.models import UNet
from elfw_helpers.models.hub import load_model
from elfw_helpers.training.checkpoints import CHECKPOINT, read_checkpoint_history
from elfw_helpers.training.distributed import BatchShares, fit_shares
from elfw_helpers.training.folder import SEED, check_settings, train_folder
from elfw_helpers.training.processes import Processes, SharedStatistics, join_processes
from elfw_helpers.training.segmentation import QUICK_RECIPE, segmentation_batches, train_segmentation
from elfw_helpers.utils.errors import DataError, TrainingError
from elfw_helpers.utils.files import hold_run_folder
from elfw_helpers.utils.paths import project_folder
from tests.faces import write_face

pytestmark = pytest.mark.filterwarnings("ignore:no image shows")

EPOCHS, BATCH, SIZE = 8, 11, 32
# Batches of 11, 11 and 9: their shares in two processes are 5 and 6, 5 and 6, 4 and 5.
SPLIT = {"train": 31, "validation": 7, "test": 3}
SETTINGS = {"architecture": "unet", "epochs": EPOCHS, "batch_size": BATCH, "size": SIZE}
OPTIONS = ["--model", "unet", "--epochs", f"{EPOCHS}", "--batch-size", f"{BATCH}", "--size", f"{SIZE}"]
# In float32 normalisation rounds, and each step makes more of what differs in the last digits.
ROUNDED = 0.05


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    root, first = tmp_path_factory.mktemp("train") / "faces", 0
    for split, count in SPLIT.items():
        names = [f"face_{number:02d}" for number in range(first, first + count)]
        for number, name in enumerate(names, first):
            write_face(root, name, number % 3, number)
        (root / f"{split}.txt").write_text("\n".join(names), encoding="utf-8")
        first += count
    return root


def read_history(out: Path) -> dict[str, list[float]]:
    """Return the losses and accuracies that a run's folder holds, empty before its first epoch."""
    file = out / CHECKPOINT
    return read_checkpoint_history(file) if file.exists() else {"train_loss": []}


@pytest.fixture(scope="module", autouse=True)
def without_gpus():
    """What is compared is computed on the CPU, here and in other processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


@pytest.fixture(scope="module")
def alone(faces, tmp_path_factory):
    """A run in one process, by the command."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert main(["train", "--task", "segment", str(faces), "--out", str(out), *OPTIONS]) == 0
    return out


@pytest.fixture(scope="module")
def killed(faces, tmp_path_factory):
    """A run of two processes by torchrun, one of which is killed after some epochs."""
    out = tmp_path_factory.mktemp("killed") / "run"
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    process = start_training(faces, out, *torchrun)
    try:
        deadline = time.monotonic() + 120
        while len(read_history(out)["train_loss"]) < 2:
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
            time.sleep(0.01)
        ranks = find_children(process.pid)
        os.kill(ranks[1], signal.SIGKILL)
        start = time.monotonic()
        stderr = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    seconds = time.monotonic() - start
    return SimpleNamespace(**locals())


def start_training(faces: Path, out: Path, *launcher: str) -> subprocess.Popen[str]:
    """Start the command in processes of their own."""
    command = [sys.executable, "-m", *launcher, "elfw_course.cli", "train", str(faces), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(project_folder()), *sys.path])}
    options = {"env": environment, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    return subprocess.Popen([*command, *OPTIONS], **options)


def find_children(parent: int) -> list[int]:
    """Return the processes that a process has started, oldest first (Linux)."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    return sorted(map(int, children))


def test_alone_it_is_the_training_of_the_notebooks_bit_for_bit(faces, alone):
    folder = FaceFolder(faces)
    recipe = replace(QUICK_RECIPE, size=SIZE, batch_size=BATCH, epochs=EPOCHS)
    torch.manual_seed(SEED)
    network, batches = UNet(), segmentation_batches(folder.preload(SIZE), folder.split(), recipe, seed=SEED)
    history = train_segmentation(network, batches, recipe)
    assert vars(history) == read_history(alone)
    stored = load_model(alone / "model.safetensors")
    assert (stored.card.task, stored.card.size) == ("segment", SIZE)
    for name, tensor in stored.network.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name].half().to(tensor)), name


class Precise(nn.Module):
    """A network in float64, where sums in another order give the same to fifteen digits."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = UNet(width=4).double()

    def forward(self, images):
        return self.network(images.double())


def train_precisely(root: Path, out: Path, rank: int, count: int, port: int) -> None:
    """Train in one of several processes, which meet at a store in this test."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ |= {name: str(number) for name, number in numbers.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    folder = FaceFolder(root)
    faces, split = folder.preload(SIZE), folder.split()
    weights = median_frequency_weights(faces.masks, chosen=split.train)
    recipe = replace(QUICK_RECIPE, size=SIZE, batch_size=7, epochs=3)
    with join_processes() as processes:
        data = (faces.images, faces.masks), (processes, recipe.batch_size)
        train = BatchShares(*data[0], split.train, *data[1], training=True)
        validation = BatchShares(*data[0], split.validation, *data[1])
        fit_shares(Precise(), train, validation, recipe, weights, out)


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_two_processes_take_the_steps_of_one(faces, tmp_path):
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    histories = []
    for count in (1, 2):
        out = tmp_path / f"{count}"
        # Forked, they need not load torch again.
        ranks = [
            get_context("fork").Process(target=train_precisely, args=(faces, out, rank, count, store.port))
            for rank in range(count)
        ]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join(120)
        assert [rank.exitcode for rank in ranks] == [0] * count
        histories.append(read_history(out))
    alone, together = histories
    # Losses are added up in float32.
    for name, series in alone.items():
        assert together[name] == pytest.approx(series, rel=1e-6), name
    first, second = (tmp_path / f"{count}" / CHECKPOINT for count in (1, 2))
    for name, tensor in load_file(first).items():
        torch.testing.assert_close(load_file(second)[name], tensor, atol=1e-7, rtol=1e-7, msg=name)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_a_run_of_two_processes_goes_on_in_one(faces, alone, killed, tmp_path):
    stopped, expected = read_history(killed.out), read_history(alone)
    begun = len(stopped["train_loss"])
    assert 2 <= begun < EPOCHS
    out = shutil.copytree(killed.out, tmp_path / "run")
    # In this process, which other tests have used: what they left in it is no part of the run.
    resumed = vars(train_folder(faces, out, **SETTINGS, resume=True).history)
    for name, series in expected.items():
        assert resumed[name][:begun] == stopped[name]
        assert resumed[name] == pytest.approx(series, abs=ROUNDED), name
    assert load_model(out / "model.safetensors").card.trained_on == "31 faces of faces"


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_a_killed_process_ends_all_within_seconds_and_one_says_what_to_do(killed):
    assert killed.process.returncode != 0
    assert killed.seconds < 30
    said = [line for line in killed.stderr.splitlines() if line.startswith("elfw: ")]
    assert len(said) == 1 and "one of its 2 processes has ended" in said[0] and "--resume" in said[0]
    # No process has left a traceback, but torchrun its own.
    assert killed.stderr.count("Traceback") <= 1 and "fit_shares" not in killed.stderr
    assert not any(Path(f"/proc/{rank}").exists() for rank in killed.ranks)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_shares_of_all_processes_are_the_batches_of_one(count):
    drawn = torch.Generator().manual_seed(0)
    images = torch.randint(256, (25, 16, 16, 3), dtype=torch.uint8, generator=drawn)
    masks, chosen = torch.randint(7, (25, 16, 16), dtype=torch.uint8, generator=drawn), torch.arange(2, 24)
    options = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "batch_size": 5, "chosen": chosen}
    whole = Batches(images, masks, shuffle_seed=4, augment=augment_batch, **options)
    parts = [
        BatchShares(images, masks, chosen, Processes(rank, count), 5, training=True, seed=4)
        for rank in range(count)
    ]
    # The last batch has two samples: one of three processes has none of them.
    for expected, *shares in zip(whole.epoch(1), *(part.epoch(1) for part in parts), strict=True):
        for number in (0, 1):
            joined = torch.cat([share[number] for share in shares])
            torch.testing.assert_close(joined, expected[number], atol=1e-6, rtol=0)


@pytest.fixture
def group():
    """A group of one process, in which all that processes add up is added up."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_statistics_over_processes_are_those_of_batch_normalisation(group, mean):
    torch.manual_seed(0)
    data, factors = torch.randn(4, 3, 8, 8) + mean, torch.randn(4, 3, 8, 8)
    results = []
    for context in (nullcontext(), SharedStatistics()):
        inputs, layer = data.clone().requires_grad_(), nn.BatchNorm2d(3)
        nn.init.uniform_(layer.weight, 0.5, 1.5, generator=torch.Generator().manual_seed(0))
        with context:
            outputs = layer(inputs)
        (outputs * factors).sum().backward()
        gradients = (inputs.grad, layer.weight.grad, layer.bias.grad)
        results.append((outputs.detach(), *gradients, layer.running_mean, layer.running_var))
    # Inputs around 1000 have five digits after the point less than their statistics.
    torch.testing.assert_close(*results, atol=1e-5 if mean == 0 else 1e-2, rtol=1e-4)


def test_a_node_that_differs_or_is_missing_is_named():
    store = dist.HashStore()
    first = Processes(0, 2, store=store)
    with pytest.raises(TrainingError, match="of 2 processes, number 1 has not come in 0.05 seconds. Start"):
        first.require_same("run", {"code": "a"}, timedelta(milliseconds=50))
    store.set("run 1", json.dumps({"host": "node-b", "code": "b", "faces": "same"}))
    with pytest.raises(TrainingError, match="process 1 on node-b and process 0 on .* differ in code. Give"):
        first.require_same("run", {"code": "a", "faces": "same"}, timedelta(seconds=1))
    first.require_same("run", {"code": "b"}, timedelta(seconds=1))


def test_a_finished_run_gives_its_network_again_and_trains_nothing(faces, alone, tmp_path):
    out = shutil.copytree(alone, tmp_path / "run")
    (out / "model.safetensors").unlink()
    trained = train_folder(faces, out, **SETTINGS, resume=True)
    assert vars(trained.history) == read_history(alone)
    assert trained.file.read_bytes() == (alone / "model.safetensors").read_bytes()


def test_what_decides_a_run_may_not_change(faces, alone, tmp_path):
    out = shutil.copytree(alone, tmp_path / "run")
    with pytest.raises(DataError, match="holds a run already. Go on with it by --resume"):
        train_folder(faces, out, **SETTINGS)
    with pytest.raises(DataError, match=r"other epochs \(8, now 9\), batch size \(11, now 6\)\. Give what"):
        train_folder(faces, out, **{**SETTINGS, "epochs": 9, "batch_size": 6}, resume=True)
    other = shutil.copytree(faces, tmp_path / "other")
    write_face(other, "face_03", 1, 1000)
    with pytest.raises(DataError, match=r"run.json: the run in this folder has other faces \(\w+, now \w+\)"):
        train_folder(other, out, **SETTINGS, resume=True)
    with pytest.raises(DataError, match="holds no run to go on with"):
        train_folder(faces, tmp_path / "none", **SETTINGS, resume=True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "0 epochs are none"),
        ({"batch_size": 1}, "a batch of 1 is too small for 1 process. Take batches of 2 or more"),
        ({"size": 40}, "cannot take images of 40 pixels a side. Give a multiple of 16 from 16 to 1024"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(faces, tmp_path, settings, message):
    with pytest.raises(TrainingError, match=message):
        train_folder(faces, tmp_path / "out", **{**SETTINGS, **settings})
    assert not (tmp_path / "out").exists()


def test_a_batch_has_a_face_for_each_process():
    recipe = replace(QUICK_RECIPE, batch_size=4)
    with pytest.raises(
        TrainingError, match="a batch of 4 is too small for 8 processes. Take batches of 8 or"
    ):
        check_settings(recipe, 16, 8)


def test_folders_that_cannot_be_used_are_refused(faces, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(faces / "faces", bare / "faces")
    (bare / "labels.txt").write_text(
        "".join(f"{file.stem} hair\n" for file in bare.glob("faces/*")), encoding="utf-8"
    )
    with pytest.raises(DataError, match="bare: has no masks in labels/. Networks learn from them"):
        train_folder(bare, tmp_path / "out", **SETTINGS)
    with pytest.raises(DataError, match="bare: is not empty. Name a new folder"):
        train_folder(faces, bare, **SETTINGS)
    busy = tmp_path / "busy"
    with (
        hold_run_folder(busy, False),
        pytest.raises(DataError, match="busy: another training is writing"),
    ):
        train_folder(faces, busy, **SETTINGS)
