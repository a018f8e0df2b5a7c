"""Low-rank layers: ``W = U V'``, a thin layer and another one in the place of a wide one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lth.errors import LthError
from lth.networks.net import Net, copied
from lth.networks.rewrites.carry import full_mask
from lth.networks.rewrites.pairs import (
    Pair,
    Place,
    become,
    factors,
    of,
    place_of,
    places,
    why_not,
)
from lth.networks.ticket import network_of, state_of
from lth.spec.argument_types import is_whole
from lth.spec.build import Spec, build, locate, target_of


class Factors(Pair):
    """A linear or convolutional layer of rank r: ``first`` to r channels, then ``second``."""

    first: Any
    second: Any

    @property
    def weight(self) -> Tensor:
        """The weight of the layer that the pair stands for: ``second first``."""
        first, second = self.first.weight, self.second.weight
        product = second.flatten(1) @ first.flatten(1)
        return product.reshape(len(second), *first.shape[1:])


def low_rank(model: nn.Module, ranks: Mapping[str, int], smaller: bool = True) -> nn.Module:
    """Factorise layers of a model, named in ``ranks``: ``W [m, n] = U [m, r] V' [r, n]``.

    A linear layer becomes two, the first without bias; a convolution ``[O, I, k, k]`` one of the
    same size, stride, padding and dilation with r filters and then a 1x1 convolution, so that
    ``m = O``, ``n = I k k``. The factors are those of the layer's own weight, the best of that rank
    (``pairs.factors``): a fresh model gets factors of a fresh draw, a trained one those of what it
    has learned; at full rank it computes the same. A layer whose factors are no smaller,
    ``r (m + n) >= m n``, is left as it is, unless ``smaller`` is false; one that is factorised
    already gets the lower rank. A tied weight stays tied. Returns a copy. Denton et al. 2014 (arXiv
    1404.0736), Section 3; convolutions in this form: Zhang et al. 2015 (arXiv 1411.4229).
    """
    if not isinstance(ranks, Mapping):
        raise LthError(f"low_rank.ranks={ranks!r}: a mapping from layers to their ranks")
    made = copied(model)
    for place, rank in ranked(made, ranks):
        if not smaller or saves(place, rank):
            _factorise(place, rank)
    return made


def factorisable(model: nn.Module) -> dict[str, Place]:
    """Return the layers that can be factorised, or are already, by name."""
    return places(model, why_none, Factors)


def why_none(module: nn.Module) -> str:
    """Say why a layer has no low-rank form; nothing if it has one."""
    return "" if isinstance(module, Factors) else why_not(module)


def ranked(model: nn.Module, ranks: Mapping[str, int]) -> list[tuple[Place, int]]:
    """Return the layers that are named with their ranks; what cannot be is refused in one line."""
    known, chosen = factorisable(model), dict[str, int]()
    with of("low_rank.ranks"):
        for name, rank in ranks.items():
            place = place_of(model, known, str(name), why_none)
            check_rank(place, rank)
            if chosen.setdefault(place.name, rank) != rank:
                raise LthError(f"{name} has the weight of {place.name}: give both one rank")
    return [(known[name], rank) for name, rank in chosen.items()]


def check_rank(place: Place, rank: Any) -> None:
    """Refuse a rank that is none, or above the full."""
    m, n = place.matrix.shape
    if not is_whole(rank, 1):
        raise LthError(f"{place.name}={rank!r}: a rank is a whole number from 1")
    if rank > place.full:
        raise LthError(f"{place.name}={rank}: it is {m} x {n}, of rank {place.full} at most")


def saves(place: Place, rank: int) -> bool:
    """Whether factors of a rank are smaller than what there is: ``r < m n / (m + n)``."""
    return rank * sum(place.matrix.shape) < place.size


def carry(net: Net, model: Spec) -> Net:
    """Return the net in low-rank form: the best factors of its weights, all else as it is.

    A form of a form is one form of the model inside, at the lower ranks.
    """
    network = network_of(net.model, net.start)
    state = state_of(build({**model, "model": network}))
    model = _flat(network, model)
    return Net(model=model, mask=full_mask(model), params=state.params, buffers=state.buffers)


vars(low_rank)["carry"] = carry


def _flat(network: nn.Module, model: Spec) -> Spec:
    """Merge two low-rank forms, one around the other, that name layers by their first names."""
    inner, rest = model["model"], {k: v for k, v in model.items() if k not in ("model", "ranks")}
    if locate(target_of(inner)) is not low_rank:
        return model
    ranks = {**inner["ranks"], **model["ranks"]}
    same = rest == {k: v for k, v in inner.items() if k not in ("model", "ranks")}
    if not same or not ranks.keys() <= factorisable(network).keys():
        return model
    return {**rest, "model": inner["model"], "ranks": ranks}


def _factorise(place: Place, rank: int) -> None:
    outputs, *inner = place.weight.shape
    left, right = factors(place.matrix, rank)
    second = left.reshape(outputs, rank, *[1] * (len(inner) - 1))
    become(place, Factors, (right.reshape(rank, *inner), second), ("first", "second"))
