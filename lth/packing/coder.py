"""An arithmetic coder of whole numbers alone: the same bytes on every machine.

What is coded is a row of decisions. Each has a share ``width / 2^16`` of the interval, beginning at
``low / 2^16``: a bit of chance ``c`` is ``(0, c)`` where it is 1 and ``(c, 2^16 - c)`` where not.
A row of n decisions takes ``sum -log2(width / 2^16)`` bits and at most two bytes more (Rissanen and
Langdon 1979, Arithmetic Coding, Section 3; the range coder of Martin 1979).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from math import log2

import numpy as np

from lth.files import Damaged, demand

ONE = 1 << 16
"""The whole interval of a decision."""

HALF = ONE >> 1

WHOLE, LEAST = 1 << 48, 1 << 32
"""The range of the coder: never below ``LEAST``, where it is moved by 16 bits."""

SLACK = 8
"""Bytes that a reader may look beyond the end: zeros there are not written."""

_BITS = -np.log2(np.arange(1, ONE + 1) / ONE)


class Recorder:
    """Takes decisions down; ``plain`` bytes go beside them, as they are."""

    reading = False

    def __init__(self, coding: str = "cheapest") -> None:
        self.coding = coding
        self.lows: list[int] = []
        self.widths: list[int] = []
        self.plain = bytearray()

    def bit(self, chance: int, bit: int | None = None) -> int:
        """Take down a bit; ``chance / 2^16`` is that of a 1, in 1..65535."""
        self.lows.append(0 if bit else chance)
        self.widths.append(chance if bit else ONE - chance)
        return int(bool(bit))

    def all(self, chances: np.ndarray, bits: np.ndarray) -> None:
        """Take down many bits at once, each of its own chance."""
        self.lows += np.where(bits, 0, chances).tolist()
        self.widths += np.where(bits, chances, ONE - chances).tolist()

    def bits(self, chances: Sequence[int], bits: Sequence[int] | None = None) -> Sequence[int]:
        """Take down many bits, each of its own chance."""
        assert bits is not None
        self.lows += [0 if b else c for c, b in zip(chances, bits, strict=True)]
        self.widths += [c if b else ONE - c for c, b in zip(chances, bits, strict=True)]
        return bits

    def symbols(
        self, widths: Sequence[int], symbols: Sequence[int] | None, count: int
    ) -> list[int]:
        """Take down symbols 0, 1, ... of shares ``widths``, which add up to ``2^16``."""
        assert symbols is not None and len(symbols) == count
        lows = [0, *accumulate(widths)]
        self.lows += [lows[s] for s in symbols]
        self.widths += [widths[s] for s in symbols]
        return list(symbols)

    def raw(self, content: bytes | None, length: int) -> bytes:
        """Take down bytes as they are."""
        assert content is not None and len(content) == length
        self.plain += content
        return content

    @contextmanager
    def part(self, name: str, of: str | None = None) -> Iterator[None]:
        """Say what follows is a part of; a reader keeps count."""
        yield

    def add(self, other: Recorder) -> None:
        """Take down what another has taken down."""
        self.lows += other.lows
        self.widths += other.widths
        self.plain += other.plain

    @property
    def cost(self) -> int:
        """Bits that it all takes, rounded."""
        widths = np.asarray(self.widths, dtype=np.int64)
        return 8 * len(self.plain) + round(float(_BITS[widths - 1].sum()))

    def coded(self) -> bytes:
        """Encode the decisions; of the last three words zeros at the end are left out."""
        low, span, out = 0, WHOLE, [0]
        for start, width in zip(self.lows, self.widths, strict=True):
            part = span >> 16
            low += part * start
            span = part * width
            while span < LEAST:
                low = _moved(low, out)
                span <<= 16
        free = (span - 1).bit_length() - 1  # a number of the interval with so many zeros at its end
        low = (low + (1 << max(free, 0)) - 1) >> max(free, 0) << max(free, 0)
        for _ in range(3):
            low = _moved(low, out)
        whole = np.array(out[1:], dtype=">u2").tobytes()
        return whole[:-6] + whole[-6:].rstrip(b"\0")


def _moved(low: int, out: list[int]) -> int:
    """Move 16 bits from the top of ``low`` to ``out``, its carry to where it belongs."""
    if low >= WHOLE:
        low -= WHOLE
        at = len(out) - 1
        while out[at] == ONE - 1:
            out[at] = 0
            at -= 1
        out[at] += 1
    out.append(low >> 32)
    return (low & (LEAST - 1)) << 16


class Reader:
    """Gives back the decisions that a ``Recorder`` took down, and its plain bytes."""

    reading = True

    def __init__(self, coded: bytes, plain: bytes = b"") -> None:
        length = len(coded)
        padded = coded + bytes(SLACK + length % 2)
        self._words: list[int] = np.frombuffer(padded, dtype=">u2").tolist()
        self._next, self._span, self._value = 0, WHOLE, 0
        self.plain, self.at = plain, 0
        self.spent: dict[tuple[str, str], float] = {}
        self._part, self._settled = ("", "header"), 0.0
        for _ in range(3):
            self._value = self._value << 16 | self._word()

    def _word(self) -> int:
        if self._next >= len(self._words):
            raise Damaged("it ends too early")
        self._next += 1
        return self._words[self._next - 1]

    def bit(self, chance: int, bit: int | None = None) -> int:
        """Give the next bit, of this chance."""
        part = self._span >> 16
        bound = part * chance
        if self._value < bound:
            found, self._span = 1, bound
        else:
            found = 0
            self._value -= bound
            self._span = part * (ONE - chance)
        while self._span < LEAST:
            self._value = self._value << 16 | self._word()
            self._span <<= 16
        return found

    def bits(self, chances: Sequence[int], bits: Sequence[int] | None = None) -> Sequence[int]:
        """Give the next bits, each of its own chance."""
        span, value, found = self._span, self._value, []
        for chance in chances:
            part = span >> 16
            bound = part * chance
            if value < bound:
                found.append(1)
                span = bound
            else:
                found.append(0)
                value -= bound
                span = part * (ONE - chance)
            while span < LEAST:
                value = value << 16 | self._word()
                span <<= 16
        self._span, self._value = span, value
        return found

    def symbols(
        self, widths: Sequence[int], symbols: Sequence[int] | None, count: int
    ) -> list[int]:
        """Give the next ``count`` symbols of shares ``widths``."""
        of = np.repeat(np.arange(len(widths)), widths).tolist()
        lows = [0, *accumulate(widths)]
        span, value, found = self._span, self._value, []
        for _ in range(count):
            part = span >> 16
            symbol = of[min(value // part, ONE - 1)]
            found.append(symbol)
            value -= part * lows[symbol]
            span = part * widths[symbol]
            while span < LEAST:
                value = value << 16 | self._word()
                span <<= 16
        self._span, self._value = span, value
        return found

    def raw(self, content: bytes | None, length: int) -> bytes:
        """Give the next plain bytes."""
        demand(0 <= length <= len(self.plain) - self.at, "it ends too early")
        self.at += length
        return self.plain[self.at - length : self.at]

    @property
    def rest(self) -> bytes:
        """The plain bytes that are left."""
        return self.plain[self.at :]

    @contextmanager
    def part(self, name: str, of: str | None = None) -> Iterator[None]:
        """Count what is read as a part of a tensor; the innermost part counts."""
        self._settle()
        before, self._part = self._part, (self._part[0] if of is None else of, name)
        yield
        self._settle()
        self._part = before

    def _settle(self) -> None:
        used = self.used
        self.spent[self._part] = self.spent.get(self._part, 0.0) + used - self._settled
        self._settled = used

    @property
    def used(self) -> float:
        """Bits read so far."""
        return 8 * self.at + 16 * (self._next - 3) + 48 - log2(self._span)

    def check_end(self) -> None:
        """Refuse what was not read to its end."""
        left = len(self._words) - SLACK // 2 - self._next
        demand(self.at == len(self.plain) and left <= 0, "it holds more than it says")


Coder = Recorder | Reader
"""What a model of data codes with: the same lines of code write and read."""
