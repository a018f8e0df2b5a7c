"""Measure a network on a split, outside training: untrained, or between two trained ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from lth.data.dataset import Dataset
from lth.loss import cross_entropy
from lth.spec import Spec
from lth.ticket import State, network_of
from lth.train import engine
from lth.train.batches import Batches
from lth.train.job import Streams
from lth.types import Loss


def rows_of(dataset: Dataset, name: str, seed: int, trial: int) -> tuple[Tensor, Tensor]:
    """Return the raw inputs and targets of a trial's split, as training had them."""
    return Batches(dataset, Streams(seed, trial, 0), 1).rows(name)


def measure(
    model: Spec, state: State, dataset: Dataset, rows: tuple[Tensor, Tensor],
    loss: Loss | None = None,
) -> tuple[float, float]:  # fmt: skip
    """Return (mean loss, accuracy) of a network on ``rows``, norms on their running statistics."""
    network = network_of(model, state).eval()
    return engine.measure(network, loss or cross_entropy(), dataset, rows)


def recalibrate(model: Spec, state: State, dataset: Dataset, inputs: Tensor) -> State:
    """Return the state with every BatchNorm's running statistics taken anew, over ``inputs``.

    Between two networks the statistics of neither are right (as Jordan et al. 2023,
    arXiv 2211.08403, show); the average over batches is exact for equal batches.
    """
    network = network_of(model, state).train()
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    if not norms:
        return state
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    with torch.no_grad():
        for batch in inputs.split(engine.EVALUATION_BATCH):
            network(dataset.prepare(batch))
    return State(state.params, {n: b.clone() for n, b in network.named_buffers()})
