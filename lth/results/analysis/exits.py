"""Whether the exits of a network share its ticket: which kept weights matter to which exit."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lth.networks.trace import answering
from lth.recipe.evaluation import EVALUATION_BATCH
from lth.types import Mask

MATTERS = 0.5
"""Share of the kept weights that is looked at."""

SHUFFLES = 10
"""Times that gradients are shuffled to see what is shared by chance."""


def shared_by_exits(
    network: nn.Module, mask: Mask, inputs: Tensor, targets: Tensor
) -> Iterator[tuple[str, float]]:
    """Yield how much of what matters to each exit matters to the last, 1: all of it.

    A weight matters to an exit by ``|w dL/dw|``, L that exit's loss on training examples (Molchanov
    et al. 2017, arXiv 1611.06440, Section 2.2); of the kept weights that both exits reach the
    upper half is compared. Both scores have ``|w|`` in them, so that more than half is shared by
    chance: ``shared_by_chance`` is what is with the exit's gradients in another order within every
    layer, the mean of ten. Where none has a gradient (the network is frozen) there is nothing.
    """
    weights = {n: p for n, p in network.named_parameters() if n in mask}
    with torch.enable_grad():
        outputs: Any = answering(network)(inputs[:EVALUATION_BATCH])
        if not isinstance(outputs, tuple):
            return
        each = [_gradients(out, targets[:EVALUATION_BATCH], weights, mask) for out in outputs]
    names = getattr(network, "exit_names", None) or [str(n + 1) for n in range(len(each))]
    for name, own in zip(names[:-1], each[:-1], strict=True):
        both = [n for n in own if n in each[-1]]
        if both:
            sizes = [weights[n].detach().abs()[mask[n]] for n in both]
            one, last = ([of[n] for n in both] for of in (own, each[-1]))
            score = _score(last, sizes)
            shuffled = (_shuffled(one, seed) for seed in range(SHUFFLES))
            chance = fmean(_overlap(_score(other, sizes), score) for other in shuffled)
            yield f"shared_with_last/{name}", _overlap(_score(one, sizes), score)
            yield f"shared_by_chance/{name}", chance


def _gradients(
    logits: Tensor, targets: Tensor, weights: dict[str, nn.Parameter], mask: Mask
) -> dict[str, Tensor]:
    """Return ``|dL/dw|`` of the kept weights for one exit; those it does not reach are left out."""
    trained = {n: w for n, w in weights.items() if w.requires_grad}
    if not trained or not logits.requires_grad:
        return {}
    loss = F.cross_entropy(logits, targets)
    found = torch.autograd.grad(loss, list(trained.values()), retain_graph=True, allow_unused=True)
    return {n: g.abs()[mask[n]] for n, g in zip(trained, found, strict=True) if g is not None}


def _score(gradients: list[Tensor], sizes: list[Tensor]) -> Tensor:
    return torch.cat([g * w for g, w in zip(gradients, sizes, strict=True)])


def _shuffled(gradients: list[Tensor], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(g), generator=generator).to(g.device) for g in gradients]
    return [g[order] for g, order in zip(gradients, orders, strict=True)]


def _overlap(one: Tensor, other: Tensor) -> float:
    number = max(1, round(MATTERS * len(one)))
    upper = [
        torch.zeros(len(s)).index_fill(0, s.topk(number).indices.cpu(), 1) for s in (one, other)
    ]
    return float((upper[0] * upper[1]).sum()) / number
