"""What a study's folder holds: a later command adds to it, and takes nothing away.

Records, curves and the index of members are the union over all commands of the study. What all its
members have in common is in its id, so rows of different commands belong together; how an arm is
defined is not, so ``arms.json`` remembers it, and rows of an arm that is now defined otherwise are
moved aside, never mixed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lth.errors import LthError
from lth.files import write_atomic
from lth.identity import described
from lth.records.record import COLUMNS, Record, read_csv, table_bytes
from lth.spec.build import digest
from lth.store.members import members_table, read_members
from lth.store.study import Study, read_config
from lth.types import WINNER, MemberId

TABLES = ("records", "curves", "members")

DERIVED = {
    "action=analyse": (
        "analysis.csv", "matching.csv", "paths.csv", "figures/analysis.*", "figures/layers.*",
        "figures/connections.*", "figures/survivors.*", "figures/connectivity.*", "figures/masks.*",
    ),
    "action=plot": (
        "figures/tickets.*", "figures/tickets_*", "figures/curves.*", "figures/pareto.*",
        "figures/zeros.*",
    ),
    "logger=csv": ("levels.csv",),
}  # fmt: skip
"""What is made of the records, by what makes it again."""


class Rows(NamedTuple):
    """What is recorded of one member, and its key in the store."""

    records: Sequence[Record]
    curves: Sequence[Record]
    key: str


def definition(spec: Mapping[str, Any]) -> str:
    """Digest how an arm or a method is defined: code and arguments, not how many times it is."""
    plain = {k: v for k, v in spec.items() if k not in ("copies", "repeat")}
    return digest(described(plain))


class Holdings:
    """The rows of a study by place, those of earlier commands and those of this one."""

    def __init__(
        self, folder: Path, arms: Mapping[str, Any], rates: Sequence[float], data: str
    ) -> None:
        self.folder, self.notes = folder, list[str]()
        self._rates = {float(lr): number for number, lr in enumerate(rates)}
        held = self._read()
        before = self._definitions()
        now = {name: definition(spec) for name, spec in arms.items() if name != WINNER}
        valid = {n for n, d in before.items() if now.get(n, d) == d} | {WINNER}
        of_other_data = self._data() not in (None, data)
        valid -= valid if of_other_data else set()
        self.arms = {n: now.get(n, d) for n, d in before.items()} | now
        self._order = {WINNER: -1} | {name: number for number, name in enumerate(self.arms)}
        self.rows = {p: r for p, r in held.items() if p.arm in valid and p.lr in self._rates}
        gone = {p: r for p, r in held.items() if p not in self.rows}
        if gone:
            self._set_aside(gone, of_other_data)
            self.write()
        write_atomic(folder / "arms.json", json.dumps(self.arms, indent=2).encode())

    @property
    def places(self) -> list[MemberId]:
        """All places, in an order that does not depend on which command came first."""
        return sorted(self.rows, key=self._key)

    @property
    def records(self) -> list[Record]:
        """All records."""
        return [r for place in self.places for r in self.rows[place].records]

    @property
    def curves(self) -> list[Record]:
        """All values on the way."""
        return [r for place in self.places for r in self.rows[place].curves]

    @property
    def members(self) -> dict[MemberId, str]:
        """The keys of all members."""
        return {place: self.rows[place].key for place in self.places}

    def records_at(self, place: MemberId, key: str) -> Sequence[Record]:
        """Return what is held of a place, if it is of the member of that key."""
        rows = self.rows.get(place)
        return rows.records if rows is not None and rows.key == key else ()

    def write(self) -> bool:
        """Write the tables where they changed, the index last; say whether anything did."""
        tables = _tables(self.records, self.curves, self.members)
        return any([_write_changed(self.folder / f"{n}.csv", t) for n, t in tables.items()])

    def _key(self, place: MemberId) -> tuple[int, ...]:
        return (
            place.level, place.trial, self._rates[place.lr], self._order[place.arm], place.copy,
            place.phase,
        )  # fmt: skip

    def _read(self) -> dict[MemberId, Rows]:
        if not (self.folder / "members.csv").exists():
            return {}  # it is written last: without it there is nothing whole
        try:
            keys = read_members(self.folder / "members.csv")
            parts = [_by_place(read_csv(self.folder / f"{n}.csv")) for n in TABLES[:2]]
        except (LthError, ValueError, KeyError, TypeError) as error:
            self._keep_damaged(error)
            return {}
        records, curves = parts
        return {p: Rows(records[p], curves.get(p, []), k) for p, k in keys.items() if p in records}

    def _definitions(self) -> dict[str, str]:
        """Return how the arms were defined when they were recorded; older folders say it less."""
        try:
            definitions = json.loads((self.folder / "arms.json").read_text(encoding="utf-8"))
            return {str(name): str(value) for name, value in definitions.items()}
        except (OSError, ValueError, AttributeError):
            pass
        config = config_of(self.folder)
        specs = (config.get("arms") or {}) | (config.get("method") or {})
        try:
            return {n: definition(spec) for n, spec in specs.items() if n != WINNER}
        except LthError:  # it names code that is no longer there, or that nobody here has named
            return {}

    def _data(self) -> str | None:
        """Return the digest of the data that the folder's records are of, None if unknown."""
        try:
            return Study(self.folder).provenance["data"]["digest"]
        except (LthError, OSError, ValueError, KeyError, TypeError):
            return None

    def _set_aside(self, gone: Mapping[MemberId, Rows], of_other_data: bool) -> None:
        records = [r for rows in gone.values() for r in rows.records]
        curves = [r for rows in gone.values() for r in rows.curves]
        mark = self._mark("replaced")
        tables = _tables(records, curves, {place: rows.key for place, rows in gone.items()})
        for name, content in tables.items():
            write_atomic(self.folder / f"{name}-{mark}.csv", content)
        arms = ", ".join(dict.fromkeys(place.arm for place in gone))
        what = "the data: others" if of_other_data else f"{arms}: defined otherwise"
        self.notes.append(
            f"{what} than when {len(records)} rows were recorded; those are now in "
            f"{self.folder / f'records-{mark}.csv'}"
        )

    def _keep_damaged(self, error: Exception) -> None:
        mark = self._mark("damaged")
        for name in TABLES:
            path = self.folder / f"{name}.csv"
            if path.exists():
                path.rename(path.with_name(f"{name}-{mark}.csv"))
        self.notes.append(f"{error}; it is kept as records-{mark}.csv and written anew")

    def _mark(self, what: str) -> str:
        mark = now = f"{what}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        number = 1
        while (self.folder / f"records-{mark}.csv").exists():
            number += 1
            mark = f"{now}-{number}"
        return mark


