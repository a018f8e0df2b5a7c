"""Weight clustering: a few values shared by all the weights of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lth.errors import LthError
from lth.networks.views.chosen import (
    KINDS,
    PerLayer,
    check_chosen,
    check_numbers,
    chosen,
    number_for,
)
from lth.networks.views.sharing import shared
from lth.spec.argument_types import is_whole
from lth.types import Params, Symbols

MOST_BITS = 16


@dataclass(frozen=True)
class Clustered:
    """``w'_i = v[id_i]``: the values v of a layer are trained, which weight has which is not.

    The gradient of a value is the sum of its members'. The weights beneath do not train.
    """

    k: PerLayer
    layers: Sequence[str] | None
    kinds: Sequence[str]
    coding: float

    replaces = True

    def own(self, name: str, weight: Tensor, mask: Tensor) -> Params | None:
        """Return ``values [k]``, and ``ids`` of the weight's shape, 0 where it is pruned.

        The values are those of the weights that are kept: a pruned one's 0 is none of them.
        """
        k = number_for(name, self.k)
        if k is None or not chosen(name, weight, self.layers, self.kinds):
            return None
        kept = mask.bool()
        values, found = shared(weight[kept], k, self.coding)
        ids = torch.zeros(weight.shape, dtype=_small(k), device=weight.device)
        ids[kept] = found.to(ids.dtype)
        return {"values": nn.Parameter(values), "ids": ids}

    def __call__(
        self, name: str, weight: Tensor, mask: Tensor, own: Params, training: bool
    ) -> Tensor:
        """Look every weight's value up."""
        # not values[ids]: the backward pass of that takes more than twice as long
        return own["values"].index_select(0, own["ids"].flatten().long()).reshape(weight.shape)

    def symbols(self, name: str, weight: Tensor, mask: Tensor, own: Params) -> Symbols:
        """Return the ids and the values."""
        return Symbols(own["ids"].long(), own["values"].detach(), None)


def _small(k: int) -> torch.dtype:
    """Return the smallest type that counts to k: ids are stored with every state."""
    return torch.uint8 if k <= 256 else torch.int16 if k <= 2**15 else torch.int32


def clustered(
    bits: int | Mapping[str, int] | None = None,
    k: int | Mapping[str, int] | None = None,
    layers: Sequence[str] | None = None,
    kinds: Sequence[str] = KINDS,
    coding: float = 0.0,
) -> Clustered:
    """See the kept weights of a layer as one of ``k = 2^bits`` values, by k-means, then trained.

    Han et al. 2016 (arXiv 1510.00149, Section 3). A layer with no more than k distinct kept weights
    is seen as it is, where ``coding`` is 0; above that ids get cheaper to code
    (``lth.networks.views.sharing.shared``). ``bits`` or ``k`` may be by name or pattern of the
    weight: what none fits is left alone.
    """
    if (bits is None) == (k is None):
        raise LthError(f"clustered: give bits or k, one of the two, not bits={bits!r} and k={k!r}")
    if bits is not None:
        check_numbers(
            "clustered: bits", bits, lambda b: is_whole(b, 1) and b <= MOST_BITS,
            f"a whole number in 1..{MOST_BITS}",
        )  # fmt: skip
    else:
        most = 2**MOST_BITS
        check_numbers(
            "clustered: k", k, lambda n: is_whole(n, 1) and n <= most,
            f"a whole number of shared values, in 1..{most}",
        )  # fmt: skip
    check_coding("clustered", coding)
    layers, kinds = check_chosen("clustered", layers, kinds)
    return Clustered(_values(bits, k), layers, kinds, float(coding))


def check_coding(what: str, coding: Any) -> None:
    """Refuse a worth of a bit that is none."""
    number = isinstance(coding, int | float) and not isinstance(coding, bool)
    if not number or not 0 <= coding < float("inf"):
        raise LthError(
            f"{what}: coding={coding!r}: what a bit is worth in units of a layer's variance, from "
            "0; try 0.01"
        )


def _values(bits: Any, k: Any) -> PerLayer:
    if bits is None:
        return k
    return {n: 2**b for n, b in bits.items()} if isinstance(bits, Mapping) else 2**bits
