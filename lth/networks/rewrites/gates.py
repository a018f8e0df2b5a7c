"""Gates as rewrites: a network's residual blocks gated, or what of them runs fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lth.errors import LthError
from lth.models.blocks import GatedBlock, beside, blocks_of, in_place, rectifies
from lth.models.channels import GatedChannels, two_convolutions
from lth.models.gated import Gated, gated
from lth.networks.rewrites.shared import by_rebuilding, copied, own_layer, part_of_norm


def always(model: nn.Module, blocks: Sequence[str]) -> nn.Module:
    """Fix a policy: of a network's residual blocks, gated or not, run these, skip the others.

    Where the gates are of groups of channels, these groups, as ``Gated.names`` has them: a block is
    narrower by those that are left out, and one of which no group is left is skipped.
    """
    network = model.model if isinstance(model, Gated) else model
    gates = {p: m for p, m in network.named_modules() if isinstance(m, GatedBlock | GatedChannels)}
    found = {p: m.block for p, m in gates.items()} or blocks_of(network, None)
    known = [name for p in found for name in _names(p, gates.get(p))]
    if unknown := [name for name in blocks if name not in known]:
        raise LthError(f"always: {unknown[0]}: no such block; there are {', '.join(known)}")
    kept: dict[str, nn.Module] = {}
    for path, block in found.items():
        names = _names(path, gates.get(path))
        run = [n for n, name in enumerate(names) if name in blocks]
        if not run:
            kept[path] = Skip(block)
        elif len(run) < len(names):
            kept[path] = _narrower(gates[path], run)
        else:
            kept[path] = block
    return in_place(network, kept)


def _names(path: str, gate: Any) -> list[str]:
    """Return what the gates of a block are called."""
    if not isinstance(gate, GatedChannels):
        return [path]
    return [f"{path}:{group}" for group in range(len(gate.groups) - 1)]


def _narrower(gate: Any, groups: Sequence[int]) -> nn.Module:
    """Return a block with some groups of its inner channels alone."""
    first, norm, second, _ = two_convolutions(gate.block)
    kept = torch.cat([gate.channels(group) for group in groups]).to(first.weight.device)
    bias = None if first.bias is None else first.bias[kept]
    return copied(gate.block, {
        first: own_layer(first, first.weight[kept], bias, 1),
        norm: part_of_norm(norm, kept),
        second: own_layer(second, second.weight[:, kept], second.bias, 1),
    })  # fmt: skip


class Skip(nn.Module):
    """A residual block that is never run: its shortcut is left."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.way = next(iter(beside(block)), nn.Identity())
        self.rectified = rectifies(block)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what goes around the block."""
        around = self.way(inputs)
        return functional.relu(around) if self.rectified else around


for _factory in (gated, always):
    vars(_factory).update(carry=by_rebuilding(_factory), masked=True)
