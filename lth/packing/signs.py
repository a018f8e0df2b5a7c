"""Whole numbers that are not 0, their signs from the signs around.

Weights of a unit that lie together in a picture mostly have the same.
"""

from __future__ import annotations

import numpy as np

from lth.files import demand
from lth.packing.adaptive import Tree, count
from lth.packing.chances import (
    FARTHEST,
    SQUASHED,
    UNIT,
    WEIGHT,
    WIDEST,
    code_weights,
    fitted,
    lags,
    period_of,
)
from lth.packing.cheapest import fits, needs, within
from lth.packing.coder import Coder
from lth.packing.kinds import Place

MOST = 1 << 16
"""Numbers coded so, at most: each takes some microseconds."""

DEEPEST = 8
"""Bits of a number without its sign, at most."""

SIZES = 4
"""How large the neighbours are, in so many classes."""


def signed(coder: Coder, number: int, given: np.ndarray | None, place: Place) -> np.ndarray:
    """Code numbers that stand at ``place``: the sign from those around, then ``|x| - 1``.

    How great a number is, is learnt for either sign, and for four sizes of its neighbours.
    """
    needs(coder, "arithmetic")
    within(coder, number <= MOST)
    period = depth = weights = signs = None
    if given is not None:
        fits(number > 0 and bool((given != 0).all()))
        depth = (int(np.abs(given).max()) - 1).bit_length()
        fits(depth <= DEEPEST)
        signs = np.sign(given)
        period, weights = _best(place, signs)
    period, depth = count(coder, period), count(coder, depth)
    demand(period <= WIDEST and depth <= DEEPEST, "its numbers are out of range")
    back = lags(period)
    weights = code_weights(coder, len(back) + 1, weights)
    around = [_around(place, n).tolist() for n in back]
    return _code(coder, number, given, weights, around, depth)


def _code(
    coder: Coder, number: int, given: np.ndarray | None, weights: list[int],
    around: list[list[int]], depth: int,
) -> np.ndarray:  # fmt: skip
    squashed = SQUASHED.tolist()
    first, rest = weights[0] * UNIT, [w * UNIT for w in weights[1:]]
    sizes = [Tree(depth) for _ in range(2 * SIZES)]
    signs, great, found = [0], [0], [0]  # the first stands for no neighbour
    values = [None] * number if given is None else given.tolist()
    for value, places in zip(values, zip(*around, strict=True), strict=True):
        total, sum_of, seen = first, 0, 0
        for place, weight in zip(places, rest, strict=True):
            if place:
                total += weight * signs[place]
                sum_of += great[place]
                seen += 1
        at = min(max(total // WEIGHT, -FARTHEST), FARTHEST) + FARTHEST
        plus = coder.bit(squashed[at], None if value is None else int(value > 0))
        size = 0 if not seen else 1 + min(SIZES - 2, (sum_of * 3) // (seen << depth))
        tree = sizes[SIZES * plus + size]
        below = tree.code(coder, None if value is None else abs(value) - 1)
        signs.append(2 * plus - 1)
        great.append(below)
        found.append((below + 1) * (2 * plus - 1))
    return np.array(found[1:], dtype=np.int64)


def _around(place: Place, lag: int) -> np.ndarray:
    """Return, for every number, which one stands ``lag`` places before it, from 1; 0 for none."""
    which = np.zeros(place.size + lag, dtype=np.int64)
    which[lag + place.flat] = np.arange(1, len(place.flat) + 1)
    return which[place.flat]


def _best(place: Place, signs: np.ndarray) -> tuple[int, list[int]]:
    grid = np.zeros(place.size, dtype=np.int64)
    grid[place.flat] = signs
    tried = []
    for period in sorted({0, period_of(grid.reshape(place.rows, -1))}):
        padded = np.concatenate([[0], signs])
        features = [np.full(len(signs), UNIT)]
        features += [UNIT * padded[_around(place, n)] for n in lags(period)]
        weights, taken = fitted(features, signs > 0)
        tried.append((taken, period, weights))
    return min(tried, key=lambda t: t[:2])[1:]
