"""What a ticket took: runs of its line, and up to which step. Watched, not declared.

The mask, the start, and what an arm asks for each have needs ``{run: step}``: the winner of a level
(``run`` is the level) or a method's phase, trained up to that step. Searches, rewinding rules and
moves are handed trained networks that note what is looked at, so that a rule or search that someone
adds is counted like those that are here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from lth.networks.ticket import State, Ticket
from lth.types import Params

E = TypeVar("E")
Run = int | tuple[str, int, int]
"""Which run of a chain: the winner of a level, or (method, level, phase)."""

Needs = dict[Run, int]
"""``{run: step}``: it had to be trained up to the step."""

ASKED = ("trained", "dense")
"""What an arm may ask for that costs training: see ``lth.arms.Arm``."""


def union(*given: Mapping[Run, int]) -> Needs:
    """Return what all of them take, each run once, as far as any of them needs it.

    >>> union({0: 5}, {0: 3, 1: 20, 2: 0})
    {0: 5, 1: 20}
    """
    runs = {run for needs in given for run, step in needs.items() if step > 0}
    return {run: max(needs.get(run, 0) for needs in given) for run in sorted(runs, key=_order)}


def _order(run: Run) -> tuple[str, int, int]:
    return ("", run, 0) if isinstance(run, int) else run


class Watched(State):
    """A state that says when its values are looked at; buffers that are none take nothing."""

    note: Callable[[], None] = staticmethod(lambda: None)  # of a copy, whose making was noted

    @classmethod
    def of(cls, state: State, note: Callable[[], None]) -> Watched:
        """Watch a state."""
        watched = cls(*state)
        watched.note = note
        return watched

    @property
    def params(self) -> Params:  # type: ignore[override]
        """The params."""
        self.note()
        return tuple.__getitem__(self, 0)

    @property
    def buffers(self) -> Params:  # type: ignore[override]
        """The buffers."""
        buffers = tuple.__getitem__(self, 1)
        if buffers:
            self.note()
        return buffers

    def __iter__(self) -> Iterator[Params]:
        yield from (self.params, self.buffers)

    def __getitem__(self, index: Any) -> Any:
        return tuple(self)[index]


class WatchedEntry:
    """A trained member that notes up to which step it is looked at; all else is the entry's."""

    def __init__(self, entry: Any, note: Callable[[int | None], None]) -> None:
        self._entry, self._note = entry, note

    @property
    def start(self) -> State:
        """The state that training started from."""
        self._note(0)
        return self._entry.start

    @property
    def final(self) -> State:
        """The state at the last step."""
        self._note(None)
        return self._entry.final

    def at(self, step: int) -> State:
        """The state at a step."""
        self._note(step)
        return self._entry.at(step)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entry, name)


class Reading:
    """Notes which runs of ``steps`` steps a rule or a search looks at."""

    def __init__(self, steps: int) -> None:
        self.steps, self.needs = steps, Needs()

    def add(self, needs: Mapping[Run, int]) -> None:
        """Note needs."""
        self.needs = union(self.needs, needs)

    def entry(
        self, entry: E, run: Run, took: Mapping[Run, int] | None = None, last: int | None = None
    ) -> E:
        """Watch the member that a run gave; what the run itself ``took`` comes along.

        ``last`` is the step that the run ended at, if not that of the others.
        """
        end = self.steps if last is None else last

        def note(step: int | None) -> None:
            self.add({**(took or {}), run: end if step is None else step})

        return cast(E, WatchedEntry(entry, note))

    def state(self, state: State, needs: Mapping[Run, int]) -> State:
        """Watch a state that took these needs."""
        return Watched.of(state, lambda: self.add(needs))


def takes(ticket: Ticket, *parts: str) -> Ticket:
    """Say what an arm has used, where that is not the winner's mask and start.

    Parts: ``mask``, ``start``, ``layers`` (how many weights the mask keeps in each layer),
    ``total`` (how many in all), and of what an arm may ask for ``trained`` and ``dense``.
    """
    origin = {**ticket.origin, "takes": list(parts)}
    return replace(ticket, origin=origin, searched="mask" in parts)


def asks(ticket: Ticket, names: Iterable[str]) -> Ticket:
    """Note what of the context an arm was given, if that costs training and it has said nothing."""
    asked = [name for name in names if name in ASKED]
    if not asked or "takes" in ticket.origin:
        return ticket
    usual = ["mask", "start"] if ticket.searched else ["start"]
    return replace(ticket, origin={**ticket.origin, "takes": [*usual, *asked]})


def bill(runs: Needs, examples: int = 0) -> dict[str, Any]:
    """Return needs, and the examples that were scored for them, as plain data."""
    pairs = [[run, step] for run, step in zip(plain_runs(runs), runs.values(), strict=True)]
    return {"runs": pairs, "examples": examples}


def plain_runs(runs: Iterable[Run]) -> list[Any]:
    """Return runs as plain data."""
    return [run if isinstance(run, int) else [*run] for run in runs]


def needed(winner: Ticket, ticket: Ticket) -> tuple[Needs, int]:
    """Return the runs that a ticket of the winner's level took, and the examples scored for it."""
    bills = winner.origin.get("needs", {})
    usual = ["mask", "start"] if ticket.searched else ["start"]
    parts = [bills[part] for part in ticket.origin.get("takes", usual) if part in bills]
    runs = union(*(runs_in(part["runs"]) for part in parts))
    return runs, max((part["examples"] for part in parts), default=0)


def scored(ticket: Ticket) -> set[Run]:
    """Return the runs whose masks a ticket of a method took."""
    return {_run(run) for run in ticket.origin.get("scored", ())}


def of_mask(ticket: Ticket, run: Run) -> tuple[Needs, set[Run]]:
    """Return what the mask of a ticket took, and the runs whose tickets' scoring found it.

    ``run`` is what the ticket has trained as: its own scoring, where it did not take the mask over.
    """
    runs = ticket.origin.get("needs", {}).get("mask", bill({}))["runs"]
    by = ticket.origin.get("mask_of")
    return runs_in(runs), {run} if by is None else {_run(r) for r in by}


def runs_in(plain: Iterable[Any]) -> Needs:
    """Return the needs that a bill's ``runs`` are, ``[[run, step], ...]``."""
    return {_run(run): step for run, step in plain}


def _run(plain: Any) -> Run:
    return plain if isinstance(plain, int) else (plain[0], plain[1], plain[2])
