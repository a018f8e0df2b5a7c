"""The classifier of an exit, and the stages between exits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from lth.models.init import initialise


class Stage(NamedTuple):
    """From one exit to the next: what is run of the network, and the classifier behind it.

    ``advance`` maps what flows before to what flows behind (first the inputs), each tensor with a
    row for an example; ``classify`` maps that to logits ``[B, K]``. A module of several exits that
    can be left early offers ``stages()``, a list of these, and may name them: ``exit_names``.
    """

    advance: Callable[[Any], Any]
    classify: Callable[[Any], Tensor]


class Head(nn.Module):
    """A classifier: maps averaged to ``pool`` by ``pool``, a hidden layer, a linear one.

    It computes in the dtype of the ``features`` and answers in that of the network's ``outputs``.
    """

    def __init__(
        self, features: Tensor, outputs: Tensor, pool: int | None, hidden: int | None
    ) -> None:
        super().__init__()
        self.pool, classes = pool, outputs.shape[1]
        self.cast = outputs.dtype if features.dtype != outputs.dtype else None
        size = self._flat(features).shape[1]
        self.hidden = None if hidden is None else nn.Linear(size, hidden)
        self.output = nn.Linear(hidden or size, classes)
        initialise(self, "glorot_normal")
        if features.is_floating_point():
            self.to(features.dtype)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` or ``[B, F]`` to logits ``[B, K]``."""
        flat = self._flat(features)
        logits = self.output(flat if self.hidden is None else self.hidden(flat).relu())
        return logits if self.cast is None else logits.to(self.cast)

    def _flat(self, features: Tensor) -> Tensor:
        if features.ndim == 4 and self.pool is not None:
            height, width = (min(self.pool, side) for side in features.shape[2:])
            features = functional.adaptive_avg_pool2d(features, (height, width))
        return features.flatten(1)
