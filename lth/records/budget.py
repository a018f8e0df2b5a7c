"""The budget of a network: what it takes to store, to run and to find. Defined here, once.

The file that is weighed is the file that is scored: ``bytes`` is the length of ``pack(net)``, and
everything else is of what ``unpack`` gives back from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lth.measured import Measured
from lth.records.intervals import Interval, grouped, interval, mean
from lth.records.judged import ACCURACY, Judged
from lth.records.record import Record
from lth.types import WINNER

PREFIX = "budget/"
"""How a budget's metrics begin in the records; no measure of a recipe may be called so."""

QUANTITIES = ("params", "nonzeros", "bytes", "macs", "macs_nonzero", "search_macs")
"""What is counted; beside them stands the measure that a study judges by, of the packed file."""

WEIGH = "run it again with budget=true (nothing is trained anew)"
"""How a study gets the budgets that it lacks."""

AXES = ("bytes", "macs", "params", "density")
"""What networks may be compared at."""

TEST, VALIDATION = "test", "validation"

RAW = 4
"""Bytes of a number in float32."""

Point = tuple[int, str, str, float]
"""(step, split, metric, value)."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What one network costs, and what it gives for it; None where it cannot be had.

    ``macs`` and ``macs_nonzero`` of a network whose computation depends on its input are means over
    the images of the test split, measured on them; of any other they are those of one image.
    """

    params: int
    """Numbers stored after views are baked: every parameter and persistent buffer of the unpacked
    module, ``sum of numel``, one that is shared once. BatchNorm's statistics count."""

    nonzeros: int
    """Those of them that are not 0."""

    bytes: int
    """``len(pack(net))``: positions, codebooks, code tables, biases, norms, header, everything."""

    macs: float | None = None
    """Multiply-adds per image that dense kernels execute when the unpacked module runs in
    evaluation mode: ``FLOPs / 2`` of every matrix product and convolution, ``B I O`` for a linear
    layer of ``I`` inputs and ``O`` outputs; biases, norms and elementwise products are not
    counted (as ``torch.utils.flop_counter`` counts)."""

    macs_nonzero: float | None = None
    """What hardware would execute that skips zeros: ``sum over products of macs * nonzeros /
    numel`` of the weight in it, which is kept weights times their uses (lth/networks/cost.py)."""

    search_macs: float | None = None
    """Multiply-adds spent in training to get here, ``(training_flops + search_flops) / 2``: this
    member's training, every run that its mask and start took, earlier phases among them, and every
    teacher with all that it took, each once; a training step is three forward passes per example,
    of the weights kept and to every output, less the backward pass of what is not trained."""

    accuracy: float | None = None
    """Test accuracy of ``unpack(pack(net))``, in [0, 1]; of a study that judges by another
    ``measure`` the value of that."""

    validation: float | None = None
    """The same on the validation split, by which networks are chosen."""

    measure: str = "accuracy"
    """What ``accuracy`` and ``validation`` are of."""

    @property
    def raw_bytes(self) -> int:
        """``4 * params``: the network as it lies in memory, in float32."""
        return RAW * self.params

    def points(self, step: int) -> list[Point]:
        """Return what is recorded of it at a step."""
        counted = {n: getattr(self, n) for n in QUANTITIES}
        found = [(step, TEST, PREFIX + n, float(v)) for n, v in counted.items() if v is not None]
        for split, value in ((TEST, self.accuracy), (VALIDATION, self.validation)):
            if value is not None:
                found.append((step, split, PREFIX + self.measure, float(value)))
        return found


def is_budget(record: Record) -> bool:
    """Whether a row is of a budget."""
    return record.metric.startswith(PREFIX)


