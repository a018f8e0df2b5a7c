"""The members of a study in memory: each is read from disk once, as long as there is room."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from lth.networks.ticket import State
from lth.spec.build import Spec
from lth.spec.trust import Trust
from lth.store.entry import StoredMember
from lth.store.restore import net_of
from lth.store.study import Study
from lth.types import WINNER, Mask, MemberId

ROOM = 1 << 30
"""Bytes that the members kept in memory take, at most."""


@dataclass(frozen=True)
class Member:
    """A trained member; ``final`` is None where it diverged.

    ``final_mask`` differs from ``mask`` where training changed it.
    """

    model: Spec
    mask: Mask
    final_mask: Mask
    start: State
    final: State | None

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        states = [s for s in (self.start, self.final) if s is not None]
        parts = [self.mask, self.final_mask, *(p for s in states for p in s)]
        return sum(t.nbytes for part in parts for t in part.values())


class Members:
    """A study's members by place, safe to ask from several threads."""

    def __init__(self, study: Study, room: int = ROOM) -> None:
        self.study, self.room = study, room
        self.places = sorted(study.members, key=lambda p: (p.lr, p.trial, p.level))
        self._kept: OrderedDict[MemberId, Member] = OrderedDict()
        self._lock = Lock()

    def __getitem__(self, place: MemberId) -> Member:
        with self._lock:
            if place not in self._kept:
                self._kept[place] = read(
                    self.study.entry(**place._asdict()), getattr(self.study, "trust", ())
                )
            self._kept.move_to_end(place)
            while len(self._kept) > 1 and sum(m.size for m in self._kept.values()) > self.room:
                self._kept.popitem(last=False)
            return self._kept[place]

    def get(self, place: MemberId | None) -> Member | None:
        """Return the member at a place, None where the study has none."""
        return None if place is None or place not in self.study.members else self[place]

    def above(self, place: MemberId) -> MemberId | None:
        """Return the place of the ticket from which the one at ``place`` was pruned."""
        line = (p for p in self.places if (p.trial, p.lr, p.arm) == (place.trial, place.lr, WINNER))
        levels = [p for p in line if p.level < place.level]
        return max(levels, key=lambda p: p.level, default=None)


def read(entry: StoredMember, trust: Trust = ()) -> Member:
    """Load an entry's tensors."""
    mask = entry.mask
    final, start = None if entry.diverged is not None else entry.final, entry.start
    final_mask = mask if final is None else entry.final_mask
    if entry.about.get("ticket", {}).get("views"):  # looked at as the network sees them
        start = net_of(entry, trust, start=True).baked()
        final = final and net_of(entry, trust).baked()
    return Member(entry.about["model"], mask, final_mask, start, final)
