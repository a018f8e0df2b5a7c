"""Multiply-adds that dense kernels really execute, counted while a network runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from lth.networks.trace import (
    OPERANDS,
    evaluating,
    flops_of,
    storage_key,
    twice_differentiable,
)

Inputs = Iterable[Tensor]
"""Prepared inputs, batch after batch."""

FEW = 128
"""Examples on which a network is looked at: does what it executes depend on its input?"""


class Macs(NamedTuple):
    """Multiply-adds per example: those executed, and those of weights that are not 0."""

    executed: float
    nonzero: float


class Counted(NamedTuple):
    """Multiply-adds, executed and nonzero, with an example, and of weights with one another."""

    each: tuple[Fraction, Fraction]
    made: tuple[Fraction, Fraction]


class Watched:
    """A network, called as it is, and what each of its calls executes per example."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.took = network, set[Fraction]()

    def __call__(self, inputs: Tensor) -> Any:
        """Return the network's outputs."""
        counter = Counter(self.network)
        with counter:
            outputs = self.network(inputs)
        self.took.add(counter.each[0] / max(1, len(inputs)))
        return outputs


def macs_of(
    network: nn.Module, few: Tensor, every: Callable[[], Inputs], watched: Watched | None = None
) -> Macs:
    """Return the multiply-adds of a network in evaluation mode, per example.

    Those of the first of ``few`` prepared examples, where all of them together take as much each,
    and where it has been ``watched``, all that it was run on; of a network that takes otherwise, or
    says so (``dynamic = True``), the mean over ``every`` one. Weights that are made of others,
    ``(U V) x``, are made for each example, as for the first.
    """
    first = few[:1]
    one, fused = counted(network, [first]), counted(network, [first], plainly=False)
    # watched by the fused ways, for the others change the last digits of what is scored
    alike = not watched or watched.took <= {fused.each[0]}
    if alike and not says_dynamic(network) and counted(network, [few]).each == one.each:
        return _both(one)
    return _both(Counted(counted(network, every(), plainly=fused != one).each, one.made))


def _both(found: Counted) -> Macs:
    return Macs(*(float(each + made) for each, made in zip(found.each, found.made, strict=True)))


def says_dynamic(network: nn.Module) -> bool:
    """Whether a module in it says that what it executes depends on its input."""
    return any(getattr(module, "dynamic", False) is True for module in network.modules())


def counted(network: nn.Module, batches: Inputs, plainly: bool = True) -> Counted:
    """Count what the network executes over batches, per example; products of weights apart.

    ``plainly`` without the fused ways through attention and recurrent layers, which hide their
    products; without them convolutions are slow, too.
    """
    counter, examples = Counter(network), 0
    ways = twice_differentiable() if plainly else nullcontext()
    with evaluating(network), ways, torch.no_grad(), counter:
        for inputs in batches:
            network(inputs)
            examples += len(inputs)
    every = counter.each, counter.made
    return Counted(*((e / max(1, examples), n / max(1, examples)) for e, n in every))


class Counter(TorchDispatchMode):
    """Adds up the multiply-adds of every product that runs inside it.

    A tensor made of parameters and buffers alone is a weight: of a product with one the share of
    its entries that are not 0 is executed by hardware that skips zeros; of two the smaller share.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.each = self.made = (Fraction(0), Fraction(0))
        tensors = [*network.parameters(), *network.buffers()]
        self._weights = {storage_key(t): t for t in tensors}  # held, so no other takes its place
        self._shares: dict[Any, Fraction] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do the operation and count it."""
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        packet = func.overloadpacket
        if packet in OPERANDS or packet in flop_registry:
            self._count(packet, args, kwargs, found)
        self._follow(args, kwargs, found)
        return found

    def _count(self, packet: Any, args: tuple[Any, ...], kwargs: Any, found: Any) -> None:
        macs = Fraction(flops_of(packet, args, kwargs, found), 2)
        operands = [args[i] for i in OPERANDS.get(packet, ())]
        shares = [self._share(t) for t in operands if storage_key(t) in self._weights]
        some = macs * min(shares, default=Fraction(1))
        if operands and len(shares) == len(operands):
            self.made = (self.made[0] + macs, self.made[1] + some)
        else:
            self.each = (self.each[0] + macs, self.each[1] + some)

    def _share(self, weight: Tensor) -> Fraction:
        """Return the share of a weight's entries that are not 0; of a part of one, that part's."""
        key = (
            storage_key(weight), weight._version, weight.storage_offset(), tuple(weight.shape),
            weight.stride(),
        )  # fmt: skip
        if key not in self._shares:
            count = int(torch.count_nonzero(weight.detach()))
            self._shares[key] = Fraction(count, max(1, weight.numel()))
        return self._shares[key]

    def _follow(self, args: tuple[Any, ...], kwargs: Any, found: Any) -> None:
        """Note what is made of weights alone, and what no longer is."""
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        static = bool(given) and all(storage_key(t) in self._weights for t in given)
        for tensor in tree_leaves(found):
            if not isinstance(tensor, Tensor):
                continue
            if static:
                self._weights.setdefault(storage_key(tensor), tensor)
            else:
                self._weights.pop(storage_key(tensor), None)
