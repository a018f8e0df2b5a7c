"""Dynamic sparse training: schedules that change a member's mask while it trains.

A schedule says before which updates the mask changes, and to what. What is newly kept starts at
zero with moments of zero; what is no longer kept becomes zero: that is the trainer's business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from lth.errors import LthError
from lth.pruning.rules import drop_lowest
from lth.spec.argument_types import is_whole
from lth.streams import stream_seed
from lth.types import Mask, Params

DECAYS = ("cosine", "constant")


@dataclass(frozen=True)
class MaskUpdate:
    """What a schedule sees before update ``step`` of ``steps``: the masked weights and their mask.

    ``gradient`` is that of the loss on the update's own batch by every weight, pruned ones too;
    it is there only for schedules that ask (``needs_gradient``).
    """

    step: int
    steps: int
    weights: Params
    mask: Mask
    generator: torch.Generator
    gradient: Params | None = None


class Dynamics(Protocol):
    """A mask schedule."""

    seed: int

    @property
    def needs_gradient(self) -> bool:
        """Whether ``Look.gradient`` must be there; it costs a pass through the dense network."""
        ...

    def updates(self, steps: int) -> tuple[int, ...]:
        """Steps of a run of ``steps`` before whose update the mask changes, ascending."""
        ...

    def settled(self, steps: int) -> int:
        """The step from which as many weights are kept as at the end: early stop starts here."""
        ...

    def __call__(self, look: MaskUpdate) -> Mask:
        """Return the next mask."""
        ...


@dataclass(frozen=True)
class DropAndGrow:
    """Drop the smallest kept weights of each layer and grow as many elsewhere in it."""

    every: int
    fraction: float
    until: float
    decay: str
    grow: str
    seed: int

    @property
    def needs_gradient(self) -> bool:
        """RigL grows by gradient, SET at random."""
        return self.grow == "gradient"

    def updates(self, steps: int) -> tuple[int, ...]:
        """Every ``every`` steps, up to the share ``until`` of the run."""
        return tuple(range(self.every, round(self.until * steps), self.every))

    def settled(self, steps: int) -> int:
        """From the start: every layer keeps its count."""
        return 0

    def __call__(self, look: MaskUpdate) -> Mask:
        """Replace the share of the schedule in every layer."""
        share = self.share(look.step, look.steps)
        return {n: self._layer(n, m, look, share) for n, m in look.mask.items()}

    def share(self, step: int, steps: int) -> float:
        """Return the share of each layer's kept weights that is replaced before ``step``."""
        if self.decay == "constant":
            return self.fraction
        return self.fraction / 2 * (1 + math.cos(math.pi * step / (self.until * steps)))

    def _layer(self, name: str, mask: Tensor, look: MaskUpdate, share: float) -> Tensor:
        kept = int(mask.sum())
        count = min(round(share * kept), mask.numel() - kept)
        size = {name: look.weights[name].abs()}
        ties = stream_seed("dynamics", self.seed, look.step, "ties")
        stays = drop_lowest(size, {name: mask}, count, ties)[name]
        if look.gradient is None:
            merit = torch.rand(mask.shape, generator=look.generator)
        else:
            merit = look.gradient[name].abs()
        # what has just been dropped may grow again (Evci et al. 2020, Algorithm 1)
        free = {name: ~stays}
        grown = drop_lowest({name: merit}, free, int(free[name].sum()) - count, ties + 1)[name]
        return stays | grown


