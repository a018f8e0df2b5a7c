"""Tensors as whole numbers, the bit pattern of every value: they come back to the bit."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lth.errors import LthError

FLOATS = {
    "float64": (11, 52), "float32": (8, 23), "float16": (5, 10), "bfloat16": (8, 7),
}  # fmt: skip
"""Bits of the exponent and of the fraction, by dtype."""

WHOLES = {
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64, "uint8": np.uint8,
    "bool": np.uint8,
}  # fmt: skip

Patterns = np.ndarray
"""Unsigned whole numbers, one dimension: 0 is the value 0 (and +0.0) alone."""


class Place(NamedTuple):
    """Where numbers stand in a tensor: places row by row, of so many in so many rows."""

    flat: np.ndarray
    size: int
    rows: int


class Kind(NamedTuple):
    """What a tensor is before its values are known: name, dtype in torch's word, shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype; a name that is none is refused."""
        found = getattr(torch, self.dtype, None)
        if not isinstance(found, torch.dtype):
            raise ValueError(f"{self.name} is of {self.dtype!r}, which torch does not know")
        return found

    @property
    def word(self) -> np.dtype:
        """The unsigned number that holds a value, or a half of one of 16 bytes."""
        return np.dtype(f"<u{min(self.torch_dtype.itemsize, 8)}")

    @property
    def size(self) -> int:
        """How many such numbers there are."""
        return prod(self.shape) * max(1, self.torch_dtype.itemsize // 8)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns: its first dimension, and all others."""
        rows = self.shape[0] if len(self.shape) > 1 and self.size else 1
        return rows, self.size // rows

    @property
    def everywhere(self) -> Place:
        """All of its places."""
        return Place(np.arange(self.size), self.size, self.grid[0])

    @property
    def bits(self) -> tuple[int, int] | None:
        """Bits of the exponent and of the fraction; None where it holds no such numbers."""
        return FLOATS.get(self.dtype)


def kind_of(name: str, tensor: Tensor) -> Kind:
    """Return what a tensor is; what holds no plain values is refused."""
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise LthError(f"pack: {name} is no plain tensor (sparse, quantized): make it dense first")
    if tensor.is_meta:
        raise LthError(f"pack: {name} has no values: it lies on torch's meta device")
    return Kind(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))


def patterns_of(tensor: Tensor) -> Patterns:
    """Return the bit patterns of a tensor's values, row by row."""
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    octets = flat.view(torch.uint8).numpy() if flat.numel() else np.zeros(0, dtype=np.uint8)
    return octets.view(np.dtype(f"<u{min(tensor.dtype.itemsize, 8)}"))


def tensor_of(kind: Kind, patterns: Patterns) -> Tensor:
    """Return the tensor that has these bit patterns."""
    octets = torch.from_numpy(patterns.astype(kind.word, copy=True).view(np.uint8))
    return octets.view(kind.torch_dtype).reshape(kind.shape)


def is_below_zero(kind: Kind, patterns: Patterns) -> np.ndarray:
    """Say which patterns stand for numbers with a minus."""
    top = np.uint64(1 << (8 * kind.word.itemsize - 1))
    signed = kind.bits is not None or kind.dtype.startswith("int")
    return ((patterns.astype(np.uint64) & top) != 0) & signed


def in_order(kind: Kind, patterns: Patterns) -> Patterns:
    """Sort different patterns by the numbers that they stand for."""
    top = 1 << (8 * kind.word.itemsize - 1)
    signed = kind.bits is not None
    found = patterns.astype(np.uint64)
    full = np.uint64(2 * top - 1)
    minus = (found & np.uint64(top)) != 0
    keys = np.where(minus, full - found, found + np.uint64(top)) if signed else found
    if kind.dtype.startswith("int"):
        keys = found ^ np.uint64(top)
    return patterns[np.argsort(keys, kind="stable")]
