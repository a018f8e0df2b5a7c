"""Measure the budget of a network: pack it, unpack it, run what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lth.budget.macs import FEW, Watched, macs_of
from lth.measured import Measured
from lth.networks.net import Net
from lth.packing import pack, unpack
from lth.recipe.evaluation import Measures
from lth.records.budget import TEST, VALIDATION, Budget
from lth.records.judged import ACCURACY, valued
from lth.train import evaluate
from lth.train.batches import Batches


@dataclass(frozen=True)
class Scoring:
    """By what a packed file is scored: as training evaluates, over a member's splits.

    ``judged`` is the one of ``measures`` that a study judges by; ``precision`` the trainer's.
    """

    batches: Batches
    measures: Measures
    judged: Measured = ACCURACY
    teacher: nn.Module | None = None
    precision: str = "32"

    def values(self, network: Callable[[Tensor], object], split: str) -> dict[str, float]:
        """Return the measures of a network on a split."""
        data, rows = self.batches.dataset, self.batches.rows(split)
        with self._autocast():
            return evaluate.measure(
                network, self.measures, data, (*rows, self.batches.index(split)), self.teacher
            )

    def images(self) -> Iterator[Tensor]:
        """Yield the prepared inputs of the test split."""
        data = self.batches.dataset
        return (data.prepare(part) for part in data.test_inputs.split(evaluate.EVALUATION_BATCH))

    def few(self) -> Tensor:
        """Return some prepared inputs from all over the test split, which may be sorted."""
        inputs = self.batches.dataset.test_inputs
        rows = torch.linspace(0, len(inputs) - 1, min(FEW, len(inputs))).round().long()
        return self.batches.dataset.prepare(inputs[rows.to(inputs.device)])

    def _autocast(self) -> AbstractContextManager[object]:
        device = self.batches.dataset.test_inputs.device.type
        return torch.autocast(device, torch.bfloat16) if self.precision != "32" else nullcontext()


def measured(net: Net, scoring: Scoring | None = None) -> Budget:
    """Return the budget of a network: everything is of the file that ``pack`` makes of it.

    Without a ``scoring`` what can be had without running it: params, nonzeros, bytes.
    """
    content = pack(net)
    unpacked = unpack(content)
    network = unpacked.module(net.model)
    tensors = tensors_of(network)
    if scoring is None:
        return Budget(params=_size(tensors), nonzeros=_nonzeros(tensors), bytes=len(content))
    network.to(scoring.batches.dataset.test_inputs.device).eval()
    watched = Watched(network)
    scores = {split: scoring.values(watched, split) for split in (TEST, VALIDATION)}
    macs = macs_of(network, scoring.few(), scoring.images, watched)
    name = valued(scores[TEST], scoring.judged)
    return Budget(
        params=_size(tensors), nonzeros=_nonzeros(tensors), bytes=len(content),
        macs=macs.executed, macs_nonzero=macs.nonzero, accuracy=scores[TEST][name],
        validation=scores[VALIDATION][name], measure=name,
    )  # fmt: skip


def tensors_of(network: nn.Module) -> list[Tensor]:
    """Return a module's parameters and persistent buffers, one that is shared once."""
    state: Mapping[str, Tensor] = network.state_dict(keep_vars=True)
    return list({id(t): t for t in state.values() if isinstance(t, Tensor)}.values())


def _size(tensors: Sequence[Tensor]) -> int:
    return sum(t.numel() for t in tensors)


def _nonzeros(tensors: Sequence[Tensor]) -> int:
    return sum(int(torch.count_nonzero(t.detach())) for t in tensors)
