"""A look at one winning ticket: the density of its layers, its weights, its masks as pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from lth.store.entry import StoredMember

MOST_LAYERS = 12
"""Layers that are shown as pictures; of more, the largest."""

PICTURES = (".png", ".jpg", ".jpeg")
"""Files of figures that a logger can show: one in PDF or SVG is for papers."""

SIDE = 256
"""Most pixels of a picture's side; a larger mask is averaged over squares."""


def pictures_among(figures: Iterable[Path]) -> list[Path]:
    """Return the figures' files that are pictures."""
    return [path for path in figures if path.suffix.lower() in PICTURES]


class Look(NamedTuple):
    """A trained ticket: its masks, and what training made of the weights that they keep."""

    masks: dict[str, Tensor]
    weights: dict[str, Tensor]

    @property
    def layers(self) -> dict[str, float]:
        """The density of every layer that can be pruned: weights kept / weights, in [0, 1]."""
        return {name: int(m.sum()) / m.numel() for name, m in self.masks.items()}

    @property
    def kept(self) -> np.ndarray[Any, Any]:
        """The trained values of all weights that are kept, in one row."""
        values = [self.weights[n][m].float().numpy() for n, m in self.masks.items()]
        return np.concatenate(values) if values else np.zeros(0)

    @property
    def pictures(self) -> dict[str, np.ndarray[Any, Any]]:
        """The masks as pictures, white where a weight is kept, by ``<layer>: <share> kept``."""
        shares, largest = self.layers, sorted(self.masks, key=lambda n: -self.masks[n].numel())
        chosen = [n for n in self.masks if n in largest[:MOST_LAYERS]]
        return {f"{n}: {100 * shares[n]:.3g} % kept": picture(self.masks[n]) for n in chosen}


def look_at(entry: StoredMember) -> Look | None:
    """Read a member's final mask and weights; of one that diverged there is nothing to see."""
    if entry.diverged is not None:
        return None
    final, mask = entry.final.params, entry.final_mask
    return Look(mask, {n: final[n] for n in mask})


def picture(mask: Tensor) -> np.ndarray[Any, Any]:
    """Return a mask as a grey picture, uint8 ``[SIDE, SIDE]``: outputs down, inputs across.

    Of a convolution ``[O, C, H, W]`` every kernel is a tile, ``[O * H, C * W]``. What is larger is
    averaged, what is smaller is drawn larger; a margin of middle grey makes all of one size.

    >>> import torch
    >>> picture(torch.eye(2, dtype=torch.bool)).shape
    (256, 256)
    """
    plane = mask.float().numpy()
    if plane.ndim == 4:
        plane = plane.transpose(0, 2, 1, 3).reshape(plane.shape[0] * plane.shape[2], -1)
    plane = plane.reshape(plane.shape[0] if plane.ndim > 1 else 1, -1)
    for axis in (0, 1):
        plane = _averaged(plane, axis)
    times = max(1, SIDE // max(plane.shape))
    drawn = np.kron(np.round(255 * plane).astype(np.uint8), np.ones((times, times), np.uint8))
    page = np.full((SIDE, SIDE), 128, np.uint8)
    page[: drawn.shape[0], : drawn.shape[1]] = drawn
    return page


def _averaged(plane: np.ndarray[Any, Any], axis: int) -> np.ndarray[Any, Any]:
    """Average over so many neighbours along an axis that no more than ``SIDE`` are left."""
    size = plane.shape[axis]
    width = -(-size // SIDE)
    starts = np.arange(0, size, width)
    sums = np.add.reduceat(plane, starts, axis=axis)
    counts = np.diff(np.append(starts, size)).reshape((-1, 1) if axis == 0 else (1, -1))
    return sums / counts
