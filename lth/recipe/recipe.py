"""A recipe: how a member trains; one row of a paper's settings table."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from lth.errors import LthError
from lth.spec.argument_types import check_kinds, number, whole
from lth.spec.build import Spec, arguments, build, locate, target_of

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Recipe:
    """Steps, batch size, learning rates, optimizer, schedule, loss, and when to evaluate.

    ``curves`` names the splits measured at every evaluation; validation always is.
    """

    steps: int
    batch: int
    lr: float | Sequence[float]
    optimizer: Spec
    schedule: Spec = field(default_factory=lambda: {"_target_": "lth.recipe.schedule.constant"})
    loss: Spec = field(default_factory=lambda: {"_target_": "lth.recipe.loss.cross_entropy"})
    eval_every: int = 100
    curves: Sequence[str] = ("validation",)

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "eval_every"):
            whole(f"recipe.{name}", getattr(self, name), 1, "it must be a whole number")
        self._check_rates()
        if not isinstance(self.curves, list | tuple):
            raise LthError(f"recipe.curves={self.curves!r}: a list, such as recipe.curves=[test]")
        for split in self.curves:
            if split not in SPLITS:
                raise LthError(f"recipe.curves: {split!r} is not one of {', '.join(SPLITS)}")
        _check_schedule(self.schedule, self.steps)
        _check_loss(self.loss)
        check_optimizer(self.optimizer, self.rates[0])

    def _check_rates(self) -> None:
        if not isinstance(self.lr, int | float | list | tuple):
            raise LthError(f"recipe.lr={self.lr!r}: a number, or a list: recipe.lr=[1e-3,2e-3]")
        for rate in self.rates:
            number("recipe.lr", rate, "(0, 1e30)", "a learning rate is a number above 0")
        if not self.rates or len(set(self.rates)) < len(self.rates):
            raise LthError(f"recipe.lr={self.lr}: name at least one learning rate, each once")

    @property
    def rates(self) -> list[float]:
        """The learning rates, as a list."""
        return [self.lr] if isinstance(self.lr, int | float) else list(self.lr)

    @property
    def splits(self) -> list[str]:
        """Splits measured at every evaluation, in the order of ``SPLITS``."""
        return [s for s in SPLITS if s in {"validation", *self.curves}]

    def evaluations(self, start: int) -> list[int]:
        """Steps of a run from ``start`` at which it is evaluated: start, cadence, last."""
        inside = range(
            (start // self.eval_every + 1) * self.eval_every, self.steps, self.eval_every
        )
        return [start, *inside, self.steps]

    def for_ticket(
        self, stretch: float = 1.0, changes: Mapping[str, Any] | None = None, start: int = 0
    ) -> Recipe:
        """Return the recipe of a ticket that makes ``stretch`` times as many updates, or otherwise.

        They are counted from the step ``start`` that it trains from, and what is left there of the
        schedule is stretched with them: milestones come that many times later. ``changes`` may name
        another ``schedule``, ``optimizer``, ``lr`` and ``steps``, the step that training ends at.
        """
        recipe = replace(self, **changes) if changes else self
        steps = start + max(1, round(stretch * (recipe.steps - start)))
        if steps == recipe.steps:
            return recipe
        stretched = {
            "_target_": "lth.recipe.schedule.stretched", "schedule": recipe.schedule,
            "steps": recipe.steps, "start": start,
        }  # fmt: skip
        return replace(recipe, steps=steps, schedule=stretched)


def _check_loss(spec: Spec) -> None:
    """Try to make the loss; a loss itself, such as ``F.cross_entropy``, is no factory of one."""
    try:
        found = build(spec)
    except LthError as error:
        hint = "; recipe.loss names what makes a loss, such as torch.nn.CrossEntropyLoss"
        raise LthError(f"{error}{hint if ' needs ' in str(error) else ''}") from error
    if not callable(found):
        raise LthError(f"recipe.loss={target_of(spec)}: it gave no loss")


def _check_schedule(spec: Spec, steps: int) -> None:
    """Try the schedule on the first step."""
    schedule = build(spec)
    try:
        float(schedule(0, steps))
    except Exception as error:
        raise LthError(
            f"recipe.schedule={target_of(spec)}: it gave no schedule: {error}"
        ) from error


def check_optimizer(spec: Spec, lr: float) -> None:
    """Try a step on one weight, so that a wrong argument is refused before any work."""
    factory, given = locate(target_of(spec)), optimizer_arguments(spec)
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    try:
        factory([weight], lr=lr, **given).step()
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise LthError(f"recipe.optimizer={spec['_target_']}: {error}") from None
    check_kinds(f"recipe.optimizer={spec['_target_']}", factory, given)


def optimizer_arguments(spec: Spec) -> dict[str, Any]:
    """Return an optimizer's arguments beside its learning rate, which is the recipe's.

    A default of the factory's own for ``lr`` may have been written out (``spec.build.complete``).
    """
    found = arguments(spec)
    default = inspect.signature(locate(target_of(spec))).parameters.get("lr")
    if "lr" in found and default is not None and found["lr"] == default.default:
        del found["lr"]
    if "lr" in found:
        raise LthError(f"recipe.optimizer.lr={found['lr']}: the learning rate is recipe.lr")
    return found
