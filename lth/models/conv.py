"""Conv-2, Conv-4 and Conv-6: small variants of VGG without BatchNorm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from lth.errors import LthError
from lth.models.check import image, whole, wholes
from lth.models.init import initialise


def conv(
    *,
    input_shape: Sequence[int],
    classes: int,
    blocks: Sequence[int] = (64,),
    hidden: int = 256,
    dropout: float = 0.0,
    init: str = "glorot_normal",
) -> nn.Module:
    """Blocks of two 3x3 convolutions of one width and a 2x2 max pool, then two hidden layers.

    ``blocks`` (64,) is Conv-2, (64, 128) Conv-4, (64, 128, 256) Conv-6: 4,300,992, 2,425,024 and
    2,261,184 weights on CIFAR-10. Frankle & Carbin 2019 (arXiv 1803.03635), Figure 2. Their
    Section 4 does not say where ``dropout`` acts; here, after each hidden layer.
    """
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise LthError(f"model.dropout={dropout!r}: it must lie in [0, 1)")
    widths = wholes("blocks", blocks)
    channels, height, width = image(input_shape, 2 ** len(widths), f"{len(widths)} poolings")
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for i, wide in enumerate(widths):
        for j in (2 * i + 1, 2 * i + 2):
            parts[f"conv{j}"] = nn.Conv2d(channels, wide, 3, padding=1)
            parts[f"conv_relu{j}"] = nn.ReLU()
            channels = wide
        parts[f"pool{i + 1}"] = nn.MaxPool2d(2)
    features = channels * (height >> len(widths)) * (width >> len(widths))
    parts |= _hidden_layers(features, whole("hidden", hidden), dropout)
    parts["output"] = nn.Linear(hidden, whole("classes", classes, 2))
    return initialise(nn.Sequential(parts), init)


def _hidden_layers(features: int, hidden: int, dropout: float) -> OrderedDict[str, nn.Module]:
    parts: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for i, inputs in enumerate((features, hidden), 1):
        parts[f"fc{i}"], parts[f"fc_relu{i}"] = nn.Linear(inputs, hidden), nn.ReLU()
        if dropout > 0:
            parts[f"dropout{i}"] = nn.Dropout(dropout)
    return parts
