"""Measure networks on a split, outside training: untrained ones, or between two trained ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from lth.data.dataset import Dataset
from lth.measured import is_better_higher
from lth.networks.ticket import State, draw_model, load_state
from lth.recipe.adapt import as_loss
from lth.recipe.evaluation import Measures
from lth.recipe.loss import cross_entropy
from lth.recipe.measures import accuracy
from lth.spec.build import Spec
from lth.train import evaluate
from lth.train.batches import Batches
from lth.train.job import Streams
from lth.types import Loss, Measure, PlainLoss

Rows = tuple[Tensor, Tensor]
"""Raw inputs and targets of a split."""


class Evaluator:
    """Measures any number of states of one model, by ``loss`` and accuracy, or as ``measures`` say.

    The loss is the study's, cross-entropy if None.

    Its ``network`` is built once and loaded in place, so an evaluator is for one thread.
    """

    def __init__(
        self,
        model: Spec,
        dataset: Dataset,
        loss: Loss | PlainLoss | None = None,
        measures: Mapping[str, Measure] | None = None,
    ) -> None:
        named = {"accuracy": accuracy()} if measures is None else measures
        self.dataset, self.measures = dataset, Measures(as_loss(loss or cross_entropy()), named)
        self.network = draw_model(model, 0).to(dataset.train_inputs.device).eval()
        norms = (m for m in self.network.modules() if isinstance(m, _BatchNorm))
        self._norms = [norm for norm in norms if norm.track_running_stats]

    def error(self, values: Mapping[str, float]) -> float:
        """Return ``1 - accuracy``; without an accuracy the first measure, or 1 less it.

        Of a measure with several values it is the last.
        """
        name = next(iter(self.measures.named))
        if name not in values:
            name = [n for n in values if n.startswith(f"{name}/")][-1]
        return 1 - values[name] if is_better_higher(name, None) else values[name]

    @property
    def has_norms(self) -> bool:
        """Whether the model keeps running statistics, which interpolation does not make right."""
        return bool(self._norms)

    def measure(self, state: State, rows: Rows) -> dict[str, float]:
        """Return ``loss``, ``accuracy``, ... on ``rows``, norms on their running statistics."""
        load_state(self.network, state)
        return evaluate.measure(self.network, self.measures, self.dataset, rows)

    def recalibrate(self, state: State, inputs: Tensor) -> State:
        """Return the state with every BatchNorm's running statistics taken anew, over ``inputs``.

        Between two networks the statistics of neither are right (Jordan et al. 2023, arXiv
        2211.08403, Section 3); the average over batches is exact for equal batches.
        """
        if not self._norms:
            return state
        load_state(self.network, state)
        momenta = [norm.momentum for norm in self._norms]
        for norm in self._norms:
            norm.reset_running_stats()
            norm.train().momentum = None  # cumulative average
        with torch.no_grad():
            for batch in inputs.split(evaluate.EVALUATION_BATCH):
                self.network(self.dataset.prepare(batch))
        for norm, momentum in zip(self._norms, momenta, strict=True):
            norm.eval().momentum = momentum
        return State(state.params, {n: b.clone() for n, b in self.network.named_buffers()})


def rows_of(dataset: Dataset, name: str, seed: int, trial: int) -> Rows:
    """Return the raw inputs and targets of a trial's split, as training had them."""
    return Batches(dataset, Streams(seed, trial, 0), 1).rows(name)


def measure(
    model: Spec, state: State, dataset: Dataset, rows: Rows, loss: Loss | PlainLoss | None = None
) -> dict[str, float]:
    """Return the measures of one network, see ``Evaluator``."""
    return Evaluator(model, dataset, loss).measure(state, rows)
