"""Rewinding: what a pruned network goes back to before it trains again.

A rule names the steps of the dense run it needs and, given them, returns where the next level
starts: its state and its first step. The schedule runs on from that step, in absolute steps.

Two policies that papers leave unsaid are explicit here. BatchNorm's running statistics are a
choice of each rule (``statistics``): those of the state rewound to (``rewound``), those that the
last training left (``trained``), or those of an untrained network (``initial``). The optimizer
always starts afresh: its moments belong to other weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lth.errors import LthError
from lth.networks.ticket import State
from lth.spec.build import Spec


@dataclass(frozen=True)
class Start:
    """Where a level starts: unmasked params and buffers, the first step to train, the schedule.

    The schedule is the recipe's if None.
    """

    state: State
    step: int
    schedule: Spec | None = None


class Rewind(Protocol):
    """A rewinding rule."""

    def needs(self, steps: int) -> tuple[int, ...]:
        """Steps (of a run of ``steps``) at which the dense run must be known."""
        ...

    def __call__(self, dense: Callable[[int], State], trained: State) -> Start:
        """Return the start of the next level from the dense run and the network just trained."""
        ...


@dataclass(frozen=True)
class ToStep:
    """Go back to the dense run's state at ``step``; ``setting`` is what named it, if not that."""

    step: int = 0
    statistics: str = "rewound"
    setting: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _check_statistics(self.statistics, ("rewound", "trained", "initial"))
        if isinstance(self.step, bool) or not isinstance(self.step, int) or self.step < 0:
            raise LthError(f"rewind.step={self.step!r}: a step is a whole number from 0")

    def needs(self, steps: int) -> tuple[int, ...]:
        """Only ``step``, which must lie inside the run."""
        if self.step >= steps:
            setting = self.setting or f"rewind.step={self.step}"
            raise LthError(f"{setting} leaves nothing to train: recipe.steps is {steps}")
        return (self.step,)

    def __call__(self, dense: Callable[[int], State], trained: State) -> Start:
        """Return the dense run's state at ``step``, its buffers by ``statistics``."""
        params, buffers = dense(self.step)
        if self.statistics != "rewound":
            buffers = trained.buffers if self.statistics == "trained" else dense(0).buffers
        return Start(State(params, buffers), self.step)


@dataclass(frozen=True)
class Keep:
    """Keep the weights that were trained and run the schedule from ``step`` again, or ``held``."""

    step: int
    held: Spec | None = None
    statistics: str = "trained"

    def __post_init__(self) -> None:
        _check_statistics(self.statistics, ("trained", "initial"))

    def needs(self, steps: int) -> tuple[int, ...]:
        """No state of the dense run; but something must be left to train."""
        ToStep(self.step).needs(steps)
        return ()

    def __call__(self, dense: Callable[[int], State], trained: State) -> Start:
        """Return the trained state, its buffers by ``statistics``."""
        buffers = trained.buffers if self.statistics == "trained" else dense(0).buffers
        return Start(State(trained.params, buffers), self.step, self.held)


def to_step(step: int = 0, statistics: str = "rewound") -> ToStep:
    """Rewind to step k of the dense run (Frankle et al. 2020, arXiv 1912.05671, Section 4).

    The params *and* buffers at k, a fresh optimizer, steps k..T of the schedule.
    """
    return ToStep(step, statistics)


def to_init(statistics: str = "rewound") -> ToStep:
    """Rewind to the initial weights (Frankle & Carbin 2019, arXiv 1803.03635, Strategy 1)."""
    return ToStep(0, statistics)


def to_epoch(epoch: float, steps_per_epoch: float, statistics: str = "rewound") -> ToStep:
    """Rewind to the step nearest to an epoch of the dense run; an epoch may be a fraction."""
    if isinstance(epoch, bool) or not 0 <= epoch < float("inf"):
        raise LthError(f"rewind.epoch={epoch!r}: an epoch is a number from 0")
    step = round(epoch * steps_per_epoch)
    return ToStep(step, statistics, f"rewind.epoch={epoch} (step {step})")


def learning_rate(step: int = 0, statistics: str = "trained") -> Keep:
    """Keep the trained weights and buffers, rewind only the schedule to ``step``.

    Learning-rate rewinding: Renda, Frankle & Carbin 2020, arXiv 2003.02389, Section 2.
    """
    return Keep(ToStep(step).step, statistics=statistics)


def fine_tune(length: int, steps: int, schedule: Spec, statistics: str = "trained") -> Keep:
    """Keep the trained weights and train them ``length`` steps more at the schedule's last rate.

    Renda, Frankle & Carbin 2020, arXiv 2003.02389, Section 2: fine-tuning.
    """
    if isinstance(length, bool) or not isinstance(length, int) or not 0 < length <= steps:
        raise LthError(
            f"rewind.length={length!r}: a number of steps from 1 to recipe.steps={steps}"
        )
    last = {"_target_": "lth.recipe.schedule.held", "schedule": schedule, "step": -1}
    return Keep(steps - length, last, statistics)


def _check_statistics(given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise LthError(f"rewind.statistics={given}: it is one of {', '.join(known)}")
