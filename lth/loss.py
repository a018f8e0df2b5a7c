"""Losses: factories of ``(logits [B, K], targets [B]) -> scalar``."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lth.types import Loss


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Mean cross-entropy, optionally against smoothed labels."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)

    return loss
