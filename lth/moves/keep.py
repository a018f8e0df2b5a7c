"""Moves that keep the trained weights: prune them, train them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

from lth.errors import LthError
from lth.moves.trained import Move, Trained, check_number, spec_in
from lth.networks import masks
from lth.networks.layers import Layers
from lth.networks.ticket import Ticket
from lth.pruning.experiment import with_ties
from lth.pruning.rules import Prune
from lth.pruning.turn import Turn, overlaid
from lth.spec.build import Spec
from lth.types import Mask, Score

CONSTANT: Spec = {"_target_": "lth.recipe.schedule.constant"}


def fine_tune(steps: int | None = None, lr: float | None = None) -> Move:
    """Train the network on at one rate: its last one, or ``lr``.

    ``steps`` more, None: as many as the recipe's. Han et al. 2015 (arXiv 1506.02626, Section 3);
    Renda et al. 2020 (arXiv 2003.02389, Section 2).
    """
    check_number("steps", steps, whole=True)
    check_number("lr", lr)

    def move(trained: Trained, context: Turn) -> Ticket:
        rate = trained.last_rate if lr is None else lr
        if not rate > 0:
            raise LthError("moves.fine_tune: training ended at a rate of 0: name one as lr")
        return trained.on(steps or context.steps, lr=rate, schedule=CONSTANT)

    return move


def train(
    steps: int | None = None,
    lr: float | None = None,
    schedule: Mapping[str, Any] | None = None,
    optimizer: Mapping[str, Any] | None = None,
) -> Move:
    """Train the network on, the recipe's schedule begun anew: ``steps`` more, None: all of its.

    ``schedule`` and ``optimizer`` name others by their ``kind``: ``{kind: torch.optim.Adam}``.
    """
    check_number("steps", steps, whole=True)
    check_number("lr", lr)

    other, by = spec_in("schedule", schedule), spec_in("optimizer", optimizer)

    def move(trained: Trained, context: Turn) -> Ticket:
        own = other or context.recipe.schedule
        anew = {"_target_": "lth.recipe.schedule.begun", "schedule": own, "start": trained.step}
        return trained.on(steps or context.steps, lr=lr, schedule=anew, optimizer=by)

    return move


def prune(
    rate: float | None = None,
    to: float | None = None,
    score: Score | None = None,
    rule: Prune | None = None,
) -> Move:
    """Prune the trained network, keep its other weights; leaves nothing to train by itself.

    By the study's rule for one level, or by another ``rule``; that rule with another ``rate``; or
    down ``to`` a density. ``score`` is the study's where it is None.
    """
    check_number("rate", rate, below=1)
    check_number("to", to, below=1)
    if rate is not None and to is not None:
        raise LthError("moves.prune: give a rate or to, not both")

    def move(trained: Trained, context: Turn) -> Ticket:
        mask = pruned(trained, context, rate, to, score, rule)
        ticket = trained.now()
        if ticket.model != context.experiment.model:
            return replace(ticket, mask=mask, params=masks.apply(ticket.params, mask))
        params = overlaid(mask, ticket.params, context.kept_beneath)
        return replace(ticket, mask=mask, params=params)

    return move


def pruned(
    trained: Trained,
    context: Turn,
    rate: float | None,
    to: float | None,
    score: Score | None,
    rule: Prune | None,
) -> Mask:
    """Return the mask of a trained network, pruned further."""
    mask, layers = trained.mask, trained.layers
    scores = context.score(trained.state, mask, score, trained.pending or trained.ticket)
    chosen = context.rule if rule is None else with_ties(rule)
    if to is not None:
        counts = _counts_to(to, chosen, mask, layers, context.layers.total)
        return chosen.to(scores, mask, layers, counts, ties=context.ties)
    chosen = chosen if rate is None else _at_rate(chosen, rate)
    return chosen(scores, mask, layers, ties=context.ties)


def _at_rate(rule: Prune, rate: float) -> Prune:
    if not is_dataclass(rule) or "rate" not in {f.name for f in fields(rule)}:
        raise LthError(f"moves.prune.rate: {type(rule).__name__} has none: give a rule instead")
    return cast(Prune, replace(cast(Any, rule), rate=rate))


def _counts_to(
    density: float, rule: Prune, mask: Mask, layers: Layers, total: int
) -> Mapping[str, int]:
    """Return how many weights each layer, or all together, keep of what is left at a density.

    It is a share of the ``total`` of the study's dense network.
    """
    alive = masks.kept(mask)
    rest = layers.total - sum(layers.sizes[n] for n in mask)
    target, now = round(density * total) - rest, sum(alive.values())
    if not 0 < target < now:
        raise LthError(
            f"moves.prune.to={density}: it keeps {density:.3g} of {total} weights, and "
            f"{now + rest} are left, {rest} of which cannot be pruned"
        )
    counts = rule.remaining(alive, layers)
    if set(counts) == {""}:
        return {"": target}
    return {n: round(alive[n] * target / now) for n in counts}


def measure() -> Move:
    """Measure the network as it is: the phase ends here, and nothing trains."""

    def move(trained: Trained, context: Turn) -> Ticket:
        if trained.step == 0:
            raise LthError("moves.measure: this network has not been trained at all")
        return trained.now()

    vars(move)["ends"] = True
    return move
