"""`elfw pretrain`: pre-trains a ResNet-18 on rendered faces, to tell the numbers of `targets`.

None of them tells the attribute. The last layer, which gives the numbers, is not stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models import ResNet
from torchvision.transforms.functional import normalize
from tqdm import tqdm

from elfw_course.weights.targets import (
    explain_groups,
    measure_spread,
    mirror_signs,
    stack_targets,
    target_loss,
)
from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.models.classification import resnet18
from elfw_helpers.models.weights import load_weights, store_weights
from elfw_helpers.rendering import render_folder
from elfw_helpers.rendering.manifest import read_parameters
from elfw_helpers.training.checkpoints import TrainingState, load_checkpoint, save_checkpoint
from elfw_helpers.training.loop import keep_freed_memory
from elfw_helpers.utils.device import best_device, exact_arithmetic, memory_advice
from elfw_helpers.utils.errors import TrainingError, WeightsError
from elfw_helpers.utils.fingerprints import fingerprint

# Not the seed of the embedded set: nobody is in both.
PRETRAINING_SEED = 1
# Rendered as large as the embedded set, and shrunk to the largest input: so it is as sharp as a shrunk photo.
RENDER_SIZE = 128
# Sides of the inputs, pixels: one is drawn for each batch, so that the weights serve all of them.
INPUT_SIZES = (32, 48, 64)
EPOCHS = 10
BATCH_SIZE = 64
PEAK_RATE = 1.5e-3
WARM_UP = 0.1  # share of all steps
WEIGHT_DECAY = 0.02
LONGEST_GRADIENT = 2.0
# One in ten is for validation: of fewer faces that may be none.
FEWEST_FACES = 20
# Factors on contrast, on brightness and on each channel are drawn from 1 - x to 1 + x.
CONTRAST, BRIGHTNESS, TINT = 0.3, 0.3, 0.1
SCORED_AT_ONCE = 64


class Faces(NamedTuple):
    """Images, uint8 [N, size, size, 3], and what to learn of them: float32 [N, T], NaN if hidden, T names."""

    images: Tensor
    targets: Tensor
    names: list[str]

    def take(self, chosen: Tensor) -> Faces:
        """Return the faces at some indices."""
        return Faces(self.images[chosen], self.targets[chosen], self.names)

    def to(self, device: str | torch.device) -> Faces:
        """Return the faces on a device."""
        return Faces(self.images.to(device), self.targets.to(device), self.names)


def pretrain(faces: int, out: Path, work: Path, replace: bool = False) -> dict[int, dict[str, float]]:
    """Render faces, train on them, store the backbone's weights, and print how well the numbers are told.

    The same call goes on where one that was interrupted stopped.

    Args:
        faces: how many to render; eight in ten are trained on.
        out: the file of weights; SHA256SUMS beside it gets its checksum.
        work: folder for the faces and the checkpoints.
        replace: overwrite `out` if it is there.

    Returns:
        By input size, the share of the variance explained per group of numbers, on the validation split, of
        the weights as they are stored.

    Raises:
        WeightsError: `out` exists and is not to be replaced.
        DataError: `work` holds something else.
        TrainingError: too few faces, the loss is not finite, or a checkpoint is damaged.
    """
    if faces < FEWEST_FACES:
        raise TrainingError(
            f"{faces} faces are too few to train and validate on: take {FEWEST_FACES} or more"
        )
    folder = prepare_faces(faces, out, work, replace)
    loaded, split = read_faces(folder).to(best_device()), folder.split()
    train, validation = loaded.take(split.train), loaded.take(split.validation)
    model = train_numbers(train, work / "training")
    store_weights(model, out)
    # Scored as stored: rounding to float16 has a cost.
    load_weights(model, out)
    spread = measure_spread(train.targets)
    scores = {size: score_numbers(model, validation, spread, size) for size in INPUT_SIZES}
    print(describe_scores(scores))
    return scores


def prepare_faces(faces: int, out: Path, work: Path, replace: bool) -> FaceFolder:
    """Return the rendered faces to train on, by their masks; raise WeightsError if `out` is in the way."""
    if out.exists() and not replace:
        raise WeightsError(f"{out} exists. Name another file with --out, or overwrite it with --replace")
    root = render_folder(work / "faces", faces, seed=PRETRAINING_SEED, size=RENDER_SIZE)
    # By the masks: labels.txt of a rendered folder has wrong attributes on purpose.
    return FaceFolder(root, labels_file="no-labels.txt")


def read_faces(folder: FaceFolder) -> Faces:
    """Return the images of a rendered folder with the numbers that the renderer knows."""
    loaded, parameters = folder.preload(max(INPUT_SIZES)), read_parameters(folder.root)
    return Faces(loaded.images, *stack_targets([parameters[name] for name in loaded.names]))


def train_numbers(faces: Faces, checkpoint: Path) -> ResNet:
    """Return the network trained on faces, on their device; it is saved after every epoch, and resumed."""
    keep_freed_memory()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(PRETRAINING_SEED)
        model = resnet18(classes=len(faces.names))
    model.to(faces.images.device, memory_format=torch.channels_last)
    # Not SGD: in the mean over so many numbers, each one's gradient is small.
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    state = TrainingState(model, optimizer)
    folder = checkpoint / fingerprint(train_epoch, EPOCHS, model, optimizer.defaults, faces)
    history = load_checkpoint(folder, state, {"train_loss": []})
    steps, losses = count_steps(faces), history["train_loss"]
    bar = tqdm(total=EPOCHS * steps, initial=len(losses) * steps, unit="batch")
    with bar, exact_arithmetic(), memory_advice(BATCH_SIZE):
        while len(losses) < EPOCHS:
            losses.append(train_epoch(model, optimizer, faces, len(losses), bar))
            save_checkpoint(folder, state, history)
            bar.set_postfix(loss=f"{losses[-1]:.3f}")
    return model


def count_steps(faces: Faces) -> int:
    """Return the number of batches in an epoch."""
    return math.ceil(len(faces.images) / BATCH_SIZE)


def train_epoch(
    model: ResNet, optimizer: torch.optim.Optimizer, faces: Faces, epoch: int, bar: tqdm
) -> float:
    """Make one pass over the faces, and return their mean loss; raise TrainingError if it is not finite."""
    model.train()
    steps, total = count_steps(faces), torch.zeros((), device=faces.images.device)
    mean, deviation = measure_spread(faces.targets)
    for step, (inputs, targets) in enumerate(draw_batches(faces, epoch)):
        optimizer.param_groups[0]["lr"] = PEAK_RATE * rate_factor(epoch * steps + step, EPOCHS * steps)
        loss = target_loss(model(inputs), (targets - mean) / deviation)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), LONGEST_GRADIENT)
        optimizer.step()
        total += loss.detach() * len(inputs)
        bar.update()
    if not total.isfinite():
        raise TrainingError(f"the loss of epoch {epoch + 1} is {total.item()}: lower PEAK_RATE")
    return total.item() / len(faces.images)


def rate_factor(step: int, steps: int) -> float:
    """Return the factor on the learning rate: it rises linearly to 1, then falls along half a cosine to 0."""
    warm_up = WARM_UP * steps
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm_up) / (steps - warm_up))


def draw_batches(faces: Faces, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the shuffled, augmented batches of one epoch; `epoch` alone decides what is drawn."""
    # Drawn on the CPU, so that every device gets the same.
    generator = torch.Generator().manual_seed(1_000_003 * PRETRAINING_SEED + epoch)
    order = torch.randperm(len(faces.images), generator=generator)
    signs = mirror_signs(faces.names).to(faces.targets)
    # Parts of nearly equal size: batch normalisation has no variance to divide by in a batch of one.
    for chosen in order.tensor_split(count_steps(faces)):
        size = INPUT_SIZES[int(torch.randint(len(INPUT_SIZES), (), generator=generator))]
        images, targets, _ = faces.take(chosen.to(faces.images.device))
        mirrored = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
        targets = torch.where(mirrored[:, None], targets * signs, targets)
        inputs = jitter_colours(resize_images(images, size), generator)
        yield normalize(inputs, IMAGENET_MEAN, IMAGENET_STD), targets


