"""The loop: train, score, prune, rewind, repeat.

Iterative magnitude pruning with rewinding: Strategy 1 of Frankle & Carbin 2019 (arXiv 1803.03635,
Appendix B), its parts injected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from lth.arms import context_of
from lth.networks import masks
from lth.networks.ticket import Ticket, draw_state
from lth.pruning.experiment import Experiment
from lth.pruning.needs import asks
from lth.pruning.search import Iterative
from lth.pruning.turn import Turn
from lth.store.entry import StoredMember
from lth.streams import stream_seed
from lth.types import WINNER, MemberId, PruningChain

__all__ = ["Cohort", "Experiment", "Level", "Train", "dense", "imp", "loop", "searched"]

Cohort = Mapping[MemberId, Ticket]
Train = Callable[[Cohort], dict[MemberId, StoredMember]]
"""Trains a cohort; members that it cannot give are left out, and their chains end there."""

Level = tuple[Cohort, dict[MemberId, StoredMember]]
"""A level's tickets, and what training them gave."""


def imp(experiment: Experiment, train: Train) -> Iterator[Level]:
    """Train, score, prune, rewind, repeat: find winning tickets level by level.

    A chain whose winner diverged has no further levels.
    """
    tickets = dense_networks(experiment)
    dense_members = trained = train(tickets)
    yield tickets, trained
    for level in experiment.route:
        tickets = {}
        for chain, network in winners(trained).items():
            turn = Turn(experiment, chain, level, network, winners(dense_members)[chain])
            mask = turn.trained.mask
            scores = turn.score(turn.trained.final, mask)
            mask = experiment.prune(scores, mask, experiment.layers, ties=turn.ties)
            start = turn.rewind()
            tickets |= with_arms(turn, turn.ticket(mask, start))
        if not tickets:
            return
        trained = train(tickets)
        yield tickets, trained


def searched(experiment: Experiment, train: Train) -> Iterator[Level]:
    """Train, search, rewind: the masks of each level come from a search (lth/pruning/search.py).

    One-shot pruning, pruning at initialisation, early-bird and transferred tickets: their levels
    all come from the dense network, and are made also where one above diverged.
    """
    tickets = dense_networks(experiment)
    dense_members = trained = train(tickets)
    yield tickets, trained
    for level in experiment.route:
        tickets = {}
        above = trained if experiment.search.iterates else dense_members
        for chain, network in winners(above).items():
            turn = Turn(experiment, chain, level, network, winners(dense_members)[chain])
            result = experiment.search(turn)
            start = turn.rewind()
            tickets |= with_arms(turn, turn.ticket(result, start))
        if not tickets:
            return
        trained = train(tickets)
        yield tickets, trained


def loop(experiment: Experiment, train: Train) -> Iterator[Level]:
    """Run the loop that the experiment's search asks for."""
    way = imp if type(experiment.search) is Iterative else searched
    return way(experiment, train)


def dense_networks(experiment: Experiment) -> dict[MemberId, Ticket]:
    """Return the tickets of level 0."""
    return {MemberId(*c, WINNER, 0, 0): dense(experiment, c) for c in experiment.lines}


def dense(experiment: Experiment, chain: PruningChain) -> Ticket:
    """Return the dense network of a trial, the same for all its learning rates."""
    seed = stream_seed("init", experiment.seed, chain.trial)
    params, buffers = draw_state(experiment.model, seed)
    mask = masks.full(experiment.layers, experiment.prune.prunable(experiment.layers))
    ticket = Ticket(model=experiment.model, mask=mask, params=params, buffers=buffers)
    return ticket.counted(experiment.layers, experiment.model)


def winners(trained: Mapping[MemberId, StoredMember]) -> dict[PruningChain, StoredMember]:
    """Return the winning tickets that have been trained to their end, by chain."""
    return {
        PruningChain(m.trial, m.lr): entry
        for m, entry in trained.items() if m.arm == WINNER and entry.diverged is None
    }  # fmt: skip


def with_arms(turn: Turn, winner: Ticket) -> dict[MemberId, Ticket]:
    """Hang every arm's copies off the winning ticket, each with its own stream."""
    experiment, tickets = turn.experiment, {turn.member(WINNER): winner}
    compared = turn.level in experiment.levels
    for name, (arm, copies) in experiment.arms.items() if compared else ():
        context = {n: make() for n, make in context_of(arm, turn.given).items()}
        for copy in range(copies if name != WINNER else 0):
            ticket = asks(arm(winner, turn.stream(name, copy), **context), context)
            ticket = ticket.counted(experiment.layers, experiment.model)
            tickets[turn.member(name, copy)] = ticket
    return tickets
