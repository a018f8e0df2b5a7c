"""Slimmable networks: one set of weights that runs at several widths (arXiv 1812.08928)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lth.errors import LthError
from lth.networks.rewrites.shared import (
    Layer,
    Reader,
    by_rebuilding,
    copied,
    layers_and_norms,
    narrow_norm,
)
from lth.spec.argument_types import is_whole


def slimmable(
    model: nn.Module, widths: Sequence[float] = (0.25, 0.5, 1.0), sandwich: int | None = None
) -> nn.Module:
    """Run a network at several widths: the first share of the units of every hidden layer.

    Its Linear, Conv and BatchNorm layers follow one another. The weights are shared, every width
    has BatchNorms of its own (Yu et al. 2019, arXiv 1812.08928, Section 3.2). In training the
    outputs are a tuple, narrow to full; outside it they are the full network's. ``sandwich`` draws
    so many of the widths between the least and the greatest for every batch, None: takes all (Yu &
    Huang 2019, arXiv 1903.05134).
    """
    return Slimmable(model, checked(widths), sandwich)


def at_width(model: nn.Module, width: float) -> nn.Module:
    """Return a slimmable network at one of its widths: an ordinary smaller network.

    Of a plain network it is the first share of its units, BatchNorms and all.
    """
    check_width("at_width", width)
    if not isinstance(model, Slimmable):
        return model if width == 1 else _alone(model, units_of(model, width, "at_width"))
    if width not in model.widths:
        known = ", ".join(f"{w:g}" for w in model.widths)
        raise LthError(f"at_width: width={width:g}: the network was trained at {known}")
    network = model.networks[model.widths.index(width)]
    return copied(network, {m: m.alone() for m in network.modules() if isinstance(m, Slice)})


class Slimmable(nn.Module):
    """A network and its narrow ones, which read its weights."""

    def __init__(
        self, model: nn.Module, widths: Sequence[float], sandwich: int | None = None
    ) -> None:
        super().__init__()
        self.widths, self.sandwich = tuple(widths), sandwich
        between = len(self.widths) - 2
        if sandwich is not None and not (is_whole(sandwich, 0) and sandwich <= between):
            raise LthError(f"slimmable: sandwich={sandwich!r}: 0 to {max(between, 0)}, or null")
        self.model = model
        plans = [units_of(model, width, "slimmable") for width in self.widths[:-1]]
        self.narrow = nn.ModuleList(_reading(model, plan) for plan in plans)

    @property
    def networks(self) -> list[nn.Module]:
        """The networks, narrow to full."""
        return [*self.narrow, self.model]

    def forward(self, inputs: Tensor) -> Any:
        """Return ``[B, K]`` of the full width; in training a tuple of it, width by width."""
        if not self.training:
            return self.model(inputs)
        return tuple(network(inputs) for network in self._trained())

    def _trained(self) -> list[nn.Module]:
        networks = self.networks
        if self.sandwich is None:
            return networks
        drawn = torch.randperm(max(0, len(networks) - 2))[: self.sandwich].sort().values
        return [networks[0], *(networks[i + 1] for i in drawn.tolist()), networks[-1]]


class Slice(Reader):
    """A layer's first units, of the first of its inputs."""

    def __init__(self, layer: Layer, units: Units) -> None:
        super().__init__(layer)
        self.units = units

    @property
    def weight(self) -> Tensor:
        """``[outs, ins, ...]``, a corner of the layer's weight."""
        return self.layer.weight[: self.units.outs, : self.units.ins]

    @property
    def bias(self) -> Tensor | None:
        """``[outs]``."""
        return None if self.layer.bias is None else self.layer.bias[: self.units.outs]

    @property
    def groups(self) -> int:
        """As many as there are units, where every unit is a group."""
        return self.units.groups


class Units(NamedTuple):
    """What is left of a layer: rows and columns of its weight, and groups; of a norm, rows."""

    outs: int
    ins: int = 0
    groups: int = 1


def units_of(model: nn.Module, width: float, what: str) -> dict[nn.Module, Units]:
    """Return what of every layer and norm a width keeps; inputs and outputs stay as they are."""
    layers, norms = layers_and_norms(model, what)
    if len(layers) < 2:
        raise LthError(f"{what}: the network has no hidden layer to narrow")
    *_, last = layers
    plan, givers = dict[nn.Module, Units](), list[int]()
    for path, module in model.named_modules():
        if path in layers:
            plan[module] = _layer_units(path, layers[path], givers, path == last, width, what)
            givers.append(layers[path].weight.shape[0])
        elif path in norms:
            plan[module] = Units(_from(path, norms[path].num_features, givers, width, what))
    return plan


def _layer_units(
    path: str, layer: Layer, givers: Sequence[int], last: bool, width: float, what: str
) -> Units:
    outs, ins, groups = layer.weight.shape[0], layer.weight.shape[1], getattr(layer, "groups", 1)
    kept = outs if last else share(outs, width)
    if groups == 1:
        whole = not isinstance(layer, nn.Linear)  # a convolution takes whole channels
        return Units(kept, _from(path, ins, givers, width, what, whole))
    if groups != outs or ins != 1 or last or not givers:
        raise LthError(
            f"{what}: {path} has {groups} groups for {outs} channels: a hidden convolution has 1, "
            "or as many as channels"
        )
    return Units(kept, 1, kept)


def _from(
    path: str, inputs: int, givers: Sequence[int], width: float, what: str, whole: bool = False
) -> int:
    """Return how many inputs are left, each unit of the nearest layer before giving as many."""
    if not givers:
        return inputs
    fits = [n for n in reversed(givers) if (inputs == n if whole else inputs % n == 0)]
    if not fits:
        raise LthError(
            f"{what}: {path} takes {inputs} inputs, and no layer before it gives them: layers must "
            "follow one another"
        )
    return share(fits[0], width) * (inputs // fits[0])


def share(units: int, width: float) -> int:
    """Return how many of ``units`` a width keeps, at least 1."""
    return max(1, round(units * width))


def check_width(name: str, width: Any) -> None:
    """Refuse what is no width."""
    real = isinstance(width, int | float) and not isinstance(width, bool)
    if not real or not 0 < width <= 1:
        raise LthError(f"{name}: width={width!r}: a share of the units, in (0, 1]")


def checked(widths: Any) -> tuple[float, ...]:
    """Return widths that rise to 1."""
    if not isinstance(widths, Sequence) or isinstance(widths, str) or not widths:
        raise LthError(f"slimmable: widths={widths!r}: a list, such as [0.25, 0.5, 1.0]")
    for width in widths:
        check_width("slimmable", width)
    if widths[-1] != 1 or any(a >= b for a, b in pairwise(widths)):
        raise LthError(f"slimmable: widths={list(widths)}: they rise, and the last is 1")
    return tuple(float(w) for w in widths)


def _reading(model: nn.Module, plan: Mapping[nn.Module, Units]) -> nn.Module:
    return copied(model, {m: _part(m, units, Slice) for m, units in plan.items()})


def _alone(model: nn.Module, plan: Mapping[nn.Module, Units]) -> nn.Module:
    def own(layer: Layer, units: Units) -> nn.Module:
        return Slice(layer, units).alone()

    return copied(model, {m: _part(m, units, own) for m, units in plan.items()})


def _part(module: Any, units: Units, layer: Callable[[Any, Units], nn.Module]) -> nn.Module:
    if isinstance(module, _BatchNorm):
        return narrow_norm(module, units.outs)
    return layer(module, units)


for _factory in (slimmable, at_width):
    vars(_factory).update(carry=by_rebuilding(_factory), masked=True)
