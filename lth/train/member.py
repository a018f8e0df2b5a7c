"""One member on its way: its curve, its best state, its teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from lth.errors import LthError
from lth.networks.ticket import State
from lth.recipe.evaluation import LOSS
from lth.spec.trust import targets
from lth.store.entry import Point, StoredMember
from lth.store.restore import net_of
from lth.store.store import Store, store_of
from lth.train.job import Job
from lth.train.masking import Masking


@dataclass
class MemberProgress:
    """The bookkeeping of one member."""

    job: Job
    step: int
    curve: list[Point] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best: tuple[float, int, State] | None = None
    snapshots: dict[int, State] = field(default_factory=dict)
    diverged: int | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.masking = Masking(self.job)

    def note_losses(self, start: int, losses: Tensor) -> None:
        """Take the batch losses of a block; the first that is not finite marks the divergence."""
        for offset, loss in enumerate(losses.tolist()):
            if not math.isfinite(loss) and self.diverged is None:
                self.diverged = start + offset
            self.losses.append(loss)

    def note_evaluation(self, split: str, values: Mapping[str, float]) -> None:
        """Take an evaluation at the present step, the loss first."""
        if split == "validation" and self.losses:
            mean = math.fsum(self.losses) / len(self.losses)
            self.curve.append((self.step, "train", "batch_loss", mean))
            self.losses = []
        if not all(math.isfinite(values[n]) for n in {LOSS, self.job.recipe.monitor} & {*values}):
            self.diverged = self.step
            return
        check_finite(values)
        self.curve += [(self.step, split, name, value) for name, value in values.items()]


def monitored(values: Mapping[str, float], name: str) -> float:
    """Return what early stop goes by."""
    if name not in values:
        raise LthError(f"recipe.monitor={name}: what is measured is {', '.join(values)}")
    return values[name]


def check_finite(values: Mapping[str, float]) -> None:
    """Refuse a measure that is no number where the loss is one."""
    for name, value in values.items():
        if not math.isfinite(value) and name != LOSS:
            raise LthError(f"recipe.measures.{name}: it gives {value} where the loss is finite")


def with_teacher(job: Job, store: Store) -> Job:
    """Look up the teacher that a job's ticket names, of code that the job names too."""
    if job.ticket.teacher is None or job.teacher is not None:
        return job
    entry = store.get(job.ticket.teacher) or _elsewhere(job)
    if entry is None or entry.diverged is not None:
        what = "is not in the store" if entry is None else "has diverged"
        raise LthError(f"teacher {job.ticket.teacher[:12]}: that member {what}: train it first")
    named = targets([job.ticket.model, job.data, job.recipe.loss])
    trust = {t.rpartition(".")[0] for t in named if not t.startswith(("lth.", "torch."))}
    trust |= set(job.ticket.origin.get("teacher", {}).get("trust", ()))
    return replace(job, teacher=net_of(entry, sorted(trust)))


def _elsewhere(job: Job) -> StoredMember | None:
    """Look a teacher up in the store of the study that it was named by."""
    study = job.ticket.origin.get("teacher", {}).get("study")
    return store_of(study).get(str(job.ticket.teacher)) if study else None
