"""A task made ready: a LightningModule, its data and its trainer, as the framework sees a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch

from lth.arms.protocol import context_of
from lth.errors import LthError
from lth.imp import Experiment, dense
from lth.lightning.fitting import prepared
from lth.lightning.probe import TaskProbe, batches_of, itself
from lth.lightning.rehearsal import (
    Facts,
    batch_size,
    check_monitor,
    judged,
    length,
    names_of,
    rehearse,
)
from lth.lightning.settings import Settings, settings_of
from lth.networks.drawn import draw_model, drawing, layers_of, seed_all, tell
from lth.networks.layers import Layers
from lth.networks.ticket import State, Ticket
from lth.pruning.probe import Probe
from lth.recipe.recipe import Recipe
from lth.spec.build import Spec, build, target_of
from lth.streams import stream_seed


@dataclass(frozen=True)
class TaskRecipe(Recipe):
    """How long a task's members train and at which rates; all else is the module's."""

    optimizer: Spec = field(default_factory=dict)
    curves: Sequence[str] = ("train", "validation", "test")

    def __post_init__(self) -> None:
        """Check nothing: it was measured, not given."""

    def for_ticket(
        self, stretch: float = 1.0, changes: Mapping[str, Any] | None = None, start: int = 0
    ) -> Recipe:
        """Return itself: no ticket of a task trains otherwise."""
        if stretch != 1.0 or changes:
            what = f"changes {', '.join(changes)}" if changes else "trains longer"
            raise LthError(f"it {what}: {OWN}")
        return self


@dataclass(frozen=True)
class TaskData:
    """A task's data as records tell of it."""

    name: str
    digest: str
    note: str = ""
    input_shape: tuple[int, ...] = ()
    classes: int = 1


@dataclass(frozen=True)
class Task:
    """What is known of a task before any member trains."""

    settings: Settings
    facts: Facts
    recipe: TaskRecipe
    data: TaskData
    layers: Layers
    seed: int
    epoch: float
    costed: bool
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        given: Mapping[str, Any],
        complete: Mapping[str, Any],
        gpu: bool,
        include: Sequence[str],
    ) -> Task:
        """Check what is asked for and rehearse it."""
        settings, seed = settings_of(given, complete, gpu), int(given["seed"])
        layers = layers_of(settings.module, None, tuple(include))
        module = module_of(settings, seed, 0)
        _check_module(settings, module)
        names = names_of(module)
        with drawing(stream_seed("split", seed, 0)):
            facts = rehearse(settings, module, data_of(settings, seed, 0, first=True), layers.parts)
            odd = sorted({n for a, b in zip(facts.state, names, strict=True) for n in a ^ b})
            if odd:
                raise LthError(
                    f"task.module={target_of(settings.module)}: {odd[0]} is registered while it "
                    "trains (setup, configure_model): register it in __init__"
                )
            check_monitor(settings, facts)
            seed_all(stream_seed("split", seed, 0))
            again, data = module_of(settings, seed, 0), data_of(settings, seed, 0)
            whole = length(settings, again, data, max(1, facts.steps))
        _check_validations(settings, facts)
        trace = facts.trace
        costed = trace is not None and bool(trace.uses)
        if trace is not None and costed:
            tell(settings.module, facts.shape, trace)
            layers = layers.ending(trace.last)
        rates = list(settings.rates or (facts.lr or 1.0,))
        accumulated = settings.trainer.get("accumulate_grad_batches", 1)
        batch = facts.batch * accumulated * settings.devices
        recipe = TaskRecipe(whole.steps, batch, rates if len(rates) > 1 else rates[0], {})
        name = target_of(settings.data) if settings.data else target_of(settings.module)
        return cls(
            settings, facts, recipe, TaskData(name, facts.content, input_shape=facts.shape),
            layers, seed, whole.epoch_steps, costed, tuple(_notes(settings, facts, costed)),
        )  # fmt: skip

    def probe(self, trial: int) -> Probe:
        """Return a trial's probe: batches of its own train loader."""
        probe = TaskProbe(
            self.settings.module, self.facts.shape, 1, itself, _no_examples,
            make_trainer=lambda: self.settings.make(devices=1, strategy="auto", callbacks=[]),
        )  # fmt: skip

        def examples(number: int, generator: torch.Generator) -> Any:
            drawn = int(torch.randint(2**62, (), generator=generator))
            with drawing(stream_seed("split", self.seed, trial)):
                data = data_of(self.settings, self.seed, trial)
                source = data if data is not None else module_of(self.settings, self.seed, trial)
                source.setup("fit")
                seed_all(drawn)
                found = list(batches_of(source.train_dataloader(), number, batch_size))
            probe.counts += [size for _, size in found]
            return [batch for batch, _ in found], None

        # replace() copies the probe that counts, so the counts are kept in the list they share
        return _counted(probe, examples)


