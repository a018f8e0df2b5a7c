"""Lazy modules, made whole."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def materialised(*, of: nn.Module, input_shape: Sequence[int]) -> nn.Module:
    """Run an example of zeros through a model with lazy modules: they learn their sizes from it."""
    with torch.no_grad():
        try:
            of.eval()(torch.zeros(1, *input_shape))
        except Exception:
            of(torch.zeros(1, *input_shape, dtype=torch.long))  # tokens
    return of.train()
