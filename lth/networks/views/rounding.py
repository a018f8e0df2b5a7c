"""Fake quantization: weights on a uniform grid, with the gradient of what they were."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lth.errors import LthError
from lth.networks.views.channels import greatest
from lth.spec.argument_types import is_whole
from lth.types import Params

STEPS = ("greatest", "trained")

WHOLE = 32
"""Bits of a float32 weight, which is left as it is."""


@dataclass(frozen=True)
class Rounded:
    """``w' = d_c round(clamp(w / d_c, -Q, Q))`` for channel c, with ``Q = 2^(bits - 1) - 1``.

    The gradient passes straight through the rounding. 0 is on the grid, so pruned weights stay 0.
    """

    bits: int
    step: str

    @property
    def levels(self) -> int:
        """Q, the grid's points on either side of 0."""
        return 2 ** (self.bits - 1) - 1

    def own(self, name: str, weight: Tensor, mask: Tensor) -> Params | None:
        """Return the steps where they are trained, ``d_c = max |w| / Q`` to start with."""
        if self.bits == WHOLE:
            return None
        return {"step": nn.Parameter(self._step(weight))} if self.step == "trained" else {}

    def __call__(
        self, name: str, weight: Tensor, mask: Tensor, own: Params, training: bool
    ) -> Tensor:
        """Round."""
        step = own["step"].abs() if own else self._step(weight.detach())
        step = step.clamp(min=torch.finfo(weight.dtype).tiny)
        scaled = (weight / step).clamp(-self.levels, self.levels)
        return step * (scaled.round().detach() + (scaled - scaled.detach()))  # the bracket is 0

    def _step(self, weight: Tensor) -> Tensor:
        return greatest(weight) / self.levels


def rounded(bits: int = 8, step: str = "greatest") -> Rounded:
    """See weights rounded to ``bits`` bits per output channel, while they train in full.

    ``step=greatest`` takes the grid's step from the channel's greatest weight in every pass
    (Jacob et al. 2018, arXiv 1712.05877, Section 3); ``trained`` trains it, by the gradient of
    Esser et al. 2020 (arXiv 1902.08153, Section 2.1) without their rescaling of it. ``bits=32``
    leaves the weights as they are.
    """
    if not is_whole(bits, 2) or (bits > 16 and bits != WHOLE):
        raise LthError(f"rounded: bits={bits!r}: a whole number in 2..16, or 32 for none")
    if step not in STEPS:
        raise LthError(f"rounded: step={step}: it is one of {', '.join(STEPS)}")
    return Rounded(bits, step)
