"""Attacks on the exercises of notebook 03, which load torch."""

from __future__ import annotations

import json
from pathlib import Path

from tests.course.grading.hostile.submissions import PROBABILITY, SIZE, marked, notebook

STEP = """\
def training_step(network, optimizer, images, targets):
    optimizer.zero_grad()
    loss = cross_entropy(network(images), targets)
    loss.backward()
    optimizer.step()
    return loss.item()
"""
WRONG = "def training_step(network, optimizer, images, targets):\n    return {}\n"
# By name: the cell of training_step, the status and the points of that exercise.
TORCH_CASES = {
    "honest": (STEP, "graded", 6),
    "lying tensor": (
        "class Lies(torch.Tensor):\n    __eq__ = __lt__ = lambda *_: True\n"
        "    def __float__(self): return 0.0\n    def __abs__(self): return 0.0\n"
        + WRONG.format("torch.zeros(1).as_subclass(Lies)"),
        "graded",
        0,
    ),
    "patched torch": (
        "zero = torch.zeros(())\nfor name in ('item', 'tolist', 'max', 'abs', '__sub__', '__eq__'):\n"
        "    setattr(torch.Tensor, name, lambda *_: zero)\ntorch.equal = torch.allclose = lambda *_: True\n"
        + WRONG.format("'float'"),
        "graded",
        0,
    ),
    "memory of torch": (
        "hogs = []\nwhile True: hogs.append(torch.ones(1 << 24))\n" + STEP,
        "graded in part",
        6,
    ),
    "never steps": (STEP.replace("    optimizer.step()\n", ""), "graded", 1),
    "never forgets": (STEP.replace("    optimizer.zero_grad()\n", ""), "graded", 2),
}


def write_torch_cases(folder: Path) -> None:
    """Write a submission for each of TORCH_CASES; its other two exercises are honest."""
    folder.mkdir()
    for name, (step, *_) in TORCH_CASES.items():
        cells = [marked("conv_output_size", SIZE), marked("probability_from_loss", PROBABILITY)]
        cells.append(marked("training_step", step))
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook(cells)), encoding="utf-8")
