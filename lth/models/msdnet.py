"""A small multi-scale dense network: classifiers at several depths, all on coarse features."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lth.errors import LthError
from lth.models.check import image, whole
from lth.models.init import initialise

Features = list[Tensor]
"""All that has been computed so far, by scale, the finest first: ``[B, C, H / 2^s, W / 2^s]``."""


def msdnet(
    *,
    input_shape: Sequence[int],
    classes: int,
    blocks: int = 4,
    layers: int = 1,
    scales: int = 3,
    width: int = 8,
    growth: int = 4,
    head: int = 16,
    reduce: bool = True,
    init: str = "kaiming_normal",
) -> nn.Module:
    """``blocks`` classifiers, ``layers`` apart, on the coarsest of ``scales`` of dense features.

    Every layer adds ``growth * 2^s`` maps at scale s, from all maps of that scale and of the next
    finer one; a classifier is a strided convolution to ``head`` maps, their means and a linear
    layer (Huang et al. 2018, arXiv 1703.09844, Section 4 and Figure 2). ``reduce``: blocks let go
    of the finest scales one after the other, as theirs do. In training it gives a tuple, the logits
    ``[B, K]`` of every classifier (``lth.recipe.loss.per_output``); as it is measured, those of the
    last.
    """
    for name, value in (("blocks", blocks), ("layers", layers), ("width", width)):
        whole(name, value)
    for name, value in (("growth", growth), ("head", head)):
        whole(name, value)
    channels, *_ = image(input_shape, 2 ** whole("scales", scales), f"{scales} scales")
    if not isinstance(reduce, bool):
        raise LthError(f"model.reduce={reduce!r}: true or false")
    widths = {s: width * 2**s for s in range(scales)}
    made, finest = MSDNet(Stem(channels, widths)), _finest(blocks, layers, scales, reduce)
    for n in range(blocks):
        block = Block(widths, finest[n * layers : (n + 1) * layers], growth)
        widths = block.widths
        made.add(block, Classifier(widths[scales - 1], head, whole("classes", classes, 2)))
    return initialise(made, init)


def _finest(blocks: int, layers: int, scales: int, reduce: bool) -> list[int]:
    """Return the finest scale at which each layer adds maps: one that a later layer looks at."""
    found: list[int] = [scales]  # from the last layer on
    for layer in reversed(range(blocks * layers)):
        left = layer // layers * scales // blocks if reduce else 0
        found.append(max(left, found[-1] - 1))
    return found[:0:-1]


class MSDNet(nn.Module):
    """Blocks of layers, and a classifier behind each."""

    def __init__(self, stem: nn.Module) -> None:
        super().__init__()
        self.stem, self.blocks, self.heads = stem, nn.ModuleList(), nn.ModuleList()

    def add(self, block: nn.Module, head: nn.Module) -> None:
        """Go on by a block, and a classifier behind it."""
        self.blocks.append(block)
        self.heads.append(head)

    def forward(self, inputs: Tensor) -> Any:
        """Map ``[B, C, H, W]`` to logits ``[B, K]``: in training those of every classifier."""
        features, found = self.stem(inputs), list[Tensor]()
        for n, (block, head) in enumerate(zip(self.blocks, self.heads, strict=True), 1):
            features = block(features)
            if self.training or n == len(self.blocks):
                found.append(head(features[-1]))
        return tuple(found) if self.training else found[-1]

    def stages(self) -> list[tuple[Callable[[Any], Features], Callable[[Features], Tensor]]]:
        """Return what runs from one classifier to the next, and the classifiers."""
        first, *others = self.blocks
        advance = [lambda inputs: first(self.stem(inputs)), *others]
        return [(go, _coarsest(head)) for go, head in zip(advance, self.heads, strict=True)]


def _coarsest(head: nn.Module) -> Callable[[Features], Tensor]:
    return lambda features: head(features[-1])


class Stem(nn.Module):
    """The first layer: the image at every scale, each from the one before it."""

    def __init__(self, channels: int, widths: Mapping[int, int]) -> None:
        super().__init__()
        self.scales = nn.ModuleList()
        for scale, wide in widths.items():
            self.scales.append(_conv(channels, wide, stride=1 if scale == 0 else 2))
            channels = wide

    def forward(self, inputs: Tensor) -> Features:
        """Map ``[B, C, H, W]`` to features of every scale."""
        found: Features = []
        for conv in self.scales:
            found.append(conv(found[-1] if found else inputs))
        return found


class Block(nn.Module):
    """Layers of dense features; scales finer than a layer's ``finest`` are let go behind it."""

    def __init__(self, widths: Mapping[int, int], finest: Sequence[int], growth: int) -> None:
        super().__init__()
        self.layers, self.widths = nn.ModuleList(), dict(widths)
        for first in finest:
            self.layers.append(Layer(self.widths, first, growth))
            grown = {s: w + growth * 2**s for s, w in self.widths.items() if s >= first}
            self.widths = grown

    def forward(self, features: Features) -> Features:
        """Add what every layer makes of all that there is."""
        for layer in self.layers:
            made = layer(features)
            kept = features[-len(made) :]
            features = [torch.cat(pair, 1) for pair in zip(kept, made, strict=True)]
        return features


class Layer(nn.Module):
    """New maps at scales from ``finest`` on: half from the next finer scale, where there is one."""

    def __init__(self, widths: Mapping[int, int], finest: int, growth: int) -> None:
        super().__init__()
        self.same, self.finer = nn.ModuleList(), nn.ModuleList()
        for scale in (s for s in widths if s >= finest):
            new = growth * 2**scale
            from_finer = new // 2 if scale - 1 in widths else 0
            self.same.append(_conv(widths[scale], new - from_finer))
            if from_finer:
                self.finer.append(_conv(widths[scale - 1], from_finer, stride=2))

    def forward(self, features: Features) -> Features:
        """Return the new maps of every scale."""
        kept = features[-len(self.same) :]
        made = [conv(maps) for conv, maps in zip(self.same, kept, strict=True)]
        first = len(made) - len(self.finer)  # 1 where there is nothing finer
        above = features[-len(self.finer) - 1 : -1]
        down = [conv(maps) for conv, maps in zip(self.finer, above, strict=True)]
        joined = [torch.cat(pair, 1) for pair in zip(down, made[first:], strict=True)]
        return [*made[:first], *joined]


class Classifier(nn.Module):
    """A strided convolution, the mean of every map, a linear layer: ``[B, C, H, W] -> [B, K]``."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.conv = _conv(channels, width, stride=2)
        self.output = nn.Linear(width, classes)

    def forward(self, maps: Tensor) -> Tensor:
        """Map the coarsest features to logits."""
        return self.output(self.conv(maps).mean((2, 3)))


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolve 3x3, normalise, rectify."""
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv=conv, norm=nn.BatchNorm2d(outputs), relu=nn.ReLU()
    )
    return nn.Sequential(parts)
