"""Moves that go back: to what the dense run was at a step, under the mask there is now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lth.errors import LthError
from lth.moves.keep import prune
from lth.moves.rewriting import rewound
from lth.moves.trained import Move, Trained, to_the_end
from lth.networks.net import Net
from lth.networks.ticket import Ticket
from lth.pruning.rewind import Rewind, ToStep
from lth.pruning.rules import Prune
from lth.pruning.turn import Turn, overlaid
from lth.types import Score


def rewind(to: int | Rewind | None = None) -> Move:
    """Rewind the network to a step of the dense run, or by a rule; None: by the study's.

    It trains from there to the end of the recipe (Frankle et al. 2020, arXiv 1912.05671).
    """
    if isinstance(to, bool) or not (to is None or isinstance(to, int) or callable(to)):
        raise LthError(f"moves.rewind.to={to!r}: a step, or a rewinding rule")
    rule = ToStep(to) if isinstance(to, int) else to

    def move(trained: Trained, context: Turn) -> Ticket:
        if (trained.pending or trained.ticket).model != context.experiment.model:
            return _of_another_model(trained, context, trained.net, rule)
        start, beneath = context.rewound(trained.state, rule)
        ticket = trained.now(start.state, start.step)
        params = overlaid(ticket.mask, start.state.params, beneath)
        return to_the_end(replace(ticket, params=params), start.schedule)

    vars(move)["needs"] = _no_needs if rule is None else rule.needs
    return move


def _of_another_model(trained: Trained, context: Turn, net: Net, rule: Rewind | None) -> Ticket:
    """Rewind a network of another form: the dense run's weights in it, or its own by some rules."""
    own = trained.state
    start, _ = context.rewound(own, rule)
    if not all(start.state.params.get(n) is p for n, p in own.params.items()):
        return replace(rewound(trained, context, net, rule), views=net.views)
    return to_the_end(trained.now(start.state, start.step), start.schedule)


def prune_and_rewind(
    rate: float | None = None,
    score: Score | None = None,
    rule: Prune | None = None,
    to: int | Rewind | None = None,
) -> Move:
    """Prune the network and rewind it: what iterative pruning repeats (``prune``, ``rewind``)."""
    first, then = prune(rate, score=score, rule=rule), rewind(to)

    def move(trained: Trained, context: Turn) -> Ticket:
        return then(trained.having(first(trained, context)), context)

    needs: Callable[[int], tuple[int, ...]] = vars(then)["needs"]
    vars(move)["needs"] = needs
    return move


def _no_needs(steps: int) -> tuple[int, ...]:
    return ()
