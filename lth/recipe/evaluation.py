"""Evaluation: named numbers of outputs and batches, added up over a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lth.errors import LthError, told
from lth.types import Batch, Loss, Measure

EVALUATION_BATCH = 500
"""Rows per forward pass where a network is evaluated or looked at; part of the numerics."""

LOSS = "loss"
"""The measure that every evaluation reports: the study's loss, also of who trains on another."""

Sums = dict[str, tuple[Tensor, Tensor]]
"""By name: a sum, and by what it is divided at the end; float64."""


@dataclass(frozen=True)
class Measures:
    """A study's loss and its measures by name: what is reported of outputs and batches."""

    loss: Loss
    named: Mapping[str, Measure]

    def __call__(self, outputs: Any, batch: Batch) -> Sums:
        """Return the sums of one batch, the loss first unless a measure of that name is given."""
        size = torch.tensor(float(len(batch.targets)), dtype=torch.float64)
        found: Sums = {}
        if LOSS not in self.named:
            found[LOSS] = self.loss(outputs, batch).double() * len(batch.targets), size
        for name, measure in self.named.items():
            for key, value in _parts(name, measure, outputs, batch).items():
                top, count = value if isinstance(value, tuple) else (value, size)
                found[key] = torch.as_tensor(top).double(), torch.as_tensor(count).double()
        return found

    def values(self, sums: Mapping[str, tuple[float, float]]) -> dict[str, float]:
        """Divide; a measure that has something left to do (``finish``) does it.

        One of some examples only (``partial``) is left out where there are none of them.
        """
        found = {
            n: top / count if count else float("nan") for n, (top, count) in sums.items()
            if count or not getattr(self.named.get(n.partition("/")[0]), "partial", False)
        }  # fmt: skip
        for name, measure in self.named.items():
            if finish := getattr(measure, "finish", None):
                names = [n for n in found if n == name or n.startswith(f"{name}/")]
                found |= {n: finish(found[n]) for n in names}
        return found


def _parts(name: str, measure: Measure, outputs: Any, batch: Batch) -> dict[str, Any]:
    try:
        given = measure(outputs, batch)
    except Exception as error:
        first = str(told(error)).partition("\n")[0]
        raise LthError(f"recipe.measures.{name}: {first}") from error
    if not isinstance(given, Mapping):
        return {name: given}
    return {f"{name}/{key}" if key else name: value for key, value in given.items()}


def as_floats(outputs: Any) -> Any:
    """Return outputs in float32, a tensor or any nesting of them: autocast may give less."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.is_floating_point() else outputs
    if isinstance(outputs, Mapping):
        return {n: as_floats(o) for n, o in outputs.items()}
    if isinstance(outputs, tuple | list):
        return tuple(as_floats(o) for o in outputs)
    return outputs
