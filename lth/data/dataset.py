"""A data set as tensors: what every source of data becomes before anything trains on it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from lth.data.arrays import PIXELS, WHOLE, check_classes, inputs_of, targets_of
from lth.data.normalise import constants, is_normalised, tell_of_far_values
from lth.data.overlap import tell_of_shared_rows
from lth.errors import LthError
from lth.types import Augment


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """Raw inputs (uint8, float, or whole numbers; ``[N, ...]``) and targets.

    Targets are classes, int64 ``[N]`` (``[N, ...]`` where there is one per token or pixel); where
    ``classes`` is 0 they are numbers, float32 ``[N, ...]``.

    ``mean`` and ``std`` (one value per channel or feature, in the inputs' units) are those of the
    official training file; none of them, or int32 and int64 inputs with 0 and 1: inputs pass as
    they are. ``validation`` examples of that file are held out, drawn anew in every trial; or, with
    ``own_validation``, its last ones, the same in every trial, which are a validation split of the
    data's own and not in the constants. The test set is fixed. ``examples`` says which of the
    training examples are seen, and of how many the class is told (lth/data/seen.py); {}: of all.
    """

    name: str
    train_inputs: Tensor
    train_targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    mean: Sequence[float]
    std: Sequence[float]
    classes: int
    validation: int
    augment: Augment | None = None
    note: str = ""
    own_validation: bool = False
    examples: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            self._take_split(split)
        inputs = self.train_inputs, self.test_inputs
        targets = self.train_targets, self.test_targets
        _check_alike(self.name, inputs, targets, "the test set")
        self._check_counts()
        for split in ("train", "test"):
            _check_known(self.name, split, getattr(self, f"{split}_targets"), self.classes)
        self._take_constants()

    def __repr__(self) -> str:
        sizes = f"{len(self.train_targets):,} + {len(self.test_targets):,} examples"
        shape = list(self.input_shape)
        what = f"{self.classes} classes" if self.classes else f"{self.outputs} numbers to predict"
        return f"Dataset({self.name}: {sizes} of shape {shape}, {what})"

    @property
    def digest(self) -> str:
        """Stands for the content: equal tensors, equal digest; hashed whenever it is asked for.

        Never kept: a copy by ``dataclasses.replace`` or a change in place has other content.
        """
        return content_digest(self)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.train_inputs.shape[1:])

    @property
    def training(self) -> int:
        """How many examples a trial trains on."""
        return len(self.train_targets) - self.validation

    @property
    def outputs(self) -> int:
        """Numbers that one example's target has."""
        return math.prod(self.train_targets.shape[1:])

    def prepare(self, raw: Tensor) -> Tensor:
        """Normalise a raw batch: ``(x - mean) / std``, float32; or pass it as it is."""
        if self._as_is:  # type: ignore[attr-defined]
            return raw.long() if raw.dtype in PIXELS else raw
        mean: Tensor = self._mean  # type: ignore[attr-defined]
        std: Tensor = self._std  # type: ignore[attr-defined]
        if raw.dtype in PIXELS or raw.dtype in WHOLE:
            return raw.float().sub_(mean).div_(std)
        return (raw - mean) / std

    def to(self, device: torch.device | str) -> Dataset:
        """Move the tensors."""
        names = ("train_inputs", "train_targets", "test_inputs", "test_targets")
        return replace(self, **{n: getattr(self, n).to(device) for n in names})

    def _take_split(self, split: str) -> None:
        """Take the split's arrays as tensors; refuse what no network here trains on."""
        inputs, targets = f"{split}_inputs", f"{split}_targets"
        found = inputs_of(getattr(self, inputs), f"{self.name}: {inputs}")
        object.__setattr__(self, inputs, found)
        found = targets_of(getattr(self, targets), f"{self.name}: {targets}", self.classes)
        object.__setattr__(self, targets, found)
        rows, answers = len(getattr(self, inputs)), len(getattr(self, targets))
        if rows != answers or rows == 0:
            raise LthError(f"{self.name}: {rows} {split} inputs, {answers} targets")

    def _check_counts(self) -> None:
        """Refuse numbers of classes and of validation examples that make no sense."""
        for name in ("classes", "validation"):
            value = getattr(self, name)
            if isinstance(value, Integral) and not isinstance(value, bool):
                object.__setattr__(self, name, int(value))
        if type(self.classes) is not int or self.classes < 0:
            raise LthError(
                f"{self.name}: classes={self.classes}: a whole number from 1, or 0 for regression"
            )
        total = len(self.train_targets)
        whole = type(self.validation) is int
        lie = "lie in" if whole or isinstance(self.validation, bool) else "be a whole number in"
        if not whole or not 0 < self.validation < total:
            raise LthError(
                f"data.validation={self.validation}: it must {lie} 1..{total - 1}: so many "
                "training examples are held out, to stop early by"
            )

    def _take_constants(self) -> None:
        """Take mean and std as numbers, none, one, or one per channel."""
        channels = self.train_inputs.shape[1]
        for name in ("mean", "std"):
            try:
                values = [float(v) for v in getattr(self, name)]
            except (TypeError, ValueError):
                values = [math.nan]
            object.__setattr__(self, name, values)
            if len(values) not in (0, 1, channels) or not all(math.isfinite(v) for v in values):
                raise LthError(f"{self.name}: {name}: a list of finite numbers, 1, {channels} or 0")
        if len(self.mean) != len(self.std) or min(self.std, default=1.0) <= 0:
            raise LthError(f"{self.name}: std: as many as mean, each above 0")
        shape = (1, -1) + (1,) * (self.train_inputs.ndim - 2)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(self, name), dtype=torch.float32)
            placed = values.reshape(shape).to(self.train_inputs.device)
            object.__setattr__(self, f"_{name}", placed)
        same = set(self.mean) <= {0.0} and set(self.std) <= {1.0}
        whole = self.train_inputs.dtype in WHOLE
        object.__setattr__(self, "_as_is", not self.mean or (whole and same))


