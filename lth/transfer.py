"""Ticket transfer: tickets found on one data set, trained on another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from lth.errors import LthError
from lth.search import Ahead, Case, Found
from lth.study import Study
from lth.ticket import State, Ticket
from lth.types import Mask

WEIGHTS = ("own", "source")


@dataclass(frozen=True)
class Transferred:
    """Take each level's mask, and perhaps its weights, from the tickets of another study."""

    study: str
    level: int | None = None
    weights: str = "own"
    iterates: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise LthError(f"search.weights={self.weights}: they are one of {', '.join(WEIGHTS)}")

    @cached_property
    def _source(self) -> Study:
        return Study(self.study)

    def check(self, ahead: Ahead) -> None:
        """Refuse a source that lacks a ticket, or whose tickets do not fit this model."""
        found = [self._ticket(*place) for place in ahead.places]
        self._fit(found[0].mask, ahead.mask, ahead.layers.output)

    def trained_levels(self, level: int) -> range:
        """None of this study's: what the source cost is in the source's records."""
        return range(0)

    def __call__(self, case: Case) -> Found:
        """Return the source's mask; a layer of another shape (the output's) is kept whole."""
        ticket, dense = self._ticket(case.trial, case.lr, case.level), case.dense.mask
        self._fit(ticket.mask, dense, case.layers.output)
        mask = {
            n: ticket.mask[n] if ticket.mask[n].shape == m.shape else m for n, m in dense.items()
        }
        return Found(mask, start=self._weights(ticket, case.dense.start))

    def _ticket(self, trial: int, lr: float, level: int) -> Ticket:
        rates = sorted({p.lr for p in self._source.members})
        if lr not in rates and len(rates) > 1:
            raise LthError(f"search.study={self.study}: it has no lr {lr:g}, only {rates}")
        return self._source.ticket(
            trial=trial, lr=lr if lr in rates else rates[0],
            level=level if self.level is None else self.level,
        )  # fmt: skip

    def _fit(self, there: Mask, here: Mask, output: str) -> None:
        for name, mask in here.items():
            if name not in there:
                raise LthError(f"search.study={self.study}: its tickets have no {name}")
            if there[name].shape != mask.shape and name != output:
                raise LthError(
                    f"search.study={self.study}: {name} has shape {tuple(there[name].shape)} there "
                    f"and {tuple(mask.shape)} here; only the output layer may differ: transfer "
                    "between inputs of one shape"
                )

    def _weights(self, ticket: Ticket, own: State) -> State | None:
        """Return the source's starting state; what has another shape here starts as ours does."""
        if self.weights == "own":
            return None
        there = ticket.start
        return State(
            *(
                {n: b[n] if n in b and b[n].shape == a[n].shape else a[n] for n in a}
                for a, b in zip(own, there, strict=True)
            )
        )


def transferred(study: str, level: int | None = None, weights: str = "own") -> Transferred:
    """Train the tickets that another study found (Morcos et al. 2019, arXiv 1906.02773).

    ``study`` is its folder. The same trial and seed give the same initial weights, those of the
    hidden layers even where the number of classes differs, so mask and initialisation both move;
    ``arms=[winning_ticket,random_reinit]`` tells them apart. With ``weights=source`` the weights
    are the source tickets' own, wherever those were rewound to, and train from step 0. A layer of
    another shape, the output's where classes differ, is new and kept whole. ``level`` takes one
    level's tickets for all levels.
    """
    if not isinstance(study, str) or study == "???":
        raise LthError("search.study: name the source's folder, out/studies/<name>-<hash8>")
    Study(study)
    return Transferred(study, level, weights)
