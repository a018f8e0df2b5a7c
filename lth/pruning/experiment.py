"""An experiment: the parts that the loop, its searches and its methods are made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, cast

from torch import Tensor

from lth.networks.layers import Layers
from lth.networks.ticket import State, Ticket
from lth.pruning.probe import Probe
from lth.pruning.rewind import Rewind
from lth.pruning.rules import Prune
from lth.recipe.recipe import Recipe
from lth.spec.build import Spec
from lth.store.store import Store
from lth.types import Mask, PruningChain, Score

Arms = Mapping[str, tuple[Callable[..., Ticket], int]]
"""By name: an arm and its copies per trial."""


class Validation(Protocol):
    """``(trial, number) -> (inputs, targets)``: a trial's validation split, prepared.

    All of it, or its first ``number`` examples.
    """

    def __call__(self, trial: int, number: int | None = None, /) -> tuple[Tensor, Tensor]:
        """Return them."""
        ...


class SearchResult(NamedTuple):
    """A mask, and to which step the dense network had to be trained for it, None if to the end.

    ``start`` is the state to train from, at step 0, where the rewinding rule does not give it.
    """

    mask: Mask
    dense_steps: int | None = None
    start: State | None = None


class Search(Protocol):
    """``turn -> mask of the level``: another way to a mask than to prune level after level.

    ``iterates``: a level is made from the one above, not from the dense network. A search that has
    a ``check`` is asked before any work, ``check(preflight)``, whether it can be done.
    """

    iterates: ClassVar[bool]

    def trained_levels(self, level: int) -> range:
        """Levels whose winner had to be trained to find the ticket of ``level``."""
        ...

    def __call__(self, turn: Any, /) -> SearchResult:
        """Return the mask of ``turn.level``; the turn is one of ``lth.pruning.turn``."""
        ...


@dataclass(frozen=True, kw_only=True)
class Method:
    """A list of moves by name; where it begins, and how often it is gone through (lth/moves).

    ``lengths`` are the updates of each phase at a level, as far as they are known before work.
    """

    at: str | int
    moves: tuple[tuple[str, Callable[..., Ticket]], ...]
    repeat: int | None = None
    lengths: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What the loop is made of.

    ``levels`` names those at which arms are compared, ``lines`` the chains of levels, each a trial
    at a learning rate; ``probe`` gives a trial's examples to scores that ask for a gradient, and
    ``validation`` all of its validation split, prepared, to moves that choose. ``store`` is where
    the members of the study lie.
    """

    model: Spec
    layers: Layers
    score: Score
    prune: Prune
    rewind: Rewind
    search: Search
    arms: Arms
    lines: tuple[PruningChain, ...]
    levels: tuple[int, ...]
    probe: Callable[[int], Probe]
    recipe: Recipe
    validation: Validation | None = None
    input_shape: tuple[int, ...] = ()
    seed: int = 0
    methods: Mapping[str, Method] = field(default_factory=dict)
    store: Store | None = None

    @property
    def steps(self) -> int:
        """Updates of a run from step 0."""
        return self.recipe.steps

    @property
    def route(self) -> list[int]:
        """Levels below the dense network that are trained: those compared, those they need."""
        needed = {n for level in self.levels for n in self.search.trained_levels(level)}
        return sorted({*self.levels, *needed} - {0})


def with_ties(rule: Prune) -> Prune:
    """Let a rule of one's own that takes no ``ties`` be called as all others are."""
    takes = ["ties" in inspect.signature(call).parameters for call in (rule, rule.to)]
    return rule if all(takes) else cast(Prune, _OwnTies(rule, *takes))


class _OwnTies:
    """A rule that breaks ties by itself; all else is the rule's."""

    def __init__(self, rule: Prune, one_level: bool, to: bool) -> None:
        self._rule, self._one_level, self._to = rule, one_level, to

    def __call__(self, *given: Any, ties: int = 0) -> Mask:
        return self._rule(*given, **({"ties": ties} if self._one_level else {}))

    def to(self, *given: Any, ties: int = 0) -> Mask:
        """Prune down to counts."""
        return self._rule.to(*given, **({"ties": ties} if self._to else {}))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rule, name)
