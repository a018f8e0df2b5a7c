"""Ticket transfer: tickets found on one data set, trained on another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch

from lth.errors import LthError
from lth.networks.ticket import State, Ticket
from lth.pruning.search import Preflight, SearchInput, SearchResult
from lth.store.entry import MissingSnapshot, StoredMember
from lth.store.study import Study
from lth.types import Mask, Params

_TARGET = "lth.pruning.transfer.transferred"
WEIGHTS = ("own", "redrawn", "source")


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

    def check(self, ahead: Preflight) -> None:
        """Refuse a source that lacks a ticket, or whose tickets do not fit this model or start."""
        found = [self._ticket(*place) for place in ahead.places]
        self._fit(found[0].mask, ahead.mask, ahead.layers.output)
        for trial, lr in sorted({place[:2] for place in ahead.places}):
            if self.weights == "own" and ahead.initial is not None:
                self._same_start(trial, lr, ahead.initial(trial).params)
            elif self.weights == "source":
                self._dense(trial, lr).at(0)

    def dense_start(self, trial: int, lr: float, level: int, own: State) -> State:
        """Return the dense network at the point that tickets are rewound to; ``own`` is ours."""
        if self.weights != "source":
            return own
        return _where_shapes_agree(self._source_point(trial, lr, level), own)

    def trained_levels(self, level: int) -> range:
        """None of this study's: what the source cost is in the source's records."""
        return range(0)

    def __call__(self, case: SearchInput) -> SearchResult:
        """Return the source's mask; a layer of another shape (the output's) is kept whole."""
        ticket, dense = self._ticket(case.trial, case.lr, case.level), case.dense.mask
        self._fit(ticket.mask, dense, case.layers.output)
        mask = {
            n: ticket.mask[n] if ticket.mask[n].shape == m.shape else m for n, m in dense.items()
        }
        if self.weights != "source":
            return SearchResult(mask)
        return SearchResult(mask, start=_where_shapes_agree(ticket.start, case.dense.start))

    def _ticket(self, trial: int, lr: float, level: int) -> Ticket:
        return self._source.ticket(trial=trial, lr=self._rate(lr), level=self._level(level))

    def _level(self, level: int) -> int:
        return level if self.level is None else self.level

    def _dense(self, trial: int, lr: float) -> StoredMember:
        return self._source.entry(trial=trial, lr=self._rate(lr), level=0)

    def _rate(self, lr: float) -> float:
        rates = sorted({p.lr for p in self._source.members})
        if lr not in rates and len(rates) > 1:
            raise LthError(f"search.study={self.study}: it has no lr {lr:g}, only {rates}")
        return lr if lr in rates else rates[0]

    def _source_point(self, trial: int, lr: float, level: int) -> State:
        """Return the source's dense network as its ticket was rewound: at its step, or trained.

        The store keeps what a ticket keeps only; which of the two it was, its weights tell.
        """
        ticket, level = self._ticket(trial, lr, level), self._level(level)
        search = self._source.config["search"]
        if search["_target_"] == _TARGET and search.get("weights") == "source":
            there = transferred(**{k: v for k, v in search.items() if k != "_target_"})
            own = self._dense(trial, lr).start
            return there.dense_start(trial, self._rate(lr), level, own)
        dense = self._dense(trial, lr)
        try:
            rewound = dense.at(ticket.step)
        except MissingSnapshot:
            return dense.final
        kept = ((ticket.params[n][m], rewound.params[n][m]) for n, m in ticket.mask.items())
        return rewound if all(torch.equal(a, b) for a, b in kept) else dense.final

    def _same_start(self, trial: int, lr: float, here: Params) -> None:
        there = self._dense(trial, lr).start.params
        for name, value in here.items():
            if name in there and there[name].shape == value.shape:
                if not torch.equal(there[name], value):
                    raise LthError(
                        f"search.study={self.study}: trial {trial} starts from another {name} "
                        "there (another seed, or init of the model), so masks would move and the "
                        "initialisation not: take its seed, or search.weights=source, or "
                        "search.weights=redrawn to move masks alone"
                    )

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


def _where_shapes_agree(there: State, own: State) -> State:
    """Return the source's state; what has another shape here is as ours."""
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
    ``arms=[winning_ticket,random_reinit]`` tells them apart. Where they are not the same (another
    seed, another init) this is refused, unless ``weights=redrawn`` says that masks alone should
    move. With ``weights=source`` the weights are the source tickets' own, wherever those were
    rewound to, and train from step 0; beneath the mask lies the source's dense network at that
    point. A layer of another shape, the output's where classes differ, is new and kept whole.
    ``level`` takes one level's tickets for all levels. What the source cost is in its records.
    """
    if not isinstance(study, str) or study == "???":
        raise LthError("search.study: name the source's folder, out/studies/<name>-<hash8>")
    Study(study)
    return Transferred(study, level, weights)
