"""The loop: iterative magnitude pruning with rewinding, its parts injected.

Strategy 1 of Frankle & Carbin 2019 (arXiv 1803.03635, Appendix B): train, prune, rewind, repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from lth.arms import Arm, context_of
from lth.networks import masks
from lth.networks.layers import Layers
from lth.networks.ticket import State, Ticket, draw_state
from lth.pruning.needs import Needs, Reading, asks, bill, union
from lth.pruning.probe import Probe
from lth.pruning.rewind import Rewind, Start
from lth.pruning.rules import Prune, counts_at
from lth.pruning.search import Preflight, Scorer, Search, SearchInput, SearchResult, iterative
from lth.spec.build import Spec
from lth.store.entry import StoredMember
from lth.streams import stream, stream_seed
from lth.types import WINNER, Mask, MemberId, Params, PruningChain, Score

Cohort = Mapping[MemberId, Ticket]
Train = Callable[[Cohort], dict[MemberId, StoredMember]]
"""Trains a cohort; members that it cannot give are left out, and their lines end there."""


@dataclass(frozen=True)
class Experiment:
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
    lines: tuple[PruningChain, ...]
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


def imp(parts: Experiment, train: Train) -> Iterator[tuple[Cohort, dict[MemberId, StoredMember]]]:
    """Find winning tickets: yield each level's cohort, and what training it gave.

    A line whose winner diverged has no further levels where these descend from it; where they come
    from the dense network, they are made all the same.
    """
    cohort = {MemberId(*line, WINNER, 0, 0): dense(parts, line) for line in parts.lines}
    origin = trained = train(cohort)
    yield cohort, trained
    for level in parts.route:
        from_above = trained if parts.search.iterates else origin
        winners = {p: e for p, e in from_above.items() if p.arm == WINNER and e.diverged is None}
        cohort = {}
        for place, entry in winners.items():
            line = PruningChain(place.trial, place.lr)
            first = origin[MemberId(*line, WINNER, 0, 0)]
            winner = next_ticket(parts, line, level, entry, first)
            cohort |= members(parts, line, level, winner, first)
        if not cohort:
            return
        trained = train(cohort)
        yield cohort, trained


def dense(parts: Experiment, line: PruningChain) -> Ticket:
    """Return the dense network of a trial, the same for all its learning rates."""
    drawn = draw_state(parts.model, stream_seed("init", parts.seed, line.trial))
    mask = masks.full(parts.layers, parts.prune.prunable(parts.layers))
    ticket = Ticket(model=parts.model, mask=mask, **drawn._asdict())
    return ticket.counted(parts.layers, parts.model)


def next_ticket(
    parts: Experiment, line: PruningChain, level: int, trained: StoredMember, origin: StoredMember
) -> Ticket:
    """Score a trained network, prune it and rewind it: the winning ticket of ``level``.

    Beneath its mask lies the dense network at the point that the ticket was rewound to.
    """
    above = (*parts.search.trained_levels(level),) if parts.search.iterates else (0,)
    start, needs = rewound(parts, trained, above, origin)
    whole, whole_needs = (
        (start, needs) if trained is origin else rewound(parts, origin, (0,), origin)
    )
    probe = replace(parts.probe(line.trial), seed=_seed("score", parts, line.trial, level))
    read = Reading(parts.steps)
    found = parts.search(SearchInput(
        level, line.trial, line.lr, scorer(parts, line, level, origin.start.params, probe),
        read.entry(trained, above), read.entry(origin, (0,)), read.state(start.state, needs),
        parts.prune, parts.layers, parts.steps, _seed("ties", parts, line.trial),
    ))  # fmt: skip
    if found.start is not None:
        start, needs, whole_needs = Start(found.start, 0), {}, {}
    beneath = elsewhere(parts, line, level, whole.state).params
    params = {
        n: torch.where(found.mask[n], p, beneath[n]) if n in found.mask else p
        for n, p in start.state.params.items()
    }
    changes = {} if start.schedule is None else {"schedule": start.schedule}
    bills = _bills(parts, level, masks.kept(origin.mask), found, bill(read.needs, probe.seen))
    bills |= {"start": bill(needs), "dense": bill(whole_needs)}
    ticket = Ticket(
        model=parts.model,
        mask=found.mask,
        params=params,
        buffers=start.state.buffers,
        step=start.step,
        changes=changes,
        origin={"needs": bills},
    )
    return ticket.counted(parts.layers, parts.model)


def rewound(
    parts: Experiment, trained: StoredMember, levels: tuple[int, ...], origin: StoredMember
) -> tuple[Start, Needs]:
    """Return where the rule lets a level start, and which runs it has looked at for that.

    ``levels`` are those whose winners led to ``trained``, itself the last of them.
    """
    read = Reading(parts.steps)
    state = read.state(trained.final, dict.fromkeys(levels, parts.steps))
    start = parts.rewind(read.entry(origin, (0,)).at, state)
    return replace(start, state=State(*start.state)), read.needs


def elsewhere(parts: Experiment, line: PruningChain, level: int, dense: State) -> State:
    """Return the dense network at the point rewound to; that of another study, if a search says."""
    find = getattr(parts.search, "dense_start", None)
    return dense if find is None else find(line.trial, line.lr, level, dense)


def _bills(
    parts: Experiment,
    level: int,
    dense: Mapping[str, int],
    found: SearchResult,
    search: dict[str, Any],
) -> dict[str, Any]:
    """Return what a mask cost, and what its counts did: nothing where the rule foretells them."""
    told, kept = counts_at(parts.prune, dense, parts.layers, level), masks.kept(found.mask)
    if found.dense_steps is not None:
        search = bill(union(dict(search["runs"]), {0: found.dense_steps}), search["examples"])
    total = sum(told.values()) == sum(kept.values())
    layers = told == kept or (total and len(kept) == 1)
    free = bill({})
    return {
        "mask": search, "layers": free if layers else search, "total": free if total else search,
        "trained": bill({0: parts.steps}),
    }  # fmt: skip


def _seed(what: str, parts: Experiment, *names: int) -> int:
    return stream_seed(what, parts.seed, *names)


def scorer(
    parts: Experiment, line: PruningChain, level: int, initial: Params, probe: Probe
) -> Scorer:
    """Return the study's score as a function of network and mask; one stream for all its calls."""
    generator = stream("score", parts.seed, line.trial, level)

    def score(network: State, mask: Mask) -> Params:
        return parts.score(
            network.params, initial=initial, mask=mask, generator=generator,
            buffers=network.buffers, probe=probe,
        )  # fmt: skip

    return score


