"""Mask arithmetic: pure functions over ``dict[name, BoolTensor]``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from lth.errors import LthError
from lth.files import (
    demand,
    is_shape,
    packed_length,
    parse,
    read_tensors,
    reading,
    tensors_digest,
    write_atomic,
)
from lth.networks.layers import Layers
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


def size(mask: Mask) -> int:
    """Count the weights that a mask speaks of, kept or not."""
    return sum(m.numel() for m in mask.values())


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
    """Undo ``pack`` for a mask of the given shape; bits of another number are refused."""
    size = is_shape(shape := tuple(shape))
    demand(size is not None, f"{shape} is no shape of a mask")
    assert size is not None
    fits = bits.dtype == torch.uint8 and bits.shape == (packed_length(size),)
    demand(fits, f"a mask of shape {size} takes {packed_length(size)} bytes, not {bits.numel()}")
    flat = np.unpackbits(bits.numpy())
    count = int(np.prod(size, dtype=np.int64))
    demand(not flat[count:].any(), "a mask's last bits stand for no weight")
    return torch.from_numpy(flat[:count].astype(bool)).reshape(size)


def save_mask(path: str | Path, mask: Mask) -> None:
    """Write a mask to one safetensors file, a bit per weight."""
    bits = {n: pack(m) for n, m in mask.items()}
    shapes = json.dumps({n: list(m.shape) for n, m in mask.items()})
    meta = {"shapes": shapes, "digest": tensors_digest(bits | {"": _as_bytes(shapes)})}
    write_atomic(Path(path), save(bits, metadata=meta))


def load_mask(path: str | Path) -> Mask:
    """Read a mask that ``save_mask`` wrote; anything else is refused in one line."""
    with reading(path, "file", "write it again"):
        bits, meta = read_tensors(Path(path).read_bytes())
        return _unpacked(bits, meta)


def _unpacked(bits: Params, meta: dict[str, str]) -> Mask:
    if meta.keys() != {"shapes", "digest"}:  # as version 0.1.0 wrote them
        shapes = {n: [int(s) for s in text.split(",") if s] for n, text in meta.items()}
    else:
        whole = tensors_digest(bits | {"": _as_bytes(meta["shapes"])}) == meta["digest"]
        demand(whole, "its checksum does not fit")
        shapes = parse(meta["shapes"])
    demand(isinstance(shapes, dict) and shapes.keys() == bits.keys(), "it lacks a mask's shape")
    return {n: unpack(b, shapes[n]) for n, b in bits.items()}


def _as_bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def _check_same_names(a: Mask, b: Mask) -> None:
    if a.keys() != b.keys():
        raise LthError(f"masks name different weights: {sorted(a.keys() ^ b.keys())}")