def budget_of(records: Iterable[Record]) -> Budget | None:
    """Return the budget that rows of one member hold, None where they hold none."""
    rows = [r for r in records if is_budget(r)]
    counted = {n: r.value for r in rows if (n := r.metric.removeprefix(PREFIX)) in QUANTITIES}
    if not {"params", "nonzeros", "bytes"} <= counted.keys():
        return None
    judged = {r.split: r for r in rows if r.metric.removeprefix(PREFIX) not in QUANTITIES}
    name = {r.metric.removeprefix(PREFIX) for r in judged.values()} or {"accuracy"}
    value = {split: row.value for split, row in judged.items()}
    return Budget(
        params=round(counted["params"]), nonzeros=round(counted["nonzeros"]),
        bytes=round(counted["bytes"]), macs=counted.get("macs"),
        macs_nonzero=counted.get("macs_nonzero"), search_macs=counted.get("search_macs"),
        accuracy=value.get(TEST), validation=value.get(VALIDATION), measure=name.pop(),
    )  # fmt: skip


def judged_of(records: Iterable[Record], measured: Measured = ACCURACY) -> Judged:
    """Return what packed files are judged by: on test, the measure that their rows are of."""
    rows = [r for r in records if is_budget(r)]
    rows = [r for r in rows if r.metric.removeprefix(PREFIX) not in QUANTITIES]
    name = rows[0].metric.removeprefix(PREFIX) if rows else measured.metric
    share = measured.higher and all(0 <= r.value <= 1 for r in rows)
    return Judged(TEST, name, measured.higher, share)


class Spot(NamedTuple):
    """Where a network stands: a learning rate, an arm or method, a level, a phase there."""

    lr: float
    arm: str
    level: int
    phase: int


@dataclass(frozen=True)
class Weighed:
    """The budgets at a spot over trials: ``trials[name][trial]``, copies averaged within one.

    Names are ``QUANTITIES``, ``test`` and ``validation`` (the judged measure of the packed file),
    and ``raw``, four bytes a parameter. ``moves`` are those that led to it.
    """

    spot: Spot
    density: float
    trials: Mapping[str, Mapping[int, float]]
    moves: str = ""

    @cached_property
    def values(self) -> dict[str, Interval]:
        """Means over trials with Student's 95 % intervals."""
        return {name: interval(list(own.values())) for name, own in self.trials.items() if own}

    def mean(self, name: str) -> float:
        """Average over trials, NaN where nothing is known."""
        return self.values[name].mean if name in self.values else math.nan


def weighed(records: Iterable[Record]) -> list[Weighed]:
    """Summarise the budgets in records, by rate, arm (as first seen), level and phase."""
    rows = [r for r in records if is_budget(r)]
    spots = grouped(rows, lambda r: Spot(r.lr, r.arm, r.level, r.phase))
    arms = list(dict.fromkeys(r.arm for r in rows))
    order = sorted(spots, key=lambda s: (s.lr, s.level > 0, arms.index(s.arm), s.level, s.phase))
    return [_weighed(spot, spots[spot]) for spot in order]


def _weighed(spot: Spot, rows: Sequence[Record]) -> Weighed:
    named = grouped(((_name(r), r) for r in rows), lambda pair: pair[0])
    trials = {
        name: {
            trial: mean([r.value for _, r in own])
            for trial, own in grouped(pairs, lambda pair: pair[1].trial).items()
        }
        for name, pairs in named.items()
    }
    if "params" in trials:
        trials["raw"] = {trial: RAW * count for trial, count in trials["params"].items()}
    return Weighed(spot, mean([r.density for r in rows]), trials, rows[0].move)


def _name(row: Record) -> str:
    name = row.metric.removeprefix(PREFIX)
    return name if name in QUANTITIES else row.split


def dense_of(rows: Iterable[Weighed], lr: float) -> Weighed | None:
    """Return the dense network at a learning rate, if it was weighed."""
    return next((w for w in rows if w.spot == Spot(lr, WINNER, 0, 0)), None)


def ratios(rows: Sequence[Weighed]) -> Iterator[float]:
    """Yield of each how many times smaller its file is than the dense network in float32.

    ``4 * params of the dense network / bytes``, NaN where that was not weighed.
    """
    for row in rows:
        dense = dense_of(rows, row.spot.lr)
        yield math.nan if dense is None else dense.mean("raw") / row.mean("bytes")
