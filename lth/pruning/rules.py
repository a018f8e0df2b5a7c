"""Pruning: which weights go. Rank, never threshold; exactly ``round(rate * alive)`` of them.

The papers' rule (Frankle & Carbin 2019, arXiv 1803.03635, Section 1 and Appendix G): a fixed share
of the weights still alive goes at every level, layer by layer or over all layers at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from lth.errors import LthError
from lth.networks.layers import Layers
from lth.streams import stream
from lth.types import Mask, Params


class Prune(Protocol):
    """A selection rule: ``(scores, mask) -> smaller mask``."""

    def prunable(self, layers: Layers) -> list[str]:
        """Names of the weights that the rule may prune."""
        ...

    def remaining(self, counts: Mapping[str, int], layers: Layers) -> dict[str, int]:
        """Counts after one more level; a rule that pools layers counts them under ``""``."""
        ...

    def __call__(self, scores: Params, mask: Mask, layers: Layers, *, ties: int = 0) -> Mask:
        """Return the mask of the next level, nested in ``mask``; equals go as ``ties`` draws."""
        ...

    def to(
        self, scores: Params, mask: Mask, layers: Layers, counts: Mapping[str, int], *,
        ties: int = 0,
    ) -> Mask:  # fmt: skip
        """Return the mask with these counts (as ``remaining`` gives them), nested in ``mask``."""
        ...


@dataclass(frozen=True)
class Layerwise:
    """Prune each layer by its own rate."""

    rate: float = 0.2
    conv_rate: float | None = None
    output_rate: float | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    include: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_rate("rate", self.rate)
        named = {f"rates[{pattern}]": rate for pattern, rate in self.rates.items()}
        others = {"conv_rate": self.conv_rate, "output_rate": self.output_rate, **named}
        for name, rate in others.items():
            if rate is not None:
                _check_rate(name, rate, may_be_zero=True)

    def by_layer(self, layers: Layers) -> dict[str, float]:
        """Return the rate of each layer: ``rates`` over output over conv over ``rate``."""
        conv = self.rate if self.conv_rate is None else self.conv_rate
        found = {name: conv if name in layers.convs else self.rate for name in layers.shapes}
        output = self.output_rate
        found[layers.output] = found[layers.output] / 2 if output is None else output
        for pattern, rate in self.rates.items():
            found |= dict.fromkeys(layers.match([pattern]), rate)
        return found

    def prunable(self, layers: Layers) -> list[str]:
        """Names of the layers with a rate above 0."""
        return [name for name, rate in self.by_layer(layers).items() if rate > 0]

    def remaining(self, counts: Mapping[str, int], layers: Layers) -> dict[str, int]:
        """Each layer's recursion ``c - round(rate * c)``."""
        rates = self.by_layer(layers)
        return {name: c - round(rates[name] * c) for name, c in counts.items()}

    def __call__(self, scores: Params, mask: Mask, layers: Layers, *, ties: int = 0) -> Mask:
        """Drop the lowest-scored share of each layer."""
        alive = {name: int(m.sum()) for name, m in mask.items()}
        return self.to(scores, mask, layers, self.remaining(alive, layers), ties=ties)

    def to(
        self, scores: Params, mask: Mask, layers: Layers, counts: Mapping[str, int], *,
        ties: int = 0,
    ) -> Mask:  # fmt: skip
        """Keep the highest-scored ``counts`` of each layer."""
        pruned = {}
        for name, m in mask.items():
            pruned |= drop_lowest(scores, {name: m}, int(m.sum()) - counts[name], ties)
        return _warn_of_collapse(mask, pruned)


@dataclass(frozen=True)
class Globally:
    """Prune all layers together, sparing those whose names match ``spare``."""

    rate: float = 0.2
    spare: Sequence[str] = ()
    include: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_rate("rate", self.rate)

    def prunable(self, layers: Layers) -> list[str]:
        """Names of the layers not spared."""
        spared = layers.match(self.spare)
        names = [name for name in layers.shapes if name not in spared]
        if not names:
            raise LthError(f"prune.spare={list(self.spare)} spares every layer: nothing to prune")
        return names

    def remaining(self, counts: Mapping[str, int], layers: Layers) -> dict[str, int]:
        """One recursion ``c - round(rate * c)`` over the pooled count."""
        alive = sum(counts.values())
        return {"": alive - round(self.rate * alive)}

    def __call__(self, scores: Params, mask: Mask, layers: Layers, *, ties: int = 0) -> Mask:
        """Drop the lowest-scored share over all layers."""
        alive = {name: int(m.sum()) for name, m in mask.items()}
        return self.to(scores, mask, layers, self.remaining(alive, layers), ties=ties)

    def to(
        self, scores: Params, mask: Mask, layers: Layers, counts: Mapping[str, int], *,
        ties: int = 0,
    ) -> Mask:  # fmt: skip
        """Keep the highest-scored ``counts[""]`` over all layers."""
        alive = sum(int(m.sum()) for m in mask.values())
        return _warn_of_collapse(mask, drop_lowest(scores, mask, alive - counts[""], ties))


