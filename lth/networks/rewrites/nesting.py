"""Nested tickets: one set of weights under several masks, each within the one before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from lth.errors import LthError
from lth.networks.masks import is_nested
from lth.networks.net import Net
from lth.networks.rewrites.shared import Layer, Reader, by_rebuilding, copied, layers_and_norms
from lth.spec.argument_types import is_whole
from lth.types import Mask

RANK = "rank"
"""The buffer that says of every weight how many of the masks keep it."""


def nested(model: nn.Module, levels: Sequence[int] = (0, 1)) -> nn.Module:
    """Run a network under several nested masks, BatchNorms of their own for each.

    ``levels`` name the masks, largest first. The buffer ``rank`` of a layer says how many of them
    keep each weight: all, until ``with_ranks`` writes it. In training the outputs are a tuple,
    sparsest first; outside it they are those under the largest mask. Iterative pruning's masks are
    nested (Frankle & Carbin 2019, arXiv 1803.03635), so one file holds a ticket of every level;
    NestedNet trains such weights together (Kim et al. 2018, arXiv 1712.03781).
    """
    rising = all(is_whole(n, 0) for n in levels) and list(levels) == sorted(set(levels))
    if not levels or not rising:
        raise LthError(f"nested: levels={list(levels)}: at least one, and they rise")
    return Nested(model, levels)


def at_ticket(model: nn.Module, level: int) -> nn.Module:
    """Return one of nested tickets as an ordinary network."""
    if not isinstance(model, Nested):
        raise LthError(f"at_ticket: a {type(model).__name__} holds no nested tickets")
    if level not in model.levels:
        known = ", ".join(map(str, model.levels))
        raise LthError(f"at_ticket: level={level!r}: the network holds tickets of {known}")
    network = model.networks[-1 - model.levels.index(level)]
    readers: dict[nn.Module, nn.Module] = {
        m: m.alone() for m in network.modules() if isinstance(m, Under)
    }
    if not readers:  # the largest
        held, _ = layers_and_norms(network, "at_ticket")
        readers = {layer: Under(layer, 1).alone() for layer in held.values()}
    return copied(network, readers)


class Nested(nn.Module):
    """A network, and itself under each smaller mask, which read its weights."""

    def __init__(self, model: nn.Module, levels: Sequence[int]) -> None:
        super().__init__()
        self.model, self.levels, tickets = model, tuple(levels), len(levels)
        layers, _ = layers_and_norms(model, "nested")
        for layer in layers.values():
            full = torch.full_like(layer.weight, tickets, dtype=torch.uint8, requires_grad=False)
            layer.register_buffer(RANK, full)
        self.smaller = nn.ModuleList(
            copied(model, {layer: Under(layer, least) for layer in layers.values()})
            for least in range(tickets, 1, -1)
        )

    @property
    def networks(self) -> list[nn.Module]:
        """The networks, sparsest first."""
        return [*self.smaller, self.model]

    def forward(self, inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return ``[B, K]`` under the largest mask; in training a tuple, mask by mask."""
        if not self.training:
            return self.model(inputs)
        return tuple(network(inputs) for network in self.networks)


class Under(Reader):
    """A layer under one of the nested masks: weights of this rank or more."""

    def __init__(self, layer: Layer, least: int) -> None:
        super().__init__(layer)
        self.least = least

    @property
    def weight(self) -> Tensor:
        """The weight, 0 where fewer masks keep it."""
        weight = self.layer.weight
        return weight * (self.layer.get_buffer(RANK) >= self.least).to(weight)


def with_ranks(net: Net, masks: Sequence[Mask]) -> Net:
    """Write nested masks into the ranks of a ``nested`` net; the first is the largest, its own.

    The masks are those of the network inside; a layer that they do not name is never pruned.
    """
    for outer, inner in pairwise(masks):
        if not is_nested(inner, outer):
            raise LthError("nested: a mask keeps weights that the one before it does not")
    buffers = dict(net.buffers)
    for name in masks[0]:
        rank = sum(mask[name].to(torch.uint8) for mask in masks)
        assert isinstance(rank, Tensor)
        buffers[f"model.{name.rpartition('.')[0]}.{RANK}"] = rank
    mask = {n: m & masks[0][n.removeprefix("model.")] for n, m in net.mask.items()}
    return Net(model=net.model, mask=mask, params=net.params, buffers=buffers)


vars(nested).update(carry=by_rebuilding(nested), masked=True)
vars(at_ticket).update(carry=by_rebuilding(at_ticket), masked=True)