def _no_examples(number: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    raise NotImplementedError


def _counted(probe: TaskProbe, examples: Callable[..., Any]) -> TaskProbe:
    probe.examples = examples
    return probe


def module_of(settings: Settings, seed: int, trial: int, lr: float | None = None) -> Any:
    """Draw a trial's module at a rate; its weights are then those of a ticket."""
    spec = settings.module if lr is None else settings.at(lr)
    return draw_model(spec, stream_seed("init", seed, trial))


def data_of(settings: Settings, seed: int, trial: int, first: bool = False) -> Any:
    """Build the data module anew, as a trial draws it; it is prepared once a run."""
    if settings.data is None:
        return None
    with drawing(stream_seed("split", seed, trial)):
        data = build(settings.data)
    if not isinstance(data, pl.LightningDataModule):
        raise LthError(
            f"task.data={target_of(settings.data)}: it gave a {type(data).__name__}, not a "
            "LightningDataModule"
        )
    if not first:
        vars(data)["prepare_data"] = prepared
    return data


def check_arms(parts: Experiment) -> None:
    """Refuse, before any work, arms and rewinding that need a recipe of this package's."""
    if getattr(parts.rewind, "held", None) is not None:
        raise LthError(
            "rewind=fine_tune: a module's own schedule cannot be held; take rewind=learning_rate"
        )
    if not parts.levels:
        return
    ticket = dense(parts, parts.lines[0])
    start = State(ticket.params, ticket.buffers)
    given: dict[str, Callable[[], Any]] = {
        "initial": lambda: start, "trained": lambda: ticket.params, "dense": lambda: start,
        "input_shape": lambda: parts.input_shape,
    }  # fmt: skip
    for name, (arm, _) in parts.arms.items():
        if hasattr(arm, "check") or "input_shape" in context_of(arm, given):
            raise LthError(f"arms.{name}: {OWN}")
        context = {n: make() for n, make in context_of(arm, given).items()}
        made = arm(ticket, torch.Generator().manual_seed(0), **context)
        check_ticket(f"arms.{name}: ", made, ticket)


OWN = (
    "it needs a recipe of this package's, which task=lightning has not: leave it out, or give the "
    "module as a model, model=a.Module with data= and recipe.*, which takes every method"
)


def check_ticket(whose: str, made: Ticket, winner: Ticket) -> None:
    """Refuse a ticket that would train otherwise than its module says; ``whose`` it is."""
    odd = {
        "trains another network": made.model != winner.model,
        "trains longer": made.stretch != 1.0,
        f"changes {', '.join(made.changes)}": bool(made.changes),
        "changes its mask while it trains": made.dynamics is not None,
        "trains a mask": made.gate is not None,
        "has a teacher": made.teacher is not None,
        "sees chosen examples": bool(made.examples),
        "sees its weights through views": bool(made.views),
    }
    for what, so in odd.items():
        if so:
            raise LthError(f"{whose}it {what}: {OWN}")


def _check_module(settings: Settings, module: Any) -> None:
    name = target_of(settings.module)
    if not isinstance(module, pl.LightningModule):
        raise LthError(
            f"task.module={name}: it gave a {type(module).__name__}, not a LightningModule"
        )
    lazy = [n for n, p in module.named_parameters() if torch.nn.parameter.is_lazy(p)]
    if lazy:
        raise LthError(
            f"task.module={name}: {lazy[0]} is lazy, its shape is not known: name its sizes"
        )


def _check_validations(settings: Settings, facts: Facts) -> None:
    """Refuse a cadence at which no validation comes before the end."""
    every, epochs = (settings.trainer.get(n) for n in ("check_val_every_n_epoch", "max_epochs"))
    if facts.validates and every and epochs and 0 < epochs < every:
        raise LthError(
            f"trainer.check_val_every_n_epoch={every}: max_epochs={epochs} ends before the first "
            "validation"
        )


def _notes(settings: Settings, facts: Facts, costed: bool) -> list[str]:
    metric = settings.measured.metric
    split, better = judged(settings, facts), "more" if settings.measured.higher else "less"
    found = [f"judged: {split} {metric}, {better} is better, where {settings.monitor} is best"]
    if facts.tests and split != "test":
        found.append(f"the test logs no {metric}: the verdict goes by {split}")
    if not costed:
        found.append("how often weights are used could not be followed: costs are left out")
    return found
