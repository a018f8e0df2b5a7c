"""Scores from the weights alone: before training, after it, and the way between.

The criteria of Zhou et al. 2019 (arXiv 1905.01067, Section 2, and the code they published);
``wi``: initial, ``wf``: final.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lth.types import Mask, Params, Score


def magnitude() -> Score:
    """Score by ``|wf|`` after training (Frankle & Carbin 2019, arXiv 1803.03635, Section 1)."""
    return _of(lambda wi, wf: wf.abs())


def random() -> Score:
    """Score uniformly at random: the baseline that every criterion must beat."""

    def score(final: Params, *, mask: Mask, generator: torch.Generator, **_: Any) -> Params:
        return {n: torch.rand(mask[n].shape, generator=generator) for n in mask}

    return score


def small_final() -> Score:
    """``-|wf|``."""
    return _of(lambda wi, wf: -wf.abs())


def large_init() -> Score:
    """``|wi|``: magnitude before any training."""
    return _of(lambda wi, wf: wi.abs())


def small_init() -> Score:
    """``-|wi|``."""
    return _of(lambda wi, wf: -wi.abs())


def large_init_large_final(alpha: float = 1.0) -> Score:
    """``min(alpha |wf|, |wi|)``."""
    return _of(lambda wi, wf: torch.minimum(alpha * wf.abs(), wi.abs()))


def small_init_small_final(alpha: float = 1.0) -> Score:
    """``-max(alpha |wf|, |wi|)``."""
    return _of(lambda wi, wf: -torch.maximum(alpha * wf.abs(), wi.abs()))


def magnitude_increase() -> Score:
    """``|wf| - |wi|``."""
    return _of(lambda wi, wf: wf.abs() - wi.abs())


def movement() -> Score:
    """``|wf - wi|``."""
    return _of(lambda wi, wf: (wf - wi).abs())


def large_final_same_sign() -> Score:
    """``|wf|`` of weights that kept their sign, 0 of those that changed it."""
    return _of(lambda wi, wf: _only(wi.sign() == wf.sign(), wf.abs()))


def large_final_diff_sign() -> Score:
    """``|wf|`` of weights that changed their sign, 0 of those that kept it."""
    return _of(lambda wi, wf: _only(wi.sign() != wf.sign(), wf.abs()))


def magnitude_increase_same_sign() -> Score:
    """``|wf| - |wi|`` of weights that kept their sign, 0 of those that changed it."""
    return _of(lambda wi, wf: _only(wi.sign() == wf.sign(), wf.abs() - wi.abs()))


def magnitude_increase_diff_sign() -> Score:
    """``|wf| - |wi|`` of weights that changed their sign, 0 of those that kept it."""
    return _of(lambda wi, wf: _only(wi.sign() != wf.sign(), wf.abs() - wi.abs()))


def inverted(score: Score) -> Score:
    """Turn another score round (Frankle et al. 2021, arXiv 2009.08576, Section 5: inversion)."""

    def inverse(final: Params, **context: Any) -> Params:
        return {n: -s for n, s in score(final, **context).items()}

    return inverse


def _of(criterion: Callable[[Tensor, Tensor], Tensor]) -> Score:
    """Make a score of a function ``(wi, wf) -> scores`` of one layer."""

    def score(final: Params, *, initial: Params, mask: Mask, **_: Any) -> Params:
        return {n: criterion(initial[n], final[n]) for n in mask}

    return score


def _only(chosen: Tensor, score: Tensor) -> Tensor:
    """Score the others 0, as the authors' code does: above a chosen weight that has shrunk."""
    return torch.where(chosen, score, torch.zeros_like(score))
