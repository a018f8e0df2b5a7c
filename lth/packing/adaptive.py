"""Models that learn while they code: chances are counted, no table is written.

Each codes a value given (writing) or None (reading) by the same lines, and returns it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from lth.errors import LthError
from lth.files import demand
from lth.packing.coder import HALF, ONE, Coder, Recorder

DEEPEST = 44
"""Bits of a whole number, at most."""


class Chance:
    """A bit whose chance is what was seen: ``(ones + 1/2) / (seen + 1)``.

    Krichevsky and Trofimov 1981, The Performance of Universal Encoding, eq. 3.
    """

    __slots__ = ("ones", "seen")

    def __init__(self) -> None:
        self.ones = self.seen = 0

    @property
    def now(self) -> int:
        """The chance of a 1, of ``2^16``."""
        return min(max((2 * self.ones + 1) * HALF // (self.seen + 1), 1), ONE - 1)

    def code(self, coder: Coder, bit: int | None = None) -> int:
        """Code a bit and count it."""
        found = coder.bit(self.now, bit)
        self.ones += found
        self.seen += 1
        return found


class Tree:
    """A whole number below ``2^depth``, its bits from the top, each in the context of those above.

    A bit's chance is counted as a ``Chance`` is.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self._ones = [0] * (1 << depth)
        self._seen = [0] * (1 << depth)

    def code(self, coder: Coder, value: int | None = None) -> int:
        """Code a number and count it."""
        node, ones, seen, bit = 1, self._ones, self._seen, None
        for place in range(self.depth - 1, -1, -1):
            chance = (2 * ones[node] + 1) * HALF // (seen[node] + 1)
            if value is not None:
                bit = value >> place & 1
            bit = coder.bit(chance or 1, bit)  # it is below 2^16: one more was seen than ones
            ones[node] += bit
            seen[node] += 1
            node += node + bit
        return node - (1 << self.depth)


def rows(
    coder: Coder, number: int, depths: Sequence[int], given: np.ndarray | None = None, rest: int = 0
) -> np.ndarray:
    """Code ``number`` rows of whole numbers, a column below ``2^depth`` for each of ``depths``.

    Each column has a ``Tree`` of its own; one more, below ``2^rest``, has all numbers alike.
    Returns int64 ``[number, columns + 1]``, as ``given`` is.
    """
    if isinstance(coder, Recorder) and given is not None and number >= FEW:
        parts = [_decisions(depth, given[:, at]) for at, depth in enumerate(depths)]
        bits = _bits(rest, given[:, -1])
        parts.append((np.full_like(bits, HALF), bits))
        chances, bits = (
            np.concatenate(part, axis=1).reshape(-1) for part in zip(*parts, strict=True)
        )
        coder.all(chances, bits)
        return given
    trees = [Tree(depth) for depth in depths]
    found = []
    for row in [[None] * (len(trees) + 1)] * number if given is None else given.tolist():
        learnt = [tree.code(coder, value) for tree, value in zip(trees, row[:-1], strict=True)]
        found.append([*learnt, even(coder, rest, row[-1])])
    return np.array(found, dtype=np.int64).reshape(number, len(trees) + 1)


def row(coder: Coder, number: int, depth: int, given: np.ndarray | None = None) -> np.ndarray:
    """Code ``number`` whole numbers below ``2^depth`` by a tree: int64 ``[number]``."""
    columns = None if given is None else np.stack([given, np.zeros_like(given)], axis=1)
    return rows(coder, number, [depth], columns)[:, 0]


FEW = 24
"""Rows that are written one by one: for less, arrays take longer."""


