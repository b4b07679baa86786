"""Makes what the experiment of 09 is judged on: `python grading/make_logits.py` writes two files here.

They hold the mini network's logits of rendered faces, rounded to three digits. `train_logits` and
`train_labels` are of all skin tones, with attributes as common as in the embedded set; `logits` are of dark
ones, with attributes equally common.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from elfw_helpers.data.batches import Batches
from elfw_helpers.data.labels import ATTRIBUTES, attribute_from_mask
from elfw_helpers.models.hub import load_model
from elfw_helpers.rendering.face import render_face
from elfw_helpers.training.loop import predict_logits


def make_logits(seed: int, counts: tuple[int, ...], tones: tuple[float, float]) -> tuple:
    """Render so many faces of each attribute, and return the network's logits [N, 3] and attributes [N]."""
    generator, images, labels, place = np.random.default_rng(seed), [], [], seed
    for attribute, count in enumerate(counts):
        while labels.count(attribute) < count:
            place, tone = place + 1, round(float(generator.uniform(*tones)), 4)
            face = render_face(place, 64, attribute=ATTRIBUTES[attribute], identity={"skin_tone": tone})
            if attribute_from_mask(face.mask) == attribute:
                images.append(face.image)
                labels.append(attribute)
    order = generator.permutation(len(images))
    pictures, targets = torch.from_numpy(np.stack(images))[order], torch.tensor(labels)[order]
    model = load_model("mini_network")
    batches = Batches(pictures, targets, mean=model.card.mean, std=model.card.std)
    return predict_logits(model.network, batches).numpy().round(3), targets.numpy()


def main() -> None:
    """Write both files."""
    folder = Path(__file__).parent
    known, labels = make_logits(70_000_000, (360, 120, 120), (0, 1))
    hidden, truth = make_logits(71_000_000, (150, 150, 150), (0.8, 1))
    np.savez_compressed(folder / "09_logits.npz", train_logits=known, train_labels=labels, logits=hidden)
    np.savez_compressed(folder / "09_truth.npz", truth=truth)


if __name__ == "__main__":
    main()
