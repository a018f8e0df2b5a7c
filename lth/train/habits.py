"""What a model does in training beside computing, found by trying it."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import numpy as np
import torch

from lth.data.dataset import Dataset
from lth.networks.ticket import draw_model, drawing, memory_key
from lth.spec.build import Spec
from lth.train.job import Job


class Habits(NamedTuple):
    """What a model does in training beside computing: draw random numbers, replace buffers."""

    draws: bool
    replaces: tuple[str, ...]


def draws_random_numbers(job: Job, dataset: Dataset) -> bool:
    """Whether training draws random numbers: a gate does, and dropout."""
    return job.ticket.built_views().draws or habits_of(job.ticket.model, dataset).draws


def habits_of(model: Spec, dataset: Dataset) -> Habits:
    """Try two examples in training: whether it draws by any generator, or assigns buffers anew."""
    key = memory_key(model)
    if key not in _habits:
        network = draw_model(model, 0).train()
        before = dict(network.named_buffers())
        with drawing(), torch.no_grad():
            generators = _generators()
            network(dataset.prepare(dataset.train_inputs[:2]).cpu())
            draws = _generators() != generators
        after = dict(network.named_buffers())
        _habits[key] = Habits(draws, tuple(n for n, b in before.items() if after.get(n) is not b))
    return _habits[key]


_habits: dict[str, Habits] = {}  # a pure function's memory, nothing else


def _generators() -> tuple[Any, ...]:
    """Return where the generators stand that a module may draw from."""
    numpy = np.random.get_state(legacy=False)
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), repr(numpy)
