"""The loop with its methods: what their moves make of trained members, phase after phase.

A method ``at: winners`` hangs off the trained winning ticket of every level compared, one ``at:
last`` off that of the last. One that stands alone begins at the dense network, or at a level's
winner; each time its moves are gone through is a level below, so that it meets the winning tickets
at their density.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from lth.errors import LthError
from lth.imp import Level, Train
from lth.moves.teacher import NoTeacher
from lth.moves.trained import Trained, nothing_to_train
from lth.networks.ticket import Ticket
from lth.pruning.experiment import Experiment, Method
from lth.pruning.needs import Run, needed
from lth.pruning.turn import Known, Turn
from lth.store.entry import StoredMember
from lth.types import WINNER, MemberId, PruningChain

WINNERS, LAST, DENSE = "winners", "last", "dense"
"""Where a method begins, if not at a level; the first two hang, off all levels or the last."""

Moves = Sequence[tuple[str, Callable[..., Ticket]]]


class Source(NamedTuple):
    """What a phase is made from: a trained member, its ticket, and the run that gave it."""

    ticket: Ticket
    member: StoredMember
    run: Run

    @property
    def goes_on(self) -> bool:
        """Whether it has been trained to its end."""
        return self.member.diverged is None


Sources = dict[tuple[str, PruningChain], Source]
"""By method and chain."""


def with_phases(levels: Iterator[Level], experiment: Experiment, train: Train) -> Iterator[Level]:
    """Yield the levels of the loop, and behind each the phases that the methods come to there."""
    phases = Phases(experiment, train)
    for tickets, trained in levels:
        yield tickets, trained
        yield from phases.behind(tickets, trained)
    yield from phases.rest()


class Phases:
    """How far the methods that stand alone have come, and the winners of every chain."""

    def __init__(self, experiment: Experiment, train: Train) -> None:
        self.experiment, self.train = experiment, train
        self._winners: dict[PruningChain, dict[int, StoredMember]] = {}
        self._standing: dict[str, tuple[int, Sources]] = {}
        self._hanging: dict[tuple[int, int], Sources] = {}  # by level to wait for, and their own
        self._known: dict[MemberId, Known] = {}

    def behind(
        self, tickets: Mapping[MemberId, Ticket], trained: Mapping[MemberId, StoredMember]
    ) -> Iterator[Level]:
        """Yield the phases that come behind a level of the loop."""
        level = next(iter(tickets)).level
        self._note(tickets, trained)
        winners = {
            PruningChain(m.trial, m.lr): Source(tickets[m], entry, level)
            for m, entry in trained.items() if m.arm == WINNER
        }  # fmt: skip
        for chain, source in winners.items():
            self._winners.setdefault(chain, {})[level] = source.member
        for name, method in self.experiment.methods.items():
            if level == begins_at(method):
                self._standing[name] = level, {(name, c): s for c, s in winners.items()}
            elif begins_at(method) is None and level in levels_of(method, self.experiment):
                hanging = self._hanging.setdefault((max(level, waits(method)), level), {})
                hanging |= {(name, c): s for c, s in winners.items()}
        for due in sorted(key for key in self._hanging if key[0] <= level):
            yield from self._phases(due[1], self._hanging.pop(due))
        yield from self.rest(level)

    def rest(self, until: int | None = None) -> Iterator[Level]:
        """Go on with the methods that stand alone, down to a level, or to their ends."""
        methods = self.experiment.methods
        while True:
            waiting = {
                n: at + 1 for n, (at, sources) in self._standing.items()
                if sources and at < ends_at(methods[n], self.experiment)
                and (until is None or waits(methods[n]) <= until)
            }  # fmt: skip
            level = min(waiting.values(), default=None)
            if level is None or (until is not None and level > until):
                return
            sources: Sources = {}
            for name in (n for n, at in waiting.items() if at == level):
                sources |= self._standing[name][1]
            ended = yield from self._phases(level, sources)
            for name in {name for name, _ in sources}:
                self._standing[name] = level, {k: s for k, s in ended.items() if k[0] == name}

    def _phases(self, level: int, sources: Sources) -> Generator[Level, None, Sources]:
        """Go through the moves of every method, in lockstep; return what they have come to."""
        moves = {name: once(self.experiment.methods[name]) for name, _ in sources}
        going = {k: (s, moves[k[0]]) for k, s in sources.items() if s.goes_on}
        ended: Sources = {}
        phase = 0
        while going:
            phase += 1
            made: dict[MemberId, tuple[Ticket, Moves]] = {}
            for (name, chain), (source, rest) in going.items():
                member = MemberId(*chain, name, level, 0, phase)
                with suppress(NoTeacher):  # its chain ended; or it is only planned
                    made[member] = self._phase(member, source, rest)
            if not made:
                return ended
            tickets = {member: ticket for member, (ticket, _) in made.items()}
            trained = self.train(tickets)
            yield tickets, trained
            going = {}
            for member, entry in trained.items():
                key = member.arm, PruningChain(member.trial, member.lr)
                source = Source(tickets[member], entry, (member.arm, level, phase))
                if source.goes_on and made[member][1]:
                    going[key] = source, made[member][1]
                elif source.goes_on:
                    ended[key] = source
        return ended

    def _note(
        self, tickets: Mapping[MemberId, Ticket], trained: Mapping[MemberId, StoredMember]
    ) -> None:
        """Note what may teach from now on: the members of a level, and the runs they took."""
        for member, entry in trained.items():
            end = entry.about["step"] + entry.about["steps"]
            winner = tickets[member._replace(arm=WINNER, copy=0)]
            took = needed(winner, tickets[member])[0]
            own = {member.level: end} if member.arm == WINNER else {}
            self._known[member] = Known(entry, {**took, **own})

    def _look_up(self, place: MemberId) -> Known:
        if place not in self._known:
            raise NoTeacher(f"teacher {place}: it has not been trained")
        return self._known[place]

    def _phase(self, member: MemberId, source: Source, moves: Moves) -> tuple[Ticket, Moves]:
        chain = PruningChain(member.trial, member.lr)
        method = self.experiment.methods[member.arm]
        own = begins_at(method) is None or member.phase > 1  # else it is as the winner of its level
        winners = self._winners[chain]
        turn = Turn(
            self.experiment, chain, member.level, source.member, winners[0],
            run=source.run, took=needed(source.ticket, source.ticket)[0],
            streams=(member.level, member.arm, member.phase) if own else (member.level,),
            look_up=self._look_up, winners=winners,
        )  # fmt: skip
        return next_ticket(turn, source.ticket, moves)


def next_ticket(turn: Turn, ticket: Ticket, moves: Moves) -> tuple[Ticket, Moves]:
    """Apply moves up to the first that gives something to train; return the ticket, and the rest.

    ``ticket`` is what the turn's trained member trained from.
    """
    trained, names, made, name, ended = Trained(ticket, turn), list[str](), ticket, "", False
    while moves:
        (name, move), moves = moves[0], moves[1:]
        names.append(name)
        made = move(trained, turn)
        if not isinstance(made, Ticket):
            raise LthError(f"its move {name} gave a {type(made).__name__}: it must give a Ticket")
        ended = getattr(move, "ends", False)
        if ended or not nothing_to_train(made):
            break
        trained = trained.having(made)
    if nothing_to_train(made) and not ended:
        raise LthError(
            f"{name} leaves nothing to train: end it with fine_tune, train, rewind or measure"
        )
    made = turn.billed(made, ticket, move="+".join(names))
    experiment = turn.experiment
    return made.counted(experiment.layers, experiment.model), moves


def waits(method: Method) -> int:
    """Return the level that must be trained before a method's teachers are there."""
    return max(getattr(move, "waits", 0) for _, move in method.moves)


def once(method: Method) -> Moves:
    """Return the moves that are gone through at a level."""
    return method.moves * ((method.repeat or 1) if begins_at(method) is None else 1)


def begins_at(method: Method) -> int | None:
    """Return the level whose winner a method that stands alone begins at, None if it hangs."""
    if method.at in (WINNERS, LAST):
        return None
    return 0 if method.at == DENSE else int(method.at)


def levels_of(method: Method, experiment: Experiment) -> list[int]:
    """Return the levels at which a method has members."""
    begin = begins_at(method)
    if begin is None:
        levels = list(experiment.levels)
        return levels if method.at == WINNERS or not levels else [max(levels)]
    return list(range(begin + 1, ends_at(method, experiment) + 1))


def ends_at(method: Method, experiment: Experiment) -> int:
    """Return the last level of a method that stands alone."""
    begin = begins_at(method) or 0
    if method.repeat is None:
        return max([begin, *experiment.levels])
    return begin + method.repeat
