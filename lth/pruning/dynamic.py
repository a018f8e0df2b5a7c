"""Dynamic sparse training: schedules that change a member's mask while it trains.

A schedule says before which updates the mask changes, and to what. What is newly kept starts at
zero with moments of zero; what is no longer kept becomes zero: that is the trainer's business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from lth.errors import LthError
from lth.pruning.rules import drop_lowest
from lth.spec.argument_types import number, one_of, whole
from lth.streams import stream_seed
from lth.types import Mask, Params


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
    """A mask schedule.

    One of whose changes the later ones need no gradient says so: ``by_gradient(step, steps)``.
    """

    seed: int

    @property
    def needs_gradient(self) -> bool:
        """Whether it needs ``MaskUpdate.gradient``: a pass through the dense network."""
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
    """Drop the smallest kept weights of each layer and grow as many elsewhere in it.

    Every ``every`` steps, up to the share ``until`` of the run of T steps: before update t the
    share ``fraction / 2 * (1 + cos(pi t / (until T)))`` of the kept weights, or always ``fraction``
    (``decay=constant``).
    """

    every: int = 100
    fraction: float = 0.3
    until: float = 0.75
    decay: str = "cosine"
    seed: int = 0
    name: ClassVar[str] = "drop and grow"
    needs_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        whole(f"{self.name}: every", self.every, 1, "a number of steps between changes,")
        number(f"{self.name}: fraction", self.fraction, "(0, 1)", "the share replaced at a time")
        number(f"{self.name}: until", self.until, "(0, 1]", "a share of the run")
        one_of(f"{self.name}: decay", self.decay, ("cosine", "constant"))

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


class rigl(DropAndGrow):
    """Drop the smallest weights, grow where the loss's gradient is greatest.

    Evci et al. 2020, arXiv 1911.11134, Section 3 and Algorithm 1; there the step of a change makes
    no update, here it does.
    """

    name = "rigl"
    needs_gradient = True


class sparse_evolution(DropAndGrow):
    """Drop the smallest weights, grow others at random: SET.

    Mocanu et al. 2018, arXiv 1707.04780, Section 3, who replace ``fraction=0.3`` at every epoch to
    the end (``decay=constant until=1.0``); the defaults are those under which Evci et al. 2020
    (arXiv 1911.11134, Section 4) compare it with RigL.
    """

    name = "set"


def cubic(begin: int, end: int, progress: float) -> int:
    """Return the weights to keep on the way from one count to another.

    ``end + (begin - end) (1 - progress) ** 3``: Zhu & Gupta 2017 (arXiv 1710.01878, Equation 1).
    """
    return end + round((begin - end) * (1 - progress) ** 3)


@dataclass(frozen=True)
class gradual:
    """Prune by magnitude during training, to ``final`` weights in each layer.

    ``kept(t) = final + (size - final) (1 - (t - begin) / (until - begin)) ** 3``, every ``every``
    steps between the shares ``begin`` and ``until`` of the run: Zhu & Gupta 2017, arXiv 1710.01878,
    Equation 1. ``seed`` settles which of equal weights go.
    """

    final: Mapping[str, int]
    every: int = 100
    begin: float = 0.0
    until: float = 0.5
    seed: int = 0
    needs_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        whole("gradual: every", self.every, 1, "a number of steps between changes,")
        if not 0 <= self.begin < self.until <= 1:
            raise LthError(
                f"gradual: begin={self.begin}, until={self.until}: shares of the run, begin < until"
            )

    def updates(self, steps: int) -> tuple[int, ...]:
        """From ``begin`` to ``until`` (shares of the run), the last one exactly there."""
        first, last = self._ends(steps)
        return (*range(first, last, self.every), last)

    def settled(self, steps: int) -> int:
        """After the last pruning: until then the network is denser than what it stands for."""
        return self._ends(steps)[1] + 1

    def __call__(self, look: MaskUpdate) -> Mask:
        """Drop the smallest weights of every layer down to the schedule's count."""
        after = {}
        for name, mask in look.mask.items():
            count = self.count(name, mask.numel(), look.step, look.steps)
            drop = max(0, int(mask.sum()) - count)
            ties = stream_seed("dynamics", self.seed, "ties")
            after |= drop_lowest({name: look.weights[name].abs()}, {name: mask}, drop, ties)
        return after

    def count(self, name: str, size: int, step: int, steps: int) -> int:
        """Return the weights to keep: ``final + (size - final) (1 - progress) ** 3``."""
        first, last = self._ends(steps)
        progress = 1.0 if step >= last else (step - first) / (last - first)
        return cubic(size, self.final[name], progress)

    def _ends(self, steps: int) -> tuple[int, int]:
        """Steps of the first and the last pruning; something is left to train after the last."""
        return round(self.begin * steps), max(0, min(round(self.until * steps), steps - 1))


