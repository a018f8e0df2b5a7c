"""Gates: a mask that is trained, over weights that are not. What comes out is a supermask.

A gate is a view of a weight, ``w' = w * gate(s)``, whose scores s are what the optimizer moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, sqrt
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from lth.errors import LthError
from lth.spec.argument_types import is_whole
from lth.streams import stream
from lth.types import Params, View


class Gate(Protocol):
    """Turns scores into a mask, differentiably."""

    def start(self, name: str, weight: Tensor) -> Tensor:
        """Return the scores that training of the layer ``name`` starts from; shape as weight."""
        ...

    def __call__(self, name: str, scores: Tensor, training: bool) -> Tensor:
        """Return what the weight is multiplied by; outside training that of ``mask``."""
        ...

    def mask(self, name: str, scores: Tensor) -> Tensor:
        """Return the mask that the scores stand for: booleans."""
        ...


@dataclass(frozen=True)
class Bernoulli:
    """Keep a weight with probability ``sigmoid(s)`` in training, if that is >= 1/2 outside.

    With ``samples`` the measures are averages over so many draws (lth/train/engine.py).
    """

    keep: float
    rescale: bool
    seed: int
    samples: int = 0
    through: bool = True
    draws = True

    def start(self, name: str, weight: Tensor) -> Tensor:
        """Return the score of probability ``keep`` everywhere."""
        return torch.full_like(weight, log(self.keep / (1 - self.keep)))

    def __call__(self, name: str, scores: Tensor, training: bool) -> Tensor:
        """Draw in training; the gradient is that of the probability (straight through)."""
        if not training:
            return self._scaled(self.mask(name, scores).to(scores))
        share = torch.sigmoid(scores)
        drawn = torch.bernoulli(share.detach())
        return self._scaled(drawn + (share - share.detach()))  # the bracket is exactly 0

    def mask(self, name: str, scores: Tensor) -> Tensor:
        """Return the likelier of kept and pruned."""
        return scores.detach() >= 0

    def _scaled(self, gate: Tensor) -> Tensor:
        """Multiply by ``weights / weights kept``: dynamic weight rescaling."""
        if not self.rescale:
            return gate
        kept = gate.sum() if self.through else gate.detach().sum()
        return gate * (gate.numel() / kept.clamp(min=1.0))


@dataclass(frozen=True)
class EdgePopup:
    """Keep the ``kept[layer]`` weights of greatest ``|s|``."""

    kept: Mapping[str, int]
    seed: int
    draws = False

    def start(self, name: str, weight: Tensor) -> Tensor:
        """Draw from ``U(-1, 1) / sqrt(fan in)``."""
        fan_in = weight[0].numel()
        drawn = torch.rand(weight.shape, generator=stream("gate", self.seed, name))
        return ((2 * drawn - 1) / sqrt(fan_in)).to(weight)

    def __call__(self, name: str, scores: Tensor, training: bool) -> Tensor:
        """Return the mask; its gradient is that of ``|s|`` (straight through)."""
        size = scores.abs()
        return self.mask(name, scores).to(scores) + (size - size.detach())

    def mask(self, name: str, scores: Tensor) -> Tensor:
        """Return the greatest, exactly so many."""
        size = scores.detach().abs().reshape(-1)
        top = size.topk(self.kept[name]).indices  # in every step: no sort of all of them
        return torch.zeros_like(size).scatter(0, top, 1.0).bool().reshape(scores.shape)


@dataclass(frozen=True)
class Gated:
    """The view of a gate, ``w' = w * gate(s)``: it owns the scores, and holds every weight."""

    gate: Gate
    holds = True

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers; a gate that does not say so may."""
        return getattr(self.gate, "draws", True)

    @property
    def samples(self) -> int:
        """How many drawn networks an evaluation averages, 0 for none."""
        return getattr(self.gate, "samples", 0)

    def own(self, name: str, weight: Tensor, mask: Tensor) -> Params:
        """Return the scores."""
        return {"scores": nn.Parameter(self.gate.start(name, weight))}

    def __call__(
        self, name: str, weight: Tensor, mask: Tensor, own: Params, training: bool
    ) -> Tensor:
        """Multiply by the gate."""
        return weight * self.gate(name, own["scores"], training)

    def mask(self, name: str, own: Params) -> Tensor:
        """Return the mask that the scores stand for."""
        return self.gate.mask(name, own["scores"])


def as_view(made: Any) -> View:
    """Return the view that a factory gave, or that of the gate it gave."""
    if callable(getattr(made, "own", None)) and callable(made):
        return cast(View, made)
    if all(callable(getattr(made, n, None)) for n in ("start", "mask", "__call__")):
        return Gated(made)
    raise LthError(
        f"views: a {type(made).__name__} is no view: it owns tensors, own(name, weight, mask), and "
        "is called with (name, weight, mask, own, training)"
    )


def bernoulli(
    keep: float = 0.5, rescale: bool = True, seed: int = 0, samples: int = 0, through: bool = True
) -> Bernoulli:
    """Train the probability of each weight to be kept, starting from ``keep``.

    Zhou et al. 2019, arXiv 1905.01067, Section 5; ``rescale`` is their dynamic weight rescaling,
    whose factor has a gradient too, as in their code, unless ``through`` is false. They report the
    mean of 10 drawn networks, ``samples=10``. The default 0 measures the one network of the weights
    likelier kept than not: it is the network whose mask is stored, counted and exported.
    """
    if not 0 < keep < 1:
        raise LthError(f"supermask: keep={keep}: a probability to start from, in (0, 1)")
    if not is_whole(samples, 0):
        raise LthError(f"supermask: samples={samples!r}: networks drawn to measure, 0 for none")
    return Bernoulli(keep, rescale, seed, samples, through)


def edge_popup(kept: Mapping[str, int], seed: int = 0) -> EdgePopup:
    """Train a score for each weight and keep the greatest (Ramanujan et al. 2020, 1911.13299)."""
    return EdgePopup(dict(kept), seed)
