"""Mask arithmetic: pure functions over ``dict[name, BoolTensor]``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lth.errors import LthError
from lth.layers import Layers
from lth.records import write_atomic
from lth.types import Mask, Params


def full(layers: Layers, names: Iterable[str]) -> Mask:
    """Keep every weight of the named layers."""
    names = list(names)
    shapes = layers.including(names).shapes
    return {name: torch.ones(shapes[name], dtype=torch.bool) for name in names}


def apply(params: Params, mask: Mask, frozen: Params | None = None) -> Params:
    """Return ``mask * params (+ frozen)``: exactly zero where pruned, untouched elsewhere.

    A pruned weight becomes +0.0 whatever its sign was, so equal tickets have equal bytes; for the
    few arms that freeze pruned weights at values, it becomes that value.
    """
    rest = frozen or {}
    return {
        n: torch.where(mask[n], p, rest.get(n, p.new_zeros(()))) if n in mask else p
        for n, p in params.items()
    }


def kept(mask: Mask) -> dict[str, int]:
    """Count the weights kept in each layer."""
    return {name: int(m.sum()) for name, m in mask.items()}


def density(mask: Mask, layers: Layers) -> float:
    """Weights kept / weights in the dense network, unprunable ones counted as kept; in [0, 1].

    The papers' P_m (Frankle & Carbin 2019, arXiv 1803.03635, Section 1).
    """
    return weights(mask, layers) / layers.including(mask).total


def weights(mask: Mask, layers: Layers) -> int:
    """Count the weights kept over all layers, those of unprunable layers included."""
    layers = layers.including(mask)
    unprunable = layers.total - sum(layers.sizes[n] for n in mask)
    return sum(kept(mask).values()) + unprunable


def intersect(a: Mask, b: Mask) -> Mask:
    """Keep what both keep."""
    _check_same_names(a, b)
    return {name: a[name] & b[name] for name in a}


def unite(a: Mask, b: Mask) -> Mask:
    """Keep what either keeps."""
    _check_same_names(a, b)
    return {name: a[name] | b[name] for name in a}


def overlap(a: Mask, b: Mask) -> float:
    """Jaccard overlap ``|a and b| / |a or b|`` over all layers, in [0, 1]; 1 if both are empty."""
    _check_same_names(a, b)
    both = sum(int((a[n] & b[n]).sum()) for n in a)
    either = sum(int((a[n] | b[n]).sum()) for n in a)
    return both / either if either else 1.0


def is_nested(inner: Mask, outer: Mask) -> bool:
    """Whether every weight that ``inner`` keeps is kept by ``outer``."""
    _check_same_names(inner, outer)
    return not any(bool((inner[n] & ~outer[n]).any()) for n in inner)


def pack(mask: Tensor) -> Tensor:
    """Pack booleans to bits: uint8 of length ``ceil(n / 8)``.

    >>> pack(torch.tensor([True, False, True])).tolist()
    [160]
    """
    return torch.from_numpy(np.packbits(mask.numpy().reshape(-1)))


def unpack(bits: Tensor, shape: Iterable[int]) -> Tensor:
    """Undo ``pack`` for a mask of the given shape."""
    shape = tuple(shape)
    flat = np.unpackbits(bits.numpy(), count=int(np.prod(shape, dtype=np.int64)))
    return torch.from_numpy(flat.astype(bool)).reshape(shape)


def save_mask(path: str | Path, mask: Mask) -> None:
    """Write a mask to one safetensors file, a bit per weight."""
    shapes = {name: ",".join(map(str, m.shape)) for name, m in mask.items()}
    write_atomic(Path(path), save({n: pack(m) for n, m in mask.items()}, metadata=shapes))


def load_mask(path: str | Path) -> Mask:
    """Read a mask that ``save_mask`` wrote."""
    content = _read(Path(path))
    try:
        bits, shapes = load(content), metadata(content)
        return {n: unpack(b, map(int, filter(None, shapes[n].split(",")))) for n, b in bits.items()}
    except (SafetensorError, KeyError, ValueError) as error:
        raise LthError(f"{path}: damaged mask file ({error}); write it again") from None


def metadata(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file's bytes."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]).get("__metadata__", {})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise LthError(f"{path}: no such file") from None


def _check_same_names(a: Mask, b: Mask) -> None:
    if a.keys() != b.keys():
        raise LthError(f"masks name different weights: {sorted(a.keys() ^ b.keys())}")
