"""Losses: factories of ``(logits [B, K], targets [B]) -> scalar``."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lth.errors import LthError
from lth.types import Loss


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Mean cross-entropy, optionally against smoothed labels."""
    if not 0 <= label_smoothing <= 1:
        raise LthError(f"loss.label_smoothing={label_smoothing}: it lies in [0, 1]")

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)

    return loss
