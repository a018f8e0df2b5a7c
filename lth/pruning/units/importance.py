"""How much units matter: a score for each group of units that can only go together.

Each is a factory with named arguments; what it returns follows ``Importance``: higher is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lth.errors import LthError
from lth.networks.drawn import network_of
from lth.networks.net import Net
from lth.networks.rewrites.follow import Spot, is_relu
from lth.networks.rewrites.units import Group, Units
from lth.pruning.probe import Probe
from lth.recipe.adapt import as_loss
from lth.spec.argument_types import whole
from lth.types import Batch, Params


class Importance(Protocol):
    """``(net, units, left, context) -> scores [left]``, float64; what is higher is kept.

    ``left`` are the numbers of the groups of ``units`` that may go; the net has the form of the
    model that ``units`` are of, units that have gone already being 0 in it.
    """

    def __call__(
        self, net: Net, units: Units, left: Sequence[int], *, probe: Probe,
        generator: torch.Generator,
    ) -> Tensor:  # fmt: skip
        """Score the groups ``left``."""
        ...


def magnitude(norm: int = 2, outgoing: bool = False) -> Importance:
    """``(mean of |w|^norm)^(1/norm)`` over a unit's incoming weights, ``outgoing`` ones too.

    Within a layer the order is that of the weights' l1 or l2 norm (Li et al. 2017, arXiv
    1608.08710, Section 3.1); as a mean, layers of other widths compare.
    """
    if norm not in (1, 2):
        raise LthError(f"importance.norm={norm!r}: it is 1 or 2")

    def score(net: Net, units: Units, left: Sequence[int], **_: Any) -> Tensor:
        weights, (inputs, outputs) = net.plain_start.params, _there(units, left)
        scores = list[float]()
        for group in (units.groups[n] for n in left):
            parts = list(_incoming(weights, group, units, inputs))
            parts += _outgoing(weights, group, outputs) if outgoing else []
            each = torch.cat([p.double().flatten() for p in parts]).abs()
            scores.append(float((each**norm).mean() ** (1 / norm)))
        return torch.tensor(scores, dtype=torch.float64)

    return score


def apoz(examples: int = 256) -> Importance:
    """``1 - APoZ``: the share of a unit's activations after its ReLU that are not 0.

    Over ``examples`` of the training split and, for a channel, all of its pixels: the average
    percentage of zeros of Hu et al. 2016 (arXiv 1607.03250, Section 3.1).
    """
    whole("importance.examples", examples, 1)

    def score(
        net: Net, units: Units, left: Sequence[int], *, probe: Probe, generator: torch.Generator
    ) -> Tensor:
        for name in {n for g in left for n in units.groups[g].outputs if n in units.layers}:
            if name not in units.relus:
                raise LthError(
                    f"apoz: the units of {name} pass no ReLU by themselves, so none is ever off: "
                    "take another importance, or name other layers in to"
                )
        inputs, _ = probe.tensors(examples, generator)
        probe.seen += len(inputs)
        zeros = _zeros(net, inputs)
        return torch.tensor([_active(zeros, units, units.groups[n]) for n in left]).double()

    return score


def random() -> Importance:
    """Score uniformly at random: the baseline that every importance must beat."""

    def score(
        net: Net, units: Units, left: Sequence[int], *, generator: torch.Generator, **_: Any
    ) -> Tensor:
        return torch.rand(len(left), generator=generator, dtype=torch.float64)

    return score


def taylor(examples: int = 256) -> Importance:
    """``(sum of g * w)^2`` over a unit's incoming weights, g the gradient of the loss.

    What the loss would change by without the unit, to first order, squared (Molchanov et al. 2019,
    arXiv 1906.10771, Equation 8).
    """
    whole("importance.examples", examples, 1)

    def score(
        net: Net, units: Units, left: Sequence[int], *, probe: Probe, generator: torch.Generator
    ) -> Tensor:
        inputs, targets = probe.tensors(examples, generator)
        state = net.plain_start
        leaves = {n: p.clone().requires_grad_() for n, p in state.params.items()}
        logits = probe.logits(leaves, state.buffers, inputs, training=False)
        loss = as_loss(probe.loss)(logits, Batch(inputs, targets))
        gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        changes = {
            n: torch.zeros_like(p) if g is None else g * p.detach()
            for (n, p), g in zip(leaves.items(), gradients, strict=True)
        }
        groups = [units.groups[n] for n in left]
        sums = [sum(float(p.double().sum()) for p in _rows(changes, g, units)) for g in groups]
        return torch.tensor(sums, dtype=torch.float64) ** 2

    return score


def surviving() -> Importance:
    """How many of a unit's incoming weights a mask keeps: where a ticket of weights is dense.

    As Chen et al. 2022 (arXiv 2202.04736) choose the channels that a ticket of weights is worth.
    """

    def score(net: Net, units: Units, left: Sequence[int], **_: Any) -> Tensor:
        kept = {
            n: net.mask[n].double() if n in net.mask else torch.ones_like(p).double()
            for n, p in net.params.items()
        }
        inputs = _there(units, left)[0]
        each = [list(_incoming(kept, units.groups[n], units, inputs)) for n in left]
        return torch.stack([torch.cat([p.flatten() for p in parts]).mean() for parts in each])

    return score


def _there(
    units: Units, left: Sequence[int]
) -> tuple[Mapping[str, list[int]], Mapping[str, list[int]]]:
    """Return the inputs and outputs of modules that are there while these groups are left."""
    outputs, inputs = units.without(sorted({*range(len(units.groups))} - {*left}))
    return inputs, outputs


def _incoming(
    tensors: Params, group: Group, units: Units, inputs: Mapping[str, list[int]]
) -> Sequence[Tensor]:
    """Return the weights into a group's units, from what is there."""
    found = list[Tensor]()
    for name in (n for n in group.outputs if n in units.layers):
        rows = tensors[f"{name}.weight" if name else "weight"][list(group.outputs[name])]
        found.append(rows[:, inputs[name]] if name in inputs else rows)
    return found


