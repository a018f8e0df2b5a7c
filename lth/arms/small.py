"""The rival of every ticket: a small dense network, trained from scratch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from lth import masks
from lth.arms.protocol import draw_seed
from lth.cost import forward_flops
from lth.errors import LthError
from lth.layers import describe
from lth.spec import Spec, build
from lth.ticket import Ticket, draw_state, layers_of

WIDTHS = ("widths", "blocks", "hidden", "width")
BUDGETS = ("steps", "flops")


def small_dense(
    budget: str = "steps", arguments: Sequence[str] = WIDTHS, longest: float | None = None
) -> Callable[..., Ticket]:
    """Train a dense network of the same family with as many weights as the ticket keeps.

    The model's ``arguments`` that give widths are scaled together, rounded, at least 1, so that the
    number of weights comes as close as it can; the records carry the true number. ``budget=steps``
    trains as long as the ticket does, ``flops`` until it has cost what training the large dense
    network costs, at most ``longest`` times as long: Scratch-E and Scratch-B of Liu et al. 2019
    (arXiv 1810.05270, Section 3), who double the length at most.
    """
    if budget not in BUDGETS:
        raise LthError(f"budget={budget}: it is one of {', '.join(BUDGETS)}")

    def arm(winner: Ticket, generator: torch.Generator, *, input_shape: tuple[int, ...]) -> Ticket:
        spec = narrow(winner.model, winner.weights, arguments)
        layers = layers_of(spec)
        stretch = 1.0
        if budget == "flops":
            large, small = (forward_flops(s, input_shape, None) for s in (winner.model, spec))
            stretch = min(large / small, longest or float("inf"))
        state = draw_state(spec, draw_seed(generator))
        mask = masks.full(layers, layers.shapes)
        return Ticket(spec, mask, *state, stretch=stretch, searched=False)

    return arm


def narrow(model: Spec, weights: int, arguments: Sequence[str] = WIDTHS) -> Spec:
    """Scale a model's widths so that its number of weights comes closest to ``weights``."""
    if not any(a in model for a in arguments):
        raise LthError(
            f"arms.small_dense: {model['_target_']} has none of the arguments "
            f"{', '.join(arguments)}; name those that set its widths: arms.small_dense.arguments"
        )
    low, high = 0.0, 1.0
    best = _scaled(model, low, arguments)
    for _ in range(40):
        middle = (low + high) / 2
        candidate = _scaled(model, middle, arguments)
        count = count_weights(candidate)
        if abs(count - weights) < abs(count_weights(best) - weights):
            best = candidate
        low, high = (middle, high) if count < weights else (low, middle)
    return best


def count_weights(model: Spec) -> int:
    """Count the weights of a model without making them."""
    with torch.device("meta"):
        return describe(build(model)).total


def _scaled(model: Spec, scale: float, arguments: Sequence[str]) -> Spec:
    def narrower(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [narrower(v) for v in value]
        return max(1, round(scale * value))

    return {k: narrower(v) if k in arguments else v for k, v in model.items()}
