"""What a study's scores look at: a probe of every trial, over examples of its training split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lth.data.dataset import Dataset
from lth.pruning.experiment import Validation
from lth.pruning.probe import Probe
from lth.recipe.recipe import Recipe
from lth.spec.build import build
from lth.train.batches import Batches
from lth.train.job import Streams


def probes(config: Mapping[str, Any], dataset: Dataset, recipe: Recipe) -> Callable[[int], Probe]:
    """Return a trial's probe: examples of its own training split."""
    loss = build(recipe.loss)

    def probe(trial: int) -> Probe:
        def examples(number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
            train = Batches(dataset, Streams(config["seed"], trial, 0), recipe.batch).train
            rows = train[torch.randperm(len(train), generator=generator)[:number]]
            return dataset.prepare(dataset.train_inputs[rows]), dataset.train_targets[rows]

        groups = dataset.classes or 1  # so many examples are drawn for each
        return Probe(config["model"], dataset.input_shape, groups, loss, examples)

    return probe


def validation(config: Mapping[str, Any], dataset: Dataset, recipe: Recipe) -> Validation:
    """Return what gives a trial's validation split, or its first examples, prepared."""

    def rows(trial: int, number: int | None = None) -> tuple[Tensor, Tensor]:
        batches = Batches(dataset, Streams(config["seed"], trial, 0), recipe.batch)
        inputs, targets = batches.rows("validation")
        return dataset.prepare(inputs[:number]), targets[:number]

    return rows