def resize_images(images: Tensor, size: int) -> Tensor:
    """Return uint8 images [N, H, W, 3] as float32 [N, 3, size, size] in 0..1, resized with antialiasing."""
    values = images.permute(0, 3, 1, 2).float().div_(255)
    return interpolate(values, size=(size, size), mode="bilinear", antialias=True)


def jitter_colours(values: Tensor, generator: torch.Generator) -> Tensor:
    """Return images [N, 3, H, W] in 0..1 with contrast, brightness and each channel changed a little."""
    spread = torch.tensor([CONTRAST, BRIGHTNESS, TINT, TINT, TINT])
    factors = 1 + spread * (2 * torch.rand(len(values), len(spread), generator=generator) - 1)
    contrast, brightness, tint = factors.to(values.device)[:, :, None, None].split((1, 1, 3), dim=1)
    mean = values.mean((1, 2, 3), keepdim=True)
    return ((mean + contrast * (values - mean)) * brightness * tint).clamp(0, 1)


@torch.inference_mode()
def score_numbers(model: ResNet, faces: Faces, spread: tuple[Tensor, Tensor], size: int) -> dict[str, float]:
    """Return the share of the variance explained per group of numbers, at one input size.

    Args:
        spread: the mean and the deviation of the numbers that the network was trained with.
    """
    model.eval()
    with exact_arithmetic(), memory_advice(SCORED_AT_ONCE):
        inputs = (resize_images(part, size) for part in faces.images.split(SCORED_AT_ONCE))
        told = torch.cat([model(normalize(images, IMAGENET_MEAN, IMAGENET_STD)) for images in inputs])
    mean, deviation = spread
    return explain_groups((told * deviation + mean).cpu(), faces.targets.cpu(), faces.names)


def describe_scores(scores: dict[int, dict[str, float]]) -> str:
    """Return a table with one row per input size: the share of the variance explained per group."""
    groups = next(iter(scores.values()))
    lines = ["input  " + "  ".join(f"{group:>10}" for group in groups)]
    lines += [
        f"{size:5}  " + "  ".join(f"{share:10.3f}" for share in row.values()) for size, row in scores.items()
    ]
    return "\n".join(lines)
