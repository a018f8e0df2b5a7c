"""Masks and params as they are handed to people: dicts by name that show themselves shortly."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lth.spec.shown import html_table

LAYERS = 8
"""Layers that a line names."""


class _Handed(dict[str, Tensor]):
    """Tensors by name, pickled and copied as a plain ``OrderedDict``.

    So a file of ``torch.save`` holds nothing of this package.
    """

    def __reduce_ex__(self, protocol: Any) -> Any:
        return OrderedDict, (), None, None, iter(self.items())


class TicketMask(_Handed):
    """Which weights are kept: boolean tensors by name. A dict, whose ``repr`` fits on a screen.

    It is pickled and copied as a plain ``OrderedDict``.
    """

    @property
    def kept(self) -> int:
        """How many weights are kept, of those it names."""
        return sum(int(m.sum()) for m in self.values())

    @property
    def size(self) -> int:
        """How many weights it names."""
        return sum(m.numel() for m in self.values())

    def __repr__(self) -> str:
        parts = [f"{n} {int(m.sum()):,}/{m.numel():,}" for n, m in list(self.items())[:LAYERS]]
        more = [f"and {len(self) - LAYERS} more"] * (len(self) > LAYERS)
        return f"TicketMask({self.kept:,} of {self.size:,} kept: {', '.join([*parts, *more])})"

    def _repr_html_(self) -> str:
        return layers_html(self, f"{self.kept:,} of {self.size:,} weights kept")


class TicketParams(_Handed):
    """What a ticket starts from: tensors by name. A dict, whose ``repr`` fits on a screen."""

    def __repr__(self) -> str:
        parts = [f"{n} {_shape(p)}" for n, p in list(self.items())[:LAYERS]]
        more = [f"and {len(self) - LAYERS} more"] * (len(self) > LAYERS)
        values = sum(p.numel() for p in self.values())
        return f"TicketParams({values:,} values: {', '.join([*parts, *more])})"


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))


def layers_html(mask: Mapping[str, Tensor], caption: str) -> str:
    """Return a table of a mask's layers: shape, weights kept, share."""
    rows = {
        name: (
            _shape(m), f"{int(m.sum()):,}", f"{m.numel():,}",
            f"{100 * float(m.sum()) / max(1, m.numel()):.3g} %",
        )
        for name, m in mask.items()
    }  # fmt: skip
    return html_table(("layer", "shape", "kept", "of", "share"), rows, caption)
