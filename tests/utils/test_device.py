"""What a notebook's first cell says about the machine it runs on."""

import platform
import sys

import joblib
import pytest
import torch

from elfw_helpers.notebook import GPU_ADVICE, choose_device

VERSIONS = f"Python {platform.python_version()}, torch {torch.__version__}, device"


@pytest.mark.parametrize(("gpu", "device"), [(True, "cuda"), (False, "cpu")])
def test_chooses_the_gpu_where_there_is_one_and_says_so(monkeypatch, capsys, gpu, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    assert choose_device() == device
    assert capsys.readouterr().out == f"{VERSIONS} {'cuda (Tesla T4)' if gpu else 'cpu'}\n"


def test_torch_takes_no_more_threads_than_this_process_may_use(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    choose_device()
    assert asked == [2]


def test_says_how_to_get_a_gpu_only_on_colab_and_only_without_one(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    for gpu, said in ((False, f"cpu\n{GPU_ADVICE}"), (True, "cuda (Tesla T4)")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        choose_device()
        assert capsys.readouterr().out == f"{VERSIONS} {said}\n"
