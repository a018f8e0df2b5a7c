"""How many connections members had at every step of their training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lth.networks import masks
from lth.networks.ticket import layers_of
from lth.store.entry import StoredMember
from lth.store.study import Study
from lth.types import WINNER, MemberId


class History(NamedTuple):
    """A member's place, and the share of the dense network's weights that it keeps from steps on.

    ``points`` are (step, density); the last one is at its last step.
    """

    place: MemberId
    points: tuple[tuple[int, float], ...]


def histories(study: Study) -> list[History]:
    """Return those of the lowest level at which some member's mask changed, its ticket first.

    Of every arm at that level whose mask changed, and of the winning ticket; an empty list where
    no mask has changed anywhere.
    """
    still: set[str] = {WINNER}  # arms whose masks do not change
    for level in sorted({p.level for p in study.members if p.level}, reverse=True):
        places = [p for p in study.members if p.level == level]
        changing = [*_histories(study, [p for p in places if p.arm not in still], still)]
        if changing:
            return [*_histories(study, [p for p in places if p.arm == WINNER]), *changing]
    return []


def _histories(
    study: Study, places: list[MemberId], still: set[str] | None = None
) -> Iterator[History]:
    """Yield the places' histories; with ``still`` of arms that change, the others are put there."""
    total = study.weights or 1
    for place in places:
        if still is not None and place.arm in still:
            continue
        entry = study.entry(**place._asdict())
        if still is not None and "kept" not in entry.about:
            still.add(place.arm)
        elif entry.diverged is None:
            yield History(place, tuple((step, n / total) for step, n in _kept(entry)))


def _kept(entry: StoredMember) -> Iterator[tuple[int, int]]:
    """Yield from which step on so many weights were kept, layers that cannot be pruned included."""
    first, mask, layers = entry.about["step"], entry.mask, layers_of(entry.about["model"])
    rest = masks.weights(mask, layers) - sum(masks.kept(mask).values())
    changes = entry.about.get("kept") or [(first, masks.kept(mask))]
    for step, counts in changes:
        yield int(step), rest + sum(counts.values())
    yield first + entry.about["steps"], rest + sum(changes[-1][1].values())
