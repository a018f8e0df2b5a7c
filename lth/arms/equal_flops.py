"""An arm trained until it has cost what the dense network's training costs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from lth.arms.protocol import context_of
from lth.errors import LthError
from lth.networks import masks
from lth.networks.cost import Flops
from lth.networks.ticket import Ticket
from lth.spec.build import build
from lth.spec.plain import short

ROUNDS = 6
"""So often the number of updates is found anew from what a run of so many costs."""


def equal_flops(of: Callable[..., Ticket], longest: float | None = None) -> Callable[..., Ticket]:
    """Train another arm as many times longer as its training is cheaper than the dense network's.

    It makes n updates, where ``sum of 3 f(t) + g(t)`` over them is ``3 f_D`` times the recipe's
    steps: ``f`` are the FLOPs of a forward pass with the weights that are kept before update t,
    ``f_D`` those of the dense network, and ``g`` is ``f_D - f`` at a change of the mask by the
    gradient (Evci et al. 2020, arXiv 1911.11134, Appendix H). At most ``longest`` times the steps.
    """
    if not callable(of):
        raise LthError(f"equal_flops: of={short(of)}: it is an arm: {{_target_: its factory, ...}}")
    if longest is not None and not longest >= 1:
        raise LthError(f"equal_flops: longest={longest}: times the recipe's steps, 1 or more")

    def arm(
        winner: Ticket, generator: torch.Generator, *, input_shape: tuple[int, ...], steps: int,
        **given: Any,
    ) -> Ticket:  # fmt: skip
        given |= {"input_shape": input_shape, "steps": steps}
        ticket = of(winner, generator, **context_of(of, given))
        if ticket.frozen or ticket.gate is not None:
            return ticket  # it costs as much
        flops = _Forward(ticket, input_shape)
        count = steps - ticket.step
        for _ in range(ROUNDS):  # a schedule of more steps has more changes
            count = 3 * flops.dense * steps / flops.per_step(round(count))
        times = min(count / (steps - ticket.step), longest or float("inf"))
        return replace(ticket, stretch=times * ticket.stretch)

    asked = inspect.signature(of)
    kind = inspect.Parameter.KEYWORD_ONLY
    own = {name: inspect.Parameter(name, kind) for name in ("input_shape", "steps")}
    names = {**asked.parameters, **own}
    vars(arm)["__signature__"] = asked.replace(parameters=list(names.values()))
    if hasattr(of, "check"):
        vars(arm)["check"] = of.check  # type: ignore[attr-defined]
    return arm


class _Forward:
    """FLOPs of a ticket's forward pass by how many weights each layer keeps."""

    def __init__(self, ticket: Ticket, input_shape: tuple[int, ...]) -> None:
        self.ticket = ticket
        self.kept = Flops(ticket.model, input_shape).forward  # by counts of layers
        self.dense = self.kept({})
        self._sizes = {n: m.numel() for n, m in ticket.mask.items()}

    def per_step(self, steps: int) -> float:
        """Return the mean FLOPs of an update on one example, in a run of so many."""
        counts = masks.kept(self.ticket.mask)
        if self.ticket.dynamics is None:
            return 3 * self.kept(counts)
        schedule, cost, last = build(self.ticket.dynamics), 0, 0
        for step in (*schedule.updates(steps), steps):
            cost += 3 * self.kept(counts) * (step - last)
            if step < steps and _by_gradient(schedule, step, steps):
                cost += self.dense - self.kept(counts)
            if hasattr(schedule, "count"):
                counts = {n: schedule.count(n, s, step, steps) for n, s in self._sizes.items()}
            last = step
        return cost / steps


def _by_gradient(schedule: Any, step: int, steps: int) -> bool:
    asks = getattr(schedule, "by_gradient", lambda *_: schedule.needs_gradient)
    return bool(asks(step, steps))
