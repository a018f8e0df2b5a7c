"""A study on disk, read back: its records, its curves, and its tickets of any level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, get_args

from torch import nn

from lth.errors import LthError, nearest
from lth.files import demand, parse, reading
from lth.measured import measured_of
from lth.networks.mask import TicketMask, TicketParams
from lth.networks.ticket import Net, State, Ticket, network_for
from lth.networks.ticket_check import weights_of
from lth.records.budget import WEIGH, Budget, budget_of
from lth.records.frames import frame, read_rows
from lth.records.record import COLUMNS, Record, read_csv
from lth.records.verdict import verdict
from lth.spec.naming import ROOMS
from lth.spec.trust import Trust, allow, names_of
from lth.store.entry import StoredMember
from lth.store.members import (
    Place,
    extent,
    find_place,
    members_table,
    read_members,
    words,
)
from lth.store.restore import net_of, ticket_of
from lth.store.shown import study_html
from lth.store.store import Store, store_of
from lth.types import WINNER, MemberId

if TYPE_CHECKING:
    from pandas import DataFrame

MEND = "open it with lth.Study(folder, trust=['mine']), naming the modules that you trust"

Table = Literal["records", "curves", "members", "analysis", "matching", "paths"]
"""Tables of a study that pandas may have."""

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

    def read(self) -> Study:
        """Read what the folder holds now, and return the study.

        A later run that adds to the folder, or defines an arm otherwise, changes nothing of it.
        """
        for name in ("config", "provenance", "records", "curves", "members"):
            getattr(self, name)
        return self

    def __repr__(self) -> str:
        """One line; nothing but the records is read for it."""
        try:
            held = self._held()
        except LthError as error:
            held = str(error)
        return f"Study({self.id}: {held})"

    def _repr_html_(self) -> str:
        try:
            return study_html(repr(self), self.records, measured_of(self.config), self.verdict)
        except LthError:
            return f"<pre>{escape(repr(self))}</pre>"

    def _held(self) -> str:
        arms = ", ".join(self.arms[:4]) + f" and {len(self.arms) - 4} more" * (len(self.arms) > 4)
        rates = f", lr {extent(self.rates)}" if len(self.rates) > 1 else ""
        count = len({r.member for r in self.records})
        return (
            f"trials {extent(self.trials)}, levels {extent(self.levels)}{rates}, arms {arms}; "
            f"{count} members in {self.folder}"
        )

    @property
    def id(self) -> str:
        """``<name>-<hash8>``."""
        return self.folder.name

    @property
    def arms(self) -> list[str]:
        """The arms and methods that have records, in their order."""
        return list(dict.fromkeys(r.arm for r in self.records))

    @property
    def trials(self) -> list[int]:
        """The trials that have records."""
        return sorted({r.trial for r in self.records})

    @property
    def levels(self) -> list[int]:
        """The levels that have records."""
        return sorted({r.level for r in self.records})

    @property
    def rates(self) -> list[float]:
        """The learning rates that have records."""
        return sorted({r.lr for r in self.records})

    @cached_property
    def verdict(self) -> list[str]:
        """Down to which density each arm matches the dense network, in sentences."""
        return verdict(self.records, measured_of(self.config))

    @property
    def store(self) -> Store:
        """The store that the study shares with the others under the same ``out``."""
        return store_of(self.folder)

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

    def to_pandas(self, table: Table = "records") -> DataFrame:
        """Return a table of the study as a ``pandas.DataFrame``: records, if no other is named.

        ``records`` and ``curves`` have the columns of ``lth.records.record.Record``; ``members`` is
        the index of the store; ``analysis``, ``matching`` and ``paths`` are there once
        ``lth.analyse`` has looked.
        """
        if table in ("records", "curves"):
            return frame(COLUMNS, getattr(self, table))
        if table == "members":
            return frame(*members_table(self.members))
        if table not in (names := get_args(Table)):
            raise LthError(f"to_pandas: there is no table {table}{nearest(str(table), names)}")
        path = self.folder / f"{table}.csv"
        if not path.is_file():
            raise LthError(f"{path}: no such table yet; lth.analyse(study) writes it")
        rows = read_rows(path)
        return frame(list(rows[0]) if rows else [], [list(r.values()) for r in rows])

    @cached_property
    def members(self) -> dict[MemberId, str]:
        """The key of every member in the store, by its place."""
        return read_members(self.folder / "members.csv")

    def entry(self, **place: Unpack[Place]) -> StoredMember:
        """Return the trained member at a place: ``trial``, ``lr``, ``arm``, ``level``, ``copy``.

        ``lr`` may be left out where there is one, ``phase`` for the last that a method has there.
        """
        where = find_place(self.id, self.members, place)
        entry = self.store.get(self.members[where])
        if entry is None:
            raise LthError(f"{words(where)} is not in the store; run the study again to train it")
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

    def ticket(self, *, final_mask: bool = False, **place: Unpack[Place]) -> Ticket:
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
            params = TicketParams(ticket.params)
            return replace(ticket, mask=TicketMask(ticket.mask), params=params)
        mask, params = TicketMask(entry.final_mask), TicketParams(entry.start.params)
        return replace(ticket, mask=mask, params=params, dynamics=None, gate=None)

    def network(self, *, model: Any = None, **place: Unpack[Place]) -> nn.Module:
        """Return the trained network of a place (see ``entry``), a plain module in evaluation mode.

        Where its weights are seen through views they are parametrized, as those of ``Net.module``.
        It computes what was measured at the member's last step. It is no ticket any more: to train
        it on under its mask take ``study.net(...).module()``. ``model`` names the factory where the
        study's own is not trusted.
        """
        entry = self.entry(**place)
        if not entry.about.get("ticket", {}).get("views"):
            return network_for(entry.about["model"], entry.final, model).eval()
        return net_of(entry, self.trust, MEND).module(model).eval()

    def net(self, **place: Unpack[Place]) -> Net:
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

    def budget(self, **place: Unpack[Place]) -> Budget:
        """Return what the network of a place (see ``entry``) costs to store, to run and to find."""
        where = find_place(self.id, self.members, place)
        found = budget_of(r for r in self.records if r.member == where)
        if found is None:
            raise LthError(f"{self.id}: {words(where)} has not been weighed: {WEIGH}")
        return found

    def trained(self, **place: Unpack[Place]) -> State:
        """Return the params and buffers at the end of the training of a place (see ``entry``)."""
        return self.entry(**place).final


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
