"""How to train, and who hears of it: what no result depends on, but precision and compilation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from lth.errors import LthError
from lth.imp import Cohort
from lth.spec.argument_types import is_whole
from lth.store.entry import Point
from lth.train.job import Job
from lth.train.trainer_options import check_acts, check_names

PRECISIONS = ("32", "bf16")

ALSO = {"32-true": "32", "bf16-mixed": "bf16"}
"""Lightning's names of the same."""


def count_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Options:
    """How to train, which no result depends on, but ``precision`` and ``compile``.

    ``workers`` is a number of CPU processes, 0 for none beside this one; ``chunk`` caps the members
    that are stacked at once on a GPU. ``lightning`` is every other key of ``trainer.*``: options of
    Lightning's own Trainer, what it is given written as specs.
    """

    device: str = "auto"
    workers: int | str = "auto"
    precision: str | int = "32"
    compile: str | None = None
    chunk: int | None = None
    devices: int = 1
    lightning: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Options:
        """Return the options of a configuration: those of this class, and Lightning's."""
        own = tuple(f.name for f in fields(cls) if f.name != "lightning")
        others = {n: v for n, v in values.items() if n not in own}
        check_names(others, own)
        given = {n: v for n, v in others.items() if v is not None}
        return cls(**{n: values[n] for n in own if n in values}, lightning=given)

    def check_lightning(self) -> None:
        """Refuse options of Lightning's that would not act on cohorts, in one line."""
        check_acts(self.lightning)

    def __post_init__(self) -> None:
        precision = str(self.precision)
        object.__setattr__(self, "precision", ALSO.get(precision, precision))
        if self.device not in ("auto", "cpu", "cuda"):
            raise LthError(f"trainer.device={self.device}: it is one of auto, cpu, cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise LthError("trainer.device=cuda: torch sees no GPU here; use trainer.device=auto")
        if self.devices != 1:
            raise LthError(f"trainer.devices={self.devices}: more than one is not supported; use 1")
        if self.workers != "auto" and not is_whole(self.workers, 0):
            raise LthError(f"trainer.workers={self.workers}: it is auto or a whole number from 0")
        if self.precision not in PRECISIONS:
            raise LthError(f"trainer.precision={self.precision}: it is one of 32, bf16")
        if self.chunk is not None and not is_whole(self.chunk, 1):
            raise LthError(f"trainer.chunk={self.chunk}: it is a whole number from 1, or null")
        if self.compile is not None:
            _check_compiler(self.compile)

    @property
    def processes(self) -> int:
        """How many cores train: the workers, or this process alone."""
        return count_cores() if self.workers == "auto" else max(1, int(self.workers))

    @property
    def alone(self) -> bool:
        """Whether this process trains: where it may use one core, a worker beside it only costs."""
        return self.workers == 0 or (self.workers == "auto" and count_cores() == 1)

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU trains."""
        return self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())


class Listener:
    """Who is told of the progress; this one does nothing about it."""

    def level(self, cohort: Cohort, missing: Sequence[Job], reused: int) -> None:
        """A level begins: these jobs are to train, so many members are in the store."""

    def step(self, job: Job, step: int, done: bool) -> None:
        """A member has reached ``step``."""

    def measured(self, job: Job, points: Sequence[Point]) -> None:
        """A member has been measured on its way: the points of its curve that are new."""

    def note(self, text: str) -> None:
        """Something the user should know."""


def _check_compiler(name: str) -> None:
    if name not in torch.compiler.list_backends(exclude_tags=()):
        known = ", ".join(torch.compiler.list_backends())
        raise LthError(f"trainer.compile={name}: a backend of torch.compile is one of {known}")
