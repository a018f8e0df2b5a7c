"""Where a tensor's values are not 0: a bit for each, gaps, or chances from what lies around."""

from __future__ import annotations

import numpy as np

from lth.files import demand
from lth.packing import huffman
from lth.packing.adaptive import choice, count
from lth.packing.cheapest import Unfit, cheapest
from lth.packing.coder import Coder
from lth.packing.neighbours import neighbours
from lth.packing.symbols import symbols

WIDTHS = range(2, 13)
"""Bits of a gap."""

Grid = np.ndarray
"""Booleans, ``[rows, columns]``."""


def positions(coder: Coder, shape: tuple[int, int], given: Grid | None = None) -> Grid:
    """Code where a tensor of ``[rows, columns]`` is not 0, by the cheapest way."""
    ways = (_bitmap, _gaps, neighbours)
    with coder.part("positions"):
        return cheapest(coder, [lambda c, w=way: w(c, shape, given) for way in ways])


def _bitmap(coder: Coder, shape: tuple[int, int], given: Grid | None) -> Grid:
    """A bit for every place."""
    size = shape[0] * shape[1]
    content = None if given is None else np.packbits(given.reshape(-1)).tobytes()
    octets = np.frombuffer(coder.raw(content, (size + 7) // 8), dtype=np.uint8)
    return np.unpackbits(octets, count=size).astype(bool).reshape(shape)


def _gaps(coder: Coder, shape: tuple[int, int], given: Grid | None) -> Grid:
    """Zeros between kept places, Huffman coded (Han et al. 2016, arXiv 1510.00149, Section 2).

    A gap of ``2^width - 1`` stands for so many zeros and no kept place after them.
    """
    width, gaps = 2, None
    if given is not None:
        width, gaps = _best_gaps(np.flatnonzero(given))
    width = 2 + choice(coder, len(WIDTHS), width - 2)
    number = count(coder, None if gaps is None else len(gaps))
    size = shape[0] * shape[1]
    demand(number <= size, "it has more gaps than places")
    found = symbols(coder, 1 << width, number, gaps)
    full = (1 << width) - 1
    ends = np.cumsum(np.where(found == full, full, found + 1))
    places = ends[found != full] - 1
    demand(number == 0 or int(ends[-1]) <= size, "a gap leads out of its tensor")
    grid = np.zeros(size, dtype=bool)
    grid[places] = True
    return grid.reshape(shape)


def _best_gaps(places: np.ndarray) -> tuple[int, np.ndarray]:
    plain = np.diff(places, prepend=-1) - 1
    tried = []
    for width in WIDTHS:
        gaps = _filled(plain, (1 << width) - 1)
        if len(gaps) > 4 * len(plain) + 64:
            continue
        counts = np.bincount(gaps, minlength=1 << width)
        tried.append((huffman.size(counts) + 3 * (1 << width), width, gaps))
    if not tried:
        raise Unfit
    return min(tried, key=lambda t: t[:2])[1:]


def _filled(gaps: np.ndarray, full: int) -> np.ndarray:
    fillers = gaps // full
    found = np.full(int(fillers.sum()) + len(gaps), full, dtype=np.int64)
    found[np.cumsum(fillers + 1) - 1] = gaps % full
    return found
