"""Positions bit by bit, from neighbours: units look at places that lie together in a picture.

A bit's chance comes from the bits around it in its row taken as a picture, from how full its column
and those next to it are in the rows above, and from how full its row is so far.
"""

from __future__ import annotations

import numpy as np

from lth.files import demand
from lth.packing.adaptive import choice, count
from lth.packing.chances import (
    FARTHEST,
    SQUASHED,
    UNIT,
    WEIGHT,
    WIDEST,
    back,
    chances,
    code_weights,
    fitted,
    lags,
    log_odds,
    period_of,
)
from lth.packing.cheapest import fits, needs
from lth.packing.coder import Coder, Recorder

LARGEST = 1 << 20
"""Bits of a tensor that is coded so, at most: each takes a microsecond to read."""

BLOCK = 32
"""Places of a row that are read with one look at how full it is."""

PRIOR_COLUMN, PRIOR_ROW = 16, 32
"""Places of the mean density that a column and a row are taken to have had before."""

Grid = np.ndarray
"""Booleans, ``[rows, columns]``."""


class Looks:
    """What a bit's chance is made of, at one of four depths, in pictures of one width."""

    def __init__(self, shape: tuple[int, int], kept: int, depth: int, period: int) -> None:
        self.rows, self.columns = shape
        self.kept, self.size = kept, shape[0] * shape[1]
        self.full, self.lags = depth > 0, lags(period) if depth > 1 else []
        self.beside = [n for n in (1, period) if n] if depth > 1 and period else []
        self.block = max(period - 2, 1) if period >= 18 else BLOCK

    @property
    def number(self) -> int:
        """How many weights there are."""
        return 1 + 2 * self.full + bool(self.beside) + len(self.lags)

    def of_columns(self, above: np.ndarray, row: np.ndarray | int) -> list[np.ndarray]:
        """Return how full columns are, alone and with those beside, from counts."""
        if not self.full:
            return []
        found = [self._odds(above, row, PRIOR_COLUMN)]
        if self.beside:
            rolled = [np.roll(above, s * n, -1) for n in self.beside for s in (1, -1)]
            together = above + sum(rolled)
            found.append(self._odds(together, (1 + len(rolled)) * np.asarray(row), PRIOR_COLUMN))
        return found

    def of_row(self, ones: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Return how full a row is so far."""
        return self._odds(ones, seen, PRIOR_ROW)

    def _odds(self, ones: np.ndarray, seen: np.ndarray | int, prior: int) -> np.ndarray:
        part = np.asarray(ones) * self.size + prior * self.kept
        return log_odds(part, (np.asarray(seen) + prior) * self.size)

    def all(self, grid: Grid) -> list[np.ndarray]:
        """Return every feature of every bit, in the weights' order."""
        bits = grid.astype(np.int64)
        found = [np.full(grid.shape, UNIT)]
        if self.full:
            above = np.cumsum(bits, axis=0) - bits
            found += self.of_columns(above, np.arange(self.rows)[:, None])
            starts = np.arange(self.columns) // self.block * self.block
            so_far = (np.cumsum(bits, axis=1) - bits)[:, starts]
            found.append(self.of_row(so_far, starts[None, :]))
        flat = UNIT * bits.reshape(-1)
        return [f.reshape(-1) for f in found] + [back(flat, n) for n in self.lags]


def neighbours(coder: Coder, shape: tuple[int, int], given: Grid | None = None) -> Grid:
    """Code where a tensor is not 0 from what lies around each place."""
    needs(coder, "arithmetic")
    size = shape[0] * shape[1]
    depth = period = kept = weights = None
    if given is not None:
        kept = int(given.sum())
        fits(size <= LARGEST and 0 < kept < size)
        depth, period, weights = _best(given, kept)
    kept = count(coder, kept)
    demand(0 < kept < size <= LARGEST, "it is too large to be coded so, or counts wrongly")
    depth = choice(coder, 4, depth)
    period = count(coder, period) if depth > 2 else 0
    demand(period <= WIDEST, "its pictures are too wide")
    looks = Looks(shape, kept, depth, period)
    weights = code_weights(coder, looks.number, weights)
    demand(max(map(abs, weights)) <= 40 * WEIGHT, "a weight is too great")
    if given is None or not isinstance(coder, Recorder):
        return _read(coder, looks, weights)
    sums = sum(w * f for w, f in zip(weights, looks.all(given), strict=True))
    coder.all(chances(np.asarray(sums)), given.reshape(-1))
    return given


def _best(grid: Grid, kept: int) -> tuple[int, int, list[int]]:
    """Return the depth and the period that take least, and the weights."""
    tried = []
    bits = grid.reshape(-1)
    for depth, period in ((0, 0), (1, 0), (2, 0), (3, period_of(grid))):
        if depth < 3 or period:
            looks = Looks(grid.shape, kept, depth, period)
            weights, taken = fitted(looks.all(grid), bits)
            tried.append((taken, depth, period, weights))
    return min(tried, key=lambda t: t[:2])[1:]


def _read(coder: Coder, looks: Looks, weights: list[int]) -> Grid:
    """Read a grid: as ``Looks.all`` has it for all bits at once, a block of a row at a time."""
    rows, columns, block = looks.rows, looks.columns, looks.block
    lagged = weights[len(weights) - len(looks.lags) :]
    by_lag = [(n, w * UNIT) for n, w in zip(looks.lags, lagged, strict=True)]
    near, far = ([p for p in by_lag if (p[0] < block) == close] for close in (True, False))
    before = max(looks.lags, default=0)
    flat = np.zeros(before + looks.size, dtype=np.int64)
    above = np.zeros(columns, dtype=np.int64)
    squashed = SQUASHED.tolist()
    for row in range(rows):
        base = np.full(columns, weights[0] * UNIT)
        for weight, feature in zip(weights[1:], looks.of_columns(above, row), strict=False):
            base = base + weight * feature
        start = before + row * columns
        for first in range(0, columns, block):
            last = min(first + block, columns)
            sums = base[first:last]
            if looks.full:
                ones = flat[start : start + first].sum()
                weight = weights[2 + bool(looks.beside)]
                sums = sums + weight * looks.of_row(ones, np.asarray(first))
            for lag, weight in far:
                sums = sums + weight * flat[start + first - lag : start + last - lag]
            found = flat[start + first - before : start + first].tolist()
            for total in sums.tolist():
                here = len(found)
                for lag, weight in near:
                    if found[here - lag]:
                        total += weight
                place = min(max(total // WEIGHT, -FARTHEST), FARTHEST) + FARTHEST
                found.append(coder.bit(squashed[place]))
            flat[start + first : start + last] = found[before:]
        above += flat[start : start + columns]
    return flat[before:].reshape(rows, columns).astype(bool)
