"""The nouns of the framework and the shapes of its functions, in the papers' words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

Params = dict[str, Tensor]
"""Values of one network by parameter (or buffer) name."""

Mask = dict[str, Tensor]
"""Boolean tensors by prunable weight name; the only authority on what is pruned."""


WINNER = "winning_ticket"
"""The arm that every other one is compared with; level 0 is its dense network."""


class PruningChain(NamedTuple):
    """The levels of one trial at one learning rate: each prunes by its own trained ticket."""

    trial: int
    lr: float


class MemberId(NamedTuple):
    """Which member of a study is meant."""

    trial: int
    lr: float
    arm: str
    level: int
    copy: int


class Score(Protocol):
    """How much each weight matters: ``(trained params, context) -> scores``, higher is kept.

    A score receives everything a criterion of the literature needs and drops what it does not use.
    """

    def __call__(
        self, final: Params, *, initial: Params, mask: Mask, generator: torch.Generator, **_: Any
    ) -> Params:
        """Score every weight named in ``mask``; shapes as the weights."""
        ...


class View(Protocol):
    """What the forward pass sees of a weight: ``(w, m) -> w'`` with ``view(0, 0) = 0``.

    The mask is the first view: ``w' = m * w``. The mask comes in the weight's floating dtype.
    """

    def __call__(self, weight: Tensor, mask: Tensor, /) -> Tensor:
        """Return the weight the forward pass uses; differentiable, same shape."""
        ...


class Loss(Protocol):
    """A differentiable scalar from ``logits [B, K]`` and integer ``targets [B]``."""

    def __call__(self, logits: Tensor, targets: Tensor, /) -> Tensor:
        """Return the mean loss over the batch."""
        ...


class Schedule(Protocol):
    """The factor on the learning rate of update ``step`` (0-based, absolute) of ``steps``."""

    def __call__(self, step: int, steps: int, /) -> float:
        """Return the factor, usually in [0, 1]."""
        ...


class Augment(Protocol):
    """A random change of a batch, split into its draws and a deterministic tensor function."""

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw the random numbers of ``batch`` examples: integers, shape [B, ...]."""
        ...

    def __call__(self, inputs: Tensor, draws: Tensor, /) -> Tensor:
        """Apply them: ``[B, C, H, W] -> [B, C, H, W]``, dtype unchanged."""
        ...


Config = Mapping[str, Any]
"""Plain configuration values; the library never sees a DictConfig."""
