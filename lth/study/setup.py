"""A study made ready: everything a configuration names is built and checked before work starts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from lth.config import NOT_IN_STUDY_ID, study_id
from lth.data.dataset import Dataset
from lth.data.own import data_of
from lth.errors import LthError
from lth.identity import described
from lth.loggers.chosen import loggers_of
from lth.loggers.protocol import Logger
from lth.moves.method import methods_of
from lth.networks.layers import Layers, summary
from lth.networks.ticket import drawable, layers_of
from lth.pruning.experiment import Arms, Experiment, with_ties
from lth.pruning.rules import Prune, kept_by_level
from lth.recipe.recipe import OF_NUMBERS, Recipe
from lth.spec.build import Spec, build, complete, digest, fill, locate, parameters_of, target_of
from lth.store.store import Store
from lth.streams import check_trials
from lth.study.check import (
    check_agreement,
    check_augment,
    check_batch,
    check_examples,
    check_finite,
    check_parts,
    check_shown,
    named_parts,
    told_of_flat,
)  # fmt: skip
from lth.study.check_model import check_model, check_weights, check_zeros, equal_draws
from lth.study.preflight import tried
from lth.study.probes import probes, validation
from lth.study.settings import arms_of, chains_of, check_values, levels_of, looked_at, make
from lth.train.key import Identities
from lth.train.options import Listener, Options
from lth.train.trainer import Trainer
from lth.train.trainer_options import acting


@dataclass(frozen=True)
class Setup:
    """The built parts of one study."""

    config: dict[str, Any]
    data: Spec
    dataset: Dataset
    recipe: Recipe
    parts: Experiment
    options: Options
    logger: dict[str, Logger]
    notes: tuple[str, ...] = ()
    task: Any = None  # a lth.lightning.task.Task, where a LightningModule trains

    @cached_property
    def id(self) -> str:
        """``<name>-<hash8>``."""
        return study_id(self.config, self.identity)

    @cached_property
    def identity(self) -> str:
        """What the study's data and code are, as far as all of its members share them."""
        shared = described({k: self.config[k] for k in SHARED if k in self.config})
        if callbacks := acting(self.options.lightning):
            shared["trainer"] = described(callbacks)
        parts = [self.identities.data.parts, self.identities.numerics.parts, shared]
        if self.task is not None:
            parts.append(described(self.task.settings.counted))
        return digest(parts)

    @cached_property
    def identities(self) -> Identities:
        """The identities of the study's members; data is hashed and code is walked once a run."""
        if self.task is not None:
            from lth.lightning.runner import TaskIdentities

            return TaskIdentities(self.task)
        return Identities(self.dataset)

    def trainer(self, store: Store, listener: Listener) -> Trainer:
        """Return what trains the study's cohorts, or looks them up."""
        if self.task is not None:
            from lth.lightning.runner import TaskIdentities, TaskTrainer

            assert isinstance(self.identities, TaskIdentities)
            return TaskTrainer(
                self.task, self.snapshots, store, self.options, listener, self.identities
            )
        return Trainer(
            self.data, self.dataset, self.recipe, self.parts.seed, self.snapshots, store,
            self.options, listener, self.identities,
        )  # fmt: skip

    @property
    def costed(self) -> bool:
        """Whether FLOPs are known: how often each weight is used could be followed."""
        return self.task is None or self.task.costed

    @property
    def out(self) -> Path:
        """Root of all outputs."""
        return Path(self.config["out"])

    @property
    def folder(self) -> Path:
        """Where the study's files go."""
        return self.out / "studies" / self.id

    @property
    def snapshots(self) -> tuple[int, ...]:
        """Steps at which the dense run must be known; 0 is its start, which is always kept."""
        steps = self.recipe.steps
        wanted = set(self.parts.rewind.needs(steps))
        wanted |= set(looked_at(self.parts.search, steps))
        for method in self.parts.methods.values():
            wanted |= {s for _, move in method.moves for s in looked_at(move, steps)}
        if self.task is not None:  # its schedules are known where the dense run was looked at
            wanted.add(getattr(self.parts.rewind, "step", 0))
        return tuple(sorted(wanted - {0}))


