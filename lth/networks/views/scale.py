"""A trained scale per output channel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lth.networks.views.channels import per_channel
from lth.types import Params


@dataclass(frozen=True)
class Scaled:
    """``w' = s_c w`` for channel c: an s of 1 everywhere is the identity."""

    start: float

    def own(self, name: str, weight: Tensor, mask: Tensor) -> Params:
        """Return the scales, shape [C, 1, ...]."""
        shape = per_channel(weight).shape[:1] + (1,) * (weight.ndim - 1)
        return {"scale": nn.Parameter(torch.full(shape, self.start).to(weight))}

    def __call__(
        self, name: str, weight: Tensor, mask: Tensor, own: Params, training: bool
    ) -> Tensor:
        """Multiply every channel by its scale."""
        return weight * own["scale"]


def scaled(start: float = 1.0) -> Scaled:
    """Train a scale for every output channel (dimension 0 of the weight) beside the weights."""
    return Scaled(float(start))
