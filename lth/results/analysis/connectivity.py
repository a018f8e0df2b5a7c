"""Linear mode connectivity: is there a rise of the error between two trained networks?

Frankle et al. 2020, arXiv 1912.05671, Section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lth.data.dataset import Dataset
from lth.errors import LthError
from lth.networks.ticket import State
from lth.results.analysis.evaluate import Evaluator, Rows
from lth.spec.build import Spec
from lth.types import Loss

ALPHAS = 30

STABLE = 0.02
"""Below this rise of the error a network is called stable to SGD noise (Section 3)."""


@dataclass(frozen=True)
class Path:
    """Errors (1 - accuracy) and losses at ``alphas`` along the line from network a to b."""

    alphas: list[float]
    errors: list[float]
    losses: list[float]

    @property
    def barrier(self) -> float:
        """The instability: ``max error - mean of the two ends' errors``; stable is below 0.02."""
        return max(self.errors) - (self.errors[0] + self.errors[-1]) / 2

    @property
    def loss_barrier(self) -> float:
        """The same of the loss: ``max loss - mean of the two ends' losses``."""
        return max(self.losses) - (self.losses[0] + self.losses[-1]) / 2


def interpolate(a: State, b: State, alpha: float) -> State:
    """Return ``(1 - alpha) a + alpha b``, params and floating buffers; exact at both ends."""
    if a.params.keys() != b.params.keys():
        raise LthError("two networks of different models have no line between them")

    def between(x: Tensor, y: Tensor) -> Tensor:
        return torch.lerp(x, y, alpha) if x.is_floating_point() else x

    parts = [{n: between(x[n], y[n]) for n in x} for x, y in zip(a, b, strict=True)]
    return State(*parts)


def path(
    model: Spec,
    a: State,
    b: State,
    dataset: Dataset,
    rows: Rows,
    alphas: int = ALPHAS,
    calibrate_on: Tensor | None = None,
    loss: Loss | None = None,
) -> Path:
    """Measure ``alphas`` evenly spaced points on one split, see ``paths``."""
    return paths(Evaluator(model, dataset, loss), a, b, {"": rows}, alphas, calibrate_on)[""]


def paths(
    evaluator: Evaluator,
    a: State,
    b: State,
    splits: Mapping[str, Rows],
    alphas: int = ALPHAS,
    calibrate_on: Tensor | None = None,
) -> dict[str, Path]:
    """Measure ``alphas`` evenly spaced points, both ends included, on every split.

    BatchNorm's running statistics are interpolated like the weights. With ``calibrate_on`` (raw
    training inputs) they are taken anew at every point, the ends too: measured under two regimes,
    a network would have a barrier to itself.
    """
    measured = {name: Path([], [], []) for name in splits}
    for alpha in (i / (alphas - 1) for i in range(alphas)):
        state = interpolate(a, b, alpha)
        if calibrate_on is not None:
            state = evaluator.recalibrate(state, calibrate_on)
        for name, rows in splits.items():
            values = evaluator.measure(state, rows)
            measured[name].alphas.append(alpha)
            measured[name].errors.append(evaluator.error(values))
            measured[name].losses.append(values["loss"])
    return measured
