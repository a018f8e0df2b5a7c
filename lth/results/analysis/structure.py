"""What a mask looks like, and what training did to the weights under it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lth.errors import LthError
from lth.networks import masks
from lth.types import Mask, Params


class Wiring(NamedTuple):
    """How a weight's axes name its units, where that is not ``[out, in, ...]``.

    A convolution in groups has ``[out, in / groups, ...]``, a transposed one
    ``[in, out / groups, ...]``.
    """

    groups: int = 1
    transposed: bool = False


Wirings = Mapping[str, Wiring]
"""By weight name; what is not named is ``[out, in, ...]``."""


def wirings(model: nn.Module) -> dict[str, Wiring]:
    """Return the wiring of every convolution of a model; a tied weight has that of its first."""
    names = {id(p): n for n, p in model.named_parameters()}
    found: dict[str, Wiring] = {}
    for module in model.modules():
        if isinstance(module, _ConvNd) and id(module.weight) in names:
            wiring = Wiring(module.groups, module.transposed)
            found.setdefault(names[id(module.weight)], wiring)
    return found


def layer_density(mask: Mask) -> dict[str, float]:
    """Weights kept / weights of each layer, in [0, 1]."""
    return {n: kept / mask[n].numel() for n, kept in masks.kept(mask).items()}


def chance_overlap(a: Mask, b: Mask) -> float:
    """The Jaccard overlap to expect of random masks with the same counts in every layer.

    ``E|a and b| / (|a| + |b| - E|a and b|)`` with ``E|a and b| = sum over layers of ka kb / n``:
    the ratio of expectations, which for thousands of weights is the expectation of the ratio.
    """
    ka, kb = masks.kept(a), masks.kept(b)
    both = sum(ka[n] * kb[n] / a[n].numel() for n in a)
    either = sum(ka.values()) + sum(kb.values()) - both
    return both / either if either else 1.0


def sign_agreement(before: Params, after: Params, mask: Mask) -> float:
    """Share of the kept weights whose sign did not change, in [0, 1] (Zhou et al. 2019)."""
    same = sum(int((before[n][m] * after[n][m] > 0).sum()) for n, m in mask.items())
    return same / max(1, sum(masks.kept(mask).values()))


def distance(before: Params, after: Params, mask: Mask) -> dict[str, float]:
    """L2 distance that the kept weights of each layer travelled, ``""`` for all together."""
    moved = {n: float((after[n][m] - before[n][m]).double().norm()) for n, m in mask.items()}
    return moved | {"": sum(d * d for d in moved.values()) ** 0.5}


def movement(before: Params, after: Params, mask: Mask) -> dict[str, float]:
    """How far a weight under the mask moved, ``mean |w_T - w_0|``, by layer; ``""`` for all.

    Frankle & Carbin 2019, arXiv 1803.03635, Appendix F.5. A layer without such weights is left out.
    """
    return _means({n: (after[n] - before[n]).abs() for n in mask}, mask)


def growth(before: Params, after: Params, mask: Mask) -> dict[str, float]:
    """How far a weight under the mask moved away from zero, ``mean (|w_T| - |w_0|)``, by layer.

    Frankle & Carbin 2019, Appendix F.5, see ``movement``.
    """
    return _means({n: after[n].abs() - before[n].abs() for n in mask}, mask)


def _means(values: Params, mask: Mask) -> dict[str, float]:
    sums = {n: float(values[n][m].double().sum()) for n, m in mask.items()}
    counts = masks.kept(mask) | {"": sum(masks.kept(mask).values())}
    sums[""] = sum(sums.values())
    return {n: sums[n] / count for n, count in counts.items() if count}


def connections(mask: Mask, wirings: Wirings | None = None) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the number of weights kept into each unit, and out of each input, of every layer.

    A unit is a neuron of a Linear, a channel of a convolution; the counts int64 ``[out]`` and
    ``[in]``. ``wirings`` tells grouped and transposed convolutions.
    """
    found = {}
    for name, m in mask.items():
        groups, transposed = (wirings or {}).get(name, Wiring())
        m = m if m.ndim > 1 else m.reshape(-1, 1)  # a vector that a user had pruned
        blocks = m.reshape(groups, m.shape[0] // groups, m.shape[1], -1)
        first, second = blocks.sum((2, 3)).reshape(-1), blocks.sum((1, 3)).reshape(-1)
        found[name] = (second, first) if transposed else (first, second)
    return found


def dead_units(mask: Mask, wirings: Wirings | None = None) -> dict[str, tuple[int, int]]:
    """Count units of each layer that nothing reaches, and inputs of it that reach nothing."""
    return {
        name: (int((into == 0).sum()), int((out == 0).sum()))
        for name, (into, out) in connections(mask, wirings).items()
    }


def connections_per_pixel(mask: Mask, layer: str, input_shape: Sequence[int]) -> Tensor:
    """Weights kept from each pixel of the input: ``[H, W]``, channels summed."""
    out = connections(mask)[layer][1]
    if mask[layer].ndim != 2 or len(input_shape) != 3 or len(out) != prod(input_shape):
        raise LthError(f"{layer} does not read pictures of shape {tuple(input_shape)}")
    return out.reshape(tuple(input_shape)).sum(0)


def survivors(initial: Params, mask: Mask, bins: int = 50) -> dict[str, tuple[Tensor, Tensor]]:
    """Histogram the initial values of the kept weights by layer: (counts ``[bins]``, edges).

    The edges span the layer's initial weights, kept or not, so levels can be laid over each other.
    """
    found = {}
    for name, m in mask.items():
        low, high = float(initial[name].min()), float(initial[name].max())
        edges = torch.linspace(low, high, bins + 1)
        kept = initial[name][m]
        found[name] = torch.histc(kept.float(), bins, low, high).long(), edges
    return found
