"""What comes out of a packed file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from lth.networks.drawn import State
from lth.networks.net import Net, network_for
from lth.networks.ticket_check import TRIALS
from lth.spec.shown import html_table


class Part(NamedTuple):
    """What a part of a tensor takes: ``positions``, ``ids``, ``codebook``, ``table`` or ``values``.

    What belongs to no tensor is the ``header``; an arithmetic code takes parts of a byte.
    """

    tensor: str
    part: str
    bytes: float


@dataclass(frozen=True, repr=False)
class Unpacked:
    """A network out of its file: ``net`` has plain weights, ``size`` is the file's in bytes.

    Its mask is where a weight that can be pruned is not 0.
    """

    net: Net
    size: int
    spent: dict[tuple[str, str], float]

    def __repr__(self) -> str:
        """One line: what it is of, and how large its file is."""
        return f"Unpacked({self.size:,} bytes: {self.net!r})"

    def _repr_html_(self) -> str:
        taken: dict[str, float] = {}
        for part in self.report():
            name = part.tensor or part.part
            taken[name] = taken.get(name, 0.0) + part.bytes
        rows = {name: [f"{size:,.0f}"] for name, size in taken.items()}
        return html_table(("tensor", "bytes"), rows, repr(self))

    def module(self, model: Any = None) -> nn.Module:
        """Return the network, an ordinary module in evaluation mode.

        ``model`` names its factory, or is a network to take a copy of, where the file's own may not
        be called because a file named it.
        """
        state = State(self.net.params, self.net.buffers)
        return network_for(self.net.model, state, model, TRIALS).eval()

    def report(self) -> list[Part]:
        """Return what every part of every tensor takes; it adds up to ``size``."""
        parts = [Part(t, p, bits / 8) for (t, p), bits in self.spent.items() if t]
        rest = self.size - sum(p.bytes for p in parts)
        return [Part("", "header", rest), *parts]