def tensors(
    name: str,
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    validation: int | tuple[Any, Any],
    augment: Augment | None = None,
    note: str = "",
    normalise: bool | None = None,
    classes: int | None = None,
) -> Dataset:
    """Make a data set of tensors or arrays ``(inputs, targets)``, and compute its constants.

    ``validation`` is how many training examples are held out, drawn anew in every trial, or a
    validation split of one's own, the same in every trial. ``mean_c`` and ``std_c`` run over every
    pixel of channel c of the training file: exact sums for uint8, so they are the same on every
    machine, else in float64. A channel without spread has std 1. int32 and int64 inputs are tokens
    and pass as they are, unless ``normalise`` is true; if it is false all inputs do, uint8 as
    int64. ``classes`` says how many there are where training need not have an example of each;
    they are counted otherwise. ``classes=0`` says that targets are numbers to predict, ``[N]`` or
    ``[N, ...]``: regression.
    """
    own = isinstance(validation, tuple | list)
    given = {"train": train, "test": test} | ({"validation": validation} if own else {})
    parts = {split: _taken(name, split, pair, classes) for split, pair in given.items()}
    targets = parts["train"][1]
    if classes is None:
        classes = int(max(t.max() for _, t in parts.values())) + 1
        check_classes(name, targets, classes)
    inputs = parts["train"][0]
    mean, std = constants(inputs) if is_normalised(inputs, normalise) else ([], [])
    if own:
        inputs, targets = _joined(name, parts, classes)
    held_out: Any = len(parts["validation"][1]) if own else validation
    found = Dataset(
        name, inputs, targets, *parts["test"], mean, std, classes, held_out, augment, note, own
    )
    if mean and inputs.dtype not in PIXELS:
        tell_of_far_values(name, found.prepare(found.test_inputs))
    if own:
        tell_of_shared_rows(name, parts["validation"][0], parts["train"][0], parts["test"][0])
    return found


