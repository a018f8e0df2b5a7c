"""What a training step runs: forward to every output, backward through what is trained.

A network may answer otherwise in training than as it is measured: from every exit, at every width,
with all its gates. And gradients go back no further than to what is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from lth.networks.trace import Follow, answering, plainly, storage_key

DRAWS = 32
"""Steps whose mean is taken where a network draws what it runs."""

Uses = dict[str, float]
"""How often each weight is used for one example, by parameter."""


class Passes(NamedTuple):
    """Multiply-adds per example and weight: of the forward pass, and of the backward pass.

    Backwards a product costs itself twice over, once for the gradient of its weight and once for
    that of what came in; once where the weight is not trained, and nothing where no gradient is.
    The first layer's is counted whole, as the papers do.
    """

    forward: Uses
    backward: Uses

    @classmethod
    def usual(cls, uses: Mapping[str, float]) -> Passes:
        """Return the passes of a network that trains as it is measured, all of it."""
        return cls(dict(uses), {n: 2 * times for n, times in uses.items()})


def passes(
    network: nn.Module, input_shape: Sequence[int], layers: Mapping[str, str], uses: Uses
) -> Passes:
    """Run one example as in training; ``uses`` are those of the network as it is measured.

    A network that gives one output in training is taken as it is measured, so that no chance, in a
    dropped path say, has a part in it.
    """
    for dtype in (torch.float32, torch.long):  # tokens are whole numbers
        inputs = torch.zeros(1, *input_shape, dtype=dtype)
        for prepare in (_in_training, answering):
            try:
                prepare(network)
                found, several = _mean(network, inputs, layers)
            except Exception:  # it has been run as it is measured: that is known to work
                continue
            if several or prepare is answering:
                return found
    return Passes.usual(uses)


def _in_training(network: nn.Module) -> None:
    """Have what holds layers in training, and the layers as they are measured."""
    network.eval()
    for module in network.modules():
        module.training = next(module.children(), None) is not None


def _mean(network: nn.Module, inputs: Tensor, layers: Mapping[str, str]) -> tuple[Passes, bool]:
    first, several = _run(network, inputs, layers, 0)
    if not several or _run(network, inputs, layers, 1)[0] == first:
        return first, several
    drawn = [_run(network, inputs, layers, seed)[0] for seed in range(DRAWS)]
    return Passes(*(_average([d[i] for d in drawn]) for i in range(2))), True


def _average(found: Sequence[Uses]) -> Uses:
    names = dict.fromkeys(n for uses in found for n in uses)
    return {n: sum(uses.get(n, 0) for uses in found) / len(found) for n in names}


def _run(
    network: nn.Module, inputs: Tensor, layers: Mapping[str, str], seed: int
) -> tuple[Passes, bool]:
    """Return the passes of one step, and whether the network has given several outputs."""
    follow = _Backward(network, inputs, layers)
    with plainly(), torch.random.fork_rng(devices=[]), torch.enable_grad(), follow:
        torch.default_generator.manual_seed(seed)
        outputs: Any = network(inputs)
    follow.unhook()
    several = sum(isinstance(t, Tensor) for t in tree_leaves(outputs)) > 1
    return Passes(_plain(follow.uses), _plain(follow.back)), several


def _plain(uses: Mapping[str, Fraction]) -> Uses:
    return {n: int(u) if u.denominator == 1 else float(u) for n, u in uses.items()}


class _Backward(Follow):
    """Notes of every use of a weight what the backward pass will make of it."""

    def __init__(self, network: nn.Module, inputs: Tensor, layers: Mapping[str, str]) -> None:
        super().__init__(network, inputs, layers)
        self.back: dict[str, Fraction] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do the operation; what it adds to the uses, the backward pass will take so often."""
        before, ways = dict(self.uses), self._ways(args)
        found = super().__torch_dispatch__(func, types, args, kwargs)
        for name, times in self.uses.items():
            if new := ways * (times - before.get(name, 0)):
                self.back[name] = self.back.get(name, Fraction(0)) + new
        return found

    def _ways(self, args: tuple[Any, ...]) -> int:
        if not torch.is_grad_enabled():
            return 0
        given = [t for t in args if isinstance(t, Tensor) and t.requires_grad]
        made = [self._origins.get(storage_key(t)) for t in given]
        trained = any(o is not None and o.static and o.weights for o in made)
        return 2 if trained else int(bool(given))
