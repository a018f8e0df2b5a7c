"""Pruning: which weights go. Rank, never threshold; exactly ``round(rate * alive)`` of them.

The papers' rule (Frankle & Carbin 2019, arXiv 1803.03635, Section 1 and Appendix G): a fixed share
of the weights still alive goes at every level, layer by layer or over all layers at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lth.errors import LthError
from lth.networks.layers import Layers
from lth.networks.masks import kept
from lth.spec.argument_types import number
from lth.streams import stream
from lth.types import Mask, Params

RATE = "a rate is the share pruned per level"


class Prune(Protocol):
    """A selection rule: ``(scores, mask) -> smaller mask``.

    Its ``groups`` say which layers are ranked together and at what rate; a layer alone is a group
    of its own name. Of each group ``c`` alive weights become ``c - round(rate * c)``, the highest
    scored. A rule of another kind brings the other methods itself.
    """

    def groups(self, layers: Layers) -> dict[str, tuple[Sequence[str], float]]:
        """Return ``{group: (its layers, the share of their weights that goes per level)}``."""
        ...

    def prunable(self, layers: Layers) -> list[str]:
        """Names of the weights that the rule may prune: of the groups with a rate above 0."""
        return [n for names, rate in self.groups(layers).values() if rate > 0 for n in names]

    def grouped(self, counts: Mapping[str, int], layers: Layers) -> dict[str, int]:
        """Return counts, which are by layer or by group, by group."""
        inside = {g: {g, *names} & counts.keys() for g, (names, _) in self.groups(layers).items()}
        return {group: sum(counts[n] for n in names) for group, names in inside.items() if names}

    def remaining(self, counts: Mapping[str, int], layers: Layers) -> dict[str, int]:
        """Counts by group after one more level; those given are by layer or by group."""
        groups, alive = self.groups(layers), self.grouped(counts, layers)
        return {group: c - round(groups[group][1] * c) for group, c in alive.items()}

    def __call__(self, scores: Params, mask: Mask, layers: Layers, *, ties: int = 0) -> Mask:
        """Return the mask of the next level, nested in ``mask``; equals go as ``ties`` draws."""
        return self.to(scores, mask, layers, self.remaining(kept(mask), layers), ties=ties)

    def to(
        self, scores: Params, mask: Mask, layers: Layers, counts: Mapping[str, int], *,
        ties: int = 0,
    ) -> Mask:  # fmt: skip
        """Return the mask with these counts (as ``remaining`` gives them), nested in ``mask``."""
        pruned = dict(mask)
        for group, (names, _) in self.groups(layers).items():
            if inside := {n: m for n, m in mask.items() if n in names}:
                drop = sum(kept(inside).values()) - counts[group]
                pruned |= drop_lowest(scores, inside, drop, ties)
        for name, m in pruned.items():
            if bool(mask[name].any()) and not bool(m.any()):
                warnings.warn(f"layer collapse: no weight of {name} is left", stacklevel=3)
        return pruned


@dataclass(frozen=True)
class layerwise(Prune):
    """Prune each layer by its own rate: ``conv_rate`` for convolutions, half rate for the output.

    ``rates`` maps name patterns to rates and wins over the rest; a rate of 0 spares the layer.
    ``include`` counts other parameters among the weights: embeddings, raw parameters.
    """

    rate: float = 0.2
    conv_rate: float | None = None
    output_rate: float | None = None
    rates: Mapping[str, float] | None = None
    include: Sequence[str] = ()

    def __post_init__(self) -> None:
        number("prune.rate", self.rate, "(0, 1)", RATE)
        _check_list("include", self.include)
        named = {f"rates[{pattern}]": rate for pattern, rate in (self.rates or {}).items()}
        others = {"conv_rate": self.conv_rate, "output_rate": self.output_rate, **named}
        for name, rate in others.items():
            if rate is not None:
                number(f"prune.{name}", rate, "[0, 1)", RATE)

    def by_layer(self, layers: Layers) -> dict[str, float]:
        """Return the rate of each layer: ``rates`` over output over conv over ``rate``."""
        conv = self.rate if self.conv_rate is None else self.conv_rate
        by_layer = {name: conv if name in layers.convs else self.rate for name in layers.shapes}
        output = self.output_rate
        by_layer[layers.output] = by_layer[layers.output] / 2 if output is None else output
        for pattern, rate in (self.rates or {}).items():
            by_layer |= dict.fromkeys(layers.match([pattern]), rate)
        return by_layer

    def groups(self, layers: Layers) -> dict[str, tuple[Sequence[str], float]]:
        """Every layer by itself."""
        return {name: ((name,), rate) for name, rate in self.by_layer(layers).items()}


@dataclass(frozen=True)
class globally(Prune):
    """Prune all layers together, sparing names that match ``spare`` (``output``: the last).

    ``include`` counts other parameters among the weights: embeddings, raw parameters.
    """

    rate: float = 0.2
    spare: Sequence[str] = ()
    include: Sequence[str] = ()

    def __post_init__(self) -> None:
        number("prune.rate", self.rate, "(0, 1)", RATE)
        _check_list("spare", self.spare)
        _check_list("include", self.include)

    def groups(self, layers: Layers) -> dict[str, tuple[Sequence[str], float]]:
        """All layers that are not spared, under no name."""
        spared = layers.match(self.spare)
        names = [name for name in layers.shapes if name not in spared]
        if not names:
            raise LthError(f"prune.spare={list(self.spare)} spares every layer: nothing to prune")
        return {"": (names, self.rate)}


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
        raise LthError("score: it gives NaN, by a 0/0 or an overflow; what diverged is not scored")
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


def _check_list(name: str, given: Sequence[str]) -> None:
    if isinstance(given, str):
        raise LthError(f"prune.{name}={given}: name a list, such as prune.{name}=[{given}]")
