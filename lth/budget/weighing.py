"""The budget of one stored member, measured here or by a worker process."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lth.budget.measure import Scoring, measured
from lth.budget.stored import budget_of_stored
from lth.data.dataset import Dataset
from lth.identity import Walk
from lth.measured import Measured
from lth.networks.ticket import Net, Ticket
from lth.records.budget import Budget
from lth.spec.build import digest
from lth.store.entry import StoredMember
from lth.store.store import Store
from lth.train.batches import Batches
from lth.train.evaluate import teacher_of
from lth.train.job import Job
from lth.train.key import Identities, check_same
from lth.train.member import with_teacher


@dataclass(frozen=True, eq=False)
class Weighing:
    """The member that a job has trained is to be weighed, under the key of its budget.

    ``judged`` is what its study judges by; called in a worker it leaves the budget in the store.
    """

    job: Job
    budget_key: str
    judged: Measured
    steps: int = 0

    @property
    def key(self) -> str:
        """The member's name in the store."""
        return self.job.key

    def __call__(self, dataset: Dataset, store: Store, identities: Identities) -> None:
        """Measure it on a worker's own data, if they are the study's."""
        with suppress(Exception):  # who asked measures it, and says what is wrong
            check_same(self.job, identities.of(self.job))
            entry = store.get(self.job.key)
            if entry is not None:
                self.budget(entry, store, dataset)

    def budget(self, entry: StoredMember, store: Store, dataset: Dataset | None) -> Budget:
        """Return the budget, measured on a data set; without one what needs no running."""
        return budget_of_stored(
            entry, self.budget_key, lambda: self._measured(entry, store, dataset)
        )

    def _measured(self, entry: StoredMember, store: Store, dataset: Dataset | None) -> Budget:
        net = net_at_end(self.job.ticket, entry)
        if dataset is None:
            return measured(net)
        job = with_teacher(self.job, store)
        return measured(net, Scoring(
            batches=Batches(dataset, job.streams, job.recipe.batch),
            measures=job.recipe.evaluator(job.measure), judged=self.judged,
            teacher=teacher_of(job, dataset.train_inputs.device), precision=job.precision,
        ))  # fmt: skip


def budget_key(*given: Any) -> str:
    """Name what a budget depends on beside the member: the code that measures, and plain data."""
    return digest([Walk(Weighing).digest, *given])


def net_at_end(ticket: Ticket, entry: StoredMember) -> Net:
    """Return the network that a ticket has become; a gate's mask is the mask it ended with."""
    state = entry.final
    return Net(
        model=ticket.model, mask=entry.final_mask, params=state.params, buffers=state.buffers,
        frozen=entry.frozen, views=ticket.views,
    )  # fmt: skip