def prepare(given: Mapping[str, Any]) -> Setup:
    """Build and check all that a configuration names."""
    config: dict[str, Any] = {"method": {}, **complete(given)}
    check_values(config)
    if config.get("task"):
        return _prepare_task(given, config)
    recipe = make(Recipe, config["recipe"], "recipe")
    options = Options.of(config["trainer"])
    options.check_lightning()
    config["trainer"] = {**config["trainer"], "precision": options.precision}
    parts = {name: build(config[name]) for name in ("score", "prune", "search")}
    loggers, arms = loggers_of(config["logger"]), arms_of(config["arms"])
    dataset = data_of(config["data"])
    parts["rewind"] = _rewind(config["rewind"], recipe, dataset)
    check_parts(parts | named_parts(arms, loggers))
    for looks_at in (parts["rewind"].needs, partial(looked_at, parts["search"])):
        looks_at(recipe.steps)  # steps outside of the run are refused
    recipe = _for_numbers(recipe, dataset, config)
    with told_of_flat(dataset):
        asked, config["model"] = _model(config["model"], given["model"], dataset)
        check_augment(dataset)
        layers, notes = _layers(config["model"], dataset, recipe, parts["prune"])
    check_agreement(asked, _of_data(dataset))
    levels = levels_of(config["levels"])
    _check_arms(arms, config["model"], kept_by_level(parts["prune"], layers, max([0, *levels])))
    check_batch(recipe, dataset)
    check_examples(config["score"], dataset)
    check_finite({k: v for k, v in config.items() if k not in NOT_IN_STUDY_ID})
    check_trials(config["seed"], config["trials"])
    experiment = Experiment(
        model=config["model"], layers=layers, score=parts["score"],
        prune=with_ties(parts["prune"]), rewind=parts["rewind"], search=parts["search"],
        arms=arms, levels=levels, recipe=recipe, seed=config["seed"],
        lines=tuple(chains_of(config["trials"], recipe.rates)),
        probe=probes(config, dataset, recipe), input_shape=dataset.input_shape,
        validation=validation(config, dataset, recipe), methods=methods_of(config["method"], arms),
        store=Store(Path(config["out"]) / "store"),
    )  # fmt: skip
    check_shown(experiment.methods, dataset)
    experiment = tried(experiment)
    return Setup(config, config["data"], dataset, recipe, experiment, options, loggers, notes)


def _rewind(spec: Spec, recipe: Recipe, dataset: Dataset) -> Any:
    """Build a rewinding rule; one that asks for them is given the run's steps and schedule."""
    epoch = dataset.training / recipe.batch
    return build(spec, steps=recipe.steps, schedule=recipe.schedule, steps_per_epoch=epoch)


def _of_data(dataset: Dataset) -> dict[str, Any]:
    """Return what a model's factory is told of the data."""
    of_data: dict[str, Any] = {"input_shape": list(dataset.input_shape)}
    return of_data | (
        {"classes": dataset.classes} if dataset.classes else {"outputs": dataset.outputs}
    )


def _model(completed: Spec, given: Spec, dataset: Dataset) -> tuple[dict[str, Any], Spec]:
    """Return what of the data the user has set in the model, and the model for these data."""
    of_data, asked = _of_data(dataset), _asked(given, _of_data(dataset))
    # a default that the model's factory has for these is no wish: the data's are meant
    left = {n: None for n in of_data if n in completed and n not in asked}
    model = fill({**completed, **left}, **of_data)
    _check_outputs(model, dataset)
    return asked, drawable(model, of_data["input_shape"])


def _check_arms(arms: Arms, model: Spec, kept: Sequence[int]) -> None:
    """Ask the arms that have a ``check`` whether they can be made at the lowest level."""
    for arm, _ in arms.values() if len(kept) > 1 else ():
        getattr(arm, "check", lambda *_: None)(model, kept[-1])


