"""`elfw pretrain efficient_unet`: masks learned from rendered faces, by an encoder that knows ImageNet.

In two stages, the second gentler and on faces nearer to photos. AdamW, a learning rate that rises and then
falls along a cosine, losses weighted by class, and an average of the weights over the last steps, which is
what is handed on and stored. Images stay on the device as uint8, and nothing is
read back from a GPU before an epoch ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.transforms.functional import normalize
from tqdm import tqdm

from elfw_course.weights.pretraining import (
    FEWEST_FACES,
    PRETRAINING_SEED,
    prepare_faces,
    rate_factor,
    require_faces,
)
from elfw_course.weights.randomisation import randomise_batch, render_backgrounds
from elfw_course.weights.release import measure_prior_shift, subtract_from_logits
from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD
from elfw_helpers.data.labels import PIXEL_CLASSES
from elfw_helpers.models.hub import ModelCard, store_model
from elfw_helpers.models.segmentation import EfficientUNet
from elfw_helpers.rendering.ingredients import INGREDIENTS
from elfw_helpers.training.checkpoints import TrainingState, load_checkpoint, save_checkpoint
from elfw_helpers.training.loop import keep_freed_memory
from elfw_helpers.utils.device import best_device, compute_logits, memory_advice
from elfw_helpers.utils.errors import TrainingError
from elfw_helpers.utils.fingerprints import fingerprint

# Side of the inputs, pixels.
SIZE = 96
BATCH_SIZE = 64
# The way down knows ImageNet already.
ENCODER_RATE = 0.5  # of a stage's highest rate
WEIGHT_DECAY = 0.02
LONGEST_GRADIENT = 2.0
# The share of all steps that the stored weights are an average of.
AVERAGED = 0.02
BACKGROUNDS = 600
# How much of the prior shift is corrected: more than 1, for the loss's weights overrate rare classes too. The
# best for mean IoU, in steps of a quarter, on the half of the photos that
# `benchmarks/masks_on_photos.py` keeps for choosing.
PRIOR_STRENGTH = 2.0
# A GPU rounds to three digits where that does no harm.
PRECISION = {"cuda": torch.bfloat16, "cpu": torch.float32}


@dataclass(frozen=True)
class Stage:
    """A part of the training.

    Attributes:
        ingredients: of the renderer, for this stage's faces.
        share: how many faces are rendered for it, of those asked for.
        samples: how many faces are seen in all, changed anew every time, by kind of device.
        peak_rate: the highest learning rate.
    """

    ingredients: tuple[str, ...]
    share: float
    samples: Mapping[str, int]
    peak_rate: float


STAGES = (
    # 18 minutes of two cores; by its rate 3 of an H100.
    Stage((), 1.0, {"cuda": 480_000, "cpu": 76_800}, 1.5e-3),
    Stage(tuple(INGREDIENTS), 0.5, {"cuda": 90_000, "cpu": 14_400}, 6e-4),
)


def make_efficient_unet(faces: int, out: Path, work: Path, replace: bool = False) -> None:
    """Render faces, train on them, and store the network with its card.

    The same call goes on where one that was interrupted stopped. Arguments and errors are those of
    `pretraining.pretrain`; WeightsError also without ImageNet's weights.
    """
    # Before the first stage works for an hour: the last one has the fewest faces.
    require_faces(faces, math.ceil(FEWEST_FACES / min(stage.share for stage in STAGES)))
    device, network, seen = best_device(), None, 0
    for stage in STAGES:
        folder = prepare_faces(round(stage.share * faces), out, work, replace, stage.ingredients)
        loaded, chosen = folder.preload(SIZE), folder.split().train
        images, masks = loaded.images[chosen].to(device), loaded.masks[chosen].to(device)
        network = train_masks(images, masks, work / "training", stage, network)
        seen += len(images)
    subtract_from_logits(network, PRIOR_STRENGTH * measure_prior_shift(masks))
    card = ModelCard(
        architecture="efficient_unet",
        classes=PIXEL_CLASSES,
        size=SIZE,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        trained_on=f"{seen} rendered faces, on an encoder pre-trained on ImageNet",
    )
    store_model(network, card, out, replace=replace)


def train_masks(
    images: Tensor, masks: Tensor, checkpoint: Path, stage: Stage, start: EfficientUNet | None = None
) -> EfficientUNet:
    """Return the network trained on faces, on their device: the average of its last weights.

    Args:
        images: uint8 [N, S, S, 3].
        masks: uint8 [N, S, S].
        checkpoint: folder; training is saved there after every epoch, and resumed.
        start: the network to go on from, which is left as it is; None for ImageNet's weights.
    """
    keep_freed_memory()
    device = images.device
    epochs = max(1, round(stage.samples[device.type] / len(images)))
    network, average, optimizer = start_training(device, epochs * count_steps(images), stage.peak_rate, start)
    state = TrainingState(network, optimizer)
    folder = checkpoint / fingerprint(train_epoch, epochs, network, optimizer.defaults, images, masks)
    losses = load_checkpoint(folder, state, {"train_loss": []})["train_loss"]
    if state.best:
        average.module.load_state_dict(state.best)
        average.n_averaged.fill_(len(losses))
    faces = images, masks, render_backgrounds(BACKGROUNDS, images.shape[1]).to(device), weigh_classes(masks)
    bar = tqdm(total=epochs * len(images), initial=len(losses) * len(images), unit="face")
    with bar, fast_arithmetic(), memory_advice(BATCH_SIZE):
        while len(losses) < epochs:
            losses.append(train_epoch(network, average, optimizer, faces, len(losses), epochs))
            # The average is saved as the best weights: it is what would be stored now.
            state.best = average.module.state_dict()
            save_checkpoint(folder, state, {"train_loss": losses})
            bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
            bar.update(len(images))
    return average.module


def start_training(
    device: torch.device, steps: int, peak_rate: float, start: EfficientUNet | None
) -> tuple[EfficientUNet, AveragedModel, torch.optim.AdamW]:
    """Return a network, like `start` or ImageNet's, the average of its weights, and its optimizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(PRETRAINING_SEED)
        network = EfficientUNet(len(PIXEL_CLASSES), weights="imagenet")
    if start is not None:
        network.load_state_dict(start.state_dict())
    network.to(device, memory_format=torch.channels_last)
    decay = get_ema_multi_avg_fn(max(0.0, 1 - 1 / (AVERAGED * steps)))
    average = AveragedModel(network, multi_avg_fn=decay, use_buffers=True)
    # It is looked at in every step, which would make a GPU wait.
    average.n_averaged = average.n_averaged.cpu()
    decoder = [*network.up.parameters(), *network.head.parameters()]
    groups = [
        {"params": list(network.encoder.parameters()), "peak": ENCODER_RATE * peak_rate},
        {"params": decoder, "peak": peak_rate},
    ]
    return network, average, torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)


