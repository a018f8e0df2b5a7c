"""Splits of unequal sizes in a stack: members who are shown other examples have more or fewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from lth.recipe.evaluation import Measures, Sums
from lth.types import Batch


def filled(first: int, last: int, size: int) -> slice | Tensor:
    """Return the places ``first..last`` of so many; those beyond are filled with the last one."""
    return slice(first, last) if last <= size else torch.arange(first, last).clamp(max=size - 1)


def sums_of_own(measures: Measures, outputs: Any, batch: Batch, own: Sequence[int]) -> Sums:
    """Measure every member ``[R, B, ...]`` by itself, on the first ``own`` of its examples."""
    found: list[Sums] = []
    for member, count in enumerate(own):

        def mine(tensor: Tensor, m: int = member, n: int = count or 1) -> Tensor:
            return tensor[m, :n]

        given, inputs, targets, rows, teacher = tree_map(
            mine, (outputs, batch.inputs, batch.targets, batch.rows, batch.teacher)
        )
        sums = measures(given, Batch(inputs, targets, rows, batch.step, teacher))
        some = float(count > 0)
        found.append({n: (top * some, size * some) for n, (top, size) in sums.items()})
    return {n: _stacked([sums[n] for sums in found]) for n in found[0]}


def _stacked(pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    tops, sizes = zip(*pairs, strict=True)
    return torch.stack(list(tops)), torch.stack(list(sizes))
