"""Depthwise separable convolutions: a filter for every channel, then a 1x1 convolution."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor, nn

from lth.errors import LthError
from lth.networks.rewrites.pairs import (
    CONVS,
    Pair,
    Place,
    become,
    convolution,
    factors,
    matching,
    names_in,
    of,
    parameters_like,
    places,
    why_not,
)

NAMES = "depthwise", "pointwise"


class Separable(Pair):
    """A convolution ``K[o, i] = P[o, i] D[i]``: ``depthwise``, then ``pointwise``."""

    depthwise: Any
    pointwise: Any

    @property
    def weight(self) -> Tensor:
        """The kernel of the layer that the pair stands for, ``[O, I, k, k]``."""
        return self.pointwise.weight * self.depthwise.weight.transpose(0, 1)


def separable(model: nn.Module, layers: Sequence[str] | None = None) -> nn.Module:
    """Take convolutions apart: depthwise ``D [I, 1, k, k]``, then pointwise ``P [O, I, 1, 1]``.

    ``k^2 I + I O`` weights in the place of ``k^2 I O``. For each input channel ``P[:, i]`` and
    ``D[i]`` are the best of rank 1 of the layer's own kernel ``K[:, i]``, so where that is
    separable the model computes the same. The depthwise one has the layer's stride, padding and
    dilation, the pointwise one its bias. ``layers`` are named, by patterns too; None: all that this
    makes smaller but the first, as MobileNet has it, or the only one there is. The model itself is
    changed and returned. Howard et al. 2017 (arXiv 1704.04861), Section 3.
    """
    for place in separated(model, layers):
        _separate(place)
    return model


def separated(model: nn.Module, layers: Sequence[str] | None = None) -> list[Place]:
    """Return the convolutions that are meant: in one group, with a kernel of more than 1x1."""
    known = places(model, why_whole)
    if layers is not None:
        with of("separable.layers"):
            return matching(model, known, names_in(layers), why_whole)
    found = [p for p in known.values() if saves(p)]
    if not found:
        raise LthError("separable: no convolution is there that it makes smaller")
    return found[1:] if len(found) > 1 else found


def why_whole(module: nn.Module) -> str:
    """Say why a layer cannot be made separable; nothing if it can."""
    if isinstance(module, nn.Linear):
        return "it is a Linear, and only convolutions have that form"
    if isinstance(module, CONVS) and prod(module.kernel_size) == 1:
        return "it is pointwise: its kernel is 1x1"
    return why_not(module)


def saves(place: Place) -> bool:
    """Whether the separable form is smaller: ``k^2 I + I O < k^2 I O``."""
    outputs, inputs, *_ = place.weight.shape
    return (place.kernel + outputs) * inputs < place.kernel * inputs * outputs


def _separate(place: Place) -> None:
    weight = place.weight
    outputs, inputs, *kernel = weight.shape
    left, right = factors(weight.detach().flatten(2).transpose(0, 1), 1)  # [I, O, 1], [I, 1, k k]
    depthwise = right.reshape(inputs, 1, *kernel)
    pointwise = left.squeeze(-1).T.reshape(outputs, inputs, *[1] * len(kernel))
    first, second = parameters_like(weight, (depthwise, pointwise))

    def make(layer: nn.Module) -> tuple[nn.Module, nn.Module]:
        return convolution(first, like=layer, groups=inputs), convolution(second)

    become(place, Separable, make, NAMES)
