"""How the trained networks that ship with the course are made: from rendered faces alone.

Two small ones are trained whole; ResNet-18 gets a last layer on the backbone that `pretraining` makes. No
photo goes into them, so the weights are free to use. `trained` stores and loads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from elfw_course.weights.pretraining import PRETRAINING_SEED, RENDER_SIZE
from elfw_helpers.augmentation import shake_faces
from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches, channel_statistics
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.labels import ATTRIBUTES, EYEWEAR, PIXEL_CLASSES, WEARABLE
from elfw_helpers.models import resnet18
from elfw_helpers.models.hub import NETWORKS, ModelCard, store_model
from elfw_helpers.models.transfer import extract_features
from elfw_helpers.rendering import render_folder
from elfw_helpers.training.loop import fit
from elfw_helpers.training.segmentation import cosine_schedule
from elfw_helpers.utils.device import best_device
from elfw_helpers.utils.errors import WeightsError

# How many photos of life show eyewear and headwear: the share of CelebA's 202,599 photos by its list of
# attributes. Source: Liu et al. (2015), https://arxiv.org/abs/1411.7766
LIFE_EYEWEAR, LIFE_HEADWEAR = 0.065, 0.048
# Side of ResNet-18's inputs: the largest that its backbone was pre-trained at, pixels.
HEAD_SIZE = 64


@dataclass(frozen=True)
class Stage:
    """One stretch of training: side of the inputs in pixels, how many samples are seen, first learning rate.

    The rate falls along half a cosine to nearly 0.
    """

    size: int
    samples: int
    lr: float


@dataclass(frozen=True)
class ShippedNetwork:
    """What is trained, and how: by SGD with momentum 0.9 in batches of 32, on faces shaken anew.

    Attributes:
        architecture, options: as in `ModelCard`.
        classes: PIXEL_CLASSES or ATTRIBUTES.
        stages: one after the other; the last one's size is what the network is for.
        weight_decay: of SGD.
    """

    architecture: str
    classes: tuple[str, ...]
    stages: tuple[Stage, ...]
    options: dict = field(default_factory=dict)
    weight_decay: float = 1e-4

    @property
    def of_pixels(self) -> bool:
        """Whether it answers for every pixel."""
        return self.classes == PIXEL_CLASSES


SHIPPED = {
    "mini_network": ShippedNetwork("mini_network", ATTRIBUTES, (Stage(64, 100_000, 3e-3),)),
    # Small pictures first: most of what there is to learn shows there, at less than half the time.
    "unet": ShippedNetwork(
        "unet", PIXEL_CLASSES, (Stage(64, 60_000, 0.1), Stage(96, 40_000, 0.05)), {"width": 12}
    ),
}


def make_shipped(name: str, faces: int, out: Path, work: Path, replace: bool = False) -> None:
    """Render faces, train one of the small networks on them, and store it with its card.

    The same call goes on where one that was interrupted stopped.

    Args:
        name: "mini_network" or "unet".
        faces: how many to render; eight in ten are trained on.
        out: the file of weights.
        work: folder for the faces and the checkpoints.
        replace: overwrite `out` if it is there.

    Raises:
        WeightsError: `out` exists and is not to be replaced.
    """
    folder = prepare_faces(faces, out, work, replace)
    plan = SHIPPED[name]
    network, mean, std = train_stages(plan, folder, work / "training")
    card = ModelCard(
        architecture=plan.architecture,
        options=plan.options,
        classes=plan.classes,
        size=plan.stages[-1].size,
        mean=tuple(mean),
        std=tuple(std),
        trained_on=describe_faces(folder),
    )
    store_model(network, card, out, replace=replace)


def prepare_faces(faces: int, out: Path, work: Path, replace: bool) -> FaceFolder:
    """Return the rendered faces to train on, by their masks; raise WeightsError if `out` is in the way."""
    if out.exists() and not replace:
        raise WeightsError(f"{out} exists. Name another file with --out, or overwrite it with --replace")
    root = render_folder(work / "faces", faces, seed=PRETRAINING_SEED, size=RENDER_SIZE)
    # By the masks: labels.txt of a rendered folder has wrong attributes on purpose.
    return FaceFolder(root, labels_file="no-labels.txt")


def describe_faces(folder: FaceFolder) -> str:
    """Return the sentence of a card that says what was trained on."""
    return f"{len(folder.split().train)} rendered faces; no photo"


def make_head(faces: int, out: Path, work: Path, replace: bool = False) -> None:
    """Fit a last layer for the attributes on the frozen backbone of ResNet-18, and store it with its card.

    The layer is a logistic regression on the backbone's features: a convex problem, solved in a minute.

    Args:
        faces, out, work, replace: as for `make_shipped`.

    Raises:
        WeightsError: `out` exists and is not to be replaced, or the backbone cannot be had.
    """
    folder = prepare_faces(faces, out, work, replace)
    network, tensors, chosen = resnet18(weights="rendered"), folder.preload(HEAD_SIZE), folder.split().train
    words, statistics = tensors.attributes[chosen], {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    batches = Batches(tensors.images[chosen], words, device=best_device(), **statistics)
    features = extract_features(network, batches).double().numpy()
    # The strongest penalty that the validation split cannot tell from the best one.
    solution = LogisticRegression(C=0.01, max_iter=2000).fit(features, words.numpy())
    with torch.no_grad():
        network.fc.weight.copy_(torch.from_numpy(solution.coef_))
        network.fc.bias.copy_(torch.from_numpy(solution.intercept_))
    correct_for_shares(network.fc, measure_shift(words))
    card = ModelCard(
        architecture="resnet18",
        classes=ATTRIBUTES,
        size=HEAD_SIZE,
        trained_on=describe_faces(folder),
        **statistics,
    )
    store_model(network, card, out, replace=replace)


def train_stages(
    plan: ShippedNetwork, folder: FaceFolder, checkpoint: Path
) -> tuple[nn.Module, list[float], list[float]]:
    """Return the network trained on the training split of a folder, and the mean and deviation it expects."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(PRETRAINING_SEED)
        network = NETWORKS[plan.architecture](len(plan.classes), **plan.options)
    chosen, statistics = folder.split().train, None
    for number, stage in enumerate(plan.stages):
        faces = folder.preload(stage.size)
        images, masks, words = faces.images[chosen], faces.masks[chosen], faces.attributes[chosen]
        if statistics is None:
            statistics = [values.tolist() for values in channel_statistics(images)]
        batches = Batches(
            images,
            masks if plan.of_pixels else words,
            mean=statistics[0],
            std=statistics[1],
            shuffle_seed=PRETRAINING_SEED + number,
            augment=shake_faces,
            device=best_device(),
        )
        epochs = max(1, round(stage.samples / batches.count))
        options = {"lr": cosine_schedule(stage.lr, epochs), "weight_decay": plan.weight_decay}
        fit(network, batches, None, epochs, seed=PRETRAINING_SEED + number, checkpoint=checkpoint, **options)
    correct_for_shares(last_layer(network), measure_shift(masks if plan.of_pixels else words))
    return network, *statistics