@dataclass(frozen=True)
class Gradual:
    """Prune by magnitude on the way, from the full mask to the counts in ``final``."""

    final: Mapping[str, int]
    every: int
    begin: float
    until: float
    seed: int = 0

    @property
    def needs_gradient(self) -> bool:
        """Magnitude is enough."""
        return False

    def updates(self, steps: int) -> tuple[int, ...]:
        """From ``begin`` to ``until`` (shares of the run), the last one exactly there."""
        first, last = self._ends(steps)
        return (*range(first, last, self.every), last)

    def settled(self, steps: int) -> int:
        """After the last pruning: until then the network is denser than what it stands for."""
        return self._ends(steps)[1] + 1

    def __call__(self, look: MaskUpdate) -> Mask:
        """Drop the smallest weights of every layer down to the schedule's count."""
        found = {}
        for name, mask in look.mask.items():
            count = self.count(name, mask.numel(), look.step, look.steps)
            drop = max(0, int(mask.sum()) - count)
            ties = stream_seed("dynamics", self.seed, "ties")
            found |= drop_lowest({name: look.weights[name].abs()}, {name: mask}, drop, ties)
        return found

    def count(self, name: str, size: int, step: int, steps: int) -> int:
        """Return the weights to keep: ``final + (size - final) (1 - progress) ** 3``."""
        first, last = self._ends(steps)
        progress = 1.0 if step >= last else (step - first) / (last - first)
        return self.final[name] + round((size - self.final[name]) * (1 - progress) ** 3)

    def _ends(self, steps: int) -> tuple[int, int]:
        """Steps of the first and the last pruning; something is left to train after the last."""
        return round(self.begin * steps), max(0, min(round(self.until * steps), steps - 1))


def rigl(
    every: int = 100, fraction: float = 0.3, until: float = 0.75, decay: str = "cosine",
    seed: int = 0,
) -> DropAndGrow:  # fmt: skip
    """Drop the smallest weights, grow where the loss's gradient is greatest.

    Before update t, in each layer, ``fraction / 2 * (1 + cos(pi t / (until T)))`` of the kept
    weights are replaced. Evci et al. 2020, arXiv 1911.11134, Section 3 and Algorithm 1; there the
    step of a change makes no update, here it does. ``decay=constant`` keeps the share.
    """
    return _drop_and_grow("gradient", every, fraction, until, decay, seed)


def sparse_evolution(
    every: int = 100, fraction: float = 0.3, until: float = 0.75, decay: str = "cosine",
    seed: int = 0,
) -> DropAndGrow:  # fmt: skip
    """Drop the smallest weights, grow others at random: SET.

    Mocanu et al. 2018, arXiv 1707.04780, Section 3, who replace ``fraction=0.3`` at every epoch to
    the end (``decay=constant until=1.0``); the defaults are those under which Evci et al. 2020
    (arXiv 1911.11134, Section 4) compare it with RigL.
    """
    return _drop_and_grow("random", every, fraction, until, decay, seed)


def gradual(
    final: Mapping[str, int], every: int = 100, begin: float = 0.0, until: float = 0.5,
    seed: int = 0,
) -> Gradual:  # fmt: skip
    """Prune by magnitude during training, to ``final`` weights in each layer.

    ``kept(t) = final + (size - final) (1 - (t - begin) / (until - begin)) ** 3``, every ``every``
    steps between the shares ``begin`` and ``until`` of the run: Zhu & Gupta 2017, arXiv 1710.01878,
    Equation 1. ``seed`` settles which of equal weights go.
    """
    _check_every("gradual", every)
    if not 0 <= begin < until <= 1:
        raise LthError(f"gradual: begin={begin}, until={until}: shares of the run, begin < until")
    return Gradual(dict(final), every, begin, until, seed)


def _drop_and_grow(
    grow: str, every: int, fraction: float, until: float, decay: str, seed: int
) -> DropAndGrow:
    name = "rigl" if grow == "gradient" else "set"
    _check_every(name, every)
    if not 0 < fraction < 1:
        raise LthError(f"{name}: fraction={fraction}: the share replaced at a time, in (0, 1)")
    if not 0 < until <= 1:
        raise LthError(f"{name}: until={until}: a share of the run, in (0, 1]")
    if decay not in DECAYS:
        raise LthError(f"{name}: decay={decay}: it is one of {', '.join(DECAYS)}")
    return DropAndGrow(every, fraction, until, decay, grow, seed)


def _check_every(name: str, every: Any) -> None:
    if not is_whole(every, 1):
        raise LthError(f"{name}: every={every!r}: a number of steps between changes, from 1")
