"""Mixed precision: as few bits as a budget allows, where the network feels them least."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lth.errors import LthError
from lth.moves.layers import by_layer
from lth.moves.trained import Trained
from lth.networks.ticket import Net, network_of
from lth.pruning.turn import Turn
from lth.recipe.adapt import as_loss
from lth.recipe.evaluation import EVALUATION_BATCH
from lth.spec.argument_types import is_whole
from lth.types import Batch, View

Table = Mapping[str, Mapping[int, float]]
"""By layer and bits: the validation loss where this layer alone has so many."""


@dataclass(frozen=True)
class BySensitivity:
    """Chooses bits for every layer; ``view(bits)`` is what would be seen of it then."""

    candidates: Sequence[int]
    budget: float
    number: int | None

    def __call__(
        self, trained: Trained, context: Turn, names: Sequence[str], view: Callable[[int], View]
    ) -> tuple[dict[str, int], dict[str, Any]]:
        """Return the bits of the layers, and what is to be told of the choice, as plain data."""
        net = trained.net
        whole, table = sensitivities(net, context, names, self.candidates, view, self.number)
        sizes = {n: int(net.mask[n].sum()) if n in net.mask else net.params[n].numel()
                 for n in names}  # fmt: skip
        bits = fewest(table, sizes, self.budget)
        losses = {n: {str(b): v for b, v in row.items()} for n, row in table.items()}
        return bits, {"bits": bits, "sensitivity": {"whole": whole, **losses}}


Bits = int | Mapping[str, int] | BySensitivity
"""Of all layers, of each by its name or a pattern, or as it is chosen."""


def bits_for(
    move: str,
    given: Bits,
    trained: Trained,
    context: Turn,
    names: Sequence[str],
    view: Callable[[int], View],
) -> tuple[dict[str, int], dict[str, Any]]:
    """Return every layer's number of bits, and what is to be told of how it was found."""
    if isinstance(given, BySensitivity):
        return given(trained, context, names, view)
    if isinstance(given, Mapping):
        return by_layer(f"moves.{move}", trained.layers, names, given), {}
    return dict.fromkeys(names, given), {}


def candidates_of(given: Any) -> Sequence[Any]:
    """Return the numbers of bits that a choice may come to, to be looked at before work."""
    return given.candidates if isinstance(given, BySensitivity) else (given,)


def by_sensitivity(
    candidates: Sequence[int] = (2, 3, 4, 6, 8), budget: float = 4.0, number: int | None = 2000
) -> BySensitivity:
    """Choose every layer's bits: at most ``budget`` for a kept weight, in the mean.

    The loss on ``number`` validation examples (None: all) is measured with one layer at a time at
    each of the ``candidates``; then all begin at the most bits, and the layer gives some up whose
    loss rises least for a bit saved, until the budget is kept (Dong et al. 2019, arXiv 1905.03696,
    have the Hessian say what is measured here).
    """
    fine = isinstance(candidates, list | tuple) and all(is_whole(b, 1) for b in candidates)
    if not fine or len({*candidates}) < 2:
        raise LthError(
            f"moves.by_sensitivity: candidates={candidates}: two numbers of bits or more"
        )
    real = isinstance(budget, int | float) and not isinstance(budget, bool)
    if not real or not min(candidates) <= budget < math.inf:
        raise LthError(
            f"moves.by_sensitivity: budget={budget!r}: bits of a weight in the mean, from "
            f"{min(candidates)}, the fewest among the candidates"
        )
    if number is not None and not is_whole(number, 1):
        raise LthError(
            f"moves.by_sensitivity: number={number!r}: examples, from 1, or null for all"
        )
    return BySensitivity(tuple(sorted({*candidates})), float(budget), number)


def fewest(table: Table, sizes: Mapping[str, int], budget: float) -> dict[str, int]:
    """Return the bits of each layer, given up greedily from the most on; ties by order.

    Smaller budgets go further on one way, so that no layer has more bits under them.

    >>> fewest({"a": {2: 9.0, 4: 1.0}, "b": {2: 1.5, 4: 1.0}}, {"a": 10, "b": 10}, 3)
    {'a': 4, 'b': 2}
    """
    steps = {n: sorted(row, reverse=True) for n, row in table.items()}
    bits = {n: row[0] for n, row in steps.items()}
    while sum(bits[n] * sizes[n] for n in bits) > budget * sum(sizes.values()):
        prices = {}
        for name, row in steps.items():
            if len(row) > 1:
                rise = table[name][row[1]] - table[name][row[0]]
                prices[name] = rise / max(1, (row[0] - row[1]) * sizes[name])
        name = min(prices, key=prices.__getitem__)
        del steps[name][0]
        bits[name] = steps[name][0]
    return bits


def sensitivities(
    net: Net,
    context: Turn,
    names: Sequence[str],
    candidates: Sequence[int],
    view: Callable[[int], View],
    number: int | None = None,
) -> tuple[float, dict[str, dict[int, float]]]:
    """Return the validation loss as the network is, and with each layer at each number of bits."""
    state, (inputs, targets) = net.baked(), context.validation(number)
    network = network_of(net.model, state).eval()
    weights, table = dict(network.named_parameters()), dict[str, dict[int, float]]()
    loss = as_loss(context.probe.loss)

    def measured() -> float:
        context.probe.seen += len(inputs)  # it is part of what the choice costs
        return _loss(network, loss, inputs, targets)

    with torch.no_grad():
        whole = measured()
        for name in names:
            weight, kept = state.params[name], net.mask.get(name)
            mask = torch.ones_like(weight) if kept is None else kept.to(weight)
            for bits in candidates:
                made = view(bits)
                own = made.own(name, weight * mask, mask)
                shown = weight if own is None else made(name, weight * mask, mask, own, False)
                weights[name].copy_(torch.where(mask.bool(), shown, weight))
                table.setdefault(name, {})[bits] = measured()
            weights[name].copy_(weight)
    return whole, table


def _loss(network: nn.Module, loss: Any, inputs: Tensor, targets: Tensor) -> float:
    total = 0.0
    for part in zip(*(t.split(EVALUATION_BATCH) for t in (inputs, targets)), strict=True):
        batch = Batch(*part)
        total += float(loss(network(batch.inputs), batch)) * len(batch.targets)
    return total / len(targets)