def _decisions(depth: int, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the chances and the bits, ``[n, depth]``, by which a tree codes such numbers.

    What it has counted before each of them, of all of them at once.
    """
    count, bits = np.arange(len(given)), _bits(depth, given)
    chances = np.empty_like(bits)
    for place in range(depth):
        node = given >> depth - place
        order = np.argsort(node, kind="stable")
        node, bit = node[order], bits[order, place]
        first = np.maximum.accumulate(np.where(np.diff(node, prepend=-1) != 0, count, 0))
        before = np.cumsum(bit) - bit
        chance = (2 * (before - before[first]) + 1) * HALF // (count - first + 1)
        chances[order, place] = np.maximum(chance, 1)
    return chances, bits


def _bits(depth: int, given: np.ndarray) -> np.ndarray:
    """Return the bits of numbers below ``2^depth`` from the top, ``[n, depth]``."""
    return given[:, None] >> np.arange(depth - 1, -1, -1) & 1


class Whole:
    """Whole numbers of any sign: how many bits ``|x|`` has, sign, and the bits below the first.

    The number of bits, the sign and the two bits below the first one are learnt, the rest are even.
    """

    def __init__(self) -> None:
        self._size = Tree(6)
        self._sign = Chance()
        self._below: dict[int, Chance] = {}

    def code(self, coder: Coder, value: int | None = None) -> int:
        """Code a number."""
        size = self._size.code(coder, None if value is None else abs(value).bit_length())
        demand(size <= DEEPEST, "a number is too great")
        if size == 0:
            return 0
        minus = self._sign.code(coder, None if value is None else int(value < 0))
        found = 1
        for place in range(size - 2, -1, -1):
            bit = None if value is None else abs(value) >> place & 1
            if size - 2 - place < 2:
                context = self._below.setdefault(size << 8 | found, Chance())
                bit = context.code(coder, bit)
            else:
                bit = coder.bit(HALF, bit)
            found = found * 2 + bit
        return -found if minus else found


def even(coder: Coder, depth: int, value: int | None = None) -> int:
    """Code a number below ``2^depth``, all of them alike."""
    bits = None if value is None else [value >> p & 1 for p in range(depth - 1, -1, -1)]
    found = 0
    for bit in coder.bits([HALF] * depth, bits):
        found = found * 2 + bit
    return found


def count(coder: Coder, value: int | None = None) -> int:
    """Code a whole number from 0, short where it is small (Elias 1975, the gamma code)."""
    depth, above = 0, None if value is None else value + 1
    while coder.bit(HALF, None if above is None else int(above >> depth > 1)):
        depth += 1
        demand(depth <= DEEPEST, "a number is too great")
    below = None if above is None else above - (1 << depth)
    return (1 << depth) + even(coder, depth, below) - 1


def choice(coder: Coder, of: int, value: int | None = None) -> int:
    """Code which of a few it is, all of them alike."""
    found = even(coder, (of - 1).bit_length(), value)
    demand(found < of, "it is coded in a way that this version of lth does not know")
    return found


def text(coder: Coder, known: str, value: str | None = None) -> str:
    """Code text that is much like what is ``known``, which costs nothing: learnt from it first.

    A byte's bits from the top, each in the context of those above and of the longest run of up to
    five bytes before it that has been met.
    """
    seen = dict(_learnt(known))
    content = None if value is None else value.encode()
    if content is not None and len(content) > LONGEST:
        raise LthError(
            f"pack: the model's arguments, or the names of its tensors, are {len(content):,} bytes "
            f"of text; a packed file holds {LONGEST:,} at most"
        )
    length = count(coder, None if content is None else len(content))
    demand(length <= LONGEST, "its text is too long")
    found = bytearray()
    for at in range(length):
        found.append(
            _byte(coder, seen, bytes(found[-ORDER:]), None if content is None else content[at])
        )
    return found.decode()


ORDER = 5
"""Bytes before one that its chances look at, at most."""

LONGEST = 1 << 17
"""Bytes of a text, at most: reading one takes up to some kilobytes, and 100 microseconds."""

Seen = dict[tuple[bytes, int], tuple[int, int]]
"""How many bits were 1, and how many there were, by the bytes before and the bits above."""


@lru_cache(maxsize=8)
def _learnt(known: str) -> Seen:
    """Count what is in a text; only its copies are counted on."""
    seen, learn, coder = Seen(), known.encode(), _Learner()
    for at in range(len(learn)):
        _byte(coder, seen, learn[max(at - ORDER, 0) : at], learn[at])
    return seen


class _Learner:
    """Codes nothing."""

    def bit(self, chance: int, bit: int | None = None) -> int:
        assert bit is not None
        return bit


def _byte(coder: Coder | _Learner, seen: Seen, before: bytes, value: int | None) -> int:
    node, runs = 1, [before[len(before) - n :] for n in range(min(ORDER, len(before)) + 1)]
    for place in range(7, -1, -1):
        contexts = [(run, node) for run in runs]
        ones, total = next((seen[c] for c in reversed(contexts) if c in seen), (0, 0))
        chance = (24 * ones + 1) * ONE // (24 * total + 2)
        bit = coder.bit(
            min(max(chance, 64), ONE - 64), None if value is None else value >> place & 1
        )
        for context in contexts:
            ones, total = seen.get(context, (0, 0))
            seen[context] = ones + bit, total + 1
        node += node + bit
    return node - 256


def trees(depth: int, contexts: int) -> Sequence[Tree]:
    """Make a tree for each of so many contexts."""
    return [Tree(depth) for _ in range(contexts)]
