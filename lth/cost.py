"""What training costs: multiply-adds of the weights that are kept, counted as the papers do.

``FLOPs of a forward pass = 2 * sum over layers of (weights kept) * (times each is used)``; a
training step costs three forward passes per example (as Evci et al. 2020, arXiv 1911.11134,
Appendix H, count). It is the cost a machine would have that skips pruned weights;
biases, norms and the optimizer are not counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lth import masks
from lth.spec import Spec
from lth.ticket import Ticket, draw_model, layers_of
from lth.types import Mask


def uses(model: Spec, input_shape: Sequence[int]) -> dict[str, int]:
    """Return how often each weight of a layer is used for one example: 1, or a map's positions."""
    return dict(_uses(json.dumps(model, sort_keys=True), tuple(input_shape)))


def forward_flops(model: Spec, input_shape: Sequence[int], mask: Mask | None) -> int:
    """Return FLOPs of a forward pass of one example, of the dense network without a mask."""
    kept = layers_of(model).sizes | masks.kept(mask or {})
    return 2 * sum(kept[n] * times for n, times in uses(model, input_shape).items())


def training_flops(ticket: Ticket, input_shape: Sequence[int], batch: int, steps: int) -> int:
    """Return FLOPs of ``steps`` training steps: ``3 * forward * batch * steps``.

    Frozen weights are not zero, so they are counted as the dense network's.
    """
    mask = None if ticket.frozen else ticket.mask
    return 3 * forward_flops(ticket.model, input_shape, mask) * batch * steps


def scoring_flops(model: Spec, input_shape: Sequence[int], examples: int) -> int:
    """Return FLOPs of scoring by gradients: ``3 * forward * examples`` of the dense network."""
    return 3 * forward_flops(model, input_shape, None) * examples if examples else 0


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
