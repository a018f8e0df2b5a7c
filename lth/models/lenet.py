"""LeNet-300-100, fully connected, and LeNet-5, convolutional (LeCun et al. 1998)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from lth.models.check import image, whole, wholes
from lth.models.init import initialise


def lenet(
    *,
    input_shape: Sequence[int],
    classes: int,
    widths: Sequence[int] = (300, 100),
    init: str = "glorot_normal",
) -> nn.Module:
    """Fully connected, ReLU between: 784-300-100-10 on MNIST, 266,200 weights.

    Frankle & Carbin 2019 (arXiv 1803.03635), Figure 2.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    inputs = math.prod(wholes("input_shape", input_shape))
    for i, width in enumerate(wholes("widths", widths), 1):
        parts[f"fc{i}"], parts[f"relu{i}"] = nn.Linear(inputs, width), nn.ReLU()
        inputs = width
    parts["output"] = nn.Linear(inputs, whole("classes", classes, 2))
    return initialise(nn.Sequential(parts), init)


def lenet5(
    *,
    input_shape: Sequence[int],
    classes: int,
    widths: Sequence[int] = (20, 50, 500),
    init: str = "glorot_normal",
) -> nn.Module:
    """Caffe's LeNet-5: two 5x5 convolutions, a hidden layer; 430,500 weights on MNIST.

    As Deep Compression prunes it (Han et al. 2016, arXiv 1510.00149, Table 2). As in Caffe, the
    convolutions are followed by max pooling alone; the one ReLU is after the hidden layer.
    """
    channels, height, width = image(input_shape, 16, "two 5x5 convolutions with pooling")
    first, second, hidden = wholes("widths", widths, 3)
    features = second * (((height - 4) // 2 - 4) // 2) * (((width - 4) // 2 - 4) // 2)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(channels, first, 5),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(first, second, 5),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(features, hidden),
        relu1=nn.ReLU(),
        output=nn.Linear(hidden, whole("classes", classes, 2)),
    )
    return initialise(nn.Sequential(parts), init)
