"""What a ticket took: runs of its line, and up to which step. Watched, not declared.

The mask, the start, and what an arm asks for each have needs ``{level: step}``: the winner of that
level, trained up to that step. Searches and rewinding rules are handed trained networks that note
what is looked at, so that a rule or search that someone adds is counted like those that are here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

from lth.networks.ticket import State, Ticket
from lth.types import Params

E = TypeVar("E")
Needs = dict[int, int]
"""``{level: step}``: the line's winner of the level had to be trained up to the step."""

ASKED = ("trained", "dense")
"""What an arm may ask for that costs training: see ``lth.arms.Arm``."""


def union(*given: Mapping[int, int]) -> Needs:
    """Return what all of them take, each run once, as far as any of them needs it.

    >>> union({0: 5}, {0: 3, 1: 20, 2: 0})
    {0: 5, 1: 20}
    """
    levels = sorted({level for needs in given for level, step in needs.items() if step > 0})
    return {n: max(needs.get(n, 0) for needs in given) for n in levels}


class Watched(State):
    """A state that says when its values are looked at; buffers that are none take nothing."""

    note: Callable[[], None] = staticmethod(lambda: None)  # of a copy, whose making was noted

    @classmethod
    def of(cls, state: State, note: Callable[[], None]) -> Watched:
        """Watch a state."""
        found = cls(*state)
        found.note = note
        return found

    @property
    def params(self) -> Params:  # type: ignore[override]
        """The params."""
        self.note()
        return tuple.__getitem__(self, 0)

    @property
    def buffers(self) -> Params:  # type: ignore[override]
        """The buffers."""
        found = tuple.__getitem__(self, 1)
        if found:
            self.note()
        return found

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

    def add(self, needs: Mapping[int, int]) -> None:
        """Note needs."""
        self.needs = union(self.needs, needs)

    def entry(self, entry: E, levels: Iterable[int]) -> E:
        """Watch the member that the winners of these levels led to, the last of them itself."""
        *above, last = levels

        def note(step: int | None) -> None:
            whole = dict.fromkeys(above, self.steps)
            self.add(whole | {last: self.steps if step is None else step})

        return cast(E, WatchedEntry(entry, note))

    def state(self, state: State, needs: Mapping[int, int]) -> State:
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
    return {"runs": [list(pair) for pair in runs.items()], "examples": examples}


def needed(winner: Ticket, ticket: Ticket) -> tuple[Needs, int]:
    """Return the runs that a ticket of the winner's level took, and the examples scored for it."""
    bills = winner.origin.get("needs", {})
    usual = ["mask", "start"] if ticket.searched else ["start"]
    found = [bills[part] for part in ticket.origin.get("takes", usual) if part in bills]
    runs = union(*({level: step for level, step in b["runs"]} for b in found))
    return runs, max((b["examples"] for b in found), default=0)
