"""The loop: iterative magnitude pruning with rewinding, its parts injected.

Strategy 1 of Frankle & Carbin 2019 (arXiv 1803.03635, Appendix B): train, prune, rewind, repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lth import masks
from lth.arms import Arm, context_of
from lth.entry import Entry
from lth.layers import Layers
from lth.probe import Probe
from lth.prune import Prune
from lth.rewind import Rewind
from lth.search import Ahead, Case, Scorer, Search, iterative
from lth.spec import Spec
from lth.streams import stream, stream_seed
from lth.ticket import State, Ticket, draw_state
from lth.types import Mask, Params, Score

WINNER = "winning_ticket"


class Line(NamedTuple):
    """A chain of levels that prunes by its own trained ticket."""

    trial: int
    lr: float


class Place(NamedTuple):
    """Where a member stands in a study."""

    trial: int
    lr: float
    arm: str
    level: int
    copy: int


Cohort = Mapping[Place, Ticket]
Train = Callable[[Cohort], dict[Place, Entry]]
"""Trains a cohort; members that it cannot give are left out, and their lines end there."""


@dataclass(frozen=True)
class Parts:
    """What the loop is made of.

    ``arms`` maps a name to the arm and its copies per trial; ``levels`` names those at which arms
    are compared.
    """

    model: Spec
    layers: Layers
    score: Score
    prune: Prune
    rewind: Rewind
    arms: Mapping[str, tuple[Arm, int]]
    lines: tuple[Line, ...]
    levels: tuple[int, ...]
    probe: Callable[[int], Probe]
    search: Search = field(default_factory=iterative)
    input_shape: tuple[int, ...] = ()
    steps: int = 0
    seed: int = 0

    @property
    def route(self) -> list[int]:
        """Levels below the dense network that are trained: those compared, those they need."""
        needed = {n for level in self.levels for n in self.search.trained_levels(level)}
        return sorted({*self.levels, *needed} - {0})


def imp(parts: Parts, train: Train) -> Iterator[tuple[Cohort, dict[Place, Entry]]]:
    """Find winning tickets: yield each level's cohort, and what training it gave.

    A line whose winner diverged has no further levels.
    """
    cohort = {Place(*line, WINNER, 0, 0): dense(parts, line) for line in parts.lines}
    origin = trained = train(cohort)
    yield cohort, trained
    for level in parts.route:
        winners = {p: e for p, e in trained.items() if p.arm == WINNER and e.diverged is None}
        cohort = {}
        for place, entry in winners.items():
            line = Line(place.trial, place.lr)
            first = origin[Place(*line, WINNER, 0, 0)]
            source = entry if parts.search.iterates else first
            winner = next_ticket(parts, line, level, source, first)
            cohort |= members(parts, line, level, winner, first)
        if not cohort:
            return
        trained = train(cohort)
        yield cohort, trained


def dense(parts: Parts, line: Line) -> Ticket:
    """Return the dense network of a trial, the same for all its learning rates."""
    params, buffers = draw_state(parts.model, stream_seed("init", parts.seed, line.trial))
    mask = masks.full(parts.layers, parts.prune.prunable(parts.layers))
    return Ticket(parts.model, mask, params, buffers)


def next_ticket(parts: Parts, line: Line, level: int, trained: Entry, origin: Entry) -> Ticket:
    """Score a trained network, prune it and rewind it: the winning ticket of ``level``."""
    start = parts.rewind(origin.at, trained.final)
    probe = parts.probe(line.trial)
    score = scorer(parts, line, level, origin.start.params, probe)
    case = Case(
        level, line.trial, line.lr, score, trained, origin, start.state, parts.prune, parts.layers,
        parts.steps,
    )  # fmt: skip
    found = parts.search(case)
    cost = {"dense_steps": found.dense_steps, "examples": probe.seen}
    changes = {} if start.schedule is None else {"schedule": start.schedule}
    state, step = (start.state, start.step) if found.start is None else (found.start, 0)
    return Ticket(parts.model, found.mask, *state, step=step, changes=changes, origin=cost)


def scorer(parts: Parts, line: Line, level: int, initial: Params, probe: Probe) -> Scorer:
    """Return the study's score as a function of network and mask; one stream for all its calls."""
    generator = stream("score", parts.seed, line.trial, level)

    def score(network: State, mask: Mask) -> Params:
        return parts.score(
            network.params, initial=initial, mask=mask, generator=generator,
            buffers=network.buffers, probe=probe,
        )  # fmt: skip

    return score


def check_search(parts: Parts) -> None:
    """Let the search say before any work whether it can be done (see ``Ahead``)."""
    check = getattr(parts.search, "check", None)
    if check is None or not parts.levels:
        return
    first = parts.lines[0]

    def scores() -> Params:
        ticket = dense(parts, first)
        score = scorer(parts, first, 1, ticket.params, parts.probe(first.trial))
        return score(ticket.start, ticket.mask)

    places = tuple((line.trial, line.lr, level) for line in parts.lines for level in parts.levels)
    full = masks.full(parts.layers, parts.prune.prunable(parts.layers))
    check(Ahead(places, parts.layers, full, scores))


def check_score(parts: Parts) -> None:
    """Score the untrained network once: a score that this model does not suit says so now."""
    ticket = dense(parts, parts.lines[0])
    probe = parts.probe(parts.lines[0].trial)
    if parts.levels and getattr(parts.search, "check", None) is None:
        scorer(parts, parts.lines[0], 1, ticket.params, probe)(ticket.start, ticket.mask)


def members(
    parts: Parts, line: Line, level: int, winner: Ticket, origin: Entry
) -> dict[Place, Ticket]:
    """Hang every arm's copies off the winning ticket, each with its own stream."""
    found = {Place(*line, WINNER, level, 0): winner}
    given: dict[str, Callable[[], Any]] = {  # read from the store only where an arm asks
        "initial": lambda: origin.start,
        "trained": lambda: origin.final.params,
        "input_shape": lambda: parts.input_shape,
    }
    for name, (arm, copies) in parts.arms.items() if level in parts.levels else ():
        context = {n: make() for n, make in context_of(arm, given).items()}
        for copy in range(copies if name != WINNER else 0):
            generator = stream("arm", parts.seed, line.trial, name, level, copy)
            found[Place(*line, name, level, copy)] = arm(winner, generator, **context)
    return found
