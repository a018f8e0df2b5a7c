"""Arms that differ in nothing but the noise of SGD: the children of an instability analysis.

Frankle et al. 2020, arXiv 1912.05671, Section 2: copies of one network, trained under other data
orders and augmentations. ``lth.results.analysis.connectivity`` then looks at the line between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from lth.arms.protocol import Arm, draw_seed
from lth.networks import masks
from lth.networks.ticket import State, Ticket, layers_of
from lth.pruning.needs import takes


def sgd_noise() -> Arm:
    """The winning ticket itself, under another data order and augmentation."""
    return lambda winner, generator: replace(winner, noise=draw_seed(generator))


def dense_child() -> Callable[..., Ticket]:
    """The dense network at the point that tickets rewind to, under its own order and augmentation.

    With ``rewind.step=k`` two copies of it, at level 1, give the dense network's instability at k.
    Where tickets keep trained weights it is the trained dense network.
    """

    def arm(
        winner: Ticket, generator: torch.Generator, *, dense: State | None = None
    ) -> Ticket:  # fmt: skip
        whole = masks.full(layers_of(winner.model), winner.mask)
        params, buffers = dense or (winner.params, winner.buffers)
        child = replace(winner, mask=whole, params=params, buffers=buffers)
        return takes(replace(child, noise=draw_seed(generator)), "dense")

    return arm
