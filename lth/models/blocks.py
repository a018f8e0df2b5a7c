"""Residual blocks under a gate: what is closed is not executed outside training."""

from __future__ import annotations

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
    """``Linear(mean over positions)``: ``[B, C, ...] -> [B, G]``; its weights start at 0."""

    def __init__(self, inputs: int, gates: int, bias: float) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, gates)
        nn.init.zeros_(self.linear.weight)
        nn.init.constant_(self.linear.bias, bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits."""
        return self.linear(inputs.flatten(2).mean(2) if inputs.ndim > 2 else inputs)


class UnderGates(nn.Module):
    """What blocks under a gate share: ``logits`` is given from outside where there is no gate."""

    def __init__(self, block: nn.Module, switch: Switch, gates: int, bias: float | None) -> None:
        super().__init__()
        self.block, self.switch = block, switch
        self.gate = None if bias is None else Gate(_inputs(block), gates, bias)
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

    def run(self, inputs: Tensor, opened: Tensor) -> Tensor:
        """``g block(x) + (1 - g) around(x)``; outside training each row has one of the two."""
        if self.training:
            opened = opened.reshape(-1, *[1] * (inputs.ndim - 1))
            return opened * self.block(inputs) + (1 - opened) * around(self.block, inputs)
        rows = opened[:, 0] > 0.5
        if bool(rows.all()):
            return self.block(inputs)
        if not bool(rows.any()):
            return around(self.block, inputs)
        skipped = around(self.block, inputs[~rows])
        outputs = skipped.new_empty((len(inputs), *skipped.shape[1:]))
        outputs[~rows], outputs[rows] = skipped, self.block(inputs[rows])
        return outputs

    def macs(self, outputs: Tensor) -> int:
        """Return those of the block without its shortcut."""
        beside = sum(_weights(way) for way in _ways(self.block))
        return (_weights(self.block) - beside) * outputs.shape[2:].numel()


class GatedChannels(UnderGates):
    """A block of two convolutions whose inner channels run in groups, each under a gate."""

    def __init__(self, block: nn.Module, switch: Switch, groups: int, bias: float) -> None:
        super().__init__(block, switch, groups, bias)
        width = two_convolutions(block)[0].out_channels
        if not 1 <= groups <= width:
            raise LthError(f"gated: groups={groups}: a block has {width} channels")
        self.groups = [g * width // groups for g in range(groups + 1)]

    def run(self, inputs: Tensor, opened: Tensor) -> Tensor:
        """``relu(norm(conv(g * relu(norm(conv(x))))) + around)``; rows alike run together."""
        skipped = shortcut(self.block, inputs)
        if self.training:
            return functional.relu(self._masked(inputs, opened) + skipped)
        residual = torch.empty_like(skipped)
        for pattern in torch.unique(opened > 0.5, dim=0):
            rows = ((opened > 0.5) == pattern).all(1)
            residual[rows] = self._part(inputs[rows], skipped[rows], pattern)
        return functional.relu(residual + skipped)

    def macs(self, outputs: Tensor) -> int:
        """Return a group's share of both convolutions."""
        first, _, second, _ = two_convolutions(self.block)
        weights = first.weight.numel() + second.weight.numel()
        return weights * outputs.shape[2:].numel() // (len(self.groups) - 1)

    def _masked(self, inputs: Tensor, opened: Tensor) -> Tensor:
        first, norm, second, last = two_convolutions(self.block)
        inner = functional.relu(norm(first(inputs)))
        sizes = [b - a for a, b in zip(self.groups, self.groups[1:], strict=False)]
        gates = torch.cat([opened[:, [g]].expand(-1, n) for g, n in enumerate(sizes)], 1)
        return last(second(inner * gates[:, :, None, None]))

    def _part(self, inputs: Tensor, like: Tensor, pattern: Tensor) -> Tensor:
        first, norm, second, last = two_convolutions(self.block)
        if bool(pattern.all()):
            return last(second(functional.relu(norm(first(inputs)))))
        if not bool(pattern.any()):
            empty = torch.zeros_like(like)
            return last(empty if second.bias is None else empty + second.bias[:, None, None])
        kept = torch.cat([torch.arange(self.groups[g], self.groups[g + 1]) for g in
                          pattern.nonzero()[:, 0].tolist()]).to(inputs.device)  # fmt: skip
        inner = _convolved(first, inputs, first.weight[kept], first.bias, kept)
        inner = functional.relu(_normed(norm, inner, kept))
        return last(_convolved(second, inner, second.weight[:, kept], second.bias))


def around(block: nn.Module, inputs: Tensor) -> Tensor:
    """Return what a block gives when its residual is 0: of a block without a way around, inputs."""
    if any(hasattr(block, name) for name in AROUND):
        return functional.relu(shortcut(block, inputs))
    return inputs


def shortcut(block: nn.Module, inputs: Tensor) -> Tensor:
    """Return what is added to a block's residual."""
    for way in _ways(block):
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


def two_convolutions(block: nn.Module) -> tuple[Any, Any, Any, Any]:
    """Return a block's convolution, norm, convolution, norm; another kind of block is refused."""
    beside = {id(m) for way in _ways(block) for m in way.modules()}
    kinds = _ConvNd | nn.modules.batchnorm._BatchNorm
    parts = [m for m in block.modules() if isinstance(m, kinds) and id(m) not in beside]
    convs = [isinstance(p, _ConvNd) for p in parts]
    if convs != [True, False, True, False] or any(getattr(p, "groups", 1) > 1 for p in parts):
        raise LthError(
            f"gated: by=channels: a {type(block).__name__} is no block of two convolutions with "
            "norms: gate by=blocks"
        )
    return parts[0], parts[1], parts[2], parts[3]


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


def _ways(block: nn.Module) -> list[nn.Module]:
    ways = (getattr(block, name, None) for name in AROUND)
    return [way for way in ways if isinstance(way, nn.Module)]


def _inputs(block: nn.Module) -> int:
    layer = first_layer(block)
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _weights(module: nn.Module) -> int:
    kinds = (m for m in module.modules() if isinstance(m, nn.Linear | _ConvNd))
    return sum(m.weight.numel() for m in kinds)


def _convolved(
    conv: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, kept: Tensor | None = None
) -> Tensor:
    bias = bias if bias is None or kept is None else bias[kept]
    return functional.conv2d(inputs, weight, bias, conv.stride, conv.padding, conv.dilation)


def _normed(norm: Any, inputs: Tensor, kept: Tensor) -> Tensor:
    """Normalise some channels by their running statistics."""
    affine = (None, None) if norm.weight is None else (norm.weight[kept], norm.bias[kept])
    mean, variance = norm.running_mean[kept], norm.running_var[kept]
    return functional.batch_norm(inputs, mean, variance, *affine, eps=norm.eps)
