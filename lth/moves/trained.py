"""What a move is, and what it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from lth.errors import LthError
from lth.networks.layers import Layers
from lth.networks.ticket import Net, State, Ticket, layers_of
from lth.pruning.needs import of_mask
from lth.pruning.turn import Turn, overlaid
from lth.spec.build import Spec, build
from lth.types import Mask


class Move(Protocol):
    """``(trained member, context) -> ticket``, a pure function.

    The context has what a study is made of: ``score(network, mask)``, ``prune(scores, mask)``,
    ``rewound(network)``, ``layers``, ``recipe``, ``initial``, ``dense``, ``generator``, ``level``.
    A move that looks at the dense run on its way says where, as rewinding rules do: an attribute
    ``needs``, ``steps -> steps``.
    """

    def __call__(self, trained: Trained, context: Turn, /) -> Ticket:
        """Return the ticket that trains next; ``trained.on`` makes one of the network as it is."""
        ...


@dataclass(frozen=True)
class Trained:
    """A trained member: ``ticket`` is what it trained from, ``state`` and ``mask`` what it is now.

    ``pending`` is a ticket that an earlier move of the same phase has made of it, and that has
    nothing to train: then the network is that one.
    """

    ticket: Ticket
    context: Turn
    pending: Ticket | None = None

    @property
    def key(self) -> str:
        """The member's name in the store."""
        return self.context.trained.key

    @property
    def step(self) -> int:
        """The step that training has reached."""
        about = self.context.trained.about
        return about["step"] + about["steps"]

    @property
    def mask(self) -> Mask:
        """The mask it has now."""
        if self.pending is not None:
            return self.pending.mask
        member = self.context.trained
        if self.ticket.dynamics is not None or self.ticket.gate is not None:
            return (member.final, member.final_mask)[1]  # which took the training
        self.context.note(*of_mask(self.ticket, self.context.run))
        return member.mask

    @property
    def state(self) -> State:
        """Its weights, 0 where it is pruned, and its buffers, without what views own."""
        if self.pending is not None:
            return self.pending.plain_start
        if not self.ticket.views:
            return self.context.final
        plain, own = (self.now().plain_start, self.context.final)
        return State(plain.params, {n: b for n, b in own.buffers.items() if n in plain.buffers})

    @property
    def net(self) -> Net:
        """The network as it is now: model, mask, views, and what these own, as trained."""
        return self.now().net

    @property
    def layers(self) -> Layers:
        """The layers of its own model, which a rewrite may have made another than the study's."""
        experiment, model = self.context.experiment, self._now.model
        if model == experiment.model:
            return experiment.layers
        return layers_of(model, experiment.input_shape, self.included)

    @property
    def included(self) -> tuple[str, ...]:
        """Parameters of its model that the pruning rule counts among the weights."""
        own = layers_of(self._now.model)
        return tuple(n for n in getattr(self.context.rule, "include", ()) if n in own.parameters)

    @property
    def _taught(self) -> dict[str, Any]:
        """What a move of this phase has said of the teacher."""
        origin = {} if self.pending is None else self.pending.origin
        return {k: v for k, v in origin.items() if k == "teacher"}

    @property
    def _now(self) -> Ticket:
        return self.pending or self.ticket

    def having(self, ticket: Ticket) -> Trained:
        """Return it changed by a ticket that has nothing to train."""
        return replace(self, pending=ticket)

    def now(self, state: State | None = None, step: int | None = None) -> Ticket:
        """Return the network as it is, or in another state, as a ticket with nothing to train.

        Beneath the mask lie the dense network's trained values. Whatever was otherwise in how the
        member trained (its schedule, a changing mask) is over; what an earlier move of this phase
        has set for the training to come stays.
        """
        if self.pending is not None and state is None:
            return self.pending
        step = self.step if step is None else step
        state = self.context.final if state is None else state
        said, ticket = ({}, self.ticket) if self.pending is None else (
            self.pending.changes, self.pending
        )  # fmt: skip
        params = state.params
        if ticket.model == self.context.experiment.model:  # of another nothing lies beneath
            params = overlaid(self.mask, params, self.context.kept_beneath)
        return replace(
            ticket, mask=self.mask, params=params, buffers=state.buffers, owned={}, step=step,
            changes={**said, "steps": step}, stretch=1.0, dynamics=None, gate=None,
            teacher=None if self.pending is None else self.pending.teacher, origin=self._taught,
        )  # fmt: skip

    def on(self, steps: int, **changes: Any) -> Ticket:
        """Return the network as it is, to be trained ``steps`` more.

        ``changes`` are of the recipe: ``lr``, ``schedule``, ``optimizer``; None: as it says.
        """
        ticket = self.now()
        said = {name: value for name, value in changes.items() if value is not None}
        return replace(ticket, changes={**ticket.changes, **said, "steps": ticket.step + steps})

    @property
    def last_rate(self) -> float:
        """The learning rate of the member's last update."""
        ticket, context = self.ticket, self.context
        recipe = context.recipe.for_ticket(ticket.stretch, ticket.changes, ticket.step)
        factor = float(build(recipe.schedule)(recipe.steps - 1, recipe.steps))
        return factor * ticket.changes.get("lr", context.chain.lr)


def to_the_end(ticket: Ticket, schedule: Spec | None = None) -> Ticket:
    """Return a ticket that trains to the end of the recipe, under a ``schedule`` if one is given.

    ``now`` gives one that has nothing to train.
    """
    changes = {n: v for n, v in ticket.changes.items() if n != "steps"}
    return replace(ticket, changes=changes | ({} if schedule is None else {"schedule": schedule}))


def nothing_to_train(ticket: Ticket) -> bool:
    """Whether a ticket is one that a later move of its phase is to go on with."""
    return ticket.changes.get("steps") == ticket.step


def spec_in(name: str, given: Mapping[str, Any] | None) -> Spec | None:
    """Return the spec of ``{kind: factory, ...}``: what names it in a move's own arguments."""
    if given is None or (isinstance(given, Mapping) and "_target_" in given):
        return None if given is None else dict(given)
    if not isinstance(given, Mapping) or "kind" not in given:
        raise LthError(f"moves: {name}={given}: name its kind, as in {{kind: its factory}}")
    return {"_target_": given["kind"], **{k: v for k, v in given.items() if k != "kind"}}


def check_number(name: str, value: Any, below: float = float("inf"), whole: bool = False) -> None:
    """Refuse a setting of a move that is out of its range."""
    if value is None:
        return
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < below:
        what = "a whole number from 1" if whole else "a number above 0"
        raise LthError(f"moves: {name}={value!r}: {what}" + (" and below 1" if below == 1 else ""))
