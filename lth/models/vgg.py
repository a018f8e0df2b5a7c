"""VGG for small images: BatchNorm, one linear layer after global average pooling."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from lth.errors import LthError
from lth.models.check import image, whole
from lth.models.init import initialise

STAGES = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""3x3 convolutions per stage by depth (Simonyan & Zisserman 2015, arXiv 1409.1556, Table 1)."""


def vgg(
    *,
    input_shape: Sequence[int],
    classes: int,
    depth: int = 19,
    width: int = 64,
    init: str = "glorot_normal",
    norms: str = "ones",
) -> nn.Module:
    """Five stages of 3x3 convolutions, ``width`` times 1, 2, 4, 8, 8 wide, max pools between.

    VGG-19 has 20,024,000 weights on CIFAR-10: Frankle & Carbin 2019 (arXiv 1803.03635), Figure 2.
    """
    if whole("depth", depth) not in STAGES:
        raise LthError(f"model.depth={depth!r}: VGG has {', '.join(map(str, STAGES))} layers")
    channels, *_ = image(input_shape, 16, "4 poolings")
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    number = 0
    for stage, (convs, factor) in enumerate(zip(STAGES[depth], (1, 2, 4, 8, 8), strict=True)):
        if stage > 0:
            parts[f"pool{stage}"] = nn.MaxPool2d(2)
        for _ in range(convs):
            number, wide = number + 1, whole("width", width) * factor
            parts[f"conv{number}"] = nn.Conv2d(channels, wide, 3, padding=1, bias=False)
            parts[f"norm{number}"] = nn.BatchNorm2d(wide)
            parts[f"relu{number}"] = nn.ReLU()
            channels = wide
    parts |= {"average": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    parts["output"] = nn.Linear(channels, whole("classes", classes, 2))
    return initialise(nn.Sequential(parts), init, norms)