def _outgoing(
    tensors: Params, group: Group, outputs: Mapping[str, list[int]]
) -> Sequence[Tensor]:  # fmt: skip
    """Return the weights out of a group's units, to what is there."""
    found = list[Tensor]()
    for name, places in group.inputs.items():
        columns = tensors[f"{name}.weight" if name else "weight"][:, list(places)]
        found.append(columns[outputs[name]] if name in outputs else columns)
    return found


def _rows(tensors: Params, group: Group, units: Units) -> Sequence[Tensor]:
    """Return what is of a group's units among the weights and biases of layers."""
    names = [n for n in group.outputs if n in units.layers]
    kinds = [(n, f"{n}.{k}" if n else k) for n in names for k in ("weight", "bias")]
    return [tensors[key][list(group.outputs[n])] for n, key in kinds if key in tensors]


class _Zeros(TorchDispatchMode):
    """Shares of zeros behind each ReLU, by feature along both axes."""

    def __init__(self) -> None:
        super().__init__()
        self.shares: dict[Spot, Tensor] = {}
        self._calls = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Do the operation, and count."""
        found = func(*args, **(kwargs or {}))
        if is_relu(func) and found.ndim > 1:
            for axis in (1, -1):
                zero = (found == 0).movedim(axis, 0).flatten(1).double().mean(1)
                self.shares[Spot("relu", str(axis), self._calls, False)] = zero
            self._calls += 1
        return found


def _zeros(net: Net, inputs: Tensor) -> Mapping[Spot, Tensor]:
    network = network_of(net.model, net.plain_start).eval()
    network = network.to(inputs.dtype) if inputs.is_floating_point() else network
    counted = _Zeros()
    with torch.no_grad(), torch.random.fork_rng(devices=[]), counted:
        network(inputs)
    return counted.shares


def _active(zeros: Mapping[Spot, Tensor], units: Units, group: Group) -> float:
    """Return the share of activations that are not 0, over the layers of a group."""
    shares = list[Tensor]()
    for name in (n for n in group.outputs if n in units.layers):
        spot, shows = units.relus[name]
        own = torch.isin(shows, torch.tensor(group.outputs[name]))
        shares.append(zeros[spot][own])
    return 1.0 - float(torch.cat(shares).mean())
