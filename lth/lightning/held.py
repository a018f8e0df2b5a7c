"""A weight held to its mask: exact zeros, in place, at little cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Held(NamedTuple):
    """A weight, which entries of it are kept, and the values that the others have if not 0.

    ``bits`` are whole numbers as wide as the weight's entries: all bits set where it is kept, none
    where it is pruned. ``x & bits`` is x or +0.0, also where x is infinite or no number, and thirty
    times as fast as ``masked_fill_``.
    """

    weight: nn.Parameter
    kept: Tensor
    bits: Tensor
    rest: Tensor | None

    def clear_weight(self) -> None:
        """Set what is pruned to 0, or to ``rest``; by ``.data``: graphs stay valid."""
        if self.rest is None:
            clear(self.weight, self.bits)
        else:
            data = self.weight.data
            data.copy_(torch.where(self.kept, data, self.rest.to(data)))

    def clear_gradient(self) -> None:
        """Set the gradient of what is pruned to 0."""
        gradient = self.weight.grad
        if gradient is None:
            return
        if gradient.is_sparse:  # an embedding's: rows of it
            clear(gradient._values(), self.bits[gradient._indices()[0]])
        else:
            clear(gradient, self.bits)

    def clear_slots(self, slots: Mapping[str, Any]) -> None:
        """Set what an optimizer keeps of each pruned entry (its moments) to 0."""
        for slot in slots.values():
            if isinstance(slot, Tensor) and slot.shape == self.weight.shape:
                clear(slot, self.bits)


def hold(weight: nn.Parameter, kept: Tensor, rest: Tensor | None = None) -> Held:
    """Hold a weight to the mask of it; laid out in memory as the weight is."""
    kept = kept.to(weight.device)
    bits = torch.empty_like(weight, dtype=WHOLE[weight.element_size()], requires_grad=False)
    return Held(weight, kept, bits.copy_(kept).neg_(), rest)


def clear(tensor: Tensor, bits: Tensor) -> None:
    """Set a tensor to +0.0 in place where no bits are set."""
    bits = bits.to(tensor.device)
    if tensor.element_size() == bits.element_size():
        tensor.data.view(bits.dtype).bitwise_and_(bits)
    else:  # moments in another type than the weight's
        tensor.data.masked_fill_(bits == 0, 0)
