"""Residual blocks under a gate: what is closed is not executed outside training."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from lth.errors import LthError

AROUND = ("shortcut", "downsample")
"""What a block calls the way around it."""


class Chosen(NamedTuple):
    """What gates chose: ``open [B, G]`` 0 or 1, MACs of each gate, the log of their chance."""

    open: Tensor
    macs: int
    log_chance: Tensor


class Switch:
    """How gates are opened from their logits ``[B, G]``, and how they learn."""

    def __init__(self, estimator: str = "straight_through", temperature: float = 1.0) -> None:
        self.estimator, self.temperature, self.greedy = estimator, temperature, False

    def __call__(self, logits: Tensor, training: bool) -> Tensor:
        """Return 0 or 1, ``logit > 0`` outside training; in training with a gradient.

        straight_through: of ``sigmoid(logit)``; gumbel: the same of ``(logit + logistic noise) /
        temperature``; reinforce: drawn with the chance ``sigmoid(logit)``, without one.
        """
        if not training or self.greedy:
            return (logits > 0).to(logits)
        if self.estimator == "reinforce":
            return torch.bernoulli(torch.sigmoid(logits.detach()))
        if self.estimator == "gumbel":
            uniform = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
            logits = (logits + torch.logit(uniform)) / self.temperature
        soft = torch.sigmoid(logits)
        return (logits > 0).to(logits) + (soft - soft.detach())

    @contextmanager
    def greedily(self) -> Iterator[None]:
        """Open what is more likely open than not, without noise."""
        self.greedy = True
        try:
            yield
        finally:
            self.greedy = False


class Gate(nn.Module):
    """``Linear(mean over positions)``: ``[B, C, ...] -> [B, G]``; its weights start at 0.

    In front of a linear layer positions are in the middle, ``[B, ..., C]``.
    """

    def __init__(self, inputs: int, gates: int, bias: float, last: bool = False) -> None:
        super().__init__()
        self.last = last
        self.linear = nn.Linear(inputs, gates)
        nn.init.zeros_(self.linear.weight)
        nn.init.constant_(self.linear.bias, bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits."""
        if inputs.ndim > 2:
            inputs = inputs.flatten(1, -2).mean(1) if self.last else inputs.flatten(2).mean(2)
        return self.linear(inputs)


class UnderGates(nn.Module):
    """What blocks under a gate share: ``logits`` is given from outside where there is no gate."""

    def __init__(self, block: nn.Module, switch: Switch, gates: int, bias: float | None) -> None:
        super().__init__()
        self.block, self.switch = block, switch
        self.linear = isinstance(first_layer(block), nn.Linear)
        self.gate = None if bias is None else Gate(_inputs(block), gates, bias, self.linear)
        self.logits: Tensor | None = None
        self._chosen: Chosen | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Map the block's inputs to its outputs."""
        logits = self.logits if self.gate is None else self.gate(inputs)
        assert logits is not None
        self.logits = None
        opened = self.switch(logits, self.training)
        outputs = self.run(inputs, opened)
        chance = functional.logsigmoid(torch.where(opened.detach() > 0.5, logits, -logits)).sum(1)
        self._chosen = Chosen(opened, self.macs(outputs), chance)
        return outputs

    def take(self) -> Chosen | None:
        """Return what was chosen last, once."""
        chosen, self._chosen = self._chosen, None
        return chosen

    def run(self, inputs: Tensor, opened: Tensor) -> Tensor:
        """Run what is open; ``opened [B, G]``."""
        raise NotImplementedError

    def macs(self, outputs: Tensor) -> int:
        """Return the multiply-adds of what one gate opens: its weights times their positions."""
        raise NotImplementedError


