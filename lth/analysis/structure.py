"""What a mask looks like, and what training did to the weights under it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from lth import masks
from lth.errors import LthError
from lth.types import Mask, Params


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


def connections(mask: Mask) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the number of weights kept into each unit, and out of each input, of every layer.

    Weights are ``[out, in, ...]``; the counts int64 ``[out]`` and ``[in]``.
    """
    found = {}
    for name, m in mask.items():
        flat = m.reshape(m.shape[0], m.shape[1], -1)
        found[name] = flat.sum((1, 2)), flat.sum((0, 2))
    return found


def dead_units(mask: Mask) -> dict[str, tuple[int, int]]:
    """Count units of each layer that nothing reaches, and inputs of it that reach nothing."""
    return {
        name: (int((into == 0).sum()), int((out == 0).sum()))
        for name, (into, out) in connections(mask).items()
    }


def connections_per_pixel(mask: Mask, layer: str, input_shape: Sequence[int]) -> Tensor:
    """Weights kept from each pixel of the input: ``[H, W]``, channels summed."""
    out = connections(mask)[layer][1]
    if len(input_shape) != 3 or len(out) != prod(input_shape):
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