def layerwise(
    rate: float = 0.2,
    conv_rate: float | None = None,
    output_rate: float | None = None,
    rates: Mapping[str, float] | None = None,
    include: Sequence[str] = (),
) -> Layerwise:
    """Prune each layer by its own rate: ``conv_rate`` for convolutions, half rate for the output.

    ``rates`` maps name patterns to rates and wins over the rest; a rate of 0 spares the layer.
    ``include`` counts other parameters among the weights: embeddings, raw parameters.
    """
    included = _names("include", include)
    return Layerwise(rate, conv_rate, output_rate, dict(rates or {}), included)


def globally(rate: float = 0.2, spare: Sequence[str] = (), include: Sequence[str] = ()) -> Globally:
    """Prune all layers together, sparing names that match ``spare`` (``output``: the last).

    ``include`` counts other parameters among the weights: embeddings, raw parameters.
    """
    return Globally(rate, _names("spare", spare), _names("include", include))


def _names(setting: str, given: Sequence[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise LthError(f"prune.{setting}={given}: name a list, such as prune.{setting}=[{given}]")
    return tuple(given)


def drop_lowest(scores: Params, mask: Mask, count: int, ties: int = 0) -> Mask:
    """Clear the ``count`` lowest-scored alive weights over all layers.

    Equals go in the order of a permutation of all places, drawn from the seed ``ties`` and the
    layers' names: no place is favoured, and what goes first at one level went first above.

    >>> mask = {"w": torch.tensor([True, True, False, True])}
    >>> drop_lowest({"w": torch.tensor([2.0, 1.0, 0.0, 3.0])}, mask, 1)["w"].tolist()
    [True, False, False, True]
    """
    flat = torch.cat([m.reshape(-1) for m in mask.values()])
    values = torch.cat([scores[n].reshape(-1).to(torch.float64) for n in mask])
    alive = flat.nonzero().squeeze(1)
    if bool(values[alive].isnan().any()):
        raise LthError("a score is not a number: the network it comes from has diverged")
    ranked, order = torch.sort(values[alive], stable=True)
    if 0 < count < len(alive) and ranked[count - 1] == ranked[count]:  # equals at the cut
        first, last = (int((ranked < ranked[count]).sum()), int((ranked <= ranked[count]).sum()))
        turn = torch.randperm(len(flat), generator=stream("ties", ties, *mask)).to(flat.device)
        equals = order[first:last]
        order[first:last] = equals[turn[alive[equals]].argsort()]
    flat[alive[order[:count]]] = False
    return split_like(flat, mask)


def counts_at(
    rule: Prune, counts: Mapping[str, int], layers: Layers, level: int
) -> Mapping[str, int]:
    """Return the counts that the rule leaves of ``counts`` at a level, whatever the scores are."""
    for _ in range(level):
        counts = rule.remaining(counts, layers)
    return counts


def kept_by_level(rule: Prune, layers: Layers, levels: int) -> list[int]:
    """Weights kept at levels 0..``levels``, unprunable ones included: the exact integer recursion.

    Refuses a number of levels of which one would prune nothing, naming the last useful one.
    """
    counts = {name: layers.sizes[name] for name in rule.prunable(layers)}
    unprunable = layers.total - sum(counts.values())
    totals = [layers.total]
    for level in range(1, levels + 1):
        after = rule.remaining(counts, layers)
        if sum(after.values()) == sum(counts.values()):
            raise LthError(
                f"levels={levels}: level {level} would prune nothing; "
                f"the last useful one is levels={level - 1}"
            )
        counts = after
        totals.append(sum(counts.values()) + unprunable)
    return totals


def split_like(flat: Tensor, mask: Mask) -> Mask:
    """Undo the concatenation of a mask's flattened layers."""
    parts = flat.split([m.numel() for m in mask.values()])
    return {n: p.reshape(m.shape).clone() for (n, m), p in zip(mask.items(), parts, strict=True)}


def _warn_of_collapse(before: Mask, after: Mask) -> Mask:
    for name, m in after.items():
        if bool(before[name].any()) and not bool(m.any()):
            warnings.warn(f"layer collapse: no weight of {name} is left", stacklevel=4)
    return after


def _check_rate(name: str, rate: float, may_be_zero: bool = False) -> None:
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        raise LthError(f"prune.{name}={rate!r}: a rate is a number in (0, 1)")
    if not (0 < rate < 1 or (may_be_zero and rate == 0)):
        low = "[0" if may_be_zero else "(0"
        raise LthError(f"prune.{name}={rate}: a rate is the share pruned per level, in {low}, 1)")
