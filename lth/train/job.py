"""A job: everything one member's training depends on, in a form that any process can run."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import Any

from lth.data.dataset import Dataset
from lth.recipe import Recipe
from lth.spec import Spec, digest, module_source, sources
from lth.streams import stream_seed
from lth.ticket import Ticket, draw_model, memory_key, tensors_digest

NUMERICS = 1
"""Raised whenever ``lth`` itself changes the numbers a member gives."""


@dataclass(frozen=True)
class Streams:
    """The names that a member's random numbers derive from."""

    seed: int
    trial: int
    level: int
    noise: int = 0

    def of(self, what: str, index: int) -> int:
        """Seed of the numbers for ``what`` (order, augment, model) at a step or epoch."""
        return stream_seed(what, self.seed, self.trial, self.level, self.noise, index)


@dataclass(frozen=True)
class Job:
    """One member to train from ``ticket.step`` to ``last`` (normally the recipe's end)."""

    ticket: Ticket
    data: Spec
    recipe: Recipe
    lr: float
    streams: Streams
    precision: str = "32"
    compile: str | None = None
    snapshots: tuple[int, ...] = ()
    until: int | None = None
    replace: bool = False
    key: str = ""
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The step to train to."""
        return self.recipe.steps if self.until is None else self.until

    @property
    def steps(self) -> int:
        """Number of updates the job makes."""
        return self.last - self.ticket.step


def identity(job: Job, dataset: Dataset) -> dict[str, Any]:
    """Return everything that determines the member, and nothing else, as plain data.

    Not in it: device, workers, blocks, chunks, trials, levels, snapshots, loggers, versions.
    """
    start = job.ticket.start
    streams = job.streams
    rare = {"frozen": tensors_digest(job.ticket.frozen)} if job.ticket.frozen else {}
    for name, spec in (("dynamics", job.ticket.dynamics), ("gate", job.ticket.gate)):
        rare |= {name: [spec, sources(spec)]} if spec is not None else {}
    return rare | {
        "numerics": NUMERICS,
        "model": job.ticket.model,
        "model_sources": _model_sources(job.ticket.model),
        "data": dataset.digest,
        "validation": dataset.validation,
        "augment": [repr(dataset.augment), module_source(type(dataset.augment))],
        "recipe": job.recipe.identity(),
        "lr": float(job.lr),
        "precision": job.precision,
        "compile": job.compile,
        "streams": [streams.seed, streams.trial, streams.level, streams.noise],
        "start": tensors_digest(start.params),
        "buffers": tensors_digest(start.buffers),
        "mask": tensors_digest(job.ticket.mask),
        "step": job.ticket.step,
    }


def member_key(job: Job, dataset: Dataset) -> str:
    """Hash ``identity`` to the name under which the store keeps the trained member."""
    return digest(identity(job, dataset))


def _model_sources(model: Spec) -> dict[str, str]:
    found = sources(model)
    for kind in _module_types(model):
        found |= module_source(kind)
    return found


def _module_types(model: Spec) -> list[type]:
    """Every kind of module that a model is made of: a factory may import its parts."""
    key = memory_key(model)
    if key not in _types:
        _types[key] = list(dict.fromkeys(type(m) for m in draw_model(model, 0).modules()))
    return _types[key]


_types: dict[str, list[type]] = {}  # a pure function's memory, nothing else


def this_machine() -> dict[str, str]:
    """Name the machine, to tell whose timings an estimate may use."""
    return {"host": platform.node(), "cpu": platform.processor() or platform.machine()}
