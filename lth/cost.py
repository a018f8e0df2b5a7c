"""What training costs: multiply-adds of the weights that are kept, counted as the papers do.

``FLOPs of a forward pass = 2 * sum over layers of (weights kept) * (times each is used)``; a
training step costs three forward passes per example (as Evci et al. 2020, arXiv 1911.11134,
Appendix H, count). It is the cost a machine would have that skips pruned weights;
biases, norms and the optimizer are not counted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lth import masks
from lth.spec import Spec
from lth.ticket import Ticket, draw_model, layers_of
from lth.trust import vouched
from lth.types import Mask


def uses(model: Spec, input_shape: Sequence[int]) -> dict[str, int]:
    """Return how often each weight of a layer is used for one example: 1, or a map's positions."""
    return dict(_uses(json.dumps(vouched(model), sort_keys=True), tuple(input_shape)))


def forward_flops(model: Spec, input_shape: Sequence[int], mask: Mask | None) -> int:
    """Return FLOPs of a forward pass of one example, of the dense network without a mask."""
    return _forward(model, input_shape, masks.kept(mask or {}))


def training_flops(
    ticket: Ticket, input_shape: Sequence[int], batch: int, about: Mapping[str, Any]
) -> int:
    """Return FLOPs of what an entry trained: ``3 * forward * batch`` for each of its ``steps``.

    Frozen weights are not zero, so they are counted as the dense network's; so is a trained mask,
    whose scores all have gradients. Where the mask changed each stretch counts at its own density,
    and a gradient by all weights as ``forward + 2 * dense forward``.
    """
    whole = bool(ticket.frozen) or ticket.gate is not None
    counts = {} if whole else masks.kept(ticket.mask)
    changes = [(int(s), c) for s, c in about.get("kept", [(ticket.step, counts)])]
    ends = [step for step, _ in changes[1:]] + [ticket.step + about["steps"]]
    cost = 0
    for (begin, kept), end in zip(changes, ends, strict=True):
        cost += 3 * _forward(ticket.model, input_shape, kept) * batch * (end - begin)
    dense = _forward(ticket.model, input_shape, {})
    for _, kept in changes[: about.get("gradients", 0)]:
        cost += (_forward(ticket.model, input_shape, kept) + 2 * dense) * batch
    return cost


def scoring_flops(model: Spec, input_shape: Sequence[int], examples: int) -> int:
    """Return FLOPs of scoring by gradients: ``3 * forward * examples`` of the dense network."""
    return 3 * forward_flops(model, input_shape, None) * examples if examples else 0


def _forward(model: Spec, input_shape: Sequence[int], kept: Mapping[str, int]) -> int:
    counts = {**layers_of(model).sizes, **kept}
    return 2 * sum(counts[n] * times for n, times in uses(model, input_shape).items())


@lru_cache(maxsize=256)
def _uses(model: str, input_shape: tuple[int, ...]) -> tuple[tuple[str, int], ...]:
    network = draw_model(json.loads(model), 0).eval()
    names = {id(p): n for n, p in network.named_parameters()}
    found: dict[str, int] = {}

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        name = names[id(module.weight)]
        of_map = inputs[0] if isinstance(module, _ConvNd) and module.transposed else output
        places = prod(of_map.shape[2:]) if isinstance(module, _ConvNd) else prod(of_map.shape[1:-1])
        found[name] = found.get(name, 0) + places

    for module in network.modules():
        if isinstance(module, nn.Linear | _ConvNd):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, *input_shape))
    return tuple(found.items())
