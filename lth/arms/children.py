"""Arms that differ in nothing but the noise of SGD: the children of an instability analysis.

Frankle et al. 2020, arXiv 1912.05671, Section 2: copies of one network, trained under other data
orders and augmentations. ``lth.analysis.connectivity`` then looks at the line between them.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from lth import masks
from lth.arms.protocol import Arm, draw_seed
from lth.ticket import Ticket, layers_of


def sgd_noise() -> Arm:
    """The winning ticket itself, under another data order and augmentation."""
    return lambda winner, generator: replace(winner, noise=draw_seed(generator))


def dense_child() -> Arm:
    """The dense network at the step that tickets rewind to, under its own order and augmentation.

    With ``rewind.step=k`` two copies of it, at level 1, give the dense network's instability at k.
    """

    def arm(winner: Ticket, generator: torch.Generator) -> Ticket:
        whole = masks.full(layers_of(winner.model), winner.mask)
        return replace(winner, mask=whole, noise=draw_seed(generator), searched=False)

    return arm
