"""A study on disk, read back: its records, its curves, and its tickets of any level."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lth.entry import Entry
from lth.errors import LthError
from lth.imp import WINNER, Place
from lth.records import Record, read_csv
from lth.store import Store
from lth.ticket import State, Ticket


class Study:
    """The folder of a study: ``mask, params, step = Study(folder).ticket(level=5)``."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "config.yaml").is_file():
            raise LthError(f"{folder}: not a study's folder: it has no config.yaml")

    @property
    def id(self) -> str:
        """``<name>-<hash8>``."""
        return self.folder.name

    @property
    def store(self) -> Store:
        """The store that the study shares with the others under the same ``out``."""
        return Store(self.folder.parent.parent / "store")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        from omegaconf import OmegaConf

        found = OmegaConf.to_container(OmegaConf.load(self.folder / "config.yaml"))
        assert isinstance(found, dict)
        return {str(k): v for k, v in found.items()}

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Commit, versions, device, command and times of the last run."""
        return json.loads((self.folder / "provenance.json").read_text(encoding="utf-8"))

    @cached_property
    def records(self) -> list[Record]:
        """Every member's values at early stop and at the end."""
        return read_csv(self.folder / "records.csv")

    @cached_property
    def curves(self) -> list[Record]:
        """The values at the evaluations on the way."""
        return read_csv(self.folder / "curves.csv")

    @cached_property
    def members(self) -> dict[Place, str]:
        """The key of every member in the store, by its place."""
        return read_members(self.folder / "members.csv")

    def entry(
        self,
        *,
        trial: int = 0,
        lr: float | None = None,
        arm: str = WINNER,
        level: int = 0,
        copy: int = 0,
    ) -> Entry:
        """Return the trained member at a place; ``lr`` may be left out where there is one."""
        rates = sorted({p.lr for p in self.members})
        if lr is None and len(rates) > 1:
            raise LthError(f"{self.id} has several learning rates: name one of {rates}")
        place = Place(trial, rates[0] if lr is None else float(lr), arm, level, copy)
        if place not in self.members:
            raise LthError(f"{self.id} has no {_words(place)}; it has {_extent(self.members)}")
        entry = self.store.get(self.members[place])
        if entry is None:
            raise LthError(f"{_words(place)} is not in the store; run the study again to train it")
        names = self.provenance.get("prunable")  # another study may have trained it
        if names is None or entry.about["model"] != self.config["model"]:
            return entry
        return replace(entry, names=tuple(names))

    def ticket(self, *, final_mask: bool = False, **place: Any) -> Ticket:
        """Return the ticket at a place (see ``entry``): what its member started from.

        With ``final_mask`` under the mask that training ended with: what dynamic sparse training or
        a supermask has found, over the weights it started from (those it had; the rest is 0).
        """
        entry = self.entry(**place)
        origin = {"study": self.id, **{k: v for k, v in place.items() if v is not None}}
        params, buffers = entry.start
        step, frozen = entry.about["step"], entry.frozen
        mask = entry.final_mask if final_mask else entry.mask
        return Ticket(entry.about["model"], mask, params, buffers, step, origin, frozen)

    def trained(self, **place: Any) -> State:
        """Return the params and buffers at the end of the training of a place (see ``entry``)."""
        return self.entry(**place).final


def members_table(members: Mapping[Place, str]) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of the index of a study's members."""
    return [*Place._fields, "key"], [[*place, key] for place, key in members.items()]


def read_members(path: Path) -> dict[Place, str]:
    """Read the index of a study's members."""
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except FileNotFoundError:
        raise LthError(f"{path}: no such index; run the study first") from None
    return {
        Place(int(r["trial"]), float(r["lr"]), r["arm"], int(r["level"]), int(r["copy"])): r["key"]
        for r in rows
    }


def _words(place: Place) -> str:
    return ", ".join(f"{k} {v}" for k, v in place._asdict().items())


def _extent(members: Mapping[Place, str]) -> str:
    arms = ", ".join(dict.fromkeys(p.arm for p in members))
    trials, levels = max(p.trial for p in members), max(p.level for p in members)
    return f"trials 0..{trials}, levels 0..{levels}, arms {arms}"
