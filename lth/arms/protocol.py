"""What an arm is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import torch

from lth.errors import LthError
from lth.ticket import State, Ticket
from lth.types import Params


class Arm(Protocol):
    """A control: ``(winning ticket, generator) -> ticket``, a pure function.

    An arm that names them gets more: ``initial``, the dense run's initial state, ``trained``, its
    final params, and ``input_shape``, that of one example. One that has a ``check`` is asked before
    any work, ``check(model spec, weights kept at the lowest level)``, whether it can be made.
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

    def arm(
        winner: Ticket, generator: torch.Generator, *, initial: State | None = None,
        trained: Params | None = None, input_shape: tuple[int, ...] | None = None,
    ) -> Ticket:  # fmt: skip
        given = {"initial": initial, "trained": trained, "input_shape": input_shape}
        return change(of(winner, generator, **context_of(of, given)))

    return arm


def longer(of: Callable[..., Ticket], times: float = 2.0) -> Callable[..., Ticket]:
    """Train another arm ``times`` as long, its schedule stretched: what costs less gets more."""
    if isinstance(times, bool) or not times > 0:
        raise LthError(f"times={times}: how many times as long to train, a number above 0")
    return around(of, lambda ticket: replace(ticket, stretch=times * ticket.stretch))


def winning_ticket() -> Arm:
    """The ticket itself."""
    return lambda winner, generator: winner


def draw_seed(generator: torch.Generator) -> int:
    """Draw a seed for what takes no generator: the initialisation of a module."""
    return int(torch.randint(2**62, (), generator=generator))
