"""Canonical Huffman codes: a table is the lengths of the codes alone.

Huffman 1952, A Method for the Construction of Minimum-Redundancy Codes; codes of one length are
consecutive numbers in the symbols' order (Schwartz and Kallick 1964).
"""

from __future__ import annotations

import heapq

import numpy as np

from lth.files import demand

LONGEST = 48
"""Bits of a code, at most: only counts beyond any network's would ask for more."""

BLOCK = 1 << 18
"""Symbols that are encoded at a time, and bits that are decoded."""


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Return the bits of every symbol's code, 0 where it does not occur, from int counts ``[k]``.

    The mean length lies in ``[H, H + 1)`` of the entropy H; ``sum 2^-length`` (Kraft) is 1 where
    two symbols or more occur. A symbol alone needs no bit: all lengths are 0, it is the last one.
    """
    lengths = np.zeros(len(counts), dtype=np.int64)
    heap = [(int(c), s, [s]) for s, c in enumerate(counts) if c > 0]
    heapq.heapify(heap)
    while len(heap) > 1:  # ties go to the symbol that comes first
        a, b = heapq.heappop(heap), heapq.heappop(heap)
        under = a[2] + b[2]
        lengths[under] += 1
        heapq.heappush(heap, (a[0] + b[0], min(a[1], b[1]), under))
    return lengths


def codes(lengths: np.ndarray) -> np.ndarray:
    """Return the canonical codes of such lengths, uint64 numbers."""
    found = np.zeros(len(lengths), dtype=np.uint64)
    code, before = 0, 0
    for symbol in _in_order(lengths):
        length = int(lengths[symbol])
        code <<= length - before
        found[symbol], before = code, length
        code += 1
    return found


def size(counts: np.ndarray, lengths: np.ndarray | None = None) -> int:
    """Return the bits that symbols occurring so often take, the table not counted."""
    lengths = code_lengths(counts) if lengths is None else lengths
    return int((counts * lengths).sum())


def encode(symbols: np.ndarray, lengths: np.ndarray) -> bytes:
    """Return the codes of int ``symbols [n]`` one after the other, filled to a whole byte."""
    alone = len(lengths) - 1 if not lengths.any() else -1
    if bool(((lengths[symbols] == 0) & (symbols != alone)).any()):
        raise ValueError("huffman: a symbol has no code in this table")
    table, parts = codes(lengths), [np.zeros(0, dtype=np.uint8)]
    for at in range(0, len(symbols), BLOCK):
        part = symbols[at : at + BLOCK]
        length, code = lengths[part], table[part]
        ends = np.cumsum(length)
        owner = np.repeat(np.arange(len(part)), length)
        place = (ends[owner] - 1 - np.arange(len(owner))).astype(np.uint64)
        parts.append((code[owner] >> place & np.uint64(1)).astype(np.uint8))
    return np.packbits(np.concatenate(parts)).tobytes()


def decode(content: bytes, lengths: np.ndarray, number: int) -> tuple[np.ndarray, int]:
    """Return ``number`` symbols, int64, and the bytes of ``content`` that they took."""
    order = _in_order(lengths)
    if len(order) == 0:
        demand(number == 0 or len(lengths) > 0, "a table without symbols")
        return np.full(number, len(lengths) - 1, dtype=np.int64), 0
    table = codes(lengths)
    wide = max(8, int(lengths.max()))
    tops = np.array([int(table[s]) << (wide - int(lengths[s])) for s in order], dtype=np.uint64)
    found, at, bits = [np.zeros(0, dtype=np.int64)], 0, 8 * len(content)
    left = number
    while left > 0:
        demand(at < bits, "its codes end too early")
        window = _windows(content, at, min(BLOCK, bits - at), wide)
        symbols = order[np.searchsorted(tops, window, side="right") - 1]
        places, moved = _follow(lengths[symbols], left)
        found.append(symbols[places])
        left -= len(places)
        at += moved
    demand(at <= bits, "its codes end too early")
    return np.concatenate(found), (at + 7) // 8


def check(lengths: np.ndarray) -> None:
    """Refuse a table that is none: its Kraft sum must be 1, or there is one symbol at most."""
    used = [int(n) for n in lengths if n]
    demand(all(n <= LONGEST for n in used), "a code is too long")
    whole = sum(1 << (LONGEST - n) for n in used)
    demand(not used or whole == 1 << LONGEST, "a table of codes does not add up")


def _in_order(lengths: np.ndarray) -> np.ndarray:
    order = np.argsort(lengths, kind="stable")
    return order[lengths[order] > 0]


def _windows(content: bytes, at: int, count: int, wide: int) -> np.ndarray:
    """Return the ``wide`` bits that begin at each of ``count`` places, as numbers."""
    first = at // 8
    part = content[first : (at + count + wide) // 8 + 9]
    octets = np.frombuffer(part + bytes(16), dtype=np.uint8).astype(np.uint64)
    places = np.arange(at - 8 * first, at - 8 * first + count)
    octet, shift = places >> 3, (places & 7).astype(np.uint64)
    found = np.zeros(count, dtype=np.uint64)
    for n in range(7):  # 56 bits, of which the first 7 may belong to others
        found = found << np.uint64(8) | octets[octet + n]
    return (found << shift & np.uint64((1 << 56) - 1)) >> np.uint64(56 - wide)


def _follow(steps: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """Go from 0 by the steps at each place; return up to ``most`` places, and where it ends."""
    steps_, at, places, end = steps.tolist(), 0, [], len(steps)
    while at < end and len(places) < most:
        places.append(at)
        at += steps_[at]
    return np.array(places, dtype=np.int64), at