@dataclass(frozen=True)
class grow_then_prune:
    """Grow connections where the loss's gradient is greatest, then prune them by magnitude.

    Each layer starts with ``start`` weights, has ``peak`` of them at the share ``turn`` of the run,
    and ``final`` from the share ``until`` on, every ``every`` steps:
    ``kept(t) = peak + (start - peak) (1 - t / turn) ** 3`` up to the turn, then
    ``kept(t) = final + (peak - final) (1 - (t - turn) / (until - turn)) ** 3``: Zhu & Gupta 2017
    (arXiv 1710.01878, Equation 1) in both directions. With ``regrow`` a share of what is kept is
    replaced at each pruning too, the smallest by those of the greatest gradient, along half a
    cosine: the zero-cost regeneration of GraNet (Liu et al. 2021, arXiv 2106.10404),
    which itself only shrinks. ``seed`` settles which of equal weights go.
    """

    start: Mapping[str, int]
    peak: Mapping[str, int]
    final: Mapping[str, int]
    every: int = 100
    turn: float = 0.25
    until: float = 0.75
    regrow: float = 0.0
    seed: int = 0
    needs_gradient: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole("grow_then_prune: every", self.every, 1, "a number of steps between changes,")
        number("grow_then_prune: regrow", self.regrow, "[0, 1)", "the share replaced at a pruning")
        if not 0 < self.turn < self.until <= 1:
            raise LthError(
                f"grow_then_prune: turn={self.turn}, until={self.until}: shares of the run, "
                "0 < turn < until"
            )

    def updates(self, steps: int) -> tuple[int, ...]:
        """Every ``every`` steps from the first on, exactly at the turn, the last at ``until``."""
        turn, last = self._ends(steps)
        return tuple(sorted({*range(self.every, last, self.every), turn, last}))

    def by_gradient(self, step: int, steps: int) -> bool:
        """Whether the change before ``step`` grows anything: else it needs no gradient."""
        return self.regrow > 0 or step <= self._ends(steps)[0]

    def settled(self, steps: int) -> int:
        """After the last pruning: until then the network is denser than what it stands for."""
        return self._ends(steps)[1] + 1

    def __call__(self, look: MaskUpdate) -> Mask:
        """Grow or prune every layer to the schedule's count; regenerate while it prunes."""
        after = {}
        for name, mask in look.mask.items():
            count, kept = self.count(name, mask.numel(), look.step, look.steps), int(mask.sum())
            away = self._away(mask, count, look)
            stays = self._dropped(name, mask, max(0, kept - count) + away, look)
            after[name] = self._grown(name, stays, count - int(stays.sum()), look)
        return after

    def count(self, name: str, size: int, step: int, steps: int) -> int:
        """Return the weights to keep of a layer from ``step`` on."""
        turn, last = self._ends(steps)
        if step >= last:
            return self.final[name]
        since, span = (step, turn) if step < turn else (step - turn, last - turn)
        begin, end = (self.start, self.peak) if step < turn else (self.peak, self.final)
        return cubic(begin[name], end[name], since / span)

    def _away(self, mask: Tensor, count: int, look: MaskUpdate) -> int:
        """Return how many weights are replaced beside what is pruned."""
        turn, last = self._ends(look.steps)
        if not self.regrow or look.step <= turn:
            return 0
        share = self.regrow / 2 * (1 + math.cos(math.pi * look.step / (last + 1)))
        return min(round(share * count), count, mask.numel() - count)

    def _dropped(self, name: str, mask: Tensor, drop: int, look: MaskUpdate) -> Tensor:
        ties = stream_seed("dynamics", self.seed, look.step, "ties")
        return drop_lowest({name: look.weights[name].abs()}, {name: mask}, drop, ties)[name]

    def _grown(self, name: str, stays: Tensor, more: int, look: MaskUpdate) -> Tensor:
        if not more:
            return stays
        if look.gradient is None:
            raise LthError("grow_then_prune: it grows by the gradient, and there is none")
        free, ties = {name: ~stays}, stream_seed("dynamics", self.seed, look.step, "growth")
        spare = int(free[name].sum()) - more
        grown = drop_lowest({name: look.gradient[name].abs()}, free, spare, ties)[name]
        return stays | grown

    def _ends(self, steps: int) -> tuple[int, int]:
        """Steps of the turn and of the last pruning; something is left to train after the last."""
        last = max(0, min(round(self.until * steps), steps - 1))
        return min(round(self.turn * steps), last), last
