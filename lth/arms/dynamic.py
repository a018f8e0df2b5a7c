"""Arms whose mask changes while they train: rivals that need no search beforehand.

They start from the dense network's initial weights, train the full recipe from step 0, and end with
as many weights as the ticket of their level keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch

from lth.arms.protocol import draw_seed
from lth.arms.random_masks import random_mask
from lth.arms.reinit import constant
from lth.errors import LthError
from lth.networks import gates, masks
from lth.networks.ticket import State, Ticket, layers_of
from lth.pruning import dynamic
from lth.pruning.needs import takes
from lth.recipe.recipe import check_optimizer
from lth.spec.argument_types import number, one_of
from lth.spec.build import Spec, spec_of
from lth.types import Mask


@dataclass(frozen=True)
class _Changing:
    """A random mask (``counts`` as in ``random_mask``) that a ``schedule`` then changes."""

    every: int = 100
    fraction: float = 0.3
    until: float = 0.75
    decay: str = "cosine"
    counts: str = "erk"
    schedule: ClassVar[type[dynamic.DropAndGrow]] = dynamic.rigl

    def __post_init__(self) -> None:
        self.schedule(self.every, self.fraction, self.until, self.decay)
        random_mask(counts=self.counts)

    def __call__(self, winner: Ticket, generator: torch.Generator, *, initial: State) -> Ticket:
        """Return the random mask over the dense network's initial state."""
        mask = random_mask(counts=self.counts)(winner, generator).mask
        settings = {k: v for k, v in vars(self).items() if k != "counts"}
        spec = spec_of(partial(self.schedule, **settings, seed=draw_seed(generator)))
        return _from_scratch(winner, initial, mask, _counted(self.counts), dynamics=spec)


class rigl(_Changing):
    """A random mask whose weakest weights move to where the gradient is greatest, while it trains.

    Each layer keeps as many weights as ``counts`` says (as for ``random_mask``); every ``every``
    updates the ``fraction`` of them that is nearest to 0 is dropped, and as many are grown where
    the dense gradient is greatest (``lth.pruning.dynamic.rigl``). RigL: Evci et al. 2020, arXiv
    1911.11134.
    """


class sparse_evolution(_Changing):
    """A random mask whose weakest weights move to random places, while it trains.

    As ``rigl``, but what is dropped is grown again anywhere (``lth.pruning.dynamic``). SET: Mocanu
    et al. 2018, arXiv 1707.04780.
    """

    schedule = dynamic.sparse_evolution


def gradual(
    every: int = 100, begin: float = 0.0, until: float = 0.5, counts: str = "winner"
) -> Callable[..., Ticket]:
    """The dense network, pruned by magnitude while it trains (``lth.pruning.dynamic.gradual``)."""
    dynamic.gradual({}, every, begin, until)
    spread = random_mask(counts=counts)

    def arm(winner: Ticket, generator: torch.Generator, *, initial: State) -> Ticket:
        final = masks.kept(spread(winner, generator).mask)
        schedule = partial(dynamic.gradual, final=final, every=every, begin=begin, until=until)
        spec = spec_of(partial(schedule, seed=draw_seed(generator)))
        return _from_scratch(winner, initial, _whole(winner), _counted(counts), dynamics=spec)

    return arm


@dataclass(frozen=True)
class grow_then_prune:
    """A sparse network whose connections first grow, then shrink (``dynamic.grow_then_prune``).

    It ends with as many weights as the ticket, spread over the layers as ``counts`` says (as in
    ``random_mask``), starts with the share ``start`` of these at random, and at the peak has the
    share ``peak`` of those that it will lack, each layer by itself.
    """

    every: int = 100
    start: float = 1.0
    peak: float = 0.5
    turn: float = 0.25
    until: float = 0.75
    regrow: float = 0.0
    counts: str = "erk"

    def __post_init__(self) -> None:
        number("grow_then_prune: start", self.start, "(0, 1]", "a share of the ticket's weights")
        number("grow_then_prune: peak", self.peak, "(0, 1]", "a share of the weights it will lack")
        self._schedule({}, {}, {}, 0)
        random_mask(counts=self.counts)

    def __call__(self, winner: Ticket, generator: torch.Generator, *, initial: State) -> Ticket:
        """Return the random sparse network over the dense network's initial state."""
        spread = random_mask(counts=self.counts)(winner, generator).mask
        final, start, peak = masks.kept(spread), dict[str, int](), dict[str, int]()
        mask: Mask = {}
        for name, m in spread.items():
            peak[name] = final[name] + round(self.peak * (m.numel() - final[name]))
            start[name] = round(self.start * final[name])
            order = torch.randperm(m.numel(), generator=generator)
            mask[name] = (order < start[name]).reshape(m.shape)
        schedule = self._schedule(start, peak, final, draw_seed(generator))
        counted = _counted(self.counts)
        return _from_scratch(winner, initial, mask, counted, dynamics=spec_of(schedule))

    def _schedule(
        self, start: Mapping[str, int], peak: Mapping[str, int], final: Mapping[str, int], seed: int
    ) -> partial[dynamic.grow_then_prune]:
        made = partial(
            dynamic.grow_then_prune, start=start, peak=peak, final=final, every=self.every,
            turn=self.turn, until=self.until, regrow=self.regrow, seed=seed,
        )  # fmt: skip
        made()
        return made


