"""Arms: what a member of the comparison starts from, a pure function of the winning ticket.

Each arm is a factory with named arguments; what it returns maps the winning ticket of a level and a
generator to another ticket. How many copies of it are drawn per trial is the study's business.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch

from lth.ticket import Ticket, draw_state


class Arm(Protocol):
    """A control: ``(winning ticket, generator) -> ticket``."""

    def __call__(self, winner: Ticket, generator: torch.Generator) -> Ticket:
        """Return the ticket this arm trains at the winner's level."""
        ...


def winning_ticket() -> Arm:
    """The ticket itself."""
    return lambda winner, generator: winner


def random_reinit() -> Arm:
    """Keep the mask, draw new initial weights, train from step 0 with the full schedule.

    Frankle & Carbin 2019, arXiv 1803.03635, Section 2.
    """

    def arm(winner: Ticket, generator: torch.Generator) -> Ticket:
        params, buffers = draw_state(winner.model, _draw_seed(generator))
        return replace(winner, params=params, buffers=buffers, step=0)

    return arm


def random_mask(reinit: bool = False) -> Arm:
    """Draw a mask uniformly with the winner's count in every layer, over the winner's start.

    With ``reinit`` the initial weights are drawn anew too: the randomly sampled sparse networks of
    Frankle & Carbin 2019, arXiv 1803.03635, Figure 1 and Appendix E.
    """

    def arm(winner: Ticket, generator: torch.Generator) -> Ticket:
        base = random_reinit()(winner, generator) if reinit else winner
        drawn = {}
        for name, mask in winner.mask.items():
            order = torch.randperm(mask.numel(), generator=generator)
            drawn[name] = mask.reshape(-1)[order].reshape(mask.shape)
        return replace(base, mask=drawn)

    return arm


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator))
