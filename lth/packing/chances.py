"""Chances from what lies around: logistic models with whole weights that the file brings along.

``P(1) = 1 / (1 + exp(-sum w x))``. Whoever writes fits the weights, whoever reads needs whole
numbers alone: weights in 1/32, sums in 1/256, and tables whose entries lie far enough from the
middle between two whole numbers to come out the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lth.packing.adaptive import Whole
from lth.packing.coder import ONE, Coder

UNIT = 256
"""What stands for 1 in a feature, and in a sum."""

WEIGHT = 32
"""What stands for a weight of 1."""

FARTHEST = 11 * UNIT
"""Sums beyond it are as certain as it."""

FITTED = 1 << 17
"""Examples that weights are fitted to, at most."""

NEWTON = 12
"""Steps of the fit."""

FIRST = 20
"""Bits of a number that its logarithm looks at."""

SHIFTS = np.rint(UNIT * np.log(2) * (np.arange(64) - FIRST))
"""What their place adds to it."""

_SUMS = np.arange(-FARTHEST, FARTHEST + 1)
SQUASHED = np.clip(np.rint(ONE / (1 + np.exp(-_SUMS / UNIT))), 1, ONE - 1).astype(np.int64)


def chances(sums: np.ndarray) -> np.ndarray:
    """Return the chances, of ``2^16``, of weighted sums ``sum w x`` in whole numbers."""
    return SQUASHED[np.clip(sums // WEIGHT, -FARTHEST, FARTHEST) + FARTHEST]


def log_odds(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return ``log(part / (whole - part))`` in whole 1/256, for whole ``0 < part < whole``."""
    return _log(part) - _log(whole - part)


def _log(values: np.ndarray) -> np.ndarray:
    """Return ``log(n)`` in whole 1/256, of a number's first 20 bits and of where they lie."""
    share, exponent = np.frexp(values.astype(np.float64))
    first = np.floor(share * (1 << FIRST))
    return (np.rint(UNIT * np.log(first)) + SHIFTS[exponent]).astype(np.int64)


def fitted(features: Sequence[np.ndarray], bits: np.ndarray) -> tuple[list[int], float]:
    """Return whole weights of such features ``[n]`` for such bits, and what all bits then take."""
    step = -(-len(bits) // FITTED)
    x = np.stack([f[::step] / UNIT for f in features], axis=1)
    y = bits[::step].astype(np.float64)
    weights, ridge = np.zeros(x.shape[1]), 0.05
    for _ in range(NEWTON):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (p - y) + ridge * weights
        bend = (x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(weights))
        move = np.linalg.solve(bend, slope)
        weights = np.clip(weights - np.clip(move, -2, 2), -30, 30)
        if float(np.abs(move).max()) < 1e-3:
            break
    whole = np.rint(weights * WEIGHT).astype(np.int64).tolist()
    sums = sum(w * f for w, f in zip(whole, features, strict=True))
    chance = chances(np.asarray(sums))
    taken = -np.log2(np.where(bits, chance, ONE - chance) / ONE).sum()
    return whole, float(taken) + 8 * len(whole)


def code_weights(coder: Coder, number: int, given: Sequence[int] | None = None) -> list[int]:
    """Code whole weights."""
    model = Whole()
    return [model.code(coder, w) for w in ([None] * number if given is None else given)]


def lags(period: int) -> list[int]:
    """Return how far back neighbours lie in rows that are pictures ``period`` wide, 0: no pictures.

    Two before it, and five in each of the two lines above.
    """
    above = [line * period + shift for line in (1, 2) for shift in range(-2, 3)]
    return sorted({n for n in (1, 2, *(above if period else ())) if n > 0})


WIDEST = 256
"""A picture's width, at most."""


def period_of(grid: np.ndarray) -> int:
    """Return the lag, from 3 on, at which numbers of a grid are most like themselves; else 0."""
    flat = grid.reshape(-1).astype(np.float32)
    most = min(WIDEST, grid.shape[1] - 1)
    if most < 3:
        return 0
    alike = [float(flat[n:] @ flat[:-n]) for n in range(3, most + 1)]
    return 3 + int(np.argmax(alike))


def back(flat: np.ndarray, lag: int) -> np.ndarray:
    """Return what stands ``lag`` places before each, 0 before the first."""
    found = np.zeros_like(flat)
    if lag < len(flat):
        found[lag:] = flat[:-lag]
    return found
