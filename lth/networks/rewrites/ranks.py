"""Which rank every layer gets: one share of its energy for all, or the one that fits a budget.

The energy of a layer at rank r is the share of its squared singular values that the r largest have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lth.errors import LthError
from lth.networks.rewrites.low_rank import saves
from lth.networks.rewrites.pairs import Place, energies

ROUNDING = 1e-12
"""What of an energy is lost in doubles."""


@dataclass(frozen=True)
class Spectrum:
    """A layer's energies; ``uses`` is what each of its weights costs: 1, or multiply-adds."""

    place: Place
    uses: float = 1.0

    @cached_property
    def shares(self) -> Tensor:
        """The energy at rank 1, 2, ..., full: from 0 to 1, in doubles."""
        found = energies(self.place.matrix)[: self.place.full].cumsum(0)
        return found / found[-1] if found[-1] > 0 else torch.ones_like(found)

    def rank(self, energy: float) -> int | None:
        """Return the least rank of so much energy; None where that saves nothing."""
        found = int((self.shares < energy - ROUNDING).sum()) + 1
        return found if saves(self.place, found) else None

    def cost(self, rank: int | None) -> float:
        """Return what the layer costs at a rank, or as it is."""
        size = self.place.size if rank is None else rank * sum(self.place.matrix.shape)
        return size * self.uses


def at_energy(spectra: Sequence[Spectrum], energy: float) -> dict[str, int]:
    """Return the ranks of so much energy, of the layers that they make smaller."""
    found = {s.place.name: s.rank(energy) for s in spectra}
    return {name: rank for name, rank in found.items() if rank is not None}


def within(spectra: Sequence[Spectrum], budget: float, rest: float, of: str) -> dict[str, int]:
    """Return the ranks of the highest energy, one for all layers, that cost no more than a budget.

    ``rest`` is what all else costs. Found by bisection over the energies that there are.
    """

    def cost(energy: float) -> float:
        return rest + sum(s.cost(s.rank(energy)) for s in spectra)

    steps = sorted({0.0, *(float(e) for s in spectra for e in s.shares)})
    if cost(steps[0]) > budget:
        raise LthError(
            f"a budget of {budget:,.0f} {of} is too small: rank 1 everywhere leaves "
            f"{cost(steps[0]):,.0f}"
        )
    low, high = 0, len(steps)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(steps[middle]) <= budget else (low, middle)
    return at_energy(spectra, steps[low])


def spectra_of(places: Mapping[str, Place], uses: Mapping[str, float] | None) -> list[Spectrum]:
    """Return the spectra of layers; ``uses`` of their weights by name, None: each counts once."""
    if uses is None:
        return [Spectrum(place) for place in places.values()]
    return [
        Spectrum(place, max((u for n, u in uses.items() if _of(n, name)), default=0.0))
        for name, place in places.items()
    ]


def _of(weight: str, layer: str) -> bool:
    return weight.startswith(f"{layer}." if layer else "")
