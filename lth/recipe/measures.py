"""Measures: factories of what evaluation reports, sums over examples that a split's size divides.

A measure is called with ``(outputs, batch)`` and gives the sum over the batch's examples, a pair
``(sum, count)`` where it is a mean over something else, or a dict of these by a name of its own:
``{"exit1": ...}`` of the measure ``accuracy`` is reported as ``accuracy/exit1``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lth.errors import LthError
from lth.recipe.adapt import as_loss
from lth.spec.argument_types import is_whole
from lth.types import Batch, Measure

FEWEST, MOST = -700.0, 700.0
"""Between these a number's exponential is finite."""


def accuracy() -> Measure:
    """Share of examples whose greatest output is the target's: ``outputs [B, K], targets [B]``.

    Of sequences (``[B, T, K]``, ``[B, T]``) the mean over an example's tokens.
    """
    return _per_example(lambda outputs, targets: outputs.argmax(-1) == targets)


def top_k(k: int = 5) -> Measure:
    """Share of examples whose target is among the ``k`` greatest outputs."""
    if not is_whole(k, 1):
        raise LthError(f"top_k: k={k!r}: a whole number from 1")

    def among(outputs: Tensor, targets: Tensor) -> Tensor:
        best = outputs.topk(min(k, outputs.shape[-1]), -1).indices
        return (best == targets.unsqueeze(-1)).any(-1)

    return _per_example(among)


def tokens(ignore: int | None = None) -> Measure:
    """Share of all tokens that are predicted, ``[B, T, K], [B, T]``; targets ``ignore`` are none.

    Unlike ``accuracy`` it gives every token the same weight, not every example.
    """

    def measure(outputs: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        targets = batch.targets
        _check_classes(outputs, targets)
        counted = (
            torch.ones_like(targets, dtype=torch.bool) if ignore is None else targets != ignore
        )
        right = (outputs.argmax(-1) == targets) & counted
        return right.double().sum(), counted.double().sum()

    return measure


def perplexity(ignore: int | None = None) -> Measure:
    """``exp`` of the mean cross-entropy over all tokens, ``[B, T, K], [B, T]``; less is better."""

    def measure(outputs: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        _check_classes(outputs, batch.targets)
        targets, index = batch.targets.reshape(-1), -100 if ignore is None else ignore
        logits = outputs.reshape(-1, outputs.shape[-1])
        total = F.cross_entropy(logits, targets, ignore_index=index, reduction="sum")
        return total.double(), (targets != index).double().sum()

    vars(measure)["finish"] = lambda mean: math.exp(min(max(mean, FEWEST), MOST))
    return measure


def recall(label: int) -> Measure:
    """Share of a class's examples that are given it: ``outputs [B, K], targets [B]``.

    A split without any example of the class has none.
    """
    if not is_whole(label, 0):
        raise LthError(f"recall: label={label!r}: a class, a whole number from 0")

    def measure(outputs: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        _check_classes(outputs, batch.targets)
        if label >= outputs.shape[-1]:
            raise LthError(f"label={label}: the classes are 0..{outputs.shape[-1] - 1}")
        own = batch.targets == label
        return (own & (outputs.argmax(-1) == label)).double().sum(), own.double().sum()

    vars(measure)["partial"] = True
    return measure


def mse() -> Measure:
    """Mean squared error, ``mean over an example's values of (outputs - targets)^2``."""
    return _per_example(lambda outputs, targets: (outputs - targets) ** 2, classes=False)


def mae() -> Measure:
    """Mean absolute error, ``mean over an example's values of |outputs - targets|``."""
    return _per_example(lambda outputs, targets: (outputs - targets).abs(), classes=False)


def of_loss(loss: Any) -> Measure:
    """Report a loss (one that is a mean over the batch) as a measure."""
    called = as_loss(loss, "of_loss")
    return lambda outputs, batch: called(outputs, batch).double() * len(batch.targets)


def per_output(of: Measure, names: Sequence[str] | None = None) -> Measure:
    """Measure every output by itself where there are several: a tuple, a list or a dict of them.

    Of a tuple they are ``exit1``, ``exit2``, ..., or as ``names`` says; of a dict its keys. A
    single tensor, which a network of several exits gives where it is measured, is measured alone.
    """

    def measure(outputs: Any, batch: Batch) -> Any:
        if isinstance(outputs, Tensor):
            return of(outputs, batch)
        named = outputs if isinstance(outputs, Mapping) else _named(outputs, names)
        found: dict[str, Any] = {}
        for name, each in named.items():
            value = of(each, batch)
            inner = value if isinstance(value, Mapping) else {"": value}
            found |= {"/".join(filter(None, (str(name), n))): v for n, v in inner.items()}
        return found

    if finish := getattr(of, "finish", None):
        vars(measure)["finish"] = finish
    return measure


def _named(outputs: Any, names: Sequence[str] | None) -> dict[str, Any]:
    if not isinstance(outputs, tuple | list):
        kind = type(outputs).__name__
        raise LthError(f"per_output: the model gives a {kind}, not several outputs")
    names = names or [f"exit{n + 1}" for n in range(len(outputs))]
    if len(names) != len(outputs):
        raise LthError(f"per_output: names={list(names)}: the model gives {len(outputs)} outputs")
    return dict(zip(names, outputs, strict=True))


def _per_example(score: Callable[[Tensor, Tensor], Tensor], classes: bool = True) -> Measure:
    """Sum over examples of the mean over each one's values."""

    def measure(outputs: Any, batch: Batch) -> Tensor:
        (_check_classes if classes else _check_values)(outputs, batch.targets)
        found = score(outputs, batch.targets)
        if found.ndim == 1:
            return found.sum()
        return found.double().flatten(1).mean(1).sum()

    return measure


def _check_classes(outputs: Any, targets: Tensor) -> None:
    _check_tensor(outputs)
    if targets.is_floating_point():
        raise LthError("it is of classes, and the targets are numbers: measure mse or mae")
    if outputs.shape[:-1] != targets.shape:
        raise LthError(
            f"outputs {list(outputs.shape)}, targets {list(targets.shape)}: a score per class is "
            "the outputs' last dimension"
        )


def _check_values(outputs: Any, targets: Tensor) -> None:
    _check_tensor(outputs)
    if not targets.is_floating_point():
        raise LthError("it is of numbers, and the targets are classes: measure accuracy")
    if outputs.shape != targets.shape:
        raise LthError(
            f"outputs {list(outputs.shape)}, targets {list(targets.shape)}: they must be alike"
        )


def _check_tensor(outputs: Any) -> None:
    if not isinstance(outputs, Tensor):
        kind = type(outputs).__name__
        raise LthError(f"the model gives a {kind}: measure its outputs by per_output")
