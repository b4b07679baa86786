"""`elfw pretrain`: pre-trains a ResNet-18 on rendered faces, to tell the numbers and the mask of `targets`.

None of them tells the attribute. The layers that give them are not stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.transforms.functional import normalize
from tqdm import tqdm

from elfw_course.weights.multitask import MultiTaskNetwork, shrink_masks
from elfw_course.weights.randomisation import to_floats
from elfw_course.weights.targets import (
    MERGED,
    explain_groups,
    measure_spread,
    merge_classes,
    mirror_signs,
    number_loss,
    stack_numbers,
)
from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.evaluation.classification import confusion_matrix
from elfw_helpers.evaluation.segmentation import iou_by_class
from elfw_helpers.models.weights import load_weights, store_weights
from elfw_helpers.rendering import render_folder
from elfw_helpers.rendering.manifest import read_parameters
from elfw_helpers.training.checkpoints import TrainingState, load_checkpoint, save_checkpoint
from elfw_helpers.training.loop import keep_freed_memory
from elfw_helpers.utils.device import best_device, exact_arithmetic, memory_advice
from elfw_helpers.utils.errors import TrainingError
from elfw_helpers.utils.files import require_new_file
from elfw_helpers.utils.fingerprints import fingerprint

# Not the seed of the embedded set: nobody is in both.
PRETRAINING_SEED = 1
# Rendered as large as the embedded set, and shrunk to the input: so it is as sharp as a shrunk photo.
RENDER_SIZE = 128
# Side of the inputs, pixels.
SIZE = 64
EPOCHS = 5
BATCH_SIZE = 32
PEAK_RATE = 1.5e-3
WARM_UP = 0.1  # share of all steps
WEIGHT_DECAY = 0.02
LONGEST_GRADIENT = 2.0
# One in ten is for validation: of fewer faces that may be none.
FEWEST_FACES = 20
# Of the numbers' loss beside the mask's: in a mean over so many, the gradient of each is small.
NUMBERS_WEIGHT = 5.0
SCORED_AT_ONCE = 64


class Faces(NamedTuple):
    """Images of N faces, with what to learn of them.

    Attributes:
        images: uint8 [N, SIZE, SIZE, 3].
        masks: of merged classes, uint8 [N, SIZE, SIZE].
        numbers: float32 [N, T], NaN where hidden.
        names: of the T numbers.
    """

    images: Tensor
    masks: Tensor
    numbers: Tensor
    names: list[str]

    def take(self, chosen: Tensor) -> Faces:
        """Return the faces at some indices."""
        return Faces(self.images[chosen], self.masks[chosen], self.numbers[chosen], self.names)

    def to(self, device: str | torch.device) -> Faces:
        """Return the faces on a device."""
        return Faces(*(tensor.to(device) for tensor in self[:3]), self.names)


def pretrain(faces: int, out: Path, work: Path, replace: bool = False) -> dict[str, float]:
    """Render faces, train on them, store the backbone's weights, and print how well it tells what it learned.

    The same call goes on where one that was interrupted stopped.

    Args:
        faces: how many to render; eight in ten are trained on.
        out: the file of weights; SHA256SUMS beside it gets its checksum.
        work: folder for the faces and the checkpoints.
        replace: overwrite `out` if it is there.

    Returns:
        Of the validation split and the weights as they are stored: per group of numbers the share of the
        variance explained, and the mean IoU of the coarse mask.

    Raises:
        DataError: `out` exists and is not to be replaced, or `work` holds something else.
        TrainingError: too few faces, the loss is not finite, or a checkpoint is damaged.
    """
    folder = prepare_faces(faces, out, work, replace)
    loaded, split = read_faces(folder).to(best_device()), folder.split()
    train = loaded.take(split.train)
    model = train_tasks(train, work / "training")
    store_weights(model.backbone, out)
    # Scored as stored: rounding to float16 has a cost.
    load_weights(model.backbone, out)
    scores = score_tasks(model, loaded.take(split.validation), measure_spread(train.numbers))
    print("\n".join(f"{name:<12}{share:6.3f}" for name, share in scores.items()))
    return scores


def prepare_faces(
    faces: int, out: Path, work: Path, replace: bool, ingredients: Sequence[str] = ()
) -> FaceFolder:
    """Return the rendered faces to train on, by their masks.

    Raises:
        DataError: `out` is in the way, or cannot be written.
        TrainingError: they would be too few.
    """
    require_faces(faces)
    require_new_file(out, replace)
    folder = work / ("varied_faces" if ingredients else "faces")
    root = render_folder(folder, faces, PRETRAINING_SEED, RENDER_SIZE, ingredients=ingredients)
    # By the masks: labels.txt of a rendered folder has wrong attributes on purpose.
    return FaceFolder(root, labels_file="no-labels.txt")


def require_faces(faces: int, fewest: int = FEWEST_FACES) -> None:
    """Raise TrainingError if too few faces are to be rendered."""
    if faces < fewest:
        found = f"{faces} face{' is' if faces == 1 else 's are'} too few to train and validate on"
        raise TrainingError(f"{found}. Take --faces {fewest} or more")


def read_faces(folder: FaceFolder) -> Faces:
    """Return the images of a rendered folder with what the renderer knows of them."""
    loaded, parameters = folder.preload(SIZE), read_parameters(folder.root)
    numbers, names = stack_numbers([parameters[name] for name in loaded.names])
    return Faces(loaded.images, merge_classes(loaded.masks), numbers, names)


def train_tasks(faces: Faces, checkpoint: Path) -> MultiTaskNetwork:
    """Return the network trained on faces, on their device; it is saved after every epoch, and resumed."""
    keep_freed_memory()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(PRETRAINING_SEED)
        model = MultiTaskNetwork(len(faces.names))
    model.to(faces.images.device, memory_format=torch.channels_last)
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
    model: MultiTaskNetwork, optimizer: torch.optim.Optimizer, faces: Faces, epoch: int, bar: tqdm
) -> float:
    """Make one pass over the faces, and return their mean loss; raise TrainingError if it is not finite."""
    model.train()
    steps, total = count_steps(faces), torch.zeros((), device=faces.images.device)
    mean, deviation = measure_spread(faces.numbers)
    for step, (inputs, masks, numbers) in enumerate(draw_batches(faces, epoch)):
        optimizer.param_groups[0]["lr"] = PEAK_RATE * rate_factor(epoch * steps + step, EPOCHS * steps)
        told, pixels = model(inputs)
        loss = cross_entropy(pixels, shrink_masks(masks, pixels.shape[-1]))
        loss = loss + NUMBERS_WEIGHT * number_loss(told, (numbers - mean) / deviation)
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


def draw_batches(faces: Faces, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield inputs, masks and numbers in shuffled batches, half of them mirrored; `epoch` alone decides them.

    Colours are left alone, for the network is to tell them.
    """
    # Drawn on the CPU, so that every device gets the same.
    generator = torch.Generator().manual_seed(1_000_003 * PRETRAINING_SEED + epoch)
    order = torch.randperm(len(faces.images), generator=generator)
    signs = mirror_signs(faces.names).to(faces.numbers)
    # Parts of nearly equal size: batch normalisation has no variance to divide by in a batch of one.
    for chosen in order.tensor_split(count_steps(faces)):
        images, masks, numbers, _ = faces.take(chosen.to(faces.images.device))
        mirrored = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)[:, None]
        images = torch.where(mirrored[:, None, None], images.flip(2), images)
        masks = torch.where(mirrored[:, None], masks.flip(2), masks)
        numbers = torch.where(mirrored, numbers * signs, numbers)
        yield normalize(to_floats(images), IMAGENET_MEAN, IMAGENET_STD), masks, numbers


@torch.inference_mode()
def score_tasks(model: MultiTaskNetwork, faces: Faces, spread: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Return the share of the variance explained per group of numbers, and the mask's mean IoU.

    Args:
        spread: the mean and the deviation of the numbers that the network was trained with.
    """
    model.eval()
    with exact_arithmetic(), memory_advice(SCORED_AT_ONCE):
        inputs = (
            normalize(to_floats(part), IMAGENET_MEAN, IMAGENET_STD)
            for part in faces.images.split(SCORED_AT_ONCE)
        )
        told, pixels = (torch.cat(one).cpu() for one in zip(*map(model, inputs), strict=True))
    mean, deviation = (values.cpu() for values in spread)
    explained = explain_groups(told * deviation + mean, faces.numbers.cpu(), faces.names)
    masks = shrink_masks(faces.masks.cpu(), pixels.shape[-1])
    matrix = confusion_matrix(masks, pixels.argmax(1), max(MERGED) + 1)
    return explained | {"coarse mask": float(np.nanmean(iou_by_class(matrix)))}
