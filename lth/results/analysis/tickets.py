"""The winning tickets of one trial whose masks are drawn: a handful, spread over the densities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple, TypeVar

from lth.networks.ticket import draw_model, layers_of
from lth.results.analysis.structure import Wirings, wirings
from lth.results.analysis.table import Analysis
from lth.types import WINNER, Mask, Params

HANDFUL = 5
LEAST = 1e-9
"""A density for a network without any weight, which has no logarithm."""

T = TypeVar("T")


class Drawn(NamedTuple):
    """A ticket's mask and its density."""

    density: float
    mask: Mask


@dataclass(frozen=True)
class Tickets:
    """Tickets of one trial and learning rate, from dense to sparse, and what they started from.

    ``pixels`` is the layer that reads the pictures directly, if there is one.
    """

    trial: int
    lr: float
    drawn: list[Drawn]
    initial: Params
    wirings: Wirings
    pixels: str | None
    input_shape: tuple[int, ...]


def tickets(analysis: Analysis) -> Tickets | None:
    """Choose the first trial's tickets at the least learning rate; None where none was found."""
    members, densities = analysis.members, analysis.densities
    winners = [p for p in members.places if p.arm == WINNER and p.level > 0]
    if not winners:
        return None
    first = winners[0]
    line = [p for p in winners if (p.lr, p.trial) == (first.lr, first.trial)]
    shown = spread_out({p: densities[p] for p in line})
    drawn = [Drawn(densities[p], members[p].mask) for p in shown]
    dense, shape = members[first._replace(level=0)], analysis.dataset.input_shape
    return Tickets(
        first.trial, first.lr, drawn, dense.start.params, wirings(draw_model(dense.model, 0)),
        reads_pictures(layers_of(dense.model).shapes, drawn[0].mask, shape), shape,
    )  # fmt: skip


def spread_out(densities: Mapping[T, float], count: int = HANDFUL) -> list[T]:
    """Choose levels of which the logarithms of density lie evenly, the ends included.

    >>> spread_out({1: 0.8, 2: 0.4, 3: 0.3, 4: 0.2}, 3)
    [1, 2, 4]
    """
    order = sorted(densities, key=lambda level: -densities[level])
    if len(order) <= count:
        return order
    logs = {level: math.log(max(densities[level], LEAST)) for level in order}
    top, bottom = logs[order[0]], logs[order[-1]]
    marks = [top + (bottom - top) * i / (count - 1) for i in range(count)]
    near = {min(order, key=lambda level: abs(logs[level] - m)) for m in marks}
    return [level for level in order if level in near]


def reads_pictures(
    shapes: dict[str, tuple[int, ...]], mask: Mask, input_shape: Sequence[int]
) -> str | None:
    """Return the first layer, if it has a weight for every pixel: ``[out, C H W]``."""
    name, shape = next(iter(shapes.items()))
    whole = name in mask and len(input_shape) == 3 and shape[1:] == (prod(input_shape),)
    return name if whole else None
