"""`elfw pretrain`: pre-trains a ResNet-18 on rendered faces, on the four tasks of `multitask` at once.

The backbone learns what all four tasks need; their heads are thrown away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.transforms.functional import normalize
from tqdm import tqdm

from elfw_course.weights.multitask import (
    ANGLES,
    Faces,
    MultiTaskNetwork,
    Targets,
    TaskScores,
    describe_scores,
    resize_images,
    score_tasks,
    sum_losses,
)
from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.labels import ATTRIBUTES, PIXEL_CLASSES
from elfw_helpers.models.weights import load_weights, store_weights
from elfw_helpers.rendering import render_folder
from elfw_helpers.rendering.manifest import read_manifest, read_parameters
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
EPOCHS = 7
BATCH_SIZE = 64
PEAK_RATE = 0.05
WARM_UP = 0.1  # share of all steps
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4
# Longer gradients are clipped to this: those of the first epochs are 5 to 20 long, and would overshoot.
LONGEST_GRADIENT = 2.0
# One in ten is for validation: of fewer faces that may be none.
FEWEST_FACES = 20
# Thousandths of the mask that a class must cover to count as shown, as for spectacles in the rule.
SHOWN_PER_MILLE = 4
# In a mirror the head turns and tilts the other way, and nods as before.
MIRRORED_ANGLES = (-1.0, 1.0, -1.0)
# Factors on contrast, on brightness and on each channel are drawn from 1 - x to 1 + x.
CONTRAST, BRIGHTNESS, TINT = 0.3, 0.3, 0.1


def pretrain(faces: int, out: Path, work: Path, replace: bool = False) -> list[TaskScores]:
    """Render faces, train on them, store the backbone's weights, and print how well the tasks are solved.

    The same call goes on where one that was interrupted stopped.

    Args:
        faces: how many to render; eight in ten are trained on.
        out: the file of weights; SHA256SUMS beside it gets its checksum.
        work: folder for the faces and the checkpoints.
        replace: overwrite `out` if it is there.

    Returns:
        The scores on the validation split, one per input size, of the weights as they are stored.

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
    model = train_tasks(loaded.take(split.train), work / "training")
    store_weights(model.backbone, out)
    # Scored as stored: rounding to float16 has a cost.
    load_weights(model.backbone, out)
    scores = [score_tasks(model, loaded.take(split.validation), size) for size in INPUT_SIZES]
    print(describe_scores(scores))
    return scores


def prepare_faces(
    faces: int, out: Path, work: Path, replace: bool, ingredients: Sequence[str] = ()
) -> FaceFolder:
    """Return the rendered faces to train on, by their masks; raise WeightsError if `out` is in the way."""
    if out.exists() and not replace:
        raise WeightsError(f"{out} exists. Name another file with --out, or overwrite it with --replace")
    folder = work / ("varied_faces" if ingredients else "faces")
    root = render_folder(folder, faces, PRETRAINING_SEED, RENDER_SIZE, ingredients=ingredients)
    # By the masks: labels.txt of a rendered folder has wrong attributes on purpose.
    return FaceFolder(root, labels_file="no-labels.txt")


def read_faces(folder: FaceFolder) -> Faces:
    """Return the images of a rendered folder with the targets that the renderer knows."""
    size = max(INPUT_SIZES)
    loaded = folder.preload(size)
    listed, parameters = read_manifest(folder.root)["faces"], read_parameters(folder.root)
    poses = [parameters[name].pose for name in loaded.names]
    counts = torch.stack([(loaded.masks == label).sum((1, 2)) for label in range(len(PIXEL_CLASSES))], 1)
    targets = Targets(
        attributes=torch.tensor([ATTRIBUTES.index(listed[name]["attribute"]) for name in loaded.names]),
        shown=(1000 * counts > SHOWN_PER_MILLE * size**2).float(),
        angles=torch.tensor([[getattr(pose, angle) for angle in ANGLES] for pose in poses]),
        masks=loaded.masks,
    )
    return Faces(loaded.images, targets)


def train_tasks(faces: Faces, checkpoint: Path) -> MultiTaskNetwork:
    """Return the network trained on faces, on their device; it is saved after every epoch, and resumed."""
    keep_freed_memory()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(PRETRAINING_SEED)
        model = MultiTaskNetwork()
    model.to(faces.images.device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=PEAK_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )
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
    for step, (inputs, targets) in enumerate(draw_batches(faces, epoch)):
        optimizer.param_groups[0]["lr"] = PEAK_RATE * rate_factor(epoch * steps + step, EPOCHS * steps)
        loss = sum_losses(model(inputs), targets)
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


def draw_batches(faces: Faces, epoch: int) -> Iterator[tuple[Tensor, Targets]]:
    """Yield the shuffled, augmented batches of one epoch; `epoch` alone decides what is drawn."""
    # Drawn on the CPU, so that every device gets the same.
    generator = torch.Generator().manual_seed(1_000_003 * PRETRAINING_SEED + epoch)
    order = torch.randperm(len(faces.images), generator=generator)
    # Parts of nearly equal size: batch normalisation has no variance to divide by in a batch of one.
    for chosen in order.tensor_split(count_steps(faces)):
        size = INPUT_SIZES[int(torch.randint(len(INPUT_SIZES), (), generator=generator))]
        images, targets = faces.take(chosen.to(faces.images.device))
        images, targets = mirror_faces(images, targets, torch.rand(len(images), generator=generator) < 0.5)
        inputs = jitter_colours(resize_images(images, size), generator)
        yield normalize(inputs, IMAGENET_MEAN, IMAGENET_STD), targets


def mirror_faces(images: Tensor, targets: Targets, chosen: Tensor) -> tuple[Tensor, Targets]:
    """Return faces with the `chosen` ones, bool [N], mirrored left to right: image, mask and angles."""
    chosen = chosen.to(images.device)
    signs = targets.angles.new_tensor(MIRRORED_ANGLES)
    return torch.where(chosen[:, None, None, None], images.flip(2), images), targets._replace(
        masks=torch.where(chosen[:, None, None], targets.masks.flip(2), targets.masks),
        angles=torch.where(chosen[:, None], targets.angles * signs, targets.angles),
    )


def jitter_colours(values: Tensor, generator: torch.Generator) -> Tensor:
    """Return images [N, 3, H, W] in 0..1 with contrast, brightness and each channel changed a little."""
    spread = torch.tensor([CONTRAST, BRIGHTNESS, TINT, TINT, TINT])
    factors = 1 + spread * (2 * torch.rand(len(values), len(spread), generator=generator) - 1)
    contrast, brightness, tint = factors.to(values.device)[:, :, None, None].split((1, 1, 3), dim=1)
    mean = values.mean((1, 2, 3), keepdim=True)
    return ((mean + contrast * (values - mean)) * brightness * tint).clamp(0, 1)
