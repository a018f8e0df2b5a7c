"""Moves to one network that holds a chain's winning tickets of several levels, and back to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lth.errors import LthError
from lth.moves.rewriting import rewriting
from lth.moves.slim import trained_together
from lth.moves.trained import Move, Trained, to_the_end
from lth.networks.net import Net
from lth.networks.rewrites import nesting
from lth.networks.rewrites.carry import carried, parts_of
from lth.networks.ticket import Ticket
from lth.pruning.rewind import Start
from lth.pruning.turn import Turn
from lth.spec.argument_types import is_whole, one_of
from lth.spec.build import Spec
from lth.types import Mask

NESTED, AT_TICKET = (f"lth.networks.rewrites.{name}" for name in ("nested", "at_ticket"))


def nested_tickets(levels: Sequence[int] | None = None, weights: str = "rewound") -> Move:
    """Train one set of weights under the nested masks of several winning tickets.

    The masks are those of the chain's winning tickets at ``levels``, None: all compared so far.
    ``weights`` are the dense network's: ``rewound``, as every ticket's are, and trained from there
    to the recipe's end, or ``trained`` (fine_tune or train follows). What trains next adds up the
    recipe's loss over the masks (``rewrites.nested``); ``at_ticket`` then takes one ticket out.
    """
    one_of("weights", weights, ("rewound", "trained"))
    if levels is not None and not (levels and all(is_whole(n, 0) for n in levels)):
        raise LthError(f"moves.nested_tickets: levels={levels!r}: a list of levels, or null")

    def move(trained: Trained, context: Turn) -> Ticket:
        began = trained.ticket
        if trained.pending or began.model != context.experiment.model or began.views:
            raise LthError("moves.nested_tickets: it is of the study's own network: put it first")
        masks = _masks(levels, context)
        start = context.rewound(context.dense.final)[0] if weights == "rewound" else None
        at = start or Start(context.dense.final, trained.step)
        ticket = trained.now(at.state, at.step)
        ticket = replace(ticket, **parts_of(_holding(masks, at, context)), sizes={})
        return ticket if start is None else to_the_end(ticket, start.schedule)

    return trained_together(move)


def at_ticket(level: int) -> Move:
    """Take the ticket of one level out of nested ones: an ordinary network under its mask."""
    if not is_whole(level, 0):
        raise LthError(f"moves.at_ticket: level={level!r}: a whole number, 0 or more")

    def structure(trained: Trained, context: Turn) -> Spec:
        model = trained.net.model
        held = model.get("levels", ())
        if model["_target_"] != NESTED or level not in held:
            there = f"it holds {', '.join(map(str, held))}" if held else "it holds no tickets"
            raise LthError(f"moves.at_ticket: level={level}: {there}: nested_tickets comes before")
        return {"_target_": AT_TICKET, "model": model, "level": level}

    return rewriting(structure)


def _masks(levels: Sequence[int] | None, context: Turn) -> dict[int, Mask]:
    """Return the masks of the chain's winning tickets, largest first."""
    known = [n for n in context.winners if n in context.experiment.levels and n > 0]
    wanted = sorted(set(known if levels is None else levels))
    if not wanted:
        raise LthError(
            "moves.nested_tickets: no winning ticket is compared, and it holds those of several "
            "levels: levels=2"
        )
    return {level: context.winning_mask(level) for level in wanted}


def _holding(masks: Mapping[int, Mask], start: Start, context: Turn) -> Net:
    """Return the dense network somewhere on its way, under all of the masks."""
    first, state = next(iter(masks.values())), start.state
    model: dict[str, Any] = context.experiment.model
    net = Net(model=model, mask=first, params=state.params, buffers=state.buffers)
    form = {"_target_": NESTED, "model": model, "levels": list(masks)}
    return nesting.with_ranks(carried(net, form), list(masks.values()))