def supermask(
    weights: str = "signed_constant",
    keep: float = 0.5,
    rescale: bool = True,
    optimizer: Mapping[str, Any] | None = None,
    lr: float | None = None,
    samples: int = 0,
    through: bool = True,
) -> Callable[..., Ticket]:
    """Train a mask by ``lth.networks.gates.bernoulli`` over weights that never move.

    ``weights``: the initial ones, or their signs times the layer's standard deviation. How many are
    kept comes out of the training. Zhou et al. 2019, arXiv 1905.01067, Section 5. ``optimizer``
    (``{kind: torch.optim.SGD, momentum: 0.9}``) and ``lr`` are the scores'; None: the recipe's.
    """
    made = partial(gates.bernoulli, keep=keep, rescale=rescale, samples=samples, through=through)
    made()
    return _gated(lambda winner: made, weights, optimizer, lr, None)


def edge_popup(
    weights: str = "signed_constant",
    optimizer: Mapping[str, Any] | None = None,
    lr: float | None = None,
) -> Callable[..., Ticket]:
    """Train a mask by ``lth.networks.gates.edge_popup``, as large as the ticket's in every layer.

    Ramanujan et al. 2020, arXiv 1911.13299, Section 3.
    """

    def gate(winner: Ticket) -> partial[Any]:
        return partial(gates.edge_popup, kept=masks.kept(winner.mask))

    return _gated(gate, weights, optimizer, lr, "layers")


def _gated(
    gate: Callable[[Ticket], partial[Any]],
    weights: str,
    optimizer: Mapping[str, Any] | None,
    lr: float | None,
    counted: str | None,
) -> Callable[..., Ticket]:
    one_of("weights", weights, ("init", "signed_constant"))
    if lr is not None and not lr > 0:
        raise LthError(f"lr={lr}: the learning rate of the scores, above 0, or null")
    changes: dict[str, Any] = {} if lr is None else {"lr": lr}
    if optimizer is not None:
        changes["optimizer"] = _optimizer(optimizer, lr or 1.0)

    def arm(winner: Ticket, generator: torch.Generator, *, initial: State) -> Ticket:
        spec = spec_of(partial(gate(winner), seed=draw_seed(generator)))
        dense = _from_scratch(winner, initial, _whole(winner), counted, gate=spec, changes=changes)
        return dense if weights == "init" else constant()(dense, generator)

    return arm


def _optimizer(given: Mapping[str, Any], lr: float) -> Spec:
    if "kind" not in given:
        raise LthError(f"optimizer={dict(given)}: name its kind, such as kind: torch.optim.SGD")
    spec = {"_target_": given["kind"], **{k: v for k, v in given.items() if k != "kind"}}
    check_optimizer(spec, lr)
    return spec


def _counted(counts: str) -> str:
    """Name what such a mask takes of the winner's: its layers' counts, or its total."""
    return "layers" if counts == "winner" else "total"


def _from_scratch(
    winner: Ticket, initial: State, mask: Mask, counted: str | None, **changes: Any
) -> Ticket:
    """Start at step 0 from the dense network's initial state; only counts are the winner's."""
    anew = {"step": 0, "changes": {}, "frozen": {}} | changes
    ticket = replace(winner, mask=mask, params=initial.params, buffers=initial.buffers, **anew)
    return takes(ticket, *([counted] if counted else []))


def _whole(winner: Ticket) -> Mask:
    return masks.full(layers_of(winner.model), winner.mask)
