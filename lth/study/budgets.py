"""The budgets of a study's members: which are measured, and how each is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from lth.budget.stored import kept_budget
from lth.budget.weighing import Weighing, budget_key
from lth.data.dataset import Dataset
from lth.errors import told
from lth.imp import Cohort
from lth.measured import measured_of
from lth.records.budget import Budget
from lth.store.entry import StoredMember
from lth.study.progress import Display, teller
from lth.study.setup import Setup
from lth.train.job import Job
from lth.train.trainer import Trainer
from lth.train.work import one_thread
from lth.types import MemberId

AUTO = "auto"
"""Measure where the study has methods: there networks differ in more than in zeros."""


OF_A_TASK = (
    "budgets: of a task's networks params, nonzeros and bytes; they are not run, so there are no "
    "multiply-adds and no score of the packed file"
)


def is_wanted(config: Mapping[str, Any]) -> bool:
    """Whether a study's budgets are measured: ``budget: auto`` means where it has methods."""
    wanted = config.get("budget")
    return bool(config.get("method")) if wanted in (None, AUTO) else bool(wanted)


class Budgets:
    """Measures the compared members of a study; a member that has been measured is looked up.

    ``new`` and ``known`` count them. A network that cannot be packed or run is said once per arm,
    and costs no other.
    """

    def __init__(self, setup: Setup, trainer: Trainer, display: Display) -> None:
        self.setup, self.trainer, self.display = setup, trainer, display
        self.wanted = is_wanted(setup.config)
        self.new = self.known = 0
        self._said: set[str] = set()

    @property
    def line(self) -> str:
        """What was done: ``measured 12 budgets, reused 30``."""
        return f"measured {self.new} budgets, reused {self.known}"

    def of(
        self, cohort: Cohort, entries: Mapping[MemberId, StoredMember]
    ) -> dict[MemberId, Budget]:
        """Return the budgets of the members of a level that are compared and did not diverge."""
        chosen = [m for m in entries if self._is_compared(m) and entries[m].diverged is None]
        if not self.wanted or not chosen:
            return {}
        found = {m: kept_budget(entries[m], self._key) for m in chosen}
        missing = [m for m in chosen if found[m] is None]
        self.known, self.new = self.known + len(chosen) - len(missing), self.new + len(missing)
        if self.setup.task is not None and not self._said:
            self._said.add("")
            self.display.note(OF_A_TASK)
        if missing:
            found |= self._measured(missing, self.trainer.jobs(cohort), entries)
        return {m: budget for m, budget in found.items() if budget is not None}

    def _is_compared(self, member: MemberId) -> bool:
        return member.level in (0, *self.setup.parts.levels) or member.phase > 0

    def _measured(
        self, members: Sequence[MemberId], jobs: Mapping[MemberId, Job],
        entries: Mapping[MemberId, StoredMember],
    ) -> dict[MemberId, Budget | None]:  # fmt: skip
        """Measure members, by the workers where there are some; what they leave is done here."""
        judged, found = measured_of(self.setup.config), dict[MemberId, Budget | None]()
        asked = {jobs[m].key: Weighing(jobs[m], self._key, judged) for m in members}
        self.display.weighing(len(members))
        calls = [*asked.values()] if self.setup.task is None else []
        done = self.trainer.call(calls, self.display.weighed)
        with one_thread():
            for member in members:
                found[member] = self._one(member, asked[jobs[member].key], entries[member])
                if not done:
                    self.display.weighed()
        self.display.weighing(0)
        return found

    def _one(self, member: MemberId, weighing: Weighing, entry: StoredMember) -> Budget | None:
        try:
            return weighing.budget(entry, self.trainer.store, self._data)
        except Exception as error:  # of a network that nobody foresaw: the study goes on
            self.new -= 1
            if member.arm not in self._said:
                self._said.add(member.arm)
                first = str(told(error)).partition("\n")[0]
                teller(self.display)(f"{member.arm}: its budget is left out ({first})")
            return None

    @cached_property
    def _key(self) -> str:
        """What all budgets of the study depend on; derived once a run, from the code of then."""
        setup = self.setup
        judged, precision = [*measured_of(setup.config)], str(setup.options.precision)
        return budget_key(setup.dataset.digest, judged, precision)

    @cached_property
    def _data(self) -> Dataset | None:
        """The data where networks are evaluated: on the GPU, if one trains; None of a task."""
        if self.setup.task is not None:
            return None
        data = self.setup.dataset
        return data.to("cuda") if self.setup.options.on_gpu else data
