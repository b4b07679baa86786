"""The network that `pretraining` trains: a ResNet-18 that tells numbers of a face and a coarse mask."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import interpolate

from elfw_course.weights.targets import MERGED
from elfw_helpers.models.classification import resnet18

DECODER_CHANNELS = 64


class MultiTaskNetwork(nn.Module):
    """ResNet-18 with a linear layer for the numbers, and a feature pyramid for the mask.

    Args:
        numbers: how many.

    Source: Lin et al. (2016), https://arxiv.org/abs/1612.03144
    """

    def __init__(self, numbers: int):
        super().__init__()
        self.backbone = resnet18(classes=numbers)
        features = self.backbone.fc.in_features
        self.lateral = nn.ModuleList(
            nn.Conv2d(features >> step, DECODER_CHANNELS, kernel_size=1) for step in (3, 2, 1, 0)
        )
        self.smooth = nn.Conv2d(DECODER_CHANNELS, DECODER_CHANNELS, kernel_size=3, padding=1)
        self.pixels = nn.Conv2d(DECODER_CHANNELS, max(MERGED) + 1, kernel_size=1)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return numbers [N, T] and logits of pixels [N, 3, S / 4, S / 4] of images, float32 [N, 3, S, S]."""
        net = self.backbone
        features, levels = net.maxpool(net.relu(net.bn1(net.conv1(inputs)))), []
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            features = layer(features)
            levels.append(features)
        return net.fc(net.avgpool(features).flatten(1)), self.decode(levels)

    def decode(self, levels: list[Tensor]) -> Tensor:
        """Return pixel logits from the four levels, finest first: each is added to the coarser ones."""
        merged = [lateral(level) for lateral, level in zip(self.lateral, levels, strict=True)]
        total = merged.pop()
        while merged:
            finer = merged.pop()
            total = finer + interpolate(total, size=finer.shape[-2:], mode="nearest")
        return self.pixels(self.smooth(total).relu())


def shrink_masks(masks: Tensor, size: int) -> Tensor:
    """Return masks, uint8 [N, H, W], by nearest neighbour as int64 [N, size, size]."""
    # "nearest-exact" looks at the middle of each pixel; "nearest" looks at its corner.
    return interpolate(masks[:, None], size=(size, size), mode="nearest-exact")[:, 0].long()
