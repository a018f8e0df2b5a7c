"""The budgets of a study's members: which are measured, and how each is scored."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from lth.budget.measure import Scoring, measured
from lth.budget.stored import budget_key, budget_of_stored
from lth.data.dataset import Dataset
from lth.errors import told
from lth.imp import Cohort
from lth.measured import measured_of
from lth.networks.ticket import Net, Ticket
from lth.records.budget import Budget
from lth.store.entry import StoredMember
from lth.study.progress import Display
from lth.study.setup import Setup
from lth.train.batches import Batches
from lth.train.evaluate import teacher_of
from lth.train.job import Job
from lth.train.member import with_teacher
from lth.train.trainer import Trainer
from lth.train.work import one_thread
from lth.types import MemberId

AUTO = "auto"
"""Measure where the study has methods: there networks differ in more than in zeros."""


def is_wanted(config: Mapping[str, Any]) -> bool:
    """Whether a study's budgets are measured: ``budget: auto`` means where it has methods."""
    wanted = config.get("budget", AUTO)
    return bool(config.get("method")) if wanted == AUTO else bool(wanted)


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
        jobs, found = self.trainer.jobs(cohort), dict[MemberId, Budget]()
        self.display.weighing(len(chosen))
        with one_thread():
            for member in chosen:
                budget = self._of(member, jobs[member], entries[member])
                found |= {} if budget is None else {member: budget}
                self.display.weighed()
        self.display.weighing(0)
        return found

    def _is_compared(self, member: MemberId) -> bool:
        return member.level in (0, *self.setup.parts.levels) or member.phase > 0

    def _of(self, member: MemberId, job: Job, entry: StoredMember) -> Budget | None:
        try:
            budget, known = budget_of_stored(entry, self._key, lambda: self._measure(job, entry))
        except Exception as error:  # of a network that nobody foresaw: the study goes on
            if member.arm not in self._said:
                self._said.add(member.arm)
                first = str(told(error)).partition("\n")[0]
                self.display.note(f"{member.arm}: its budget is left out ({first})")
            return None
        self.known, self.new = self.known + known, self.new + (not known)
        return budget

    @cached_property
    def _key(self) -> str:
        """What all budgets of the study depend on; derived once a run, from the code of then."""
        setup = self.setup
        judged, precision = [*measured_of(setup.config)], str(setup.options.precision)
        return budget_key(setup.dataset.digest, judged, precision)

    @cached_property
    def _data(self) -> Dataset:
        """The data where networks are evaluated: on the GPU, if one trains."""
        data = self.setup.dataset
        return data.to("cuda") if self.setup.options.on_gpu else data

    def _measure(self, job: Job, entry: StoredMember) -> Budget:
        net = net_at_end(job.ticket, entry)
        if self.setup.task is not None:
            return measured(net)
        job, data = with_teacher(job, self.trainer.store), self._data
        return measured(net, Scoring(
            batches=Batches(data, job.streams, job.recipe.batch),
            measures=job.recipe.evaluator(job.measure), judged=measured_of(self.setup.config),
            teacher=teacher_of(job, data.train_inputs.device), precision=job.precision,
        ))  # fmt: skip


def net_at_end(ticket: Ticket, entry: StoredMember) -> Net:
    """Return the network that a ticket has become; a gate's mask is the mask it ended with."""
    state = entry.final
    return Net(
        model=ticket.model, mask=entry.final_mask, params=state.params, buffers=state.buffers,
        frozen=entry.frozen, views=ticket.views,
    )  # fmt: skip