def train_epoch(
    network: EfficientUNet,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
    faces: tuple[Tensor, ...],
    epoch: int,
    epochs: int,
) -> float:
    """Make one pass over the faces, and return their mean loss; raise TrainingError if it is not finite.

    Args:
        faces: images, masks, backgrounds and weights of the classes, on the network's device.
    """
    network.train()
    steps, losses = count_steps(faces[0]), []
    for number, (inputs, targets) in enumerate(draw_batches(*faces[:3], epoch)):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate_factor(epoch * steps + number, epochs * steps)
        logits = compute_logits(network, inputs, PRECISION[inputs.device.type])
        loss = cross_entropy(logits, targets, faces[3])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), LONGEST_GRADIENT)
        optimizer.step()
        average.update_parameters(network)
        losses.append(loss.detach())
    mean = torch.stack(losses).mean().item()
    if not math.isfinite(mean):
        raise TrainingError(f"the loss of epoch {epoch + 1} is {mean}: lower its peak_rate")
    return mean


def draw_batches(
    images: Tensor, masks: Tensor, backgrounds: Tensor, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the shuffled, randomised and normalised batches of an epoch, which alone decides them."""
    device = images.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(1_000_003 * PRETRAINING_SEED + epoch)
        order = torch.randperm(len(images), device=device)
        # All of one size, for which the GPU's kernels were chosen; a few faces wait for the next epoch.
        for chosen in order[: count_steps(images) * BATCH_SIZE].split(BATCH_SIZE):
            inputs, targets = randomise_batch(images[chosen], masks[chosen], backgrounds)
            inputs = normalize(inputs, IMAGENET_MEAN, IMAGENET_STD)
            yield inputs.contiguous(memory_format=torch.channels_last), targets


def count_steps(images: Tensor) -> int:
    """Return the number of batches in an epoch."""
    return max(1, len(images) // BATCH_SIZE)


def weigh_classes(masks: Tensor) -> Tensor:
    """Return each class's weight, float32 [7]: one over the root of its share of pixels, 1 on average."""
    shares = torch.stack([(masks == label).double().mean() for label in range(len(PIXEL_CLASSES))])
    # A class that no face shows would weigh infinitely much.
    weights = shares.clamp(min=1e-4).rsqrt()
    return (weights / (weights * shares).sum()).float()


@contextmanager
def fast_arithmetic() -> Iterator[None]:
    """Let a GPU take its fastest kernels for a while, whose sums differ from run to run."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=True):
        yield