class GatedBlock(UnderGates):
    """A residual block that runs where its one gate is open; else its shortcut is left."""

    def __init__(self, block: nn.Module, switch: Switch, bias: float | None) -> None:
        super().__init__(block, switch, 1, bias)
        self.rectified = rectifies(block)

    def run(self, inputs: Tensor, opened: Tensor) -> Tensor:
        """``g block(x) + (1 - g) around(x)``; outside training each row has one of the two."""
        if self.training:
            opened = opened.reshape(-1, *[1] * (inputs.ndim - 1))
            return opened * self.block(inputs) + (1 - opened) * around(
                self.block, inputs, self.rectified
            )
        rows = opened[:, 0] > 0.5
        if bool(rows.all()):
            return self.block(inputs)
        if not bool(rows.any()):
            return around(self.block, inputs, self.rectified)
        skipped = around(self.block, inputs[~rows], self.rectified)
        outputs = skipped.new_empty((len(inputs), *skipped.shape[1:]))
        outputs[~rows], outputs[rows] = skipped, self.block(inputs[rows])
        return outputs

    def macs(self, outputs: Tensor) -> int:
        """Return those of the block without its shortcut."""
        around = sum(_weights(way) for way in beside(self.block))
        positions = outputs.shape[1:-1] if self.linear else outputs.shape[2:]
        return (_weights(self.block) - around) * positions.numel()


def around(block: nn.Module, inputs: Tensor, rectified: bool = True) -> Tensor:
    """Return what a block gives when its residual is 0: of a block without a way around, inputs."""
    if not any(hasattr(block, name) for name in AROUND):
        return inputs
    skipped = shortcut(block, inputs)
    return functional.relu(skipped) if rectified else skipped


def rectifies(block: nn.Module) -> bool:
    """Whether a block ends in a ReLU, found by trial; one that cannot be tried is taken to."""
    if not any(hasattr(block, name) for name in AROUND):
        return False
    with torch.device("cpu"), torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            block, inputs = for_trial(block)
            return bool((block.eval()(inputs) >= 0).all())
        except Exception:
            return True


def for_trial(block: nn.Module) -> tuple[nn.Module, Tensor]:
    """Return a copy of a block with other numbers, and inputs for it, on both sides of 0."""
    draws = torch.Generator("cpu").manual_seed(0)
    layer, block = first_layer(block), copy.deepcopy(block)
    if any(t.is_meta for t in (*block.parameters(), *block.buffers())):
        block = block.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws))
        for buffer in (b for b in block.buffers() if b.is_floating_point()):
            buffer.copy_(torch.rand(buffer.shape, generator=draws) + 0.1)  # variances among them
    kernel = getattr(layer, "kernel_size", ())
    shape = [4, _inputs(block), *[2 * max(kernel, default=1) + 2] * len(kernel)]
    return block, torch.randn(shape, generator=draws)


def shortcut(block: nn.Module, inputs: Tensor) -> Tensor:
    """Return what is added to a block's residual."""
    for way in beside(block):
        return way(inputs)
    return inputs


def blocks_of(model: nn.Module, names: Sequence[str] | None) -> dict[str, nn.Module]:
    """Return the residual blocks of a network, or the modules that are named."""
    modules = dict(model.named_modules())
    found = {p: m for p, m in modules.items() if any(hasattr(m, a) for a in AROUND)}
    if names is None:
        if not found:
            raise LthError(
                "gated: the network has no residual block, a module with a shortcut: name those "
                "that may be skipped as blocks"
            )
        return found
    if unknown := [n for n in names if not modules.get(n)]:
        known = ", ".join(found) or ", ".join(n for n in modules if n)
        raise LthError(f"gated: blocks: {unknown[0]}: no such block; there are {known}")
    return {name: modules[name] for name in names}


def in_place(model: nn.Module, others: Mapping[str, nn.Module]) -> nn.Module:
    """Put other modules in the places of a network's, by name; return it."""
    for path, other in others.items():
        where, _, name = path.rpartition(".")
        setattr(model.get_submodule(where), name, other)
    return model


def first_layer(model: nn.Module) -> Any:
    """Return the first convolution or linear layer."""
    kinds = (m for m in model.modules() if isinstance(m, nn.Linear | _ConvNd))
    found = next(kinds, None)
    if found is None:
        raise LthError("gated: the network has no Linear or Conv layer")
    return found


def beside(block: nn.Module) -> list[nn.Module]:
    """Return the modules around a block, one at most."""
    found = (getattr(block, name, None) for name in AROUND)
    return [way for way in found if isinstance(way, nn.Module)]


def _inputs(block: nn.Module) -> int:
    layer = first_layer(block)
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _weights(module: nn.Module) -> int:
    kinds = (m for m in module.modules() if isinstance(m, nn.Linear | _ConvNd))
    return sum(m.weight.numel() for m in kinds)
