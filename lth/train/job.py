"""A job: everything one member's training depends on, in a form that any process can run."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lth.networks.ticket import Net, Ticket
from lth.recipe.recipe import Recipe
from lth.spec.build import Spec
from lth.streams import stream_seed


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


@dataclass(frozen=True, kw_only=True)
class Job:
    """One member to train from ``ticket.step`` to ``last`` (normally the recipe's end).

    ``measure`` is the loss that evaluations report and early stop goes by: the study's, also where
    the member trains on another (None: the recipe's own). ``teacher`` is the network of the stored
    member that the ticket names as its teacher, once it has been looked up. ``lightning`` are the
    parts of ``trainer.*`` that may act on what it becomes: callbacks, plugins.
    """

    ticket: Ticket
    data: Spec
    recipe: Recipe
    lr: float
    streams: Streams
    precision: str = "32"
    compile: str | None = None
    snapshots: tuple[int, ...] = ()
    until: int | None = None
    measure: Spec | None = None
    replace: bool = False
    lightning: Mapping[str, Any] = field(default_factory=dict)
    teacher: Net | None = None
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


def this_machine() -> dict[str, str]:
    """Name the machine, to tell whose timings an estimate may use."""
    return {"host": platform.node(), "cpu": platform.processor() or platform.machine()}
