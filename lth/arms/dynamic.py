"""Arms whose mask changes while they train: rivals that need no search beforehand.

They start from the dense network's initial weights, train the full recipe from step 0, and end with
as many weights as the ticket of their level keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

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
from lth.spec.build import Spec, spec_of
from lth.types import Mask

WEIGHTS = ("init", "signed_constant")


def rigl(
    every: int = 100, fraction: float = 0.3, until: float = 0.75, decay: str = "cosine",
    counts: str = "erk",
) -> Callable[..., Ticket]:  # fmt: skip
    """A random mask (``counts`` as in ``random_mask``) that ``dynamic.rigl`` then changes."""
    return _from_random_mask(
        dynamic.rigl, counts, every=every, fraction=fraction, until=until, decay=decay
    )


def sparse_evolution(
    every: int = 100, fraction: float = 0.3, until: float = 0.75, decay: str = "cosine",
    counts: str = "erk",
) -> Callable[..., Ticket]:  # fmt: skip
    """A random mask that ``lth.pruning.dynamic.sparse_evolution`` (SET) then changes."""
    return _from_random_mask(
        dynamic.sparse_evolution, counts, every=every, fraction=fraction, until=until, decay=decay
    )


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

    def gate(winner: Ticket, seed: int) -> Any:
        return partial(made, seed=seed)

    return _gated(gate, weights, optimizer, lr, None)


def edge_popup(
    weights: str = "signed_constant",
    optimizer: Mapping[str, Any] | None = None,
    lr: float | None = None,
) -> Callable[..., Ticket]:
    """Train a mask by ``lth.networks.gates.edge_popup``, as large as the ticket's in every layer.

    Ramanujan et al. 2020, arXiv 1911.13299, Section 3.
    """

    def gate(winner: Ticket, seed: int) -> Any:
        return partial(gates.edge_popup, kept=masks.kept(winner.mask), seed=seed)

    return _gated(gate, weights, optimizer, lr, "layers")


def _from_random_mask(
    schedule: Callable[..., Any], counts: str, **settings: Any
) -> Callable[..., Ticket]:
    schedule(**settings)  # what it does not take is refused now
    draw = random_mask(counts=counts)

    def arm(winner: Ticket, generator: torch.Generator, *, initial: State) -> Ticket:
        mask = draw(winner, generator).mask
        spec = spec_of(partial(schedule, **settings, seed=draw_seed(generator)))
        return _from_scratch(winner, initial, mask, _counted(counts), dynamics=spec)

    return arm


def _gated(
    gate: Callable[[Ticket, int], Any],
    weights: str,
    optimizer: Mapping[str, Any] | None,
    lr: float | None,
    counted: str | None,
) -> Callable[..., Ticket]:
    if weights not in WEIGHTS:
        raise LthError(f"weights={weights}: they are one of {', '.join(WEIGHTS)}")
    if lr is not None and not lr > 0:
        raise LthError(f"lr={lr}: the learning rate of the scores, above 0, or null")
    changes: dict[str, Any] = {} if lr is None else {"lr": lr}
    if optimizer is not None:
        changes["optimizer"] = _optimizer(optimizer, lr or 1.0)

    def arm(winner: Ticket, generator: torch.Generator, *, initial: State) -> Ticket:
        spec = spec_of(gate(winner, draw_seed(generator)))
        found = _from_scratch(winner, initial, _whole(winner), counted, gate=spec, changes=changes)
        return found if weights == "init" else constant()(found, generator)

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
    whole = {"step": 0, "changes": {}, "frozen": {}} | changes
    found = replace(winner, mask=mask, params=initial.params, buffers=initial.buffers, **whole)
    return takes(found, *([counted] if counted else []))


def _whole(winner: Ticket) -> Mask:
    return masks.full(layers_of(winner.model), winner.mask)
