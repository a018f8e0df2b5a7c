"""Low-rank layers: ``W = U V'``, a thin layer and another one in the place of a wide one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lth.errors import LthError
from lth.networks.rewrites.pairs import (
    Pair,
    Place,
    become,
    convolution,
    factors,
    linear,
    of,
    parameters_like,
    place_of,
    places,
    why_not,
)
from lth.spec.argument_types import is_whole

NAMES = "first", "second"


class Factors(Pair):
    """A linear or convolutional layer of rank r: ``first`` to r channels, then ``second``."""

    first: Any
    second: Any

    @property
    def weight(self) -> Tensor:
        """The weight of the layer that the pair stands for: ``second first``."""
        first, second = self.first.weight, self.second.weight
        product = second.flatten(1) @ first.flatten(1)
        return product.unflatten(1, first.shape[1:])


def low_rank(model: nn.Module, ranks: Mapping[str, int], smaller: bool = True) -> nn.Module:
    """Factorise layers of a model, named in ``ranks``: ``W [m, n] = U [m, r] V' [r, n]``.

    A linear layer becomes two, the first without bias; a convolution ``[O, I, k, k]`` one of the
    same size, stride, padding and dilation with r filters and then a 1x1 convolution, so that
    ``m = O``, ``n = I k k``. The factors are those of the layer's own weight, the best of that rank
    (``pairs.factors``): a fresh model gets factors of a fresh draw, a trained one those of what it
    has learned; at full rank it computes the same. A layer whose factors are no smaller,
    ``r (m + n) >= m n``, is left as it is, unless ``smaller`` is false. A tied weight stays tied.
    The model itself is changed and returned. Denton et al. 2014 (arXiv 1404.0736), Jaderberg et
    al. 2014 (arXiv 1405.3866); this form for convolutions: Zhang et al. 2015 (arXiv 1411.4229).
    """
    if not isinstance(ranks, Mapping):
        raise LthError(f"low_rank.ranks={ranks!r}: a mapping from layers to their ranks")
    for place, rank in ranked(model, ranks):
        if not smaller or saves(place, rank):
            _factorise(place, rank)
    return model


def ranked(model: nn.Module, ranks: Mapping[str, int]) -> list[tuple[Place, int]]:
    """Return the layers that are named with their ranks; what cannot be is refused in one line."""
    known, chosen = places(model, why_not), dict[str, int]()
    with of("low_rank.ranks"):
        for name, rank in ranks.items():
            place = place_of(model, known, str(name), why_not)
            check_rank(place, rank)
            if chosen.setdefault(place.name, rank) != rank:
                raise LthError(f"{name} has the weight of {place.name}: give both one rank")
    return [(known[name], rank) for name, rank in chosen.items()]


def check_rank(place: Place, rank: int) -> None:
    """Refuse a rank that is none, or above the full."""
    m, n = place.matrix.shape
    if not is_whole(rank, 1):
        raise LthError(f"{place.name}={rank!r}: a rank is a whole number from 1")
    if rank > place.full:
        raise LthError(f"{place.name}={rank}: it is {m} x {n}, so of rank {place.full} at most")


def saves(place: Place, rank: int) -> bool:
    """Whether factors of a rank are smaller than the layer: ``r < m n / (m + n)``."""
    m, n = place.matrix.shape
    return rank * (m + n) < m * n


def _factorise(place: Place, rank: int) -> None:
    weight = place.weight
    left, right = factors(place.matrix, rank)
    shapes = (rank, *weight.shape[1:]), (len(left), rank, *[1] * (weight.ndim - 2))
    values = right.reshape(shapes[0]), left.reshape(shapes[1])
    first, second = parameters_like(weight, values)

    def make(layer: nn.Module) -> tuple[nn.Module, nn.Module]:
        if isinstance(layer, nn.Linear):
            return linear(first), linear(second)
        return convolution(first, like=layer), convolution(second)

    become(place, Factors, make, NAMES)
