"""Fake quantization: weights on a uniform grid, with the gradient of what they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lth.errors import LthError
from lth.networks.views.channels import greatest
from lth.networks.views.chosen import (
    KINDS,
    PerLayer,
    check_chosen,
    check_numbers,
    chosen,
    number_for,
)
from lth.spec.argument_types import is_whole
from lth.types import Params, Symbols

STEPS = ("greatest", "trained", "fitted")
STARTS = ("greatest", "fitted")
PER = ("channel", "layer")

WHOLE = 32
"""Bits of a float32 weight, which is left as it is."""

TRIED = 48
"""Steps that are tried for one that fits, down to a twentieth of the greatest."""


@dataclass(frozen=True)
class Rounded:
    """``w' = d_c round(clamp(w / d_c, -Q, Q))`` for channel c, with ``Q = 2^(bits - 1) - 1``.

    The gradient passes straight through the rounding. 0 is on the grid, so pruned weights stay 0.
    """

    bits: PerLayer
    step: str
    layers: Sequence[str] | None
    kinds: Sequence[str]
    start: str
    per: str = "channel"

    def levels(self, name: str) -> int:
        """Return Q, how many points the grid of a layer has on either side of 0."""
        bits = number_for(name, self.bits)
        assert bits is not None
        return 2 ** (bits - 1) - 1

    def own(self, name: str, weight: Tensor, mask: Tensor) -> Params | None:
        """Return the steps, ``[C, 1, ...]`` or ``[1, 1, ...]``, unless each pass finds them."""
        bits = number_for(name, self.bits)
        if bits in (None, WHOLE) or not chosen(name, weight, self.layers, self.kinds):
            return None
        if self.step == "greatest":
            return {}
        fits = "fitted" in (self.step, self.start)
        step = (fitted if fits else _greatest)(weight, self.levels(name), self.per)
        return {"step": nn.Parameter(step) if self.step == "trained" else step}

    def __call__(
        self, name: str, weight: Tensor, mask: Tensor, own: Params, training: bool
    ) -> Tensor:
        """Round."""
        step, levels = self._step(name, weight, own), self.levels(name)
        scaled = weight / step
        if own:  # a step of the greatest weight clips nothing, nor, by a rounding, its gradient
            scaled = scaled.clamp(-levels, levels)
        return step * (scaled.round().detach() + (scaled - scaled.detach()))  # the bracket is 0

    def symbols(self, name: str, weight: Tensor, mask: Tensor, own: Params) -> Symbols:
        """Return the whole numbers, and the steps that they count."""
        step, levels = self._step(name, weight, own).detach(), self.levels(name)
        ids = (weight / step).clamp(-levels, levels).round().long()
        return Symbols(ids * mask.long(), None, step)

    def _step(self, name: str, weight: Tensor, own: Params) -> Tensor:
        step = own["step"].abs() if own else self._widest(name, weight)
        return step.clamp(min=torch.finfo(weight.dtype).tiny)

    def _widest(self, name: str, weight: Tensor) -> Tensor:
        return _greatest(weight.detach(), self.levels(name), self.per)


def _greatest(weight: Tensor, levels: int, per: str) -> Tensor:
    found = greatest(weight) / levels
    return found if per == "channel" else found.amax().reshape([1] * weight.ndim)


def fitted(weight: Tensor, levels: int, per: str = "channel") -> Tensor:
    """Return for every channel the step that leaves the least squared error, ``[C, 1, ...]``.

    Or, ``per`` layer, one for all channels.

    ``argmin_d sum (w - d round(clamp(w / d, -Q, Q)))^2``: the best of a geometric row of steps,
    after which whole numbers and step are fitted to each other in turns.
    """
    first = int(weight.ndim > 1 and per == "channel")
    axes = tuple(range(first, weight.ndim))
    tiny = torch.finfo(weight.dtype).tiny
    widest = _greatest(weight, levels, per)
    best = widest.clamp(min=tiny)
    least = _error(weight, best, levels, axes)
    for fraction in torch.logspace(0, -1.3, TRIED, dtype=torch.float64)[1:].tolist():
        best, least = _better(weight, best, least, fraction * widest, levels, axes)
    for _ in range(4):
        whole = (weight / best).clamp(-levels, levels).round()
        squares = (whole**2).sum(axes, keepdim=True)
        step = (whole * weight).sum(axes, keepdim=True) / squares.clamp(min=1)
        best, least = _better(weight, best, least, step.reshape(best.shape), levels, axes)
    return best


def _better(
    weight: Tensor, best: Tensor, least: Tensor, step: Tensor, levels: int, axes: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    step = step.clamp(min=torch.finfo(weight.dtype).tiny)
    error = _error(weight, step, levels, axes)
    better = error < least
    return torch.where(better, step, best), torch.where(better, error, least)


def _error(weight: Tensor, step: Tensor, levels: int, axes: tuple[int, ...]) -> Tensor:
    rest = weight - step * (weight / step).clamp(-levels, levels).round()
    return (rest**2).sum(axes, keepdim=True).reshape(step.shape)


def rounded(
    bits: int | Mapping[str, int] = 8,
    step: str = "greatest",
    layers: Sequence[str] | None = None,
    kinds: Sequence[str] = KINDS,
    start: str = "greatest",
    per: str = "channel",
) -> Rounded:
    """See weights rounded to ``bits`` bits per output channel, or ``per`` layer, and train in full.

    ``step=greatest`` takes the grid's step from the channel's greatest weight in every pass
    (Jacob et al. 2018, arXiv 1712.05877, Section 3); ``fitted`` keeps the step of the least squared
    error, at first, and clips; ``trained`` trains it from its ``start`` on, by the gradient of
    Esser et al. 2020 (arXiv 1902.08153, Section 2.1) without their rescaling of it. ``bits=32``
    leaves the weights as they are. ``bits`` may be by name or pattern of the weight, ``layers`` and
    ``kinds`` choose: what none fits is left alone.
    """
    check_numbers(
        "rounded: bits", bits, lambda b: is_whole(b, 2) and (b <= 16 or b == WHOLE),
        "a whole number in 2..16, or 32 for none",
    )  # fmt: skip
    check_step("rounded", step, start)
    if per not in PER:
        raise LthError(f"rounded: per={per}: it is one of {', '.join(PER)}")
    layers, kinds = check_chosen("rounded", layers, kinds)
    return Rounded(bits, step, layers, kinds, start, per)


def check_step(what: str, step: Any, start: Any) -> None:
    """Refuse a way to a step that there is not."""
    if step not in STEPS:
        raise LthError(f"{what}: step={step}: it is one of {', '.join(STEPS)}")
    if start not in STARTS:
        raise LthError(f"{what}: start={start}: it is one of {', '.join(STARTS)}")
