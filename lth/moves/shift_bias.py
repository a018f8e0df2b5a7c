"""A move that raises the bias of classes a network was never shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lth.errors import LthError
from lth.moves.trained import Move, Trained
from lth.networks.ticket import Ticket
from lth.pruning.turn import Turn
from lth.recipe.evaluation import EVALUATION_BATCH
from lth.spec.argument_types import is_whole
from lth.spec.plain import short


def shift_bias(label: int | Sequence[int]) -> Move:
    """Add one number to the output biases of a class, or of several: what validation likes best.

    Hinton et al. 2015 (arXiv 1503.02531, Section 3) raise that of the 3 by 3.5 for a student that
    never saw one, and choose it on the test set; here it is the shift of greatest accuracy on the
    trial's validation split, among equals the smallest. Nothing trains: ``measure`` follows.
    """
    labels: Any = [label] if is_whole(label, 0) else label
    if (
        not isinstance(labels, list | tuple)
        or not labels
        or not all(is_whole(k, 0) for k in labels)
    ):
        raise LthError(f"moves.shift_bias.label={short(label)}: a class, or a list of them")
    chosen = sorted({int(k) for k in labels})

    def move(trained: Trained, context: Turn) -> Ticket:
        ticket = trained.now()
        inputs, targets = context.validation()
        context.probe.seen += len(inputs)
        logits = _logits(ticket, inputs)
        if logits.ndim != 2 or targets.is_floating_point() or chosen[-1] >= logits.shape[1]:
            raise LthError(
                f"moves.shift_bias.label={chosen}: the network gives {list(logits.shape[1:])}: it "
                "needs a score for each class, and these among them"
            )
        name = _bias(trained)
        shift = best_shift(logits, targets, chosen)
        bias = ticket.params[name].clone()
        bias[chosen] += shift
        shifted = replace(ticket, params=ticket.params | {name: bias})
        _check_moved(_logits(shifted, inputs[:2]) - logits[:2], chosen, shift, name)
        return replace(shifted, origin={**ticket.origin, "bias_shift": shift})

    return move


def best_shift(logits: Tensor, targets: Tensor, labels: Sequence[int]) -> float:
    """Return the shift of these classes' logits ``[B, K]`` that gives the greatest accuracy.

    An example goes over to the best of ``labels`` once the shift exceeds ``max of the others - max
    of these``, so accuracy is a step function of it, and its best step is found exactly. Between
    two edges it is their middle, at most 1 from the lower; of equal accuracies it is nearest to 0.
    """
    inside = torch.zeros(logits.shape[1], dtype=torch.bool)
    inside[list(labels)] = True
    if bool(inside.all()):
        return 0.0
    values = logits.detach().double().cpu()
    among, others = (values.masked_fill(~m, -torch.inf).max(1) for m in (inside, ~inside))
    margin, wanted = others.values - among.values, targets.cpu()
    gain = (among.indices == wanted).double() - (others.indices == wanted).double()
    order = margin.argsort()
    edges = margin[order]
    totals = torch.cat([torch.zeros(1, dtype=torch.float64), gain[order].cumsum(0)])
    distinct = torch.cat([torch.tensor([True]), edges[1:] > edges[:-1], torch.tensor([True])])
    best = totals.masked_fill(~distinct, -torch.inf).max()
    places = ((totals == best) & distinct).nonzero()[:, 0].tolist()
    return min((_between(edges, place) for place in places), key=lambda s: (abs(s), s))


def _between(edges: Tensor, place: int) -> float:
    """Return a shift above ``edges[place - 1]`` and not above ``edges[place]``: 0 if it is one."""
    low = float(edges[place - 1]) if place > 0 else -float("inf")
    high = float(edges[place]) if place < len(edges) else float("inf")
    if low < 0 <= high:
        return 0.0
    if low == -float("inf"):
        return high - 1.0
    return low + min(1.0, (high - low) / 2)


def _logits(ticket: Ticket, inputs: Tensor) -> Tensor:
    network = ticket.net.module().eval()
    with torch.no_grad():
        return torch.cat([network(part).float() for part in inputs.split(EVALUATION_BATCH)])


def _bias(trained: Trained) -> str:
    weight = trained.layers.output
    name = weight.removesuffix("weight") + "bias"
    if name not in trained.now().params:
        raise LthError(f"moves.shift_bias: the output layer, {weight}, has no bias to shift")
    return name


def _check_moved(moved: Tensor, labels: Sequence[int], shift: float, name: str) -> None:
    """Refuse a network whose logits do not follow the bias."""
    wanted = torch.zeros_like(moved)
    wanted[:, list(labels)] = shift
    if not torch.allclose(moved, wanted, atol=1e-3 + 1e-4 * abs(shift)):
        raise LthError(f"moves.shift_bias: {name} is not what is added last to the logits")
