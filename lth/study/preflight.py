"""Before any work: a search, a score and the methods are tried on an untrained network."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from lth.errors import LthError, told
from lth.imp import dense
from lth.moves.phases import begins_at, levels_of, next_ticket, once
from lth.networks import masks
from lth.networks.ticket import State, Ticket
from lth.pruning.experiment import Experiment, Method
from lth.pruning.needs import Reading
from lth.pruning.rules import counts_at
from lth.pruning.search import Preflight
from lth.pruning.turn import Turn
from lth.store.entry import StoredMember
from lth.streams import stream
from lth.types import Mask, Params, PruningChain


def check_search(experiment: Experiment) -> None:
    """Let the search say before any work whether it can be done (see ``Preflight``)."""
    check = getattr(experiment.search, "check", None)
    if check is None or not experiment.levels:
        return
    first = experiment.lines[0]
    ticket = dense(experiment, first)
    places = [(c.trial, c.lr, level) for c in experiment.lines for level in experiment.levels]
    counts = masks.kept(ticket.mask)
    kept = {
        n: sum(counts_at(experiment.prune, counts, experiment.layers, n).values())
        for n in experiment.levels
    }
    check(Preflight(
        places=tuple(places), layers=experiment.layers, mask=ticket.mask,
        scores=lambda: _scores(experiment, first, ticket), kept=kept,
        initial=lambda trial: dense(experiment, PruningChain(trial, first.lr)).start,
        untrained=_starts_untrained(experiment, ticket.start),
    ))  # fmt: skip


def check_score(experiment: Experiment) -> None:
    """Score the untrained network once: a score that this model does not suit says so now."""
    if experiment.levels and getattr(experiment.search, "check", None) is None:
        first = experiment.lines[0]
        _scores(experiment, first, dense(experiment, first))


def _scores(experiment: Experiment, chain: PruningChain, ticket: Ticket) -> Params:
    return experiment.score(
        ticket.start.params, initial=ticket.params, mask=ticket.mask, buffers=ticket.buffers,
        generator=stream("score", experiment.seed, chain.trial, 1),
        probe=experiment.probe(chain.trial),
    )  # fmt: skip


def _starts_untrained(experiment: Experiment, state: State) -> bool:
    """Whether the rule rewinds to weights that no step has trained."""
    read = Reading(experiment.steps)

    def at(step: int) -> State:
        read.add({0: step})
        return state

    experiment.rewind(at, read.state(state, {0: 1}))
    return not read.needs


def with_tried_methods(experiment: Experiment) -> Experiment:
    """Go through every method on an untrained network: what it cannot do, it says before work."""
    tried = {name: _tried(name, method, experiment) for name, method in experiment.methods.items()}
    return replace(experiment, methods=tried)


@dataclass
class _Untrained:
    """A ticket that stands for what training it would give."""

    ticket: Ticket
    steps: int
    diverged: None = None
    key: str = "0" * 64  # as a key of the store is written

    @property
    def about(self) -> dict[str, Any]:
        return {"step": self.ticket.step, "steps": self.steps}

    @property
    def mask(self) -> Mask:
        return self.ticket.mask

    final_mask = mask

    @property
    def start(self) -> State:
        return self.ticket.start

    final = start

    def at(self, step: int) -> State:
        return self.ticket.start


def _tried(name: str, method: Method, experiment: Experiment) -> Method:
    for _, move in method.moves:
        with _of(name):
            getattr(move, "needs", lambda _: ())(experiment.steps)
    begin, levels = begins_at(method), levels_of(method, experiment)
    if begin not in (None, 0, *experiment.route):
        known = ", ".join(map(str, [0, *experiment.route]))
        raise LthError(f"method.{name}.at={begin}: no level that is trained: there are {known}")
    ticket = dense(experiment, experiment.lines[0])
    member, lengths = _Untrained(ticket, experiment.steps), list[int]()
    whole = member
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an untrained network's layers may well collapse
        for _ in range(min(2, len(levels) if begin is not None else 1)):
            lengths.clear()
            moves = once(method)
            while moves:
                member, moves = _tried_phase(name, experiment, member, whole, moves)
                lengths.append(member.steps)
    return replace(method, lengths=tuple(lengths))


def _tried_phase(
    name: str, experiment: Experiment, member: _Untrained, whole: _Untrained, moves: Any
) -> tuple[_Untrained, Any]:
    stored, first = cast(StoredMember, member), cast(StoredMember, whole)
    turn = Turn(experiment, experiment.lines[0], 1, stored, first, run=0, took={})
    with _of(name):
        ticket, rest = next_ticket(turn, member.ticket, moves)
        recipe = experiment.recipe.for_ticket(ticket.stretch, ticket.changes, ticket.step)
    return _Untrained(ticket, recipe.steps - ticket.step), rest


@contextmanager
def _of(name: str) -> Iterator[None]:
    """Say of which method an error is."""
    try:
        yield
    except LthError as error:
        raise LthError(f"method.{name}: {error}") from error
    except Exception as error:
        raise LthError(f"method.{name}: {told(error)}") from error
