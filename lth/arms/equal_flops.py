"""An arm trained until it has cost what the dense network's training costs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from lth.arms.protocol import context_of
from lth.errors import LthError
from lth.networks import masks
from lth.networks.cost import forward_flops
from lth.networks.ticket import Ticket
from lth.spec.build import build
from lth.types import Mask

RUN = 20
"""The run that is counted has so many changes of the mask: its shares are what matters."""


def equal_flops(of: Callable[..., Ticket], longest: float | None = None) -> Callable[..., Ticket]:
    """Train another arm as many times longer as its training is cheaper than the dense network's.

    Times ``3 f_D / mean(3 f(t) + g(t))`` over its steps, where ``f`` are the FLOPs of a forward
    pass with the weights it keeps at a step, ``f_D`` those of the dense network, and ``g`` is ``f_D
    - f`` at a change of the mask by the gradient (Evci et al. 2020, arXiv 1911.11134, Appendix H);
    at most ``longest`` times the recipe's steps. Up to the rounding of steps both cost the same.
    """
    if longest is not None and not longest >= 1:
        raise LthError(f"equal_flops: longest={longest}: times the recipe's steps, 1 or more")

    def arm(
        winner: Ticket, generator: torch.Generator, *, input_shape: tuple[int, ...], **given: Any
    ) -> Ticket:
        ticket = of(winner, generator, **context_of(of, {**given, "input_shape": input_shape}))
        if ticket.frozen or ticket.gate is not None:
            return ticket  # it costs as much
        dense = forward_flops(winner.model, input_shape, None)
        times = min(3 * dense / _per_step(ticket, input_shape), longest or float("inf"))
        return replace(ticket, stretch=times * ticket.stretch)

    asked = inspect.signature(of)
    own = inspect.Parameter("input_shape", inspect.Parameter.KEYWORD_ONLY)
    names = {**asked.parameters, "input_shape": own}
    vars(arm)["__signature__"] = asked.replace(parameters=list(names.values()))
    if hasattr(of, "check"):
        vars(arm)["check"] = of.check  # type: ignore[attr-defined]
    return arm


def _per_step(ticket: Ticket, input_shape: tuple[int, ...]) -> float:
    """Return the mean FLOPs of an update on one example."""
    flops = _Forward(ticket, input_shape)
    if ticket.dynamics is None:
        return 3 * flops.kept(masks.kept(ticket.mask))
    schedule = build(ticket.dynamics)
    steps = RUN * schedule.every
    counts, cost, last = masks.kept(ticket.mask), 0.0, 0
    for step in (*schedule.updates(steps), steps):
        cost += 3 * flops.kept(counts) * (step - last)
        if step < steps and _by_gradient(schedule, step, steps):
            cost += flops.dense - flops.kept(counts)
        if hasattr(schedule, "count"):
            sizes = {n: m.numel() for n, m in ticket.mask.items()}
            counts = {n: schedule.count(n, size, step, steps) for n, size in sizes.items()}
        last = step
    return cost / steps


def _by_gradient(schedule: Any, step: int, steps: int) -> bool:
    asks = getattr(schedule, "by_gradient", lambda *_: schedule.needs_gradient)
    return bool(asks(step, steps))


class _Forward:
    """FLOPs of a forward pass by how many weights each layer keeps."""

    def __init__(self, ticket: Ticket, input_shape: tuple[int, ...]) -> None:
        self.ticket, self.input_shape = ticket, input_shape
        self.dense = forward_flops(ticket.model, input_shape, None)
        self._whole: Mask = {
            n: torch.zeros(m.numel(), dtype=torch.bool) for n, m in ticket.mask.items()
        }

    def kept(self, counts: Mapping[str, int]) -> int:
        """Return the FLOPs with so many weights in each layer."""
        mask = {n: torch.arange(len(m)) < counts[n] for n, m in self._whole.items()}
        return forward_flops(self.ticket.model, self.input_shape, mask)
