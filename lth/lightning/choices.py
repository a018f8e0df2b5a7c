"""What a user names as a criterion, a selection or a rewinding rule, as functions of one form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import lth.pruning.rewind
import lth.pruning.rules
import lth.pruning.score
from lth.errors import LthError
from lth.lightning.named import booleans
from lth.networks.drawn import State
from lth.networks.layers import Layers
from lth.networks.masks import is_nested
from lth.pruning.rewind import Start
from lth.spec.build import build
from lth.spec.names import locate
from lth.streams import stream_seed
from lth.types import Mask, Params

EVER = 1 << 62
"""Steps of a run whose end is not known yet."""


def made(choice: Any, room: Any, what: str) -> Any:
    """Return the rule that is meant: a rule itself, a name in the room, a factory of it, a spec."""
    if isinstance(choice, str):
        if "." not in choice and not callable(getattr(room, choice, None)):
            known = ", ".join(n for n, f in vars(room).items() if _is_factory(f, room))
            raise LthError(f"find_tickets: {what}={choice!r}: it is one of {known}, or a function")
        choice = getattr(room, choice) if "." not in choice else locate(choice)
    if isinstance(choice, Mapping):
        return build(choice)
    if _is_factory(choice, room) or inspect.isclass(choice):
        try:
            return choice()
        except TypeError as error:
            raise LthError(f"find_tickets: {what}={choice.__name__}: {error}") from None
    if not callable(choice):
        raise LthError(f"find_tickets: {what} is a {type(choice).__name__}: give a function")
    return choice


def _is_factory(value: Any, room: Any) -> bool:
    own = str(getattr(value, "__module__", "")).startswith(room.__name__)
    return inspect.isfunction(value) and own and getattr(room, value.__name__, None) is value


def called(function: Callable[..., Any], *given: Any, **context: Any) -> Any:
    """Call a function with what it takes of the context."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return function(*given)
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return function(*given, **context)
    names = {p.name for p in [*parameters][len(given) :]}
    return function(*given, **{n: v for n, v in context.items() if n in names})


def scores_of(score: Callable[..., Any], trained: Params, mask: Mask, **context: Any) -> Params:
    """Return the scores of every weight of the mask, each a number per weight."""
    found = called(score, trained, mask=mask, **context)
    if not isinstance(found, Mapping):
        raise LthError(f"find_tickets: the score gave a {type(found).__name__}, no dict by name")
    for name, part in mask.items():
        value = found.get(name)
        if not isinstance(value, Tensor) or value.shape != part.shape:
            shape = None if value is None else tuple(getattr(value, "shape", ()))
            raise LthError(
                f"find_tickets: the score of {name} has shape {shape}, the weights "
                f"{tuple(part.shape)}"
            )
    return {n: found[n].detach().cpu() for n in mask}


def pruned(rule: Callable[..., Any], scores: Params, mask: Mask, layers: Layers) -> Mask:
    """Return the next mask, nested in ``mask``."""
    before = {n: m.clone() for n, m in mask.items()}
    given = rule(scores, before, layers, ties=stream_seed("ties", 0)) if _known(rule) else None
    given = called(rule, scores, before, layers=layers) if given is None else given
    new = booleans(given, "find_tickets: what prune gave")
    if new.keys() != mask.keys() or any(m.shape != mask[n].shape for n, m in new.items()):
        raise LthError("find_tickets: prune gave a mask of other weights than it was given")
    if not is_nested(new, mask):
        raise LthError("find_tickets: prune gave back weights that were pruned before")
    if all(torch.equal(m, mask[n]) for n, m in new.items()):
        raise LthError("find_tickets: prune pruned nothing: ask for fewer levels")
    return new


def prunable(rule: Any, layers: Layers) -> list[str]:
    """Return the weights that a rule may prune; a plain function's are all that can be."""
    if not _known(rule):
        return [n for n in layers.shapes if n not in layers.fixed]
    names = rule.prunable(layers)
    for name in names:
        if name in layers.fixed:
            raise LthError(f"find_tickets: {name} cannot be pruned: {layers.fixed[name]}")
    return names


def _known(rule: Any) -> bool:
    return hasattr(rule, "prunable")


@dataclass(frozen=True)
class Rewinding:
    """A rewinding rule, and the steps of the dense run that must be kept for it.

    A rule that goes to an ``epoch`` is a spec until the run's updates of an epoch are known.
    """

    rule: Any
    steps: tuple[int, ...]
    epoch: float | None = None

    def at(self, per_epoch: int | None) -> Rewinding:
        """Return the rule in a run of so many updates an epoch."""
        return (
            self if self.epoch is None else rewinding(build(self.rule, steps_per_epoch=per_epoch))
        )

    def __call__(self, dense: Callable[[int], State], trained: State) -> Start:
        """Return where a level starts."""
        found = self.rule(dense, trained)
        if isinstance(found, Start):
            return found
        if isinstance(found, Mapping):  # a plain function gives weights by name
            return Start(State({**trained.params, **found}, dense(0).buffers), 0)
        raise LthError(f"find_tickets: rewind gave a {type(found).__name__}, no weights by name")


def rewinding(choice: Any) -> Rewinding:
    """Return the rewinding rule that is meant, with its steps."""
    target = _target(choice)
    if target is lth.pruning.rewind.fine_tune or getattr(choice, "held", None) is not None:
        raise LthError(
            "find_tickets: rewind=fine_tune holds the rate of a recipe's schedule, and a module's "
            "schedule is its own: take rewind=lth.pruning.rewind.learning_rate(step)"
        )
    if target is lth.pruning.rewind.to_epoch and (spec := _by_epoch(choice)) is not None:
        build(spec, steps_per_epoch=1.0)  # refuses wrong arguments now
        return Rewinding(spec, (0,), spec["epoch"])
    rule = made(choice, lth.pruning.rewind, "rewind")
    needs = rule.needs(EVER) if hasattr(rule, "needs") else ()
    return Rewinding(rule, tuple(sorted({0, *needs, getattr(rule, "step", 0)})))


def _target(choice: Any) -> Any:
    """Return the factory that a choice names, where it is one of ``lth.pruning.rewind``'s."""
    if isinstance(choice, str):
        return vars(lth.pruning.rewind).get(choice.removeprefix("lth.pruning.rewind."))
    if isinstance(choice, Mapping):
        return _target(choice.get("_target_"))
    return getattr(choice, "func", choice)


def _by_epoch(choice: Any) -> dict[str, Any] | None:
    """Return the spec of ``to_epoch`` that is meant, if it leaves the run to say its epochs."""
    given: dict[str, Any] = {}
    if isinstance(choice, Mapping):
        given = {str(k): v for k, v in choice.items() if k != "_partial_"}
    elif hasattr(choice, "func"):
        given = (
            inspect.signature(choice.func).bind_partial(*choice.args, **choice.keywords).arguments
        )
    if "epoch" not in given:
        raise LthError(
            "find_tickets: rewind=to_epoch: say which epoch, "
            'rewind={"_target_": "lth.pruning.rewind.to_epoch", "epoch": 1}'
        )
    if given.get("steps_per_epoch") is not None:
        return None
    given.pop("steps_per_epoch", None)
    return {**given, "_target_": "lth.pruning.rewind.to_epoch"}


def scoring(choice: Any) -> Callable[..., Any]:
    """Return the criterion that is meant."""
    return made(choice, lth.pruning.score, "score")


def pruning(choice: Any) -> Callable[..., Any]:
    """Return the selection rule that is meant."""
    return made(choice, lth.pruning.rules, "prune")
