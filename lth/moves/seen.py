"""What moves that let weights be seen through a view have in common, and how such a view trains."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch

from lth.errors import LthError
from lth.moves.keep import CONSTANT
from lth.moves.trained import Trained, check_number, spec_in
from lth.networks.ticket import Ticket
from lth.networks.views.chosen import number_for
from lth.networks.views.see import Views
from lth.pruning.turn import Turn
from lth.spec.argument_types import is_whole
from lth.spec.build import Spec, build
from lth.types import Params

NUMBERS = {"lth.networks.views.rounded": "bits", "lth.networks.views.clustered": "k"}
"""The views that moves add, and which of their arguments has a number for every weight."""


def seen(
    trained: Trained, name: str, target: str, by_weight: Mapping[str, int], **more: Any
) -> Ticket:
    """Return the network with some weights seen through one more view, ``{weight: its number}``.

    What an earlier move let these weights be seen as is what they are now; other views stay, and
    come first. Weights that the study's rule never prunes get a mask that is full.
    """
    ticket = _masked(trained.now(), by_weight)
    others = [n for n, spec in ticket.views.items() if spec["_target_"] not in NUMBERS]
    made = ticket.built_views()
    twice = {w for tensors in made.tensors for w in tensors if w in by_weight}
    if others and twice and len(others) < len(ticket.views):
        raise LthError(f"moves.{name}: weights are seen through {', '.join(ticket.views)} already")
    if twice and not others:
        ticket = _as_seen(ticket, made, twice)
    spec: Spec = {"_target_": target, NUMBERS[target]: dict(by_weight), **more}
    owned = ticket.owned | (_owned(ticket, made, spec, by_weight) if others else {})
    free = (f"{name}{n}" for n in ["", *range(2, 99)])
    return replace(
        ticket, owned=owned,
        views={**ticket.views, next(n for n in free if n not in ticket.views): spec},
    )  # fmt: skip


def _masked(ticket: Ticket, names: Collection[str]) -> Ticket:
    full = {
        n: torch.ones(ticket.params[n].shape, dtype=torch.bool)
        for n in names if n not in ticket.mask
    }  # fmt: skip
    return replace(ticket, mask={**ticket.mask, **full}) if full else ticket


def _as_seen(ticket: Ticket, made: Views, names: Collection[str]) -> Ticket:
    """Return a ticket some of whose weights are what they were seen as; its views leave them."""
    baked = made.baked(ticket.plain_start.params, ticket.mask, {})
    params = {
        n: torch.where(ticket.mask[n], baked[n], p) if n in names else p
        for n, p in ticket.params.items()
    }
    views: dict[str, Spec] = {}
    for (name, spec), view, tensors in zip(
        ticket.views.items(), made.views, made.tensors, strict=False
    ):
        left = [w for w in tensors if w not in names]
        number = NUMBERS[spec["_target_"]]
        given = getattr(view, number)
        rest = {k: v for k, v in spec.items() if k not in ("bits", "k", "layers", "kinds")}
        if len(left) == len(tensors):
            views[name] = spec
        elif left:
            views[name] = {**rest, number: {w: number_for(w, given) for w in left}}
    owned = {n: t for n, t in ticket.owned.items() if n.rpartition("/")[0] not in names}
    return replace(ticket, params=params, views=views, owned=owned)


def _owned(ticket: Ticket, made: Views, spec: Spec, names: Collection[str]) -> Params:
    """Return what a view owns of weights that others show: of what they show, outside training."""
    view, found = cast(Any, build(spec)), Params()
    before = Views(made.views, None, made.tensors).baked(ticket.plain_start.params, ticket.mask, {})
    for name in names:
        mask = ticket.mask[name].to(before[name])
        own = view.own(name, before[name], mask) or {}
        found |= {f"{name}/{n}": t.detach() for n, t in own.items()}
    return found


@dataclass(frozen=True)
class Training:
    """How a move trains on what it has made: updates, 0 for none, None: as many as the recipe's.

    Without a ``schedule`` the rate stays as it is; with one, named by its kind, that begins anew.
    """

    move: str
    steps: int | None = None
    lr: float | None = None
    schedule: Mapping[str, Any] | None = None
    optimizer: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and not is_whole(self.steps, 0):
            raise LthError(f"moves.{self.move}: steps={self.steps!r}: a whole number from 0")
        check_number("lr", self.lr)
        spec_in("schedule", self.schedule)
        spec_in("optimizer", self.optimizer)

    def on(self, trained: Trained, ticket: Ticket, context: Turn) -> Ticket:
        """Return the ticket that trains, or, of 0 steps, that leaves nothing to train."""
        if self.steps == 0:
            return ticket
        rate = trained.last_rate if self.lr is None else self.lr
        if not rate > 0:
            raise LthError(f"moves.{self.move}: training ended at a rate of 0: name one as lr")
        own = spec_in("schedule", self.schedule)
        anew = {"_target_": "lth.recipe.schedule.begun", "schedule": own, "start": ticket.step}
        return trained.having(ticket).on(
            self.steps or context.steps, lr=rate, schedule=CONSTANT if own is None else anew,
            optimizer=spec_in("optimizer", self.optimizer),
        )  # fmt: skip
