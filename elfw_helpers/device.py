"""The device that a notebook's networks run on, as its first cell says it."""

from __future__ import annotations

import platform
import sys

import joblib
import torch

GPU_ADVICE = "No GPU: the CPU will do. To get one: Runtime -> Change runtime type -> GPU, then start again."


def best_device() -> str:
    """Return "cuda" where a GPU can be used, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_device() -> str:
    """Print what this notebook runs on, and have torch take no more threads than there are cores for it.

    Of a container's quota, a share of the machine's time, torch knows nothing.

    Returns:
        The device for its networks: "cuda" where a GPU can be used, else "cpu".
    """
    torch.set_num_threads(min(torch.get_num_threads(), joblib.cpu_count()))
    device = best_device()
    print(describe_device(device))
    return device


def describe_device(device: str) -> str:
    """Name the versions, the device and the GPU; on Colab without a GPU, say how to get one.

    Args:
        device: "cuda" or "cpu".

    Returns:
        One line, or two with the advice.
    """
    gpu = f" ({torch.cuda.get_device_name(device)})" if device == "cuda" else ""
    line = f"Python {platform.python_version()}, torch {torch.__version__}, device {device}{gpu}"
    return f"{line}\n{GPU_ADVICE}" if device == "cpu" and "google.colab" in sys.modules else line
