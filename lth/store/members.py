"""The members of a study by their places: the index on disk, and what asks for a place."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from lth.errors import LthError, nearest
from lth.files import check_key, demand, reading
from lth.types import WINNER, MemberId


class Place(TypedDict, total=False):
    """Which member of a study is meant; what is left out is 0, and the winning ticket's.

    ``lr`` may be left out where there is one, ``phase`` for the last that a method has there.
    """

    trial: int
    lr: float | None
    arm: str
    level: int
    copy: int
    phase: int | None


DEFAULTS: dict[str, Any] = {
    "trial": 0, "lr": None, "arm": WINNER, "level": 0, "copy": 0, "phase": None,
}  # fmt: skip


def find_place(study: str, members: Mapping[MemberId, str], given: Mapping[str, Any]) -> MemberId:
    """Return the member that is meant; what there is none of is named, and what there is."""
    for name in given:
        if name not in DEFAULTS:
            raise LthError(f"{study}: a member has no {name}{nearest(name, DEFAULTS)}")
    if not members:
        raise LthError(f"{study} has no members yet; run the study first")
    asked, left = {**DEFAULTS, **given}, list(members)
    rates = sorted({p.lr for p in left})
    if asked["lr"] is None and len(rates) > 1:
        raise LthError(f"{study} has several learning rates: name one of {rates}")
    for name in ("arm", "lr", "level", "trial", "copy", "phase"):
        if (value := asked[name]) is None:
            value = max(getattr(p, name) for p in left)  # the one rate, the last phase
        there = list(dict.fromkeys(getattr(p, name) for p in left))
        if value not in there:
            raise LthError(f"{study}{_lacking(name, value, there, asked)}")
        left = [p for p in left if getattr(p, name) == value]
    return left[0]


def _lacking(name: str, value: Any, there: Sequence[Any], asked: Mapping[str, Any]) -> str:
    if name == "arm":
        return f" has no arm {value!r}{nearest(str(value), there)}"
    before = {"lr": "", "level": "", "trial": f" at level {asked['level']}"}
    where = before.get(name, f" at level {asked['level']}, trial {asked['trial']}")
    return f": {asked['arm']}{where} has no {name} {value!r}; it has {extent(there)}"


def extent(values: Sequence[Any]) -> str:
    """Write numbers shortly: ``0..5`` where none is left out.

    >>> extent([0, 2, 1]), extent([7, 13]), extent([0.1])
    ('0..2', '7, 13', '0.1')
    """
    numbers = sorted(values)
    if len(numbers) > 2 and all(numbers[0] + i == n for i, n in enumerate(numbers)):
        return f"{numbers[0]}..{numbers[-1]}"
    return ", ".join(f"{n:g}" for n in numbers)


def words(place: MemberId) -> str:
    """Name a member in words."""
    named = place._asdict().items()
    return ", ".join(f"{k} {v}" for k, v in named if k != "phase" or v)


def members_table(members: Mapping[MemberId, str]) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of the index of a study's members."""
    return [*MemberId._fields, "key"], [[*place, key] for place, key in members.items()]


def read_members(path: Path) -> dict[MemberId, str]:
    """Read the index of a study's members."""
    if not path.is_file():
        raise LthError(f"{path}: no such index; run the study first")
    with reading(path, "file", "run the study again to write it"):
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines(), strict=True))
        members = {_member(r): check_key(r["key"]) for r in rows}
        demand(len(members) == len(rows), "a member comes twice")
    return members


def _member(row: Mapping[str, str]) -> MemberId:
    place = MemberId(
        int(row["trial"]), float(row["lr"]), row["arm"], int(row["level"]), int(row["copy"]),
        int(row.get("phase") or 0),
    )  # fmt: skip
    numbers = place.trial, place.level, place.copy, place.phase
    whole = min(numbers) >= 0 and 0 < place.lr < float("inf")
    demand(whole and isinstance(place.arm, str), f"{words(place)} is no member")
    return place