def measure_shift(targets: Tensor) -> Tensor:
    """Return by how much a network trained on rendered faces overrates each class in photos, in logits.

    Glasses and caps are made common in rendered faces, so that they can be learned. The logarithm of how much
    commoner a class is than in life, taken from its logit, makes up for it.

    Args:
        targets: class indices of attributes, int64 [N], or masks, uint8 [N, H, W].

    Returns:
        float32, a number a class.

    Source: Saerens et al. (2002), https://doi.org/10.1162/089976602753284446
    """
    if targets.ndim == 1:
        shares = torch.bincount(targets, minlength=len(ATTRIBUTES)) / len(targets)
        return (shares / torch.tensor([1 - LIFE_EYEWEAR - LIFE_HEADWEAR, LIFE_EYEWEAR, LIFE_HEADWEAR])).log()
    shift = torch.zeros(len(PIXEL_CLASSES))
    for label, in_life in ((EYEWEAR, LIFE_EYEWEAR), (WEARABLE, LIFE_HEADWEAR)):
        shown = (targets == label).flatten(1).any(1).double().mean()
        shift[label] = (shown / in_life).log()
    return shift


def last_layer(network: nn.Module) -> nn.Module:
    """Return the layer whose outputs are the logits."""
    return list(network.modules())[-1]


@torch.no_grad()
def correct_for_shares(layer: nn.Module, shift: Tensor) -> None:
    """Take a shift, a number a class, from the logits that a layer gives, once and for all: from its bias."""
    layer.bias -= shift.to(layer.bias)
