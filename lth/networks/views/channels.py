"""Output channels of a weight: its dimension 0, as Linear and Conv have it."""

from __future__ import annotations

from torch import Tensor


def per_channel(weight: Tensor) -> Tensor:
    """Return a weight as rows, one per output channel; a vector is one channel.

    ``[C, ...] -> [C, n]``, ``[n] -> [1, n]``.
    """
    return weight.reshape(1, -1) if weight.ndim < 2 else weight.reshape(len(weight), -1)


def greatest(weight: Tensor) -> Tensor:
    """Return ``max |w|`` of every output channel, shape [C, 1, ...]; of a vector [1]."""
    if weight.ndim < 2:
        return weight.abs().amax().reshape(1)
    return weight.abs().amax(tuple(range(1, weight.ndim)), keepdim=True)
