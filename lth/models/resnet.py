"""ResNet for CIFAR: 6n + 2 layers in three stages."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from lth.errors import LthError
from lth.models.check import image, whole
from lth.models.init import initialise

SHORTCUTS = ("conv", "pad")


def resnet(
    *,
    input_shape: Sequence[int],
    classes: int,
    depth: int = 20,
    width: int = 16,
    shortcut: str = "conv",
    init: str = "glorot_normal",
    norms: str = "ones",
) -> nn.Module:
    """Three stages of (depth - 2) / 6 blocks, ``width`` times 1, 2, 4 wide (He et al. 2016, 4.2).

    Where the shape changes, ``shortcut`` is a 1x1 ``conv`` with BatchNorm, as in the LTH papers
    (Frankle & Carbin 2019, arXiv 1803.03635, Figure 2, who call ResNet-20 "Resnet-18": 270,896
    weights, 2,560 of them in ``*shortcut*``), or ``pad``: He's parameter-free option A.
    """
    blocks, rest = divmod(whole("depth", depth, 8) - 2, 6)
    if rest:
        near = f"{6 * blocks + 2} or {6 * blocks + 8}"
        raise LthError(f"model.depth={depth}: a CIFAR ResNet has 6n + 2 layers; try {near}")
    if shortcut not in SHORTCUTS:
        raise LthError(f"model.shortcut={shortcut!r}: choose from {', '.join(SHORTCUTS)}")
    channels, *_ = image(input_shape, 4, "two halvings")
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        stem=_conv_norm(channels, whole("width", width), 3), relu=nn.ReLU()
    )
    channels = width
    for stage, wide in enumerate((width, 2 * width, 4 * width), 1):
        parts[f"stage{stage}"] = _stage(channels, wide, blocks, shortcut)
        channels = wide
    parts |= {"average": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    parts["output"] = nn.Linear(channels, whole("classes", classes, 2))
    return initialise(nn.Sequential(parts), init, norms)


class Block(nn.Module):
    """Two 3x3 convolutions and the shortcut around them: ``relu(residual(x) + shortcut(x))``."""

    def __init__(self, inputs: int, width: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.first = _conv_norm(inputs, width, 3, stride)
        self.second = _conv_norm(width, width, 3)
        if inputs == width and stride == 1:
            self.shortcut: nn.Module = nn.Identity()
        elif shortcut == "conv":
            self.shortcut = _conv_norm(inputs, width, 1, stride)
        else:
            self.shortcut = Pad(width - inputs, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to ``[B, width, H / stride, W / stride]``."""
        residual = self.second(functional.relu(self.first(inputs)))
        return functional.relu(residual + self.shortcut(inputs))


class Pad(nn.Module):
    """Shortcut without weights: every ``stride``-th pixel, ``extra`` channels of zeros behind."""

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, inputs: Tensor) -> Tensor:
        """Subsample and pad ``[B, C, H, W]``."""
        kept = inputs[:, :, :: self.stride, :: self.stride]
        return functional.pad(kept, (0, 0, 0, 0, 0, self.extra))


def _stage(inputs: int, width: int, blocks: int, shortcut: str) -> nn.Sequential:
    stride = 1 if inputs == width else 2  # the first stage keeps the image's size
    first = Block(inputs, width, stride, shortcut)
    parts: OrderedDict[str, nn.Module] = OrderedDict(block1=first)
    for i in range(2, blocks + 1):
        parts[f"block{i}"] = Block(width, width, 1, shortcut)
    return nn.Sequential(parts)


def _conv_norm(inputs: int, width: int, size: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, width, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(width)))
