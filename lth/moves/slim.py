"""Moves to several widths, and to one of them: the width that a budget of computation allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lth.errors import LthError
from lth.moves.exits import per_output_of
from lth.moves.rewriting import rewriting
from lth.moves.trained import Move, Trained, check_number
from lth.networks.cost import forward_flops
from lth.networks.rewrites import slim as rewrites
from lth.networks.ticket import Ticket, draw_model
from lth.pruning.turn import Turn
from lth.spec.build import Spec

SLIMMABLE, AT_WIDTH = (f"lth.networks.rewrites.{name}" for name in ("slimmable", "at_width"))


def slim(
    widths: Sequence[float] = (0.25, 0.5, 1.0),
    weights: str = "trained",
    sandwich: int | None = None,
) -> Move:
    """Let the network run at several widths, and train them together (``rewrites.slimmable``).

    What trains next adds up the recipe's loss over the widths (Yu et al. 2019, arXiv 1812.08928,
    Section 3.3). ``weights`` are ``trained`` (fine_tune or train follows), ``rewound`` or
    ``drawn``; ``at_width`` then takes one width out.
    """
    widths = list(rewrites.checked(widths))

    def structure(trained: Trained, context: Turn) -> Spec:
        model = trained.net.model
        if model["_target_"] == SLIMMABLE:
            raise LthError("moves.slim: the network is slimmable already")
        _check_runs("moves.slim", model, widths, context)
        return {"_target_": SLIMMABLE, "model": model, "widths": widths, "sandwich": sandwich}

    return trained_together(rewriting(structure, weights))


def at_width(
    width: float | None = None, macs: float | None = None, weights: str = "trained"
) -> Move:
    """Take one width of a slimmable network, or of any: an ordinary narrow network.

    ``width`` is a share of the units, or the greatest whose multiply-adds for an input are within
    ``macs`` (up to 1: a share of the full width's): of a slimmable network one of its widths, else
    any hundredth. ``measure`` may follow, or training.
    """
    if (width is None) == (macs is None):
        raise LthError("moves.at_width: give width, or macs, a budget of multiply-adds")
    check_number("macs", macs)
    if width is not None:
        rewrites.check_width("moves.at_width", width)

    def structure(trained: Trained, context: Turn) -> Spec:
        model = trained.net.model
        chosen = width if width is not None else _widest(model, macs or 0.0, context)
        if model["_target_"] != SLIMMABLE:
            _check_runs("moves.at_width", model, [chosen], context)
        return {"_target_": AT_WIDTH, "model": model, "width": chosen}

    return rewriting(structure, weights)


def trained_together(move: Move) -> Move:
    """Return a move whose ticket trains on the sum of the recipe's loss over several outputs."""

    def together(trained: Trained, context: Turn) -> Ticket:
        ticket = move(trained, context)
        loss = per_output_of(context.recipe.loss, None)
        return replace(ticket, changes={**ticket.changes, "loss": loss})

    return together


def macs_at(model: Spec, width: float, input_shape: Sequence[int]) -> int:
    """Return the multiply-adds of a network at a width for one input, biases and norms left out."""
    spec = {"_target_": AT_WIDTH, "model": model, "width": width}
    return forward_flops(spec, input_shape, None) // 2


def _check_runs(what: str, model: Spec, widths: Sequence[float], context: Turn) -> None:
    """Refuse a network that does not run at a width: its layers do not follow one another."""
    if context.experiment.validation is None:
        return  # a task's module only its user can run
    for width in widths:
        draw_model({"_target_": AT_WIDTH, "model": model, "width": width}, 0)  # says what cannot be
        try:
            macs_at(model, width, context.experiment.input_shape)
        except LthError as error:
            raise LthError(
                f"{what}: the network does not run at width {width:g}: its hidden layers must "
                f"follow one another as they are registered, in one line ({error.__cause__})"
            ) from error


def _widest(model: Spec, macs: float, context: Turn) -> float:
    """Return the greatest width within a budget; multiply-adds rise with the width."""
    shape, slimmed = context.experiment.input_shape, model["_target_"] == SLIMMABLE
    known = list(model["widths"]) if slimmed else [n / 100 for n in range(1, 101)]
    macs = macs * macs_at(model, 1.0, shape) if macs <= 1 else macs
    least = macs_at(model, known[0], shape)
    if least > macs:
        raise LthError(
            f"moves.at_width: macs={macs:g}: already width {known[0]:g} takes {least:,} of them"
        )
    return known[_last(known, lambda width: macs_at(model, width, shape) <= macs)]


def _last(values: Sequence[float], holds: Callable[[float], bool]) -> int:
    """Return the last place at which something holds that holds at the first, then no more."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(values[middle]) else (low, middle)
    return low
