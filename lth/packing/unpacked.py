"""What comes out of a packed file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import nn

from lth.networks.drawn import State
from lth.networks.net import Net, network_for


class Part(NamedTuple):
    """What a part of a tensor takes: ``positions``, ``ids``, ``codebook``, ``table`` or ``values``.

    What belongs to no tensor is the ``header``; an arithmetic code takes parts of a byte.
    """

    tensor: str
    part: str
    bytes: float


@dataclass(frozen=True)
class Unpacked:
    """A network out of its file: ``net`` has plain weights, ``size`` is the file's in bytes.

    Its mask is where a weight that can be pruned is not 0.
    """

    net: Net
    size: int
    spent: dict[tuple[str, str], float] = field(repr=False)

    def module(self, model: Any = None) -> nn.Module:
        """Return the network, an ordinary module in evaluation mode.

        ``model`` names its factory, or is a network to take a copy of, where the file's own may not
        be called because a file named it.
        """
        state = State(self.net.params, self.net.buffers)
        return network_for(self.net.model, state, model).eval()

    def report(self) -> list[Part]:
        """Return what every part of every tensor takes; it adds up to ``size``."""
        parts = [Part(t, p, bits / 8) for (t, p), bits in self.spent.items() if t]
        rest = self.size - sum(p.bytes for p in parts)
        return [Part("", "header", rest), *parts]
