"""The rival of every ticket: a small dense network, trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from json import dumps, loads
from typing import Any

import torch

from lth.arms.protocol import draw_seed
from lth.errors import LthError
from lth.networks import masks
from lth.networks.cost import forward_flops
from lth.networks.layers import describe
from lth.networks.ticket import Ticket, draw_state, layers_of, memory_key
from lth.pruning.needs import takes
from lth.spec.argument_types import one_of
from lth.spec.build import Spec, build
from lth.spec.trust import vouched

WIDTHS = ("widths", "blocks", "hidden", "width")


@dataclass(frozen=True)
class small_dense:
    """Train a dense network of the same family with as many weights as the ticket keeps.

    The model's ``arguments`` that give widths are scaled together, rounded, at least 1, so that the
    number of weights comes as close as it can; the records carry the true number. ``budget=steps``
    trains as long as the ticket does, ``flops`` until it has cost what training the large dense
    network costs, at most ``longest`` times as long: Scratch-E and Scratch-B of Liu et al. 2019
    (arXiv 1810.05270, Section 3), who double the length at most.
    """

    budget: str = "steps"
    arguments: Sequence[str] = WIDTHS
    longest: float | None = None

    def __post_init__(self) -> None:
        one_of("budget", self.budget, ("steps", "flops"))
        if self.longest is not None and not self.longest >= 1:
            raise LthError(f"longest={self.longest}: times the recipe's steps, 1 or more, or null")

    def check(self, model: Spec, weights: int) -> None:
        """Refuse before any work what no width can give."""
        narrow(model, weights, self.arguments)

    def __call__(
        self, winner: Ticket, generator: torch.Generator, *, input_shape: tuple[int, ...]
    ) -> Ticket:
        """Return the narrow network, freshly drawn, under a full mask."""
        others = layers_of(winner.model).others
        include = tuple(n for n in winner.mask if n in others)
        spec = narrow(winner.model, winner.weights, self.arguments, include)
        layers = layers_of(spec, None, include)
        stretch = 1.0
        if self.budget == "flops":
            large, small = (forward_flops(s, input_shape, None) for s in (winner.model, spec))
            stretch = min(large / small, self.longest or float("inf"))
        state = draw_state(spec, draw_seed(generator))
        mask = masks.full(layers, [n for n in layers.shapes if n not in layers.fixed])
        ticket = Ticket(model=spec, mask=mask, **state._asdict(), stretch=stretch)
        return takes(ticket, "total")


def narrow(
    model: Spec, weights: int, arguments: Sequence[str] = WIDTHS, include: Sequence[str] = ()
) -> Spec:
    """Scale a model's widths so that its number of weights comes closest to ``weights``.

    Refused where no width leaves so few: the smallest network has more.
    """
    if not any(a in vouched(model) for a in arguments):
        raise LthError(
            f"arms.small_dense: {model['_target_']} has none of the arguments "
            f"{', '.join(arguments)}; name those that set its widths: arms.small_dense.arguments"
        )
    key = (memory_key(model), weights, tuple(arguments), tuple(include))
    if key not in _narrowed:
        _narrowed[key] = dumps(_narrow(model, weights, tuple(arguments), include))
    return loads(_narrowed[key])


_narrowed: dict[Any, str] = {}  # a pure function's memory, nothing else


def _narrow(spec: Spec, weights: int, arguments: tuple[str, ...], include: Sequence[str]) -> Spec:
    low, high = 0.0, 1.0
    best = _scaled(spec, low, arguments)
    if (least := count_weights(best, include)) > weights:
        raise LthError(
            f"arms.small_dense: the smallest {spec['_target_']} has {least:,} weights, a ticket of "
            f"this study {weights:,}: leave the arm out, or stop at a lower level"
        )
    for _ in range(40):
        middle = (low + high) / 2
        candidate = _scaled(spec, middle, arguments)
        count = count_weights(candidate, include)
        if abs(count - weights) < abs(count_weights(best, include) - weights):
            best = candidate
        low, high = (middle, high) if count < weights else (low, middle)
    return best


def count_weights(model: Spec, include: Sequence[str] = ()) -> int:
    """Count the weights of a model without making them."""
    with torch.device("meta"):
        return describe(build(model)).including(include).total


def _scaled(model: Spec, scale: float, arguments: Sequence[str]) -> Spec:
    def narrower(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [narrower(v) for v in value]
        if isinstance(value, dict):  # a tuple: {_tuple_: [...]}
            return {k: narrower(v) for k, v in value.items()}
        return max(1, round(scale * value))

    return {k: narrower(v) if k in arguments else v for k, v in model.items()}
