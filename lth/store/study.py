"""A study on disk, read back: its records, its curves, and its tickets of any level."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from lth.errors import LthError, nearest
from lth.files import check_key, demand, parse, reading
from lth.networks.ticket import Net, State, Ticket, network_for
from lth.networks.ticket_check import weights_of
from lth.records.budget import WEIGH, Budget, budget_of
from lth.records.record import Record, read_csv
from lth.spec.naming import ROOMS
from lth.spec.trust import Trust, allow, names_of
from lth.store.entry import StoredMember
from lth.store.restore import net_of, ticket_of
from lth.store.store import Store
from lth.types import WINNER, MemberId

MEND = "open it with lth.Study(folder, trust=['mine']), naming the modules that you trust"

GROUPS = {
    "data": ("data",), "model": ("models",), "score": ("pruning.score",),
    "recipe": ("recipe.schedule", "recipe.loss", "recipe.measures"), "prune": ("pruning.rules",),
    "rewind": ("pruning.rewind", "recipe.schedule"),
    "search": ("pruning.search", "pruning.transfer", "pruning.from_file"), "arms": ("arms",),
    "method": ("moves", "pruning.score", "pruning.rules", "pruning.rewind", "recipe.schedule"),
}  # fmt: skip
"""Parts of lth whose factories a study's file may name, by setting."""


