"""What training costs: multiply-adds of the weights that are kept, counted as the papers do.

``FLOPs of a forward pass = 2 * sum over layers of (weights kept) * (times each is used)``; a
training step costs three forward passes per example (as Evci et al. 2020, arXiv 1911.11134,
Appendix H, count), the two of the backward pass only where something is trained. It is the cost a
machine would have that skips pruned weights; biases, norms and the optimizer are not counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache, partial
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
    return Flops(model, input_shape).forward(masks.kept(mask or {}))


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
    flops, cost = Flops(ticket.model, input_shape), 0
    for (begin, kept), end in zip(changes, ends, strict=True):
        cost += flops.step(kept) * batch * (end - begin)
    dense = flops.forward({})
    for _, kept in changes[: about.get("gradients", 0)]:
        cost += (dense - flops.forward(kept)) * batch
    return cost


def scoring_flops(model: Spec, input_shape: Sequence[int], examples: int) -> int:
    """Return FLOPs of scoring by gradients: ``3 * forward * examples`` of the dense network.

    Every example that a move looks at is counted so, too, though for some (thresholds of exits,
    ranges of inputs) a forward pass is all: what finding cost is never said too low.
    """
    return 3 * forward_flops(model, input_shape, None) * examples if examples else 0


class Flops:
    """FLOPs of a network for one example by how many weights each layer keeps.

    The network is looked at once: a mask that changes every 100 steps has a thousand counts.
    """

    def __init__(self, model: Spec, input_shape: Sequence[int]) -> None:
        self._layers = layers_of(model)
        self._uses = cache(partial(uses, model, input_shape))
        self._passes = cache(partial(_passes, model, input_shape))

    def forward(self, kept: Mapping[str, int]) -> int:
        """Return the FLOPs of a forward pass."""
        return round(2 * self._sum(kept, self._uses(self._include(kept))))

    def step(self, kept: Mapping[str, int]) -> int:
        """Return the FLOPs of a training step: ``3 * forward`` where all is trained."""
        there, back = self._passes(self._include(kept))
        return round(2 * self._sum(kept, there)) + 2 * round(self._sum(kept, back))

    def _include(self, kept: Mapping[str, int]) -> tuple[str, ...]:
        """Return what beside layers is counted."""
        return tuple(sorted(n for n in kept if n in self._layers.others))

    def _sum(self, kept: Mapping[str, int], times: Mapping[str, float]) -> float:
        counts = {**self._layers.parameters, **kept}
        return sum(counts[name] * t for name, t in times.items())


def _passes(
    model: Spec, input_shape: Sequence[int], include: Sequence[str]
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Return how often a step uses each layer's weights, there and back."""
    there, back = passes_of(model, input_shape, include)
    return _by_layer(model, include, there), _by_layer(model, include, back)


def _by_layer(model: Spec, include: Sequence[str], uses: Mapping[str, float]) -> dict[str, float]:
    parts, found = layers_of(model, None, include).parts, dict[str, float]()
    for name, times in uses.items():
        layer = parts.get(name, name)
        found[layer] = max(times, found.get(layer, 0))
    return found
