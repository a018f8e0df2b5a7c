"""What a module logs, as points of a curve: its split by the name's prefix, else by the stage."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl

from lth.measured import split_and_metric
from lth.store.entry import Point


def logged(trainer: pl.Trainer, stage: str) -> dict[str, float]:
    """Return what has been logged in a stage (train, validation, test), by name, as it is now.

    Of a value that is logged by step and by epoch, the epoch's.
    """
    values = {n: float(v) for n, v in trainer.callback_metrics.items()}
    names = _names(trainer, stage)
    own = values if names is None else {n: v for n, v in values.items() if n in names}
    return {n: v for n, v in own.items() if not _is_twin(n, values)}


def points(values: Mapping[str, float], stage: str, step: int) -> list[Point]:
    """Return logged values as points ``(step, split, metric, value)``, finite ones only.

    What a test logs is of the test split, whatever its name says.
    """
    found: dict[tuple[str, str], float] = {}
    for name, value in values.items():
        split, metric = split_and_metric(name)
        if math.isfinite(value):
            found[stage if stage == "test" or split is None else split, metric] = value
    return [(step, split, metric, value) for (split, metric), value in sorted(found.items())]


def at(curve: Iterable[Point], step: int, splits: Iterable[str]) -> list[Point]:
    """Return the points of some splits at a step, the last of each metric."""
    wanted = set(splits)
    found = {(p[1], p[2]): p for p in curve if p[0] == step and p[1] in wanted}
    return list(found.values())


def _names(trainer: pl.Trainer, stage: str) -> set[str] | None:
    """Return the names that a stage's loop has logged; None where Lightning does not tell."""
    loop: Any = trainer.fit_loop.epoch_loop
    if stage == "test":
        return None  # a test begins with nothing logged
    try:
        results = (loop.val_loop if stage == "validation" else loop)._results
        kept = [item.meta.name for item in results.values()]
        forked = [f"{n}_{when}" for n in kept for when in ("step", "epoch")]
        names = {*kept, *forked}
    except AttributeError:
        return None
    every = trainer.callback_metrics
    return names | {n for n in every if n.partition("/dataloader_idx_")[0] in names}


def _is_twin(name: str, values: Mapping[str, float]) -> bool:
    """Whether a value is a twin, ``x_step`` or ``x_epoch``, of one that is there as ``x``."""
    base, _, when = name.rpartition("_")
    return when in ("step", "epoch") and base in values
