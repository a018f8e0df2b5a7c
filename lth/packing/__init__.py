"""A stand-in until packing is there: a ticket file of the baked network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from safetensors.torch import load, save
from torch import nn

from lth.networks.net import Net


@dataclass(frozen=True)
class Unpacked:
    """A network read back."""

    net: Net

    def module(self, model: Any = None) -> nn.Module:
        """Return it as a module."""
        return self.net.module(model)


_models: dict[bytes, Any] = {}


def pack(net: Net) -> bytes:
    """Return the bytes of a network."""
    state = net.baked()
    tensors = {f"p/{n}": t for n, t in state.params.items()}
    tensors |= {f"b/{n}": t for n, t in state.buffers.items()}
    content = save({n: t.detach().clone().contiguous() for n, t in tensors.items()})
    _models[content] = net.model
    return content


def unpack(data: bytes) -> Unpacked:
    """Read them back."""
    tensors = load(data)
    params = {n[2:]: t for n, t in tensors.items() if n.startswith("p/")}
    buffers = {n[2:]: t for n, t in tensors.items() if n.startswith("b/")}
    return Unpacked(Net(model=_models[data], mask={}, params=params, buffers=buffers))
