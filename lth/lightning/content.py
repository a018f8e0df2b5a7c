"""The content of a task's data: a digest of what its loaders give, not of where it lies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sized
from hashlib import sha256
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, Sampler, Subset, TensorDataset

from lth.identity import Walk, tensor_digest
from lth.networks.drawn import drawing

LARGEST = 20_000
"""Items of a data set that are read through; of a larger one the object and its code count."""

FIRST = 1000
"""Items of a stream that are read."""


def content_of(loaders: Iterable[Any]) -> tuple[str, dict[str, str]]:
    """Return the digest of some loaders' data, and the pieces of code that it took."""
    pieces: dict[str, str] = {}
    found = [_loader(loader, pieces) for loader in loaders]
    return sha256("|".join(found).encode()).hexdigest(), pieces


def _loader(loader: Any, pieces: dict[str, str]) -> str:
    """Digest a loader: its data, how it makes batches, what it draws by."""
    dataset = getattr(loader, "dataset", None)
    if dataset is None:
        return _walked(loader, pieces)
    sampler, size = getattr(loader, "sampler", None), getattr(loader, "batch_size", None)
    about = [
        size, getattr(loader, "drop_last", None),
        _walked(getattr(loader, "collate_fn", None), pieces), *_drawn(sampler, pieces),
    ]  # fmt: skip
    if size is None:  # batches are whose batch_sampler it is
        about += _drawn(getattr(loader, "batch_sampler", None), pieces)
    return sha256(repr((about, _dataset(dataset, pieces))).encode()).hexdigest()


def _dataset(dataset: Any, pieces: dict[str, str]) -> str:
    """Digest a data set by its items, which are drawn from one seed where they are drawn."""
    if type(dataset) is TensorDataset:
        return _of(dataset.tensors)
    if type(dataset) is Subset:
        rows = torch.as_tensor(list(dataset.indices))
        if isinstance(dataset.dataset, TensorDataset) and type(dataset.dataset) is TensorDataset:
            return _of([t[rows] for t in dataset.dataset.tensors])
    found = sha256()
    with drawing(0), torch.no_grad():
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
            found.update(_walked(dataset, pieces).encode())
            items: Iterable[Any] = islice(iter(dataset), FIRST)
        elif isinstance(dataset, Sized) and len(dataset) <= LARGEST:
            rows: Any = dataset
            items = (rows[i] for i in range(len(dataset)))
        else:
            return _walked(dataset, pieces)
        for item in items:
            found.update(_of(item).encode())
    return found.hexdigest()


def _of(item: Any) -> str:
    if isinstance(item, Tensor):
        return f"{item.dtype}{tuple(item.shape)}{tensor_digest(item)}"
    if isinstance(item, tuple | list):
        return f"[{','.join(map(_of, item))}]"
    if isinstance(item, dict):
        return f"{{{','.join(f'{k}:{_of(v)}' for k, v in item.items())}}}"
    if item is None or isinstance(item, bool | int | float | str | bytes):
        return repr(item)
    if hasattr(item, "tobytes") and hasattr(item, "size"):  # numpy's arrays, PIL's pictures
        return f"{getattr(item, 'shape', item.size)}{sha256(item.tobytes()).hexdigest()}"
    return Walk(item).digest


def _walked(value: Any, pieces: dict[str, str]) -> str:
    walk = Walk(value)
    pieces |= walk.pieces
    return walk.digest


def _drawn(sampler: Any, pieces: dict[str, str]) -> list[str]:
    """Return the kind of a sampler and what it draws by: rows, weights, a sampler beneath."""
    if sampler is None or is_plain(sampler):
        return [type(sampler).__name__, _walked(sampler, pieces)]
    own = getattr(sampler, "__dict__", {})
    found = [type(sampler).__name__, plain_state(own, pieces)]
    beneath = [v for v in own.values() if isinstance(v, Sampler)]
    return found + [part for other in beneath for part in _drawn(other, pieces)]


def plain_state(own: Mapping[str, Any], pieces: dict[str, str]) -> str:
    """Digest those of an object's attributes that are numbers, text, tensors, or hold only such."""
    return _walked({n: v for n, v in own.items() if is_plain(v)}, pieces)


def is_plain(value: Any) -> bool:
    """Whether a value is data through and through; where a file lies is none."""
    if isinstance(value, str):
        return os.sep not in value
    if isinstance(value, Mapping):
        return type(value) is dict and is_plain([*value.keys(), *value.values()])
    if type(value) in (list, tuple, set, frozenset):
        return all(map(is_plain, value))
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype != object
    return value is None or isinstance(value, bool | int | float | Tensor)
