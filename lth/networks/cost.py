"""What training costs: multiply-adds of the weights that are kept, counted as the papers do.

``FLOPs of a forward pass = 2 * sum over layers of (weights kept) * (times each is used)``; a
training step costs three forward passes per example (as Evci et al. 2020, arXiv 1911.11134,
Appendix H, count), the two of the backward pass only where something is trained. It is the cost a
machine would have that skips pruned weights; biases, norms and the optimizer are not counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lth.networks import masks
from lth.networks.ticket import Ticket, layers_of, passes_of, traced
from lth.spec.build import Spec
from lth.types import Mask


def uses(
    model: Spec, input_shape: Sequence[int], include: Collection[str] = ()
) -> dict[str, float]:
    """Return how often each weight of a layer is used for one example: 1, or a map's positions.

    Whoever uses it: a module, a functional, a product with a raw parameter, a recurrent layer's
    every step. A mean, where parts of a weight are used more often than others.
    """
    names = sorted(include)
    return _by_layer(model, names, traced(model, input_shape, names).uses)


def forward_flops(model: Spec, input_shape: Sequence[int], mask: Mask | None) -> int:
    """Return FLOPs of a forward pass of one example, of the dense network without a mask."""
    return _forward(model, input_shape, masks.kept(mask or {}))


def training_flops(
    ticket: Ticket, input_shape: Sequence[int], batch: int, about: Mapping[str, Any]
) -> int:
    """Return FLOPs of what an entry trained: ``3 * forward * batch`` for each of its ``steps``.

    The forward pass is that of training, of every exit or width; of what is not trained the
    backward pass is left out (lth/networks/passes.py).
    Frozen weights are not zero, so they are counted as the dense network's; so is a trained mask,
    whose scores all have gradients. Where the mask changed each stretch counts at its own density;
    a step at which it grew by a gradient of all weights counts ``2 * forward + dense forward``, as
    Appendix H has it, the sparse gradient of that step included.
    """
    whole = bool(ticket.frozen) or ticket.gate is not None
    counts = {} if whole else masks.kept(ticket.mask)
    changes = [(int(s), c) for s, c in about.get("kept", [(ticket.step, counts)])]
    ends = [step for step, _ in changes[1:]] + [ticket.step + about["steps"]]
    cost = 0
    for (begin, kept), end in zip(changes, ends, strict=True):
        cost += _step(ticket.model, input_shape, kept) * batch * (end - begin)
    dense = _forward(ticket.model, input_shape, {})
    for _, kept in changes[: about.get("gradients", 0)]:
        cost += (dense - _forward(ticket.model, input_shape, kept)) * batch
    return cost


def scoring_flops(model: Spec, input_shape: Sequence[int], examples: int) -> int:
    """Return FLOPs of scoring by gradients: ``3 * forward * examples`` of the dense network."""
    return 3 * forward_flops(model, input_shape, None) * examples if examples else 0


def _forward(model: Spec, input_shape: Sequence[int], kept: Mapping[str, int]) -> int:
    counts, include = _counts(model, kept)
    return round(2 * _sum(counts, uses(model, input_shape, include)))


def _step(model: Spec, input_shape: Sequence[int], kept: Mapping[str, int]) -> int:
    """Return FLOPs of a training step for one example: ``3 * forward`` where all is trained."""
    counts, include = _counts(model, kept)
    there, back = passes_of(model, input_shape, include)
    there, back = (_by_layer(model, include, found) for found in (there, back))
    return round(2 * _sum(counts, there)) + 2 * round(_sum(counts, back))


def _counts(model: Spec, kept: Mapping[str, int]) -> tuple[dict[str, int], list[str]]:
    """Return the weights kept of every layer, and what beside layers is counted."""
    layers = layers_of(model)
    return {**layers.parameters, **kept}, sorted(n for n in kept if n in layers.others)


def _sum(counts: Mapping[str, int], times: Mapping[str, float]) -> float:
    return sum(counts[name] * t for name, t in times.items())


def _by_layer(model: Spec, include: Sequence[str], uses: Mapping[str, float]) -> dict[str, float]:
    parts, found = layers_of(model, None, include).parts, dict[str, float]()
    for name, times in uses.items():
        layer = parts.get(name, name)
        found[layer] = max(times, found.get(layer, 0))
    return found
