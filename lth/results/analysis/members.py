"""The members of a study in memory: those in use are read from disk once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lth.networks.ticket import State
from lth.spec.build import Spec
from lth.spec.trust import Trust
from lth.store.entry import StoredMember
from lth.store.restore import net_of
from lth.store.study import Study
from lth.types import WINNER, Mask, MemberId

ROOM = 16
"""As many members are kept in memory: those that the arms of a level are compared with."""


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


class Members:
    """A study's members by place; of several phases of an arm at a level, the last."""

    def __init__(self, study: Study) -> None:
        self._last = {p[:5]: p for p in sorted(study.members, key=lambda p: p[5:])}
        self.places = sorted(self._last.values(), key=lambda p: (p.lr, p.trial, p.level))
        self._read = lru_cache(ROOM)(
            lambda p: read(study.entry(**p._asdict()), getattr(study, "trust", ()))
        )

    def __getitem__(self, place: MemberId) -> Member:
        return self._read(self._last[place[:5]])

    def get(self, place: MemberId | None) -> Member | None:
        """Return the member at a place, None where the study has none."""
        return None if place is None or place[:5] not in self._last else self[place]

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
