"""Data of one's own: arrays and torch data sets, as they come, made a ``Dataset``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import data as torch_data

from lth.data.arrays import tensor_of
from lth.data.dataset import Dataset, tensors
from lth.errors import LthError, told
from lth.spec.build import build, target_of
from lth.types import Augment

TWICE = 16
"""Items read twice, to see whether they are drawn at random."""

SHAPES = (
    "an lth.data.Dataset, (train, test) of torch data sets, or of pairs of arrays: "
    "((inputs, targets), (inputs, targets))"
)


def data_of(spec: Mapping[str, Any], quiet: bool = False) -> Dataset:
    """Build the data set that a spec names: what its factory gives may be any of ``SHAPES``.

    ``quiet`` is for a process that builds again what its user has been told of.
    """
    with warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("ignore")
        target = target_of(spec)
        return dataset_of(build(spec), f"data: {target}", target.rpartition(".")[2])


def dataset_of(found: Any, where: str, name: str = "data") -> Dataset:
    """Make a ``Dataset`` of what a data factory gave; a tenth is held out where none says."""
    if isinstance(found, Dataset):
        return found
    if isinstance(found, Mapping) and set(found) == {"train", "test"}:
        found = found["train"], found["test"]
    parts = list(found) if isinstance(found, tuple | list) else []
    if len(parts) == 4 and all(_is_array(p) for p in parts):
        parts = _paired(parts)
    if len(parts) == 2 and all(isinstance(p, tuple | list) and len(p) == 2 for p in parts):
        (inputs, targets), test = parts
        return tensors(name, (inputs, targets), test, _tenth(targets))
    if len(parts) != 2 or any(isinstance(p, tuple | list) or _is_array(p) for p in parts):
        raise LthError(f"{where} gave no data set but {_words(found)}: give {SHAPES}")
    return from_dataset(parts[0], parts[1], name=name)


def from_dataset(
    train: Any,
    test: Any,
    validation: int | None = None,
    augment: Augment | None = None,
    name: str | None = None,
    normalise: bool | None = None,
) -> Dataset:
    """Read two torch data sets of ``(input, class)`` once, into tensors.

    Inputs may be tensors, arrays or pictures (PIL's, then uint8 ``[C, H, W]``), all of one shape.
    ``validation`` training examples are held out, by default a tenth. What a data set draws at
    random (augmentation) would be the same in every epoch and is refused: see ``augment``.
    """
    name = name or type(train).__name__.lower()
    parts = [_read(d, f"{name}: {split}") for split, d in (("train", train), ("test", test))]
    held_out = _tenth(parts[0][1]) if validation is None else validation
    return tensors(name, parts[0], parts[1], held_out, augment, normalise=normalise)


def _read(dataset: Any, where: str) -> tuple[Tensor, Tensor]:
    """Read every item of a map-style data set."""
    size = _size(dataset, where)
    if type(dataset) is torch_data.TensorDataset and len(dataset.tensors) == 2:
        return dataset.tensors[0], dataset.tensors[1]
    for row in dict.fromkeys(i * (size - 1) // (TWICE - 1) for i in range(TWICE)):
        first, again = (_item(dataset, row, where) for _ in range(2))
        if not all(_same(a, b) for a, b in zip(first, again, strict=True)):
            raise LthError(
                f"{where}[{row}] is not the same when read twice: it draws at random; leave "
                "augmentation to augment=, such as lth.data.flip_and_crop()"
            )
    inputs, targets = zip(*_items(dataset, size, where), strict=True)
    return torch.stack(inputs), torch.stack(targets)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())


def _size(dataset: Any, where: str) -> int:
    kind = type(dataset).__name__
    if isinstance(dataset, torch_data.DataLoader):
        raise LthError(f"{where} is a {kind}: give the data set that it loads")
    if isinstance(dataset, torch_data.IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise LthError(
            f"{where} is a {kind}, which has no items by number: give a data set that has"
        )
    try:
        size = len(dataset)
    except Exception as error:
        raise LthError(f"{where} is a {kind} without a length: {told(error)}") from error
    if size == 0:
        raise LthError(f"{where} is empty")
    return size


def _items(dataset: Any, size: int, where: str) -> Iterator[tuple[Tensor, Tensor]]:
    first = _item(dataset, 0, where)
    for row in range(size):
        found = _item(dataset, row, where)
        for what, one, other in zip(("input", "target"), found, first, strict=True):
            if one.shape != other.shape or one.dtype != other.dtype:
                said = [f"{list(t.shape)} of {t.dtype}" for t in (one, other)]
                raise LthError(
                    f"{where}[{row}]: its {what} is {said[0]}, that of the first {said[1]}: bring "
                    "all to one shape"
                )
        yield found


def _item(dataset: Any, row: int, where: str) -> tuple[Tensor, Tensor]:
    try:
        found = dataset[row]
    except Exception as error:
        raise LthError(f"{where}[{row}] cannot be read: {told(error)}") from error
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise LthError(f"{where}[{row}] is {_words(found)}: give (input, class)")
    place = f"{where}[{row}]"
    return _input(found[0], place), tensor_of(found[1], f"{place}: its target")


def _input(value: Any, where: str) -> Tensor:
    """Return an item's input; of a picture its pixels, channels first."""
    if not hasattr(value, "getbands"):  # PIL's pictures have them
        return tensor_of(value, where)
    pixels = np.array(value.convert("RGB") if value.mode == "P" else value)
    return tensor_of(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), where)


def _paired(parts: list[Any]) -> list[Any]:
    """Pair four arrays, (inputs, targets) twice, or both inputs and then both targets."""

    def fits(inputs: Any, targets: Any) -> bool:
        shape = tuple(targets.shape)
        return len(shape) > 0 and len(inputs) == shape[0] and set(shape[1:]) <= {1}

    for a, b, c, d in ((0, 1, 2, 3), (0, 2, 1, 3)):
        if fits(parts[a], parts[b]) and fits(parts[c], parts[d]):
            return [(parts[a], parts[b]), (parts[c], parts[d])]
    return parts


def _tenth(targets: Any) -> int:
    return max(1, (len(targets) if hasattr(targets, "__len__") else 0) // 10)


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "__array__")


def _words(found: Any) -> str:
    """Say in a few words what something is: never what is in it."""
    if isinstance(found, tuple | list) and len(found) <= 4:
        return f"({', '.join(_words(f) for f in found)})"
    if isinstance(found, tuple | list):
        return f"a {type(found).__name__} of {len(found):,}"
    return f"a {type(found).__name__}"
