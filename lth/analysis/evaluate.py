"""Measure a network on a split, outside training: untrained, or between two trained ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lth.data.dataset import Dataset, split
from lth.loss import cross_entropy
from lth.spec import Spec
from lth.streams import stream
from lth.ticket import State, draw_model
from lth.types import Loss

BATCH = 500


def rows_of(dataset: Dataset, name: str, seed: int, trial: int) -> tuple[Tensor, Tensor]:
    """Return the raw inputs and targets of a trial's split, as training had them."""
    if name == "test":
        return dataset.test_inputs, dataset.test_targets
    train, validation = split(dataset, stream("split", seed, trial))
    index = train if name == "train" else validation
    return dataset.train_inputs[index], dataset.train_targets[index]


def network_of(model: Spec, state: State) -> nn.Module:
    """Return the model with this state."""
    network = draw_model(model, 0)
    network.load_state_dict(state.params | state.buffers, strict=False)
    return network


def measure(
    model: Spec, state: State, dataset: Dataset, rows: tuple[Tensor, Tensor],
    loss: Loss | None = None,
) -> tuple[float, float]:  # fmt: skip
    """Return (mean loss, accuracy) of a network on ``rows``, norms on their running statistics."""
    network, criterion = network_of(model, state).eval(), loss or cross_entropy()
    total, right = 0.0, 0
    with torch.no_grad():
        for inputs, targets in zip(rows[0].split(BATCH), rows[1].split(BATCH), strict=True):
            logits = network(dataset.prepare(inputs))
            total += float(criterion(logits, targets)) * len(targets)
            right += int((logits.argmax(1) == targets).sum())
    return total / len(rows[1]), right / len(rows[1])


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
        for batch in inputs.split(BATCH):
            network(dataset.prepare(batch))
    return State(state.params, {n: b.clone() for n, b in network.named_buffers()})