def widened(config: Mapping[str, Any], folder: Path, arms: Collection[str]) -> dict[str, Any]:
    """Return the configuration of one command that asks for all that the folder holds.

    It is this command's, with the trials, levels and (of ``arms``) the arms of those before it.
    """
    before = _written(folder)
    specs = before.get("arms") or {}
    arms_held = {name: specs[name] for name in arms if name in specs} | dict(config["arms"])
    methods = _widened_methods(before.get("method") or {}, config["method"], arms)
    for name, spec in arms_held.items():
        copies = (specs.get(name) or {}).get("copies", 1)
        arms_held[name] = spec | {"copies": max(copies, spec.get("copies", 1))}
    levels = {*_levels(before.get("levels")), *_levels(config["levels"])}
    last = max(levels, default=0)
    whole = levels == set(range(1, last + 1))
    trials = max(before.get("trials") or 1, config["trials"])
    return {
        **config, "arms": arms_held, "method": methods, "trials": trials,
        "levels": last if whole else sorted(levels),
    }  # fmt: skip


def _widened_methods(
    before: Mapping[str, Any], now: Mapping[str, Any], held: Collection[str]
) -> dict[str, Any]:
    """Return the methods of this command, and those before it whose members are held."""
    methods = {name: spec for name, spec in before.items() if name in held and name not in now}
    for name, spec in now.items():
        often = [s.get("repeat") for s in (before.get(name), spec) if s is not None]
        deepest = None if None in often else max(n for n in often if n is not None)
        methods[name] = {**spec, "repeat": deepest} if "repeat" in spec else dict(spec)
    return methods


def config_of(folder: Path) -> dict[str, Any]:
    """Return the configuration in a study's folder, ``{}`` where there is none to be read."""
    try:
        return Study(folder).config
    except Exception:  # none, or not to be read: it is written anew
        return {}


def _written(folder: Path) -> dict[str, Any]:
    """Return a folder's configuration as plain data, to be written again; nothing calls it."""
    try:
        return read_config(folder / "config.yaml")
    except Exception:  # none, or not to be read: it is written anew
        return {}


def outdated(folder: Path) -> list[str]:
    """Say what beside the records is older than they are, and what makes it again."""
    try:
        newest = (folder / "records.csv").stat().st_mtime_ns
    except OSError:
        return []
    lines = []
    for maker, names in DERIVED.items():
        paths = [path for name in names for path in sorted(folder.glob(name))]
        old = [p.name for p in paths if p.stat().st_mtime_ns < newest]
        if old:
            are, them = ("is", "it") if len(old) == 1 else ("are", "them")
            lines.append(
                f"{', '.join(old)} {are} older than records.csv: {maker} makes {them} anew"
            )
    return lines


def _by_place(records: Iterable[Record]) -> dict[MemberId, list[Record]]:
    places: dict[MemberId, list[Record]] = {}
    for r in records:
        places.setdefault(r.member, []).append(r)
    return places


def _tables(
    records: Iterable[Record], curves: Iterable[Record], members: Mapping[MemberId, str]
) -> dict[str, bytes]:
    header, rows = members_table(members)
    return {
        "records": table_bytes(COLUMNS, records), "curves": table_bytes(COLUMNS, curves),
        "members": table_bytes(header, rows),
    }  # fmt: skip


def _write_changed(path: Path, content: bytes) -> bool:
    """Write a file that is not so already: one that is keeps its date."""
    try:
        if path.read_bytes() == content:
            return False
    except OSError:
        pass
    write_atomic(path, content)
    return True


def _levels(value: Any) -> set[int]:
    levels: list[int] = [*range(1, value + 1)] if isinstance(value, int) else list(value or [])
    return {*levels} - {0}
