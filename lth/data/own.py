"""Data of one's own: arrays and torch data sets, as they come, made a ``Dataset``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import data as torch_data

from lth.data.arrays import tensor_of
from lth.data.dataset import Dataset, tensors
from lth.data.splits import Splits, splits_of, tenth
from lth.errors import LthError, told
from lth.spec.build import build, target_of
from lth.types import Augment

TWICE = 16
"""Items read twice, to see whether they are drawn at random."""

SHAPES = (
    "an lth.data.Dataset, (train, test) of torch data sets, or of pairs of arrays: "
    "((inputs, targets), (inputs, targets)); or these by name, 'train', 'test' and perhaps "
    "'validation'"
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
    if isinstance(found, Mapping):
        splits = splits_of(found, f"{where}: its mapping")
        return _of_splits(splits, where, name)
    parts = list(found) if isinstance(found, tuple | list) else []
    if len(parts) == 4 and all(_is_array(p) for p in parts):
        parts = _paired(parts)
    if len(parts) != 2:
        raise LthError(f"{where} gave no data set but {_words(found)}: give {SHAPES}")
    return _of_splits(Splits(*parts), where, name)


def _of_splits(splits: Splits, where: str, name: str) -> Dataset:
    """Make a ``Dataset`` of splits that are pairs of arrays, or torch data sets, all of them."""
    own = None if isinstance(splits.validation, Integral) else splits.validation
    given = [s for s in (splits.train, splits.test, own) if s is not None]
    if all(isinstance(s, tuple | list) and len(s) == 2 for s in given):
        held_out: Any = splits.validation
        held_out = tenth(splits.train[1]) if held_out is None else held_out
        return tensors(name, splits.train, splits.test, held_out)
    if len(given) < 2 or any(isinstance(s, tuple | list) or _is_array(s) for s in given):
        raise LthError(f"{where} gave no data set but {_words(tuple(given))}: give {SHAPES}")
    return from_dataset(splits.train, splits.test, splits.validation, name=name)


def from_dataset(
    train: Any,
    test: Any,
    validation: Any = None,
    augment: Augment | None = None,
    name: str | None = None,
    normalise: bool | None = None,
    classes: int | None = None,
) -> Dataset:
    """Read two torch data sets of ``(input, class)`` once, into tensors.

    Inputs may be tensors, arrays or pictures (PIL's, then uint8 ``[C, H, W]``), all of one shape.
    ``validation`` training examples are held out, by default a tenth; or it is a data set too. What
    a data set draws at random (augmentation) would be the same in every epoch and is refused: see
    ``augment``. ``classes`` as in ``tensors``: 0 for a regression, whose targets are numbers.
    """
    name = name or type(train).__name__.lower()
    parts = [_read(d, f"{name}: {split}") for split, d in (("train", train), ("test", test))]
    if validation is None:
        validation = tenth(parts[0][1])
    elif hasattr(validation, "__getitem__") or hasattr(validation, "__iter__"):
        validation = _read(validation, f"{name}: validation")
    return tensors(
        name, parts[0], parts[1], validation, augment, normalise=normalise, classes=classes
    )


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


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "__array__")


def _words(found: Any) -> str:
    """Say in a few words what something is: never what is in it."""
    if isinstance(found, tuple | list) and len(found) <= 4:
        return f"({', '.join(_words(f) for f in found)})"
    if isinstance(found, tuple | list):
        return f"a {type(found).__name__} of {len(found):,}"
    return f"a {type(found).__name__}"
