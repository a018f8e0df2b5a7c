"""Normalisation: the constants of a training file, and whether its inputs have any."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from lth.data.arrays import WHOLE
from lth.errors import LthError

FAR = 1e5
"""Standard deviations from the mean beyond which a test value is told of."""


def is_normalised(inputs: Tensor, normalise: bool | None) -> bool:
    """Whether inputs are normalised: as asked, else all but tokens."""
    if normalise is None:
        return inputs.dtype not in WHOLE
    if not isinstance(normalise, bool):
        raise LthError(f"data.normalise={normalise!r}: true, false, or null: true but for tokens")
    return normalise


def constants(inputs: Tensor) -> tuple[list[float], list[float]]:
    """Return mean and std of every channel; a channel without spread has std 1."""
    return _exact_moments(inputs) if inputs.dtype == torch.uint8 else _moments(inputs)


def _moments(inputs: Tensor) -> tuple[list[float], list[float]]:
    """Return mean and std; a spread within float32's rounding of the values themselves is none."""
    array = inputs.double().numpy()  # torch's std depends on the number of threads
    axes = (0, *range(2, inputs.ndim))
    std, size = array.std(axes), abs(array).max(axes)
    std[std <= 1e-6 * size] = 1.0
    return array.mean(axes).tolist(), std.tolist()


def _exact_moments(inputs: Tensor) -> tuple[list[float], list[float]]:
    """Sum in integers over the histogram: ``mean = S1 / n``, ``std = sqrt(n S2 - S1^2) / n``."""
    means, stds = [], []
    for channel in inputs.unbind(1):
        counts = torch.bincount(channel.reshape(-1), minlength=256).tolist()
        total = sum(counts)
        first = sum(value * count for value, count in enumerate(counts))
        second = sum(value * value * count for value, count in enumerate(counts))
        means.append(first / total)
        stds.append(math.sqrt(total * second - first * first) / total or 1.0)
    return means, stds


def tell_of_far_values(name: str, prepared: Tensor) -> None:
    """Warn of a feature that hardly varies in training and does in the test set."""
    found = prepared.abs().flatten(1)
    if float(found.max()) > FAR:
        row = int(found.max(1).values.argmax())
        warnings.warn(
            f"{name}: test_inputs[{row}] lies {float(found.max()):.0e} standard deviations from "
            "the training mean in a feature that hardly varies there: leave the feature out",
            stacklevel=4,
        )
