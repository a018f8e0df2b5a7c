"""Learning-rate schedules: the factor on the rate of update ``step`` (0-based) of ``steps``.

All take ``warmup``: over the first k updates the factor rises linearly, ``(step + 1) / k`` of the
schedule's own (Frankle & Carbin 2019, arXiv 1803.03635, Section 5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lth.errors import LthError
from lth.spec.argument_types import is_whole, number, whole
from lth.types import Schedule


def constant(warmup: int = 0) -> Schedule:
    """A factor of 1 after the warmup."""
    return _with_warmup(lambda step, steps: 1.0, warmup)


def multistep(milestones: Sequence[int], gamma: float = 0.1, warmup: int = 0) -> Schedule:
    """Multiply by ``gamma`` at each milestone: ``gamma ** #{m : m <= step}``."""
    marks = list(milestones)
    if not all(is_whole(m, 1) for m in marks):
        raise LthError(f"schedule.milestones={marks}: they are steps, whole numbers from 1")
    number("schedule.gamma", gamma, "(0, inf]", "it must be above 0")
    return _with_warmup(lambda step, steps: gamma ** sum(m <= step for m in marks), warmup)


def cosine(final: float = 0.0, warmup: int = 0) -> Schedule:
    """Fall from 1 to ``final`` along half a cosine between the warmup's end and the last step."""
    number("schedule.final", final, "[0, 1]", "a share of the learning rate")

    def factor(step: int, steps: int) -> float:
        share = (step - warmup) / max(1, steps - warmup)
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, share))))

    return _with_warmup(factor, warmup)


def stretched(schedule: Schedule, steps: int, start: int = 0) -> Schedule:
    """Run updates ``start..steps`` of a schedule over ``start`` to however many there are.

    At equal shares: ``start + (step - start) (steps - start) / (total - start)``, rounded down.
    """

    def factor(step: int, total: int) -> float:
        if step < start:
            return schedule(step, steps)
        return schedule(start + (step - start) * (steps - start) // (total - start), steps)

    return factor


def begun(schedule: Schedule, start: int) -> Schedule:
    """Begin a schedule at step ``start``: what it says of a run as long as what is left there."""
    return lambda step, total: schedule(max(0, step - start), total - start)


def held(schedule: Schedule, step: int) -> Schedule:
    """Hold a schedule at its factor of ``step``: fine-tuning at the last rate."""
    return lambda _, total: schedule(step if step >= 0 else total + step, total)


def _with_warmup(factor: Schedule, warmup: int) -> Schedule:
    whole("schedule.warmup", warmup, 0, "a number of steps")

    def warmed(step: int, steps: int) -> float:
        rise = (step + 1) / warmup if step < warmup else 1.0
        return factor(step, steps) * rise

    return warmed
