"""What an arm is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import torch

from lth.errors import LthError
from lth.networks.ticket import Ticket


class Arm(Protocol):
    """A control: ``(winning ticket, generator) -> ticket``, a pure function.

    Beneath the winner's mask lie the values of the dense network at the point rewound to. An arm
    that names them gets more: ``initial``, the dense run's initial state, ``trained``, its final
    params, ``dense``, its state at the point that tickets are rewound to, ``input_shape``, that of
    one example, and ``steps``, those of the recipe. One that has a ``check`` is asked before any
    work, ``check(model spec, weights kept at the lowest level)``, whether it can be made. One that
    does not use the winner's mask or start says so (``lth.pruning.needs.takes``): what they cost is
    not its cost.
    """

    def __call__(self, winner: Ticket, generator: torch.Generator) -> Ticket:
        """Return the ticket this arm trains at the winner's level."""
        ...


def context_of(arm: Callable[..., Ticket], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return of ``given`` what the arm asks for by name."""
    asked = inspect.signature(arm).parameters
    return {name: value for name, value in given.items() if name in asked}


def around(of: Callable[..., Ticket], change: Callable[[Ticket], Ticket]) -> Callable[..., Ticket]:
    """Change what another arm returns; whatever that one asks for is handed on."""

    def arm(winner: Ticket, generator: torch.Generator, **given: Any) -> Ticket:
        return change(of(winner, generator, **context_of(of, given)))

    vars(arm)["__signature__"] = inspect.signature(of)  # what it asks for, and so what it costs
    if hasattr(of, "check"):
        vars(arm)["check"] = of.check  # type: ignore[attr-defined]
    return arm


def longer(of: Callable[..., Ticket], times: float = 2.0) -> Callable[..., Ticket]:
    """Make ``times`` as many updates from wherever another arm starts: what costs less gets more.

    What is left of the schedule there is stretched with them.
    """
    if isinstance(times, bool) or not 0 < times < float("inf"):
        raise LthError(f"times={times}: how many times as long to train, a number above 0")
    return around(of, lambda ticket: replace(ticket, stretch=times * ticket.stretch))


def winning_ticket() -> Arm:
    """The ticket itself."""
    return lambda winner, generator: winner


def draw_seed(generator: torch.Generator) -> int:
    """Draw a seed for what takes no generator: the initialisation of a module."""
    return int(torch.randint(2**62, (), generator=generator))