def _taken(name: str, split: str, pair: Any, classes: int | None) -> tuple[Tensor, Tensor]:
    """Take a split's arrays as tensors in memory."""
    raw, answers = _pair(name, split, pair)
    inputs = inputs_of(raw, f"{name}: {split}_inputs").cpu()
    targets = targets_of(answers, f"{name}: {split}_targets", classes).cpu()
    if len(inputs) == 0 or len(targets) == 0:
        raise LthError(f"{name}: {len(inputs)} {split} inputs, {len(targets)} targets")
    return inputs, targets


def _joined(
    name: str, parts: Mapping[str, tuple[Tensor, Tensor]], classes: int
) -> tuple[Tensor, Tensor]:
    """Put the validation split behind the training examples, where `split` looks for it."""
    inputs, targets = zip(parts["train"], parts["validation"], strict=True)
    for split in ("train", "validation"):
        rows, answers = (len(part) for part in parts[split])
        if rows != answers:
            raise LthError(f"{name}: {rows} {split} inputs, {answers} targets")
    _check_alike(name, inputs, targets, "the validation split")
    _check_known(name, "validation", targets[1], classes)
    return torch.cat(inputs), torch.cat(targets)


def _pair(name: str, split: str, pair: Any) -> tuple[Any, Any]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        what = f"{len(pair)} things" if isinstance(pair, tuple | list) else type(pair).__name__
        raise LthError(f"{name}: {split} is a pair (inputs, targets), not {what}")
    return pair[0], pair[1]


def _check_alike(
    name: str, inputs: Sequence[Tensor], targets: Sequence[Tensor], where: str
) -> None:
    """Refuse examples of another shape or kind than those of training, which come first."""
    (train, other), shapes = inputs, [list(t.shape[1:]) for t in targets]
    if shapes[0] != shapes[1]:
        raise LthError(
            f"{name}: a target of training has shape {shapes[0]}, one of {where} {shapes[1]}: make "
            "them alike"
        )
    if train.shape[1:] != other.shape[1:]:
        raise LthError(
            f"{name}: an example of training has shape {list(train.shape[1:])}, one of {where} "
            f"{list(other.shape[1:])}: make them alike"
        )
    if train.dtype != other.dtype and not (train.dtype in WHOLE and other.dtype in WHOLE):
        what = where.split()[1]
        raise LthError(
            f"{name}: training inputs are {train.dtype}, {what} inputs {other.dtype}: their units "
            "may differ; make them alike"
        )


def _check_known(name: str, split: str, targets: Tensor, classes: int) -> None:
    if not classes:
        return
    greatest, row = targets.reshape(len(targets), -1).amax(1).max(0)
    if int(greatest) >= classes:
        raise LthError(
            f"{name}: {split}_targets[{int(row)}] = {int(greatest)}: the classes are "
            f"0..{classes - 1}"
        )


def split(dataset: Dataset, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw a trial's (train, validation) rows of the training file: disjoint, together all.

    A validation split of the data's own is not drawn: it is the last rows.
    """
    if dataset.own_validation:
        rows = torch.arange(len(dataset.train_targets))
        return rows[: dataset.training], rows[dataset.training :]
    order = torch.randperm(len(dataset.train_targets), generator=generator)
    return order[dataset.validation :].sort().values, order[: dataset.validation].sort().values


def content_digest(dataset: Dataset) -> str:
    """Hash the tensors, the normalisation constants and what is validated on: SHA-256."""
    found = hashlib.sha256(repr((list(dataset.mean), list(dataset.std), dataset.classes)).encode())
    for name in ("train_inputs", "train_targets", "test_inputs", "test_targets"):
        tensor = getattr(dataset, name).cpu().contiguous()
        found.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    if dataset.own_validation:
        found.update(f"validation|{dataset.validation}".encode())
    if dataset.examples:
        found.update(f"examples|{sorted(dataset.examples.items())}".encode())
    return found.hexdigest()
