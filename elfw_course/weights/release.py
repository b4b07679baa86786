"""`elfw pretrain`: the networks that give a face an attribute, learned from rendered faces alone.

The mini network is trained whole; ResNet-18 gets a last layer on the backbone that `pretraining` makes, and
EfficientNet-Lite0 one on the way down of the U-Net that `masks` makes. No photo of a face goes into them.
"""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from elfw_course.weights.pretraining import PRETRAINING_SEED, prepare_faces
from elfw_helpers.augmentation import augment_batch
from elfw_helpers.data.batches import IMAGENET_MEAN, IMAGENET_STD, Batches, channel_statistics
from elfw_helpers.data.labels import ATTRIBUTES, EYEWEAR, PIXEL_CLASSES, WEARABLE
from elfw_helpers.models.classification import mini_network
from elfw_helpers.models.hub import BACKBONES, ModelCard, store_model
from elfw_helpers.models.transfer import extract_features
from elfw_helpers.training.loop import fit
from elfw_helpers.training.segmentation import cosine_schedule
from elfw_helpers.utils.device import best_device

# The shares of photos that show eyewear and headwear: of CelebA's 202,599, by its list of attributes.
# Source: Liu et al. (2015), https://arxiv.org/abs/1411.7766
EYEWEAR_IN_PHOTOS, HEADWEAR_IN_PHOTOS = 0.065, 0.048
# The mini network: side of its inputs, how many it sees, and its first learning rate, of half a cosine.
MINI_SIZE, MINI_SAMPLES, MINI_RATE = 64, 100_000, 3e-3
TRAINED_ON = "{} rendered faces; no photo"
# Of a last layer: the side of the inputs that its backbone learned from, pixels; the inverse of the penalty,
# of three values the best for `efficient_attributes`, with rendered faces and photos in view; and the data.
LAST_LAYERS = {
    "resnet18": (64, 3e-3, TRAINED_ON),
    "efficient_attributes": (96, 3e-3, "{} rendered faces, on an encoder pre-trained on ImageNet"),
}


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


def make_last_layer(architecture: str, faces: int, out: Path, work: Path, replace: bool = False) -> None:
    """Fit a last layer for the attributes on a frozen backbone of the course, and store it with its card.

    The layer is a logistic regression on the backbone's features: a convex problem, solved in a minute.
    Other arguments and errors are those of `make_mini_network`; WeightsError also if there is no backbone.

    Args:
        architecture: "resnet18" or "efficient_attributes".
    """
    size, strength, trained_on = LAST_LAYERS[architecture]
    folder = prepare_faces(faces, out, work, replace)
    network, tensors, chosen = BACKBONES[architecture](), folder.preload(size), folder.split().train
    attributes, statistics = tensors.attributes[chosen], {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    batches = Batches(tensors.images[chosen], attributes, device=best_device(), **statistics)
    features = extract_features(network, batches).double().numpy()
    scale = StandardScaler().fit(features)
    solution = LogisticRegression(C=strength, max_iter=2000).fit(scale.transform(features), attributes)
    # The scale goes into the layer.
    weights = solution.coef_ / scale.scale_
    with torch.no_grad():
        network.fc.weight.copy_(torch.from_numpy(weights))
        network.fc.bias.copy_(torch.from_numpy(solution.intercept_ - weights @ scale.mean_))
    subtract_from_logits(network, measure_prior_shift(attributes))
    card = ModelCard(
        architecture=architecture,
        classes=ATTRIBUTES,
        size=size,
        trained_on=trained_on.format(len(chosen)),
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
