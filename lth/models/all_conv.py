"""A network of convolutions alone, also of depthwise separable ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from lth.errors import LthError
from lth.models.check import image, whole, wholes
from lth.models.init import initialise

NORMS = "batch", "none"


def all_conv(
    *,
    input_shape: Sequence[int],
    classes: int,
    widths: Sequence[int] = (16, 32, 64),
    separable: bool = False,
    norm: str = "batch",
    init: str = "glorot_normal",
) -> nn.Module:
    """Stages of two 3x3 convolutions of one width, the second of stride 2; no pooling, no linear.

    A 1x1 convolution gives the logits of every place, their mean is the output: All-CNN of
    Springenberg et al. 2015 (arXiv 1412.6806), Section 2, small. (16, 32, 64) has 72,496 weights on
    CIFAR-10 and 72,208 on MNIST. ``separable``: all but the first are a depthwise and a 1x1
    convolution, as in MobileNet (Howard et al. 2017, arXiv 1704.04861, Section 3) but without a
    norm between them, so that it is the network that the rewrite of that name makes of the plain
    one: 10,448 weights on CIFAR-10. ``norm``: ``batch``, or ``none`` and biases.
    """
    if norm not in NORMS:
        raise LthError(f"model.norm={norm!r}: choose from {', '.join(NORMS)}")
    channels, *_ = image(input_shape, 1, "a convolution")
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for i, width in enumerate(wholes("widths", widths)):
        for number, stride in ((2 * i + 1, 1), (2 * i + 2, 2)):
            conv = _separable if separable and number > 1 else _conv
            parts[f"conv{number}"] = conv(channels, width, stride, norm == "none")
            if norm == "batch":
                parts[f"norm{number}"] = nn.BatchNorm2d(width)
            parts[f"relu{number}"] = nn.ReLU()
            channels = width
    parts["output"] = nn.Conv2d(channels, whole("classes", classes, 2), 1)
    parts |= {"average": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    return initialise(nn.Sequential(parts), init)


def _conv(inputs: int, width: int, stride: int, bias: bool) -> nn.Module:
    return nn.Conv2d(inputs, width, 3, stride, padding=1, bias=bias)


def _separable(inputs: int, width: int, stride: int, bias: bool) -> nn.Module:
    depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
    pointwise = nn.Conv2d(inputs, width, 1, bias=bias)
    return nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=pointwise))
