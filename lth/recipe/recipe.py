"""A recipe: how a member trains; one row of a paper's settings table."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from lth.errors import LthError
from lth.measured import is_better_higher
from lth.recipe.adapt import as_loss
from lth.recipe.evaluation import LOSS, Measures
from lth.spec.argument_types import check_kinds, number, whole
from lth.spec.build import Spec, arguments, build, locate, target_of

SPLITS = ("train", "validation", "test")

RESERVED = (
    "batch_loss", "early_stop_step", "training_flops", "search_flops", "budget", "labelled",
    "teacher", "bias_shift",
)  # fmt: skip
"""What else is recorded of a member: no measure's name."""

OF_CLASSES: dict[str, Spec] = {"accuracy": {"_target_": "lth.recipe.measures.accuracy"}}
OF_NUMBERS: dict[str, Spec] = {"mse": {"_target_": "lth.recipe.measures.mse"}}
"""What is measured where a recipe names nothing, of classes and of a regression."""


@dataclass(frozen=True)
class Recipe:
    """Steps, batch size, learning rates, optimizer, schedule, loss, and what is measured when.

    ``curves`` names the splits measured at every evaluation; validation always is. ``measures``
    are reported beside the loss, by name (lth/recipe/measures.py); None: accuracy. Early stop is
    where ``monitor``, on validation, is best: least or greatest as ``mode`` says, min or max, which
    follows from the name if it is None.
    """

    steps: int
    batch: int
    lr: float | Sequence[float]
    optimizer: Spec
    schedule: Spec = field(default_factory=lambda: {"_target_": "lth.recipe.schedule.constant"})
    loss: Spec = field(default_factory=lambda: {"_target_": "lth.recipe.loss.cross_entropy"})
    eval_every: int = 100
    curves: Sequence[str] = ("validation",)
    measures: Mapping[str, Spec] | None = None
    monitor: str = LOSS
    mode: str | None = None

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
        self._check_measures()
        check_optimizer(self.optimizer, self.rates[0])

    def _check_rates(self) -> None:
        if not isinstance(self.lr, int | float | list | tuple):
            raise LthError(f"recipe.lr={self.lr!r}: a number, or a list: recipe.lr=[1e-3,2e-3]")
        for rate in self.rates:
            number("recipe.lr", rate, "(0, 1e30)", "a learning rate is a number above 0")
        if not self.rates or len(set(self.rates)) < len(self.rates):
            raise LthError(f"recipe.lr={self.lr}: name at least one learning rate, each once")

    def _check_measures(self) -> None:
        if self.measures is not None and not (isinstance(self.measures, Mapping) and self.measures):
            raise LthError(f"recipe.measures={self.measures!r}: a table of them by name, or null")
        for name, spec in self.measured.items():
            if not isinstance(name, str) or not name or "/" in name or name in RESERVED:
                raise LthError(f"recipe.measures: {name!r} cannot be a measure's name")
            if not isinstance(spec, Mapping) or not callable(build(spec)):
                raise LthError(f"recipe.measures.{name}: its _target_ gave no measure")
        root = str(self.monitor).partition("/")[0]
        others = OF_NUMBERS if self.measures is None else {}  # which of them, the data say
        if root not in (LOSS, *self.measured, *others):
            known = ", ".join(dict.fromkeys((LOSS, *self.measured)))
            raise LthError(f"recipe.monitor={self.monitor}: it is one of {known}")
        if self.mode not in (None, "min", "max"):
            raise LthError(f"recipe.mode={self.mode}: it is min, max or null")

    @property
    def measured(self) -> Mapping[str, Spec]:
        """The measures' specs by name."""
        return self.measures or OF_CLASSES

    @property
    def higher(self) -> bool:
        """Whether more of what is monitored is better."""
        if self.mode is not None:
            return self.mode == "max"
        spec = self.measured.get(self.monitor.partition("/")[0])
        return self.monitor != LOSS and is_better_higher(self.monitor, spec)

    def evaluator(self, loss: Spec | None = None) -> Measures:
        """Build what is reported: ``loss``, the study's, in the place of the recipe's own."""
        named = {name: build(spec) for name, spec in self.measured.items()}
        return Measures(as_loss(build(loss or self.loss)), named)

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
        steps = start + max(recipe.steps > start, round(stretch * (recipe.steps - start)))
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
    as_loss(found, f"recipe.loss={target_of(spec)}")


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
