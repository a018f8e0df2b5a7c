"""What it took to train a stored member, as the records of its studies say."""

from __future__ import annotations

from lth.errors import LthError
from lth.store.store import Store
from lth.store.study import Study
from lth.types import MemberId

COSTS = ("training_flops", "search_flops")
"""What a member cost: training it, and everything that its mask and its start needed."""


def cost_at(study: Study, place: MemberId) -> int:
    """Return the FLOPs of a member of a study, ``training_flops + search_flops``; 0 if unknown."""
    rows = [r for r in study.records if r.metric in COSTS and r.member == place]
    return round(sum({(r.metric, r.step): r.value for r in rows}.values()))


def cost_of(store: Store, key: str) -> int:
    """Return the least FLOPs of a member in the studies beside its store; 0 if none has it."""
    found = []
    for index in sorted((store.root.parent / "studies").glob("*/members.csv")):
        try:
            study = Study(index.parent)
            found += [cost_at(study, place) for place, k in study.members.items() if k == key]
        except LthError:
            continue  # a damaged study says nothing of what its members cost
    return min(filter(None, found), default=0)
