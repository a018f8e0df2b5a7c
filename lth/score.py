"""Scores: how much each weight matters, apart from how many are kept.

Each score is a factory with named arguments; what it returns follows ``lth.types.Score``.
"""

from __future__ import annotations

from typing import Any

import torch

from lth.types import Mask, Params, Score


def magnitude() -> Score:
    """Score by ``|w|`` after training (Frankle & Carbin 2019, arXiv 1803.03635, Section 1)."""

    def score(final: Params, *, mask: Mask, **_: Any) -> Params:
        return {name: final[name].abs() for name in mask}

    return score


def random() -> Score:
    """Score uniformly at random: the baseline that every criterion must beat."""

    def score(final: Params, *, mask: Mask, generator: torch.Generator, **_: Any) -> Params:
        return {n: torch.rand(mask[n].shape, generator=generator) for n in mask}

    return score
