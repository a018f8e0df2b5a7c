"""Ticket transfer: masks found on one data set, trained on another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from lth.errors import LthError
from lth.search import Case, Found
from lth.study import Study


@dataclass(frozen=True)
class Transferred:
    """Take each level's mask from the tickets of another study."""

    study: str
    level: int | None = None
    iterates: ClassVar[bool] = False

    @cached_property
    def _source(self) -> Study:
        return Study(self.study)

    def trained_levels(self, level: int) -> range:
        """None of this study's: what the source cost is in the source's records."""
        return range(0)

    def __call__(self, case: Case) -> Found:
        """Return the source's mask; a layer of another shape (the output's) is kept whole."""
        rates = sorted({p.lr for p in self._source.members})
        lr = case.lr if case.lr in rates else rates[0]
        level = case.level if self.level is None else self.level
        found = self._source.ticket(trial=case.trial, lr=lr, level=level).mask
        dense = case.dense.mask
        if missing := [n for n in dense if n not in found]:
            raise LthError(f"search.study={self.study}: its tickets have no {missing[0]}")
        mask = {n: found[n] if found[n].shape == m.shape else m for n, m in dense.items()}
        others = [n for n in mask if n != case.layers.output and mask[n] is dense[n]]
        if others:
            raise LthError(
                f"search.study={self.study}: {others[0]} has shape {tuple(found[others[0]].shape)} "
                f"there and {tuple(dense[others[0]].shape)} here; only the output layer may differ"
            )
        return Found(mask)


def transferred(study: str, level: int | None = None) -> Transferred:
    """Train the tickets that another study found (Morcos et al. 2019, arXiv 1906.02773).

    ``study`` is its folder. The same trial and seed give the same initial weights, those of the
    hidden layers even where the number of classes differs, so mask and initialisation both move;
    ``arms=[winning_ticket,random_reinit]`` tells them apart. ``level`` takes one level's masks for
    all levels.
    """
    Study(study)
    return Transferred(study, level)