class Study:
    """The folder of a study: ``mask, params, step = Study(folder).ticket(level=5)``.

    All that lies in it is data: it may name factories of lth and torch, and those of the modules in
    ``trust``. A study that ``lth.run`` returns trusts what that call named.
    """

    def __init__(self, folder: str | Path, trust: Trust = ()) -> None:
        self.folder, self.trust = Path(folder), names_of(trust)
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
        path = self.folder / "config.yaml"
        with reading(path, "file", "run the study again to write it"):
            config = read_config(path)
        return {
            k: allow(v, GROUPS.get(k, ()), self.trust, f"{path}: {k}", MEND)
            for k, v in config.items()
        }

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Commit, versions, device, command and times of the last run."""
        path = self.folder / "provenance.json"
        with reading(path, "file", "run the study again to write it"):
            about = parse(path.read_bytes())
            demand(isinstance(about, dict), "it is no table")
        return about

    @cached_property
    def records(self) -> list[Record]:
        """Every member's values at early stop and at the end."""
        return read_csv(self.folder / "records.csv")

    @cached_property
    def curves(self) -> list[Record]:
        """The values at the evaluations on the way."""
        return read_csv(self.folder / "curves.csv")

    @cached_property
    def members(self) -> dict[MemberId, str]:
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
        phase: int | None = None,
    ) -> StoredMember:
        """Return the trained member at a place.

        ``lr`` may be left out where there is one, ``phase`` for the last that a method has there.
        """
        place = self._place(trial, lr, arm, level, copy, phase)
        entry = self.store.get(self.members[place])
        if entry is None:
            raise LthError(f"{_words(place)} is not in the store; run the study again to train it")
        if not isinstance(entry.about.get("model"), Mapping):
            raise LthError(f"{entry.folder}: it names no model; run the study again to train it")
        model = allow(
            entry.about["model"], ROOMS["model"], self.trust, f"{entry.folder}: its model", MEND
        )
        names = self.provenance.get("prunable")  # another study may have trained it
        model_here = self.config.get("model", entry.about["model"])  # a task has one module
        viewed = bool(entry.about.get("ticket", {}).get("views"))  # of what its own mask names
        if names is None or viewed or entry.about["model"] != model_here:
            names = entry.names
        names = None if names is None else tuple(names)
        return replace(entry, about=entry.about | {"model": model}, names=names)

    def _place(
        self, trial: int, lr: float | None, arm: str, level: int, copy: int, phase: int | None
    ) -> MemberId:
        rates = sorted({p.lr for p in self.members})
        if lr is None and len(rates) > 1:
            raise LthError(f"{self.id} has several learning rates: name one of {rates}")
        if not rates:
            raise LthError(f"{self.id} has no members yet; run the study first")
        place = MemberId(trial, rates[0] if lr is None else float(lr), arm, level, copy)
        phases = [p.phase for p in self.members if p[:5] == place[:5]]
        place = place._replace(phase=max(phases, default=0) if phase is None else phase)
        if place not in self.members:
            near = "" if arm in (arms := {p.arm for p in self.members}) else nearest(arm, arms)
            near = near if "did you mean" in near else f"; it has {_extent(self.members)}"
            raise LthError(f"{self.id} has no {_words(place)}{near}")
        return place

    def ticket(self, *, final_mask: bool = False, **place: Any) -> Ticket:
        """Return the ticket at a place (see ``entry``): what its member started from, every field.

        Values beneath the mask are the dense run's; an arm that drew its own weights has 0 there.
        With ``final_mask`` under the mask that training ended with: what dynamic sparse training or
        a supermask has found, over the weights it started from (those it had; the rest is 0).
        """
        entry = self.entry(**place)
        origin = {"study": self.id, **{k: v for k, v in place.items() if v is not None}}
        first = {"trial": place.get("trial", 0), "lr": place.get("lr")}
        try:
            dense = self.entry(**first)
        except LthError:
            dense = None
        ticket = ticket_of(entry, dense, origin, self.trust, MEND)
        if not final_mask:
            return ticket
        return replace(
            ticket, mask=entry.final_mask, params=entry.start.params, dynamics=None, gate=None
        )

    def network(self, *, model: Any = None, **place: Any) -> nn.Module:
        """Return the trained network of a place (see ``entry``), a plain module in evaluation mode.

        Where its weights are seen through views they are parametrized, as those of ``Net.module``.
        It computes what was measured at the member's last step. ``model`` names the factory where
        the study's own is not trusted.
        """
        entry = self.entry(**place)
        if not entry.about.get("ticket", {}).get("views"):
            return network_for(entry.about["model"], entry.final, model).eval()
        return net_of(entry, self.trust, MEND).module(model).eval()

    def net(self, **place: Any) -> Net:
        """Return the trained network of a place (see ``entry``) as ``lth.pack`` takes it."""
        return net_of(self.entry(**place), self.trust, MEND)

    @property
    def weights(self) -> int | None:
        """Weights of the dense network, None where that cannot be known without foreign code."""
        try:
            return self._weights_trained() or weights_of(self.config["model"])
        except Exception:  # whatever a model that a file names makes of its arguments
            return None

    def _weights_trained(self) -> int:
        """Return what the store says of the dense network; 0 where it says nothing."""
        if not (self.folder / "members.csv").is_file():
            return 0
        dense = [p for p in self.members if p.arm == WINNER and p.level == 0]
        entry = self.store.get(self.members[dense[0]]) if dense else None
        return 0 if entry is None else sum(entry.about.get("ticket", {}).get("sizes", {}).values())

    def budget(self, **place: Any) -> Budget:
        """Return what the network of a place (see ``entry``) costs to store, to run and to find."""
        given = {"trial": 0, "lr": None, "arm": WINNER, "level": 0, "copy": 0, "phase": None}
        where = self._place(**given | place)
        found = budget_of(r for r in self.records if r.member == where)
        if found is None:
            raise LthError(f"{self.id}: {_words(where)} has not been weighed: {WEIGH}")
        return found

    def trained(self, **place: Any) -> State:
        """Return the params and buffers at the end of the training of a place (see ``entry``)."""
        return self.entry(**place).final


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
    demand(whole and isinstance(place.arm, str), f"{_words(place)} is no member")
    return place


def read_config(path: Path) -> dict[str, Any]:
    """Read a study's YAML as data: no interpolation is resolved, no alias multiplied."""
    import yaml
    from omegaconf import OmegaConf

    text = path.read_text(encoding="utf-8")
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    demand(not any(isinstance(e, yaml.AliasEvent) for e in events), "it has aliases")
    config = OmegaConf.to_container(OmegaConf.create(text))
    demand(isinstance(config, dict), "it is no table")
    assert isinstance(config, dict)
    return {str(k): v for k, v in config.items()}


def _words(place: MemberId) -> str:
    named = place._asdict().items()
    return ", ".join(f"{k} {v}" for k, v in named if k != "phase" or v)


def _extent(members: Mapping[MemberId, str]) -> str:
    arms = ", ".join(dict.fromkeys(p.arm for p in members))
    trials, levels = max(p.trial for p in members), max(p.level for p in members)
    return f"trials 0..{trials}, levels 0..{levels}, arms {arms}"
