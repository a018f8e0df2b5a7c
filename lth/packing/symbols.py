"""Symbols below k, and whole numbers, by Huffman's code or by an arithmetic one."""

from __future__ import annotations

import numpy as np

from lth.files import demand
from lth.packing import huffman
from lth.packing.adaptive import DEEPEST, Whole, count, row
from lth.packing.cheapest import cheapest, fits, needs, within
from lth.packing.coder import ONE, Coder, Reader
from lth.packing.kinds import Place
from lth.packing.signs import signed

MOST = 1 << 12
"""Different symbols of a row, at most."""

NEAR = 64
"""Symbols of a row that are few: learning their counts costs less than writing them."""

PATIENCE = 1 << 17
"""Decisions of one row that a learning model is asked for, at most: each takes a microsecond."""

Ints = np.ndarray
"""int64, one dimension."""


def symbols(coder: Coder, k: int, number: int, given: Ints | None = None) -> Ints:
    """Code ``number`` symbols 0..k-1 by the cheapest way."""
    if k <= 1:
        return np.zeros(number, dtype=np.int64)
    ways = (_huffman, _learnt, _counted)
    return cheapest(coder, [lambda c, w=way: w(c, k, number, given) for way in ways])


def whole_numbers(
    coder: Coder, number: int, given: Ints | None = None, place: Place | None = None
) -> Ints:
    """Code whole numbers of any sign, as symbols where they lie close together.

    Where they stand in a tensor, if that is known, may tell of their signs.
    """
    if given is not None and number:
        least, most = int(given.min()), int(given.max())
        fits(max(abs(least), abs(most)).bit_length() <= DEEPEST)
    ways = [lambda c: _between(c, number, given), lambda c: _far(c, number, given)]
    if place is not None:
        ways.append(lambda c: signed(c, number, given, place))
    return cheapest(coder, ways)


def _huffman(coder: Coder, k: int, number: int, given: Ints | None) -> Ints:
    needs(coder, "huffman")
    lengths = None if given is None else huffman.code_lengths(np.bincount(given, minlength=k))
    fits(lengths is None or bool(lengths.any()))
    lengths = table(coder, k, lengths)
    return huffman_symbols(coder, lengths, number, given)


def table(coder: Coder, k: int, lengths: Ints | None = None) -> Ints:
    """Code the lengths of k codes."""
    with coder.part("table"):
        found = row(coder, k, 6, lengths)
    huffman.check(found)
    return found


def huffman_symbols(coder: Coder, lengths: Ints, number: int, given: Ints | None = None) -> Ints:
    """Code symbols by a table of code lengths, plain bytes beside the decisions."""
    if isinstance(coder, Reader):
        found, used = huffman.decode(coder.rest, lengths, number)
        coder.raw(None, used)
        return found
    assert given is not None
    content = huffman.encode(given, lengths)
    coder.raw(content, len(content))
    return given


def _learnt(coder: Coder, k: int, number: int, given: Ints | None) -> Ints:
    """Each in the context of none: counts alone."""
    needs(coder, "arithmetic")
    depth = (k - 1).bit_length()
    within(coder, number * depth <= PATIENCE)
    return row(coder, number, depth, given)


def _counted(coder: Coder, k: int, number: int, given: Ints | None) -> Ints:
    """By counts that are written first: one decision for each."""
    needs(coder, "arithmetic")
    if given is not None:
        fits(number * (k - 1).bit_length() > PATIENCE or k > NEAR)
    shares = None if given is None else _shares(np.bincount(given, minlength=k))
    size = Whole()
    with coder.part("table"):
        wanted = [None] * k if shares is None else shares.tolist()
        found = [size.code(coder, s) for s in wanted]
    demand(min(found) >= 0 and sum(found) == ONE, "its shares do not add up")
    values = None if given is None else given.tolist()
    return np.array(coder.symbols(found, values, number), dtype=np.int64)


def _shares(counts: Ints) -> Ints:
    """Return whole shares of ``2^16``, of three bits or so each, none 0 where there is a count."""
    total = int(counts.sum())
    fits(total > 0)
    shares = np.zeros(len(counts), dtype=np.int64)
    for symbol, seen in enumerate(counts.tolist()):
        share = max(1, seen * ONE // total) if seen else 0
        keep = max(share.bit_length() - 7, 0)
        shares[symbol] = share >> keep << keep
    shares[int(shares.argmax())] += ONE - int(shares.sum())
    fits(int(shares.min()) >= 0)
    return shares


def _between(coder: Coder, number: int, given: Ints | None) -> Ints:
    """As symbols from the least of them on."""
    low, k = 0, 1
    if given is not None:
        fits(number > 0)
        low, k = int(given.min()), int(given.max() - given.min()) + 1
    fits(k <= MOST)
    low = Whole().code(coder, None if given is None else low)
    k = count(coder, None if given is None else k)
    demand(1 <= k <= MOST, "it has too many symbols")
    return symbols(coder, k, number, None if given is None else given - low) + low


def _far(coder: Coder, number: int, given: Ints | None) -> Ints:
    """One by one, the number of their bits learnt."""
    needs(coder, "arithmetic")
    within(coder, number * 8 <= PATIENCE)
    if given is not None:
        fits(int(np.abs(given).max(initial=0)) < 1 << 40)
        fits(number == 0 or int(given.max() - given.min()) >= NEAR)
    model = Whole()
    values = [None] * number if given is None else given.tolist()
    return np.array([model.code(coder, v) for v in values], dtype=np.int64)


def packed(coder: Coder, depth: int, number: int, given: Ints | None = None) -> Ints:
    """Code numbers below ``2^depth`` as they are, ``depth`` bits each, in plain bytes."""
    if depth == 0:
        return np.zeros(number, dtype=np.int64)
    length = (depth * number + 7) // 8
    content = None
    if given is not None:
        places = np.arange(depth - 1, -1, -1)
        bits = given[:, None].astype(np.uint64) >> places.astype(np.uint64) & np.uint64(1)
        content = np.packbits(bits.astype(np.uint8).reshape(-1)).tobytes()
    octets = np.frombuffer(coder.raw(content, length), dtype=np.uint8)
    bits = np.unpackbits(octets, count=depth * number).reshape(number, depth)
    found = np.zeros(number, dtype=np.uint64)
    for place in range(depth):
        found = found << np.uint64(1) | bits[:, place]
    return found.astype(np.int64)
