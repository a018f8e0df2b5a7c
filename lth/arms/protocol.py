"""What an arm is."""

from __future__ import annotations

from typing import Protocol

import torch

from lth.ticket import Ticket


class Arm(Protocol):
    """A control: ``(winning ticket, generator) -> ticket``, a pure function.

    An arm that names them gets more: ``initial``, the dense run's initial state, ``trained``, its
    final params, and ``input_shape``, that of one example. One that has a ``check`` is asked before
    any work, ``check(model spec, weights kept at the lowest level)``, whether it can be made.
    """

    def __call__(self, winner: Ticket, generator: torch.Generator) -> Ticket:
        """Return the ticket this arm trains at the winner's level."""
        ...


def winning_ticket() -> Arm:
    """The ticket itself."""
    return lambda winner, generator: winner


def draw_seed(generator: torch.Generator) -> int:
    """Draw a seed for what takes no generator: the initialisation of a module."""
    return int(torch.randint(2**62, (), generator=generator))
