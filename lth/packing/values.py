"""A row of values: as they are, as whole steps, or as symbols of a codebook."""

from __future__ import annotations

import numpy as np

from lth.files import demand
from lth.packing import huffman
from lth.packing.adaptive import Whole, count, rows
from lth.packing.cheapest import cheapest, fits, needs, within
from lth.packing.coder import Coder
from lth.packing.kinds import WHOLES, Kind, Patterns, Place, in_order, is_below_zero
from lth.packing.symbols import (
    MOST,
    PATIENCE,
    huffman_symbols,
    packed,
    table,
    whole_numbers,
)


def values(coder: Coder, kind: Kind, number: int, given: Patterns | None, place: Place) -> Patterns:
    """Code the values at places of a tensor by the cheapest way, a codebook among them."""
    ways = [lambda c, w=way: w(c, kind, number, given) for way in NUMBERS]
    return cheapest(coder, [lambda c: _codebook(c, kind, number, given, place), *ways])


def numbers(coder: Coder, kind: Kind, number: int, given: Patterns | None = None) -> Patterns:
    """Code a row of values by the cheapest way, each by itself."""
    return cheapest(coder, [lambda c, w=way: w(c, kind, number, given) for way in NUMBERS])


def _codebook(
    coder: Coder, kind: Kind, number: int, given: Patterns | None, place: Place
) -> Patterns:
    """The different values in order, and which each is, counted from 0 on to both sides."""
    book, ids = None, None
    if given is not None:
        book = np.unique(given)
        fits(0 < len(book) <= min(MOST, (number + 1) // 2))
        book = in_order(kind, book)
        places = np.argsort(book, kind="stable")
        ids = places[np.searchsorted(book[places], given)]
    k = count(coder, None if book is None else len(book))
    demand(1 <= k <= MOST, "a codebook is too long")
    with coder.part("codebook"):
        book = numbers(coder, kind, k, book)
    below = int(is_below_zero(kind, book).sum())
    around = [*range(-below, 0), *range(1, k - below + 1)]
    if given is not None:
        ids = np.array(around, dtype=np.int64)[ids]
    with coder.part("ids"):
        found = whole_numbers(coder, number, ids, place)
    found = np.where(found > 0, found + below - 1, found + below)
    demand(number == 0 or 0 <= int(found.min()) <= int(found.max()) < k, "no such value")
    return book[found]


def _plain(coder: Coder, kind: Kind, number: int, given: Patterns | None) -> Patterns:
    """As they are."""
    content = None if given is None else given.astype(kind.word).tobytes()
    return np.frombuffer(coder.raw(content, number * kind.word.itemsize), dtype=kind.word)


def _split(coder: Coder, kind: Kind, number: int, given: Patterns | None) -> Patterns:
    """Sign and exponent by Huffman's code, the fraction without the zeros that all end with."""
    needs(coder, "huffman")
    exponent, fraction = _parts(kind)
    zeros = _zeros(coder, fraction, given)
    tops = below = lengths = None
    low, k = 0, 1
    if given is not None:
        fits(number > 0)
        whole = given.astype(np.uint64)
        tops = (whole >> np.uint64(fraction)).astype(np.int64)
        below = ((whole & np.uint64((1 << fraction) - 1)) >> np.uint64(zeros)).astype(np.int64)
        low, k = int(tops.min()), int(tops.max() - tops.min()) + 1
        tops = tops - low
        lengths = huffman.code_lengths(np.bincount(tops, minlength=k))
    low, k = count(coder, low), count(coder, k)
    demand(k >= 1 and low + k <= 2 << exponent, "an exponent is too great")
    lengths = table(coder, k, lengths)
    tops = huffman_symbols(coder, lengths, number, tops) + low
    below = packed(coder, fraction - zeros, number, below)
    found = tops.astype(np.uint64) << np.uint64(fraction) | below.astype(np.uint64) << np.uint64(
        zeros
    )
    return found.astype(kind.word)


def _learnt(coder: Coder, kind: Kind, number: int, given: Patterns | None) -> Patterns:
    """Sign, exponent and the fraction's first two bits learnt; zeros that all end with left out."""
    needs(coder, "arithmetic")
    exponent, fraction = _parts(kind)
    within(coder, number * (exponent + fraction) <= PATIENCE)
    zeros = _zeros(coder, fraction, given)
    bits = fraction - zeros
    first = min(2, bits)
    cut, columns = [fraction, fraction - first, zeros], None
    if given is not None:
        whole = given.astype(np.uint64)[:, None] >> np.array(cut, dtype=np.uint64)
        below = np.array([-1, (1 << first) - 1, (1 << bits - first) - 1])
        columns = whole.astype(np.int64) & below
    found = rows(coder, number, [1 + exponent, first], columns, bits - first).astype(np.uint64)
    return (found << np.array(cut, dtype=np.uint64)).sum(1, dtype=np.uint64).astype(kind.word)


def _parts(kind: Kind) -> tuple[int, int]:
    fits(kind.bits is not None)
    demand(kind.bits is not None, "its values have no exponents")
    assert kind.bits is not None
    return kind.bits


def _zeros(coder: Coder, fraction: int, given: Patterns | None) -> int:
    """Code how many bits at the end of the fraction are 0 in all values."""
    zeros = None
    if given is not None:
        either = int(np.bitwise_or.reduce(given, initial=0)) | 1 << fraction
        zeros = (either & -either).bit_length() - 1
    zeros = count(coder, zeros)
    demand(zeros <= fraction, "a fraction is too short")
    return zeros


def _steps(coder: Coder, kind: Kind, number: int, given: Patterns | None) -> Patterns:
    """Whole numbers times the greatest power of 2 that all values are multiples of."""
    whole = power = None
    if given is not None:
        fits(number > 0)
        whole, power = _multiples(kind, given)
    power = Whole().code(coder, power) if kind.bits else 0
    demand(abs(power) < 1100, "a step is out of range")
    found = _times(kind, whole_numbers(coder, number, whole), power)
    if given is not None:
        fits(bool((found == given).all()))
    return found


def _multiples(kind: Kind, given: Patterns) -> tuple[np.ndarray, int]:
    """Return values as ``n 2^power``."""
    if not kind.bits:
        fits(kind.dtype in WHOLES)
        return given.view(WHOLES[kind.dtype]).astype(np.int64), 0
    fits(kind.dtype in ("float16", "float32", "float64"))
    values = given.view(f"<f{kind.word.itemsize}").astype(np.float64)
    fits(bool(np.isfinite(values).all()))
    scaled, exponents = np.frexp(values)
    whole = (scaled * 2.0**53).astype(np.int64)
    last = np.log2((whole & -whole).astype(np.float64), where=whole != 0, out=np.zeros(len(whole)))
    powers = (exponents - 53 + last.astype(np.int64))[whole != 0]
    power = int(powers.min()) if len(powers) else 0
    found = np.ldexp(values, -power)
    fits(bool((np.abs(found) < 1 << 30).all()))
    return found.astype(np.int64), power


def _times(kind: Kind, whole: np.ndarray, power: int) -> Patterns:
    if not kind.bits:
        demand(kind.dtype in WHOLES, "its values are no whole numbers")
        return whole.astype(WHOLES[kind.dtype]).view(kind.word)
    demand(kind.dtype in ("float16", "float32", "float64"), "its values have no steps")
    with np.errstate(over="ignore"):
        found = np.ldexp(whole.astype(np.float64), power)
        return found.astype(f"<f{kind.word.itemsize}").view(kind.word)


NUMBERS = (_plain, _split, _learnt, _steps)
