"""`elfw pretrain`: the networks that give a face an attribute, learned from rendered faces alone.

The mini network is trained whole; ResNet-18 gets a last layer on the backbone that `pretraining` makes. No
photo goes into them, so the weights are free to use.
"""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from elfw_course.weights.pretraining import PRETRAINING_SEED, prepare_faces
from elfw_helpers.augmentation import augment_batch
from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches, channel_statistics
from elfw_helpers.data.labels import ATTRIBUTES, EYEWEAR, PIXEL_CLASSES, WEARABLE
from elfw_helpers.models.classification import mini_network, resnet18
from elfw_helpers.models.hub import ModelCard, store_model
from elfw_helpers.models.transfer import extract_features
from elfw_helpers.training.loop import fit
from elfw_helpers.training.segmentation import cosine_schedule
from elfw_helpers.utils.device import best_device

# The shares of photos that show eyewear and headwear: of CelebA's 202,599, by its list of attributes.
# Source: Liu et al. (2015), https://arxiv.org/abs/1411.7766
EYEWEAR_IN_PHOTOS, HEADWEAR_IN_PHOTOS = 0.065, 0.048
# Side of ResNet-18's inputs: the largest that its backbone was pre-trained at, pixels.
HEAD_SIZE = 64
# The mini network: side of its inputs, how many it sees, and its first learning rate, of half a cosine.
MINI_SIZE, MINI_SAMPLES, MINI_RATE = 64, 100_000, 3e-3
TRAINED_ON = "{} rendered faces; no photo"


def make_mini_network(faces: int, out: Path, work: Path, replace: bool = False) -> None:
    """Render faces, train the mini network on them, and store it with its card.

    The same call goes on where one that was interrupted stopped. Arguments and errors are those of
    `pretraining.pretrain`.
    """
    folder = prepare_faces(faces, out, work, replace)
    loaded, chosen = folder.preload(MINI_SIZE), folder.split().train
    images, attributes = loaded.images[chosen], loaded.attributes[chosen]
    mean, std = (tuple(values.tolist()) for values in channel_statistics(images))
    batches = Batches(
        images,
        attributes,
        mean=mean,
        std=std,
        shuffle_seed=PRETRAINING_SEED,
        augment=augment_batch,
        device=best_device(),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(PRETRAINING_SEED)
        network = mini_network()
    epochs = max(1, round(MINI_SAMPLES / len(images)))
    options = {
        "lr": cosine_schedule(MINI_RATE, epochs),
        "weight_decay": 1e-4,
        "checkpoint": work / "training",
    }
    fit(network, batches, None, epochs, seed=PRETRAINING_SEED, **options)
    subtract_from_logits(network, measure_prior_shift(attributes))
    card = ModelCard(
        architecture="mini_network",
        classes=ATTRIBUTES,
        size=MINI_SIZE,
        mean=mean,
        std=std,
        trained_on=TRAINED_ON.format(len(images)),
    )
    store_model(network, card, out, replace=replace)


def make_resnet18_attributes(faces: int, out: Path, work: Path, replace: bool = False) -> None:
    """Fit a last layer for the attributes on the frozen backbone of ResNet-18, and store it with its card.

    The layer is a logistic regression on the backbone's features: a convex problem, solved in a minute.
    Arguments and errors are those of `make_mini_network`; WeightsError also if there is no backbone.
    """
    folder = prepare_faces(faces, out, work, replace)
    network, tensors, chosen = resnet18(weights="rendered"), folder.preload(HEAD_SIZE), folder.split().train
    attributes, statistics = tensors.attributes[chosen], {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    batches = Batches(tensors.images[chosen], attributes, device=best_device(), **statistics)
    features = extract_features(network, batches).double().numpy()
    # The strongest penalty that the validation split cannot tell from the best one.
    solution = LogisticRegression(C=0.01, max_iter=2000).fit(features, attributes.numpy())
    with torch.no_grad():
        network.fc.weight.copy_(torch.from_numpy(solution.coef_))
        network.fc.bias.copy_(torch.from_numpy(solution.intercept_))
    subtract_from_logits(network, measure_prior_shift(attributes))
    card = ModelCard(
        architecture="resnet18",
        classes=ATTRIBUTES,
        size=HEAD_SIZE,
        trained_on=TRAINED_ON.format(len(chosen)),
        **statistics,
    )
    store_model(network, card, out, replace=replace)


def measure_prior_shift(targets: Tensor) -> Tensor:
    """Return the prior shift from rendered faces to photos, per class: what to subtract from its logit.

    Glasses and caps are made common in rendered faces, so that they can be learned; a network trained on them
    overrates both in photos, by the logarithm of how much commoner they are than there.

    Args:
        targets: class indices of attributes, int64 [N], or masks, uint8 [N, H, W].

    Returns:
        float32, one number per class.

    Source: Saerens et al. (2002), https://doi.org/10.1162/089976602753284446
    """
    if targets.ndim == 1:
        shares = torch.bincount(targets, minlength=len(ATTRIBUTES)) / len(targets)
        in_photos = (
            1 - EYEWEAR_IN_PHOTOS - HEADWEAR_IN_PHOTOS,
            EYEWEAR_IN_PHOTOS,
            HEADWEAR_IN_PHOTOS,
        )
        return (shares / torch.tensor(in_photos)).log()
    shift = torch.zeros(len(PIXEL_CLASSES))
    for label, in_photos in ((EYEWEAR, EYEWEAR_IN_PHOTOS), (WEARABLE, HEADWEAR_IN_PHOTOS)):
        shown = (targets == label).flatten(1).any(1).double().mean()
        shift[label] = (shown / in_photos).log()
    return shift


@torch.no_grad()
def subtract_from_logits(network: nn.Module, shift: Tensor) -> None:
    """Subtract a shift, one number per class, from all logits for good: from the last layer's bias."""
    last_layer = list(network.modules())[-1]
    last_layer.bias -= shift.to(last_layer.bias)
