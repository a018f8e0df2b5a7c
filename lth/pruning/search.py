"""Searches: from which network, and in how many rounds, the mask of a level is taken.

A search is apart from the score (what matters), the rule (how many go) and the rewinding (where
training starts): any score can be used in any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from lth.errors import LthError
from lth.networks.layers import Layers
from lth.networks.ticket import State
from lth.pruning.experiment import Search, SearchResult
from lth.pruning.rules import counts_at
from lth.pruning.turn import Turn
from lth.spec.argument_types import is_whole
from lth.types import Mask, Params

__all__ = [
    "AtInit", "EarlyBird", "Iterative", "OneShot", "Preflight", "Search", "SearchResult", "Turn",
    "at_init", "early_bird", "iterative", "mask_distance", "one_shot",
]  # fmt: skip


@dataclass(frozen=True)
class Preflight:
    """What a search may be asked to check before any work: where it will be used, and on what.

    ``mask`` is the dense network's, ``kept`` how many of its weights each level keeps, ``initial``
    gives a trial's untrained network. ``scores`` scores that of the first trial; ``untrained``:
    tickets start from it.
    """

    places: tuple[tuple[int, float, int], ...]  # (trial, learning rate, level)
    layers: Layers
    mask: Mask
    scores: Callable[[], Params]
    kept: Mapping[int, int] = field(default_factory=dict)
    initial: Callable[[int], State] | None = None
    untrained: bool = True


@dataclass(frozen=True)
class Iterative:
    """Prune what the level before has trained: what the loop does by itself (lth/imp.py)."""

    iterates: ClassVar[bool] = True

    def trained_levels(self, level: int) -> range:
        """All levels above."""
        return range(level)

    def __call__(self, turn: Turn) -> SearchResult:
        """Score the trained network and drop the lowest."""
        mask = turn.trained.mask
        return SearchResult(turn.prune(turn.score(turn.trained.final, mask), mask))


@dataclass(frozen=True)
class OneShot:
    """Prune the trained dense network to every density at once."""

    iterates: ClassVar[bool] = False

    def trained_levels(self, level: int) -> range:
        """Only the dense network."""
        return range(1)

    def __call__(self, turn: Turn) -> SearchResult:
        """Apply the rule ``level`` times to the same scores: the iterative search's densities."""
        return SearchResult(_at_once(turn, turn.dense.final))


@dataclass(frozen=True)
class AtInit:
    """Prune the network that training starts from, in rounds, scored anew in each."""

    rounds: int = 1
    iterates: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not is_whole(self.rounds, 1):
            raise LthError(f"search.rounds={self.rounds!r}: a whole number from 1")

    def check(self, preflight: Preflight) -> None:
        """Refuse a score that tells no weights apart before training, where that is scored."""
        if not preflight.untrained:
            return
        values = torch.cat([s.reshape(-1) for s in preflight.scores().values()])
        if len(values) > 1 and bool((values == values[0]).all()):
            raise LthError(
                "search=at_init: the score gives every untrained weight the same value, so nothing "
                "can be ranked by it; take another score, or search=iterative or one_shot"
            )

    def trained_levels(self, level: int) -> range:
        """None: only scoring costs."""
        return range(0)

    def __call__(self, turn: Turn) -> SearchResult:
        """Prune to ``c0 (cn / c0) ** (k / rounds)`` weights in round k (Tanaka et al. 2020)."""
        mask = turn.dense.mask
        first = {n: int(m.sum()) for n, m in mask.items()}
        last = counts_at(turn.rule, first, turn.layers, turn.level)
        if last.keys() != first.keys():  # layers that are ranked together are counted together
            grouped = getattr(turn.rule, "grouped", lambda counts, _: {"": sum(counts.values())})
            first = grouped(first, turn.layers)
        for number in range(1, self.rounds + 1):
            counts = {
                n: round(c * (last[n] / c) ** (number / self.rounds)) if c else 0
                for n, c in first.items()
            }
            mask = turn.prune(turn.score(turn.start, mask), mask, counts)
        return SearchResult(mask)