def _prepare_task(given: Mapping[str, Any], config: dict[str, Any]) -> Setup:
    """Build and check a study of a LightningModule: a rehearsal tells what else the data would."""
    from lth.lightning.task import Task, check_arms

    ours = {n: v for n, v in config["trainer"].items() if n in ("device", "workers")}
    options = make(Options, ours | {"workers": 0}, "trainer")
    parts = {name: build(config[name]) for name in ("score", "prune", "search")}
    loggers = loggers_of(config["logger"])
    arms, prune = arms_of(config["arms"]), parts["prune"]
    task = Task.of(given, config, options.on_gpu, getattr(prune, "include", ()))
    recipe, model = task.recipe, task.settings.module
    parts["rewind"] = build(
        config["rewind"], steps=recipe.steps, schedule=recipe.schedule, steps_per_epoch=task.epoch
    )
    check_parts(parts | named_parts(arms, loggers))
    for looks_at in (parts["rewind"].needs, partial(looked_at, parts["search"])):
        looks_at(recipe.steps)  # steps outside of the run are refused
    prunable = prune.prunable(_some(task.layers, f"task.module={target_of(model)}"))
    check_weights(task.layers, prunable)
    if warning := equal_draws(model, task.layers):
        warnings.warn(warning.replace("model=", "task.module="), stacklevel=3)
    levels = levels_of(config["levels"])
    kept_by_level(prune, task.layers, max(levels, default=0))
    check_finite({k: v for k, v in config.items() if k not in NOT_IN_STUDY_ID})
    check_trials(config["seed"], config["trials"])
    experiment = Experiment(
        model=model, layers=task.layers, score=parts["score"], prune=with_ties(prune),
        rewind=parts["rewind"], search=parts["search"], arms=arms, levels=levels, recipe=recipe,
        seed=config["seed"], lines=tuple(chains_of(config["trials"], recipe.rates)),
        probe=task.probe, input_shape=task.facts.shape, methods=methods_of(config["method"], arms),
    )  # fmt: skip
    check_arms(experiment)
    notes = (summary(task.layers, prunable), *task.notes)
    data: Any = task.data
    return Setup(
        config, task.settings.data or {}, data, recipe, tried(experiment), options,
        loggers, notes, task,
    )  # fmt: skip


def _layers(
    model: Spec, dataset: Dataset, recipe: Recipe, rule: Prune
) -> tuple[Layers, tuple[str, ...]]:
    """Return the model's weights, those the rule includes too, and what is to be said of them."""
    include = tuple(getattr(rule, "include", ()))
    layers = layers_of(model, None, include)
    check_model(model, dataset, recipe)
    layers = layers_of(model, dataset.input_shape, include)
    prunable = rule.prunable(_some(layers, f"model={target_of(model)}"))
    check_weights(layers, prunable)
    check_zeros(model, dataset, prunable)
    if warning := equal_draws(model, layers):
        warnings.warn(warning, stacklevel=3)
    notes = [summary(layers, prunable)]
    if len(layers.heads) != 1:
        origin = f"come from {', '.join(layers.heads)}" if layers.heads else "come from no weight"
        notes.append(f"the logits {origin}: {layers.output} is taken for the output layer")
    return layers, tuple(notes)


def _some(layers: Layers, what: str) -> Layers:
    if not layers.shapes:
        names = ", ".join(layers.others)
        raise LthError(f"{what}: no weights to prune: prune.include some: {names}")
    return layers


def _for_numbers(recipe: Recipe, dataset: Dataset, config: dict[str, Any]) -> Recipe:
    """Measure the squared error of a regression, unless the recipe names its measures."""
    if dataset.classes or recipe.measures is not None:
        return recipe
    config["recipe"] = {**config["recipe"], "measures": OF_NUMBERS}
    return replace(recipe, measures=OF_NUMBERS)


def _check_outputs(model: Spec, dataset: Dataset) -> None:
    """Refuse a model of classes for data that has none."""
    name = target_of(model)
    if not dataset.classes and "classes" in parameters_of(name, locate(name)):
        if model.get("classes") is None and "outputs" not in model:
            raise LthError(
                f"model={name}: it takes classes, and the data's targets are {dataset.outputs} "
                f"numbers: say model.classes={dataset.outputs}, or name a model that takes outputs"
            )


def _asked(model: Spec, of_data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the data the user has set in the model."""
    target_of(model)
    return {n: model[n] for n in of_data if model.get(n) is not None}


SHARED = ("model", "recipe", "task", "score", "search", "prune", "rewind")
"""Settings whose code all members of a study share; an arm's is its own."""