def check_search(parts: Experiment) -> None:
    """Let the search say before any work whether it can be done (see ``Preflight``)."""
    check = getattr(parts.search, "check", None)
    if check is None or not parts.levels:
        return
    first = parts.lines[0]
    ticket = dense(parts, first)

    def scores() -> Params:
        score = scorer(parts, first, 1, ticket.params, parts.probe(first.trial))
        return score(ticket.start, ticket.mask)

    read, counts = Reading(parts.steps), masks.kept(ticket.mask)
    parts.rewind(lambda step: read.add({0: step}) or ticket.start, read.state(ticket.start, {0: 1}))
    places = tuple((line.trial, line.lr, level) for line in parts.lines for level in parts.levels)
    kept = {n: sum(counts_at(parts.prune, counts, parts.layers, n).values()) for n in parts.levels}
    check(Preflight(
        places, parts.layers, ticket.mask, scores, kept,
        lambda trial: dense(parts, PruningChain(trial, first.lr)).start, not read.needs,
    ))  # fmt: skip


def check_score(parts: Experiment) -> None:
    """Score the untrained network once: a score that this model does not suit says so now."""
    ticket = dense(parts, parts.lines[0])
    probe = parts.probe(parts.lines[0].trial)
    if parts.levels and getattr(parts.search, "check", None) is None:
        scorer(parts, parts.lines[0], 1, ticket.params, probe)(ticket.start, ticket.mask)


def members(
    parts: Experiment, line: PruningChain, level: int, winner: Ticket, origin: StoredMember
) -> dict[MemberId, Ticket]:
    """Hang every arm's copies off the winning ticket, each with its own stream."""
    found = {MemberId(*line, WINNER, level, 0): winner}
    given: dict[str, Callable[[], Any]] = {  # read from the store only where an arm asks
        "initial": lambda: origin.start,
        "trained": lambda: origin.final.params,
        "dense": lambda: elsewhere(
            parts, line, level, rewound(parts, origin, (0,), origin)[0].state
        ),
        "input_shape": lambda: parts.input_shape,
    }
    for name, (arm, copies) in parts.arms.items() if level in parts.levels else ():
        context = {n: make() for n, make in context_of(arm, given).items()}
        for copy in range(copies if name != WINNER else 0):
            generator = stream("arm", parts.seed, line.trial, name, level, copy)
            place = MemberId(*line, name, level, copy)
            found[place] = asks(arm(winner, generator, **context), context).counted(
                parts.layers, parts.model
            )
    return found
