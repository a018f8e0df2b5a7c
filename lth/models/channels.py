"""Residual blocks whose inner channels run in groups, each under a gate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from lth.errors import LthError
from lth.models.blocks import Switch, UnderGates, beside, for_trial, shortcut


class GatedChannels(UnderGates):
    """A block of two convolutions whose inner channels run in groups, each under a gate."""

    def __init__(self, block: nn.Module, switch: Switch, groups: int, bias: float) -> None:
        super().__init__(block, switch, groups, bias)
        width = two_convolutions(block)[0].out_channels
        if not 1 <= groups <= width:
            raise LthError(f"gated: groups={groups}: a block has {width} channels")
        self.groups = [g * width // groups for g in range(groups + 1)]
        check_same(block)

    def channels(self, group: int) -> Tensor:
        """Return the numbers of a group's channels."""
        return torch.arange(self.groups[group], self.groups[group + 1])

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
        sizes = [b - a for a, b in zip(self.groups, self.groups[1:], strict=False)]
        gates = torch.cat([opened[:, [g]].expand(-1, n) for g, n in enumerate(sizes)], 1)
        return residual(self.block, inputs, gates[:, :, None, None])

    def _part(self, inputs: Tensor, like: Tensor, pattern: Tensor) -> Tensor:
        first, norm, second, last = two_convolutions(self.block)
        if bool(pattern.all()):
            return last(second(functional.relu(norm(first(inputs)))))
        if not bool(pattern.any()):
            empty = torch.zeros_like(like)
            return last(empty if second.bias is None else empty + second.bias[:, None, None])
        kept = torch.cat([self.channels(g) for g in pattern.nonzero()[:, 0].tolist()])
        kept = kept.to(inputs.device)
        inner = _convolved(first, inputs, first.weight[kept], first.bias, kept)
        inner = functional.relu(_normed(norm, inner, kept))
        return last(_convolved(second, inner, second.weight[:, kept], second.bias))


def two_convolutions(block: nn.Module) -> tuple[Any, Any, Any, Any]:
    """Return a block's convolution, norm, convolution, norm; another kind of block is refused."""
    around = {id(m) for way in beside(block) for m in way.modules()}
    kinds = _ConvNd | nn.modules.batchnorm._BatchNorm
    parts = [m for m in block.modules() if isinstance(m, kinds) and id(m) not in around]
    convs = [isinstance(p, _ConvNd) for p in parts]
    if convs != [True, False, True, False] or not all(_takes_parts(p) for p in parts):
        raise LthError(_other_block(block))
    return parts[0], parts[1], parts[2], parts[3]


def _takes_parts(part: Any) -> bool:
    """Whether some channels of a convolution or norm can be computed without the others."""
    if isinstance(part, _ConvNd):
        return isinstance(part, nn.Conv2d) and part.groups == 1 and part.padding_mode == "zeros"
    return part.running_mean is not None


def _other_block(block: nn.Module) -> str:
    return (
        f"gated: by=channels: a {type(block).__name__} is no block of two convolutions with norms, "
        "relu(norm(conv(relu(norm(conv(x))))) + shortcut(x)), zero padding and one group: gate "
        "by=blocks"
    )


def check_same(block: nn.Module) -> None:
    """Refuse a block that computes something else than its gates let run; found by trial.

    In both modes: in training a dropout would be lost.
    """
    with torch.device("cpu"), torch.no_grad(), torch.random.fork_rng(devices=[]):
        block, inputs = for_trial(block)
        for mode in (False, True):
            block.train(mode)
            given = functional.relu(residual(block, inputs) + shortcut(block, inputs))
            try:
                same = torch.allclose(block(inputs), given, atol=1e-4, rtol=1e-4)
            except Exception:
                same = False
            if not same:
                raise LthError(_other_block(block))


def residual(block: nn.Module, inputs: Tensor, gates: Tensor | float = 1.0) -> Tensor:
    """Return ``norm(conv(g * relu(norm(conv(x)))))`` of a block of two convolutions."""
    first, norm, second, last = two_convolutions(block)
    return last(second(functional.relu(norm(first(inputs))) * gates))


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
