"""Depthwise separable convolutions: a filter for every channel, then a 1x1 convolution."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor, nn

from lth.errors import LthError
from lth.networks.net import Net, copied
from lth.networks.rewrites.carry import full_mask
from lth.networks.rewrites.pairs import (
    CONVS,
    Pair,
    Place,
    become,
    factors,
    matching,
    names_in,
    of,
    places,
    why_not,
)
from lth.networks.ticket import network_of, state_of
from lth.spec.build import Spec, build


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
    makes smaller but the first convolution, as MobileNet has it, or the only one there is. Returns
    a copy. Howard et al. 2017 (arXiv 1704.04861), Section 3.
    """
    made = copied(model)
    for place in separated(made, layers):
        _separate(place)
    return made


def separated(model: nn.Module, layers: Sequence[str] | None = None) -> list[Place]:
    """Return the convolutions that are meant: in one group, with a kernel of more than 1x1."""
    known = places(model, why_whole)
    if layers is not None:
        with of("separable.layers"):
            return matching(model, known, names_in(layers), why_whole)
    convs = [m for m in model.modules() if isinstance(m, CONVS) and prod(m.kernel_size) > 1]
    first = convs[0] if len(convs) > 1 else None
    found = [p for p in known.values() if saves(p) and first not in p.layers]
    if not found:
        raise LthError("separable: no convolution is there that it makes smaller: name its layers")
    return found


def why_whole(module: nn.Module) -> str:
    """Say why a layer cannot be made separable; nothing if it can."""
    if isinstance(module, nn.Linear):
        return "it is a Linear, and only convolutions have that form"
    if isinstance(module, CONVS) and prod(module.kernel_size) == 1:
        return "it is pointwise: its kernel is 1x1"
    return why_not(module)


def saves(place: Place) -> bool:
    """Whether the separable form is smaller: ``k^2 I + I O < k^2 I O``."""
    outputs, inputs, *kernel = place.weight.shape
    kernel = prod(kernel)
    return (kernel + outputs) * inputs < kernel * inputs * outputs


def carry(net: Net, model: Spec) -> Net:
    """Return the net in separable form: the best of rank 1 of every channel, all else as it is."""
    network = network_of(net.model, net.start)
    state = state_of(build({**model, "model": network}))
    return Net(model=model, mask=full_mask(model), params=state.params, buffers=state.buffers)


vars(separable)["carry"] = carry


def _separate(place: Place) -> None:
    outputs, inputs, *kernel = place.weight.shape
    left, right = factors(place.weight.detach().flatten(2).transpose(0, 1), 1)
    depthwise = right.reshape(inputs, 1, *kernel)  # of [I, 1, k k]
    pointwise = left.squeeze(-1).T.reshape(outputs, inputs, *[1] * len(kernel))  # of [I, O, 1]
    become(place, Separable, (depthwise, pointwise), ("depthwise", "pointwise"), groups=inputs)
