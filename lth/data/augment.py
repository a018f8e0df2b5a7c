"""Augmentation: random changes of raw batches, as tensor functions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lth.errors import LthError
from lth.spec.argument_types import is_whole


@dataclass(frozen=True)
class flip_and_crop:
    """Crop out of the zero-padded image, then mirror half of the images: CIFAR's usual way.

    ``out[b, c, i, j] = padded[b, c, y_b + i, x_b + j']`` with ``y, x`` uniform in 0..2 padding and
    ``j' = W - 1 - j`` for the mirrored, ``j`` for the others (He et al. 2016, arXiv 1512.03385,
    Section 4.2). The border is black (raw 0), before normalisation, as in the common code bases.

    >>> flip_and_crop(1)(torch.tensor([[[[1, 2], [3, 4]]]]), torch.tensor([[1, 1, 0]])).tolist()
    [[[[1, 0], [3, 0]]]]
    """

    padding: int = 4

    def __post_init__(self) -> None:
        if not is_whole(self.padding, 0):
            raise LthError(f"padding={self.padding!r}: it must be a whole number, 0 or more")

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw (mirror, y, x) of each image: int64 ``[B, 3]``."""
        mirror = torch.randint(2, (batch, 1), generator=generator)
        corner = torch.randint(2 * self.padding + 1, (batch, 2), generator=generator)
        return torch.cat([mirror, corner], 1)

    def __call__(self, inputs: Tensor, draws: Tensor, /) -> Tensor:
        """Apply the draws to ``[B, C, H, W]``."""
        channels, height, width = inputs.shape[1:]
        padded = functional.pad(inputs, (self.padding,) * 4)
        mirror, y, x = (draws[:, i, None] for i in range(3))
        columns = torch.arange(width, device=inputs.device)
        columns = x + torch.where(mirror > 0, width - 1 - columns, columns)
        rows = y + torch.arange(height, device=inputs.device)
        places = rows[:, :, None] * padded.shape[-1] + columns[:, None, :]
        places = places.flatten(1)[:, None].expand(-1, channels, -1)
        return padded.flatten(2).gather(2, places).reshape(inputs.shape)