@dataclass(frozen=True)
class EarlyBird:
    """Prune the dense run on its way, as soon as its mask has settled."""

    every: int
    threshold: float = 0.1
    patience: int = 5
    iterates: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("every", "patience"):
            value = getattr(self, name)
            if not is_whole(value, 1):
                raise LthError(f"search.{name}={value!r}: a whole number from 1")
        if not 0 < self.threshold < 1:
            raise LthError(f"search.threshold={self.threshold}: a share of the mask, in (0, 1)")

    def needs(self, steps: int) -> tuple[int, ...]:
        """Steps at which the dense run is looked at."""
        if self.every >= steps:
            raise LthError(f"search.every={self.every}: it never looks: recipe.steps is {steps}")
        return tuple(range(self.every, steps, self.every))

    def check(self, preflight: Preflight) -> None:
        """Refuse a threshold that any two masks of a level's density would meet."""
        size = sum(m.numel() for m in preflight.mask.values())
        for level in sorted({level for _, _, level in preflight.places} & preflight.kept.keys()):
            kept = preflight.kept[level]
            most = 2 * kept / size
            if most < self.threshold:
                raise LthError(
                    f"search.threshold={self.threshold}: two masks of level {level} "
                    f"({kept / size:.1%} of the weights) differ by {most:.1%} at most, so any two "
                    f"would pass for settled; set it well below {most:.2g}, or name other levels"
                )

    def trained_levels(self, level: int) -> range:
        """The dense network, of which an early bird needs the beginning only."""
        return range(1)

    def __call__(self, turn: Turn) -> SearchResult:
        """Return the first settled mask, else that of the trained network."""
        last: list[Mask] = []
        for step in self.needs(turn.steps):
            mask = _at_once(turn, turn.dense.at(step))
            if len(last) == self.patience and all(
                mask_distance(mask, before) < self.threshold for before in last
            ):
                return SearchResult(mask, step)
            last = [*last, mask][-self.patience :]
        return SearchResult(_at_once(turn, turn.dense.final))


def _at_once(turn: Turn, network: State) -> Mask:
    """Prune an unpruned network to the level's density by one set of scores."""
    mask = turn.dense.mask
    scores = turn.score(network, mask)
    for _ in range(turn.level):
        mask = turn.prune(scores, mask)
    return mask


def mask_distance(a: Mask, b: Mask) -> float:
    """Share of the weights that one mask keeps and the other does not: Hamming, in [0, 1]."""
    return sum(int((a[n] ^ b[n]).sum()) for n in a) / sum(m.numel() for m in a.values())


def early_bird(every: int, threshold: float = 0.1, patience: int = 5) -> EarlyBird:
    """Take the mask that the dense run settles on early, looked at ``every`` so many steps.

    Settled: it differs from each of the ``patience`` masks before by less than ``threshold`` of the
    weights, as in the code of You et al. 2020 (arXiv 1909.11957, Section 3; there neighbours are
    compared), who look once an epoch. A mask that keeps the share d differs from another by at most
    2 d, so a ``threshold`` above that is refused.
    """
    return EarlyBird(every, threshold, patience)


def iterative() -> Iterative:
    """Prune what the level before trained (Frankle & Carbin 2019, arXiv 1803.03635, Section 2)."""
    return Iterative()


def one_shot() -> OneShot:
    """Prune the trained dense network to every density at once (Section 2, one-shot pruning)."""
    return OneShot()


def at_init(rounds: int = 1) -> AtInit:
    """Prune before training: the state that tickets start from, scored anew in each round.

    One round is SNIP's and GraSP's way, 100 are SynFlow's (Frankle et al. 2021, arXiv 2009.08576).
    """
    return AtInit(rounds)
